//! This program's own log, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::args::{Cli, LogStyle, Verb};

/// What is logged when RUST_LOG is not set: by servers and nodes what an operator wants to see, by the rest trouble
/// only, and that a call waits for the server.
fn default_filter(verb: &Verb) -> &'static str {
    match verb {
        Verb::Serve(_) | Verb::Up(_) => "warn,aevir=info",
        Verb::Node(command) if command.is_agent() => "warn,aevir=info",
        Verb::Demo(_)
        | Verb::Node(_)
        | Verb::Doctor(_)
        | Verb::RunLocal(_)
        | Verb::Module { .. }
        | Verb::Receipt(_)
        | Verb::Task { .. }
        | Verb::Account { .. }
        | Verb::Points { .. }
        | Verb::Admin { .. }
        | Verb::Market { .. }
        | Verb::Content { .. }
        | Verb::Policy { .. }
        | Verb::Projections { .. }
        | Verb::Log { .. }
        | Verb::Audit(_) => "error,aevir_wire::client::call=warn",
    }
}

/// Starts logging.
pub(crate) fn init(cli: &Cli) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(default_filter(&cli.verb)));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match cli.global.log {
        LogStyle::Json => builder.json().flatten_event(true).init(),
        LogStyle::Text => builder
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .init(),
    }
}

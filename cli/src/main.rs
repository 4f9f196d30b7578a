//! The program `aevir`: the platform, its nodes, and everything that people do with it from a terminal.

mod args;
mod audit;
mod demo;
mod doctor;
mod export;
mod hours;
mod inspector;
mod lifeline;
mod local;
mod log_key;
mod logging;
mod manifest;
mod node;
mod output;
mod pin;
mod platform;
mod processes;
mod secrets;
mod serve;
mod terms;
mod up;
mod verbs;
mod workfolder;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use args::{Cli, Verb};

/// A replay makes its events on some threads and drops them on another, which the C library's allocator takes a
/// third of the time for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The hidden verb as which a node starts its executor processes.
const EXECUTOR: &str = "executor";

fn main() -> ExitCode {
    // Before anything else: an executor process must not do more than it has to.
    if std::env::args().nth(1).as_deref() == Some(EXECUTOR) {
        return aevir_sandbox::executor_main();
    }
    let cli = Cli::parse();
    logging::init(&cli);
    let output = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(format_args!("error: the runtime can't be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(cli));
    // A blocking call that hangs must not keep a program that is done.
    runtime.shutdown_background();
    match ended {
        Ok(status) => status,
        Err(error) => {
            output::last_words(output, &error);
            node::exit_status(&error)
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Up(args) => up::up(args, &global).await,
        Verb::Serve(args) => serve::serve(args).await,
        Verb::Node(command) => return node::node(*command, &global).await,
        Verb::Doctor(args) => doctor::doctor(args, &global).await,
        Verb::RunLocal(args) => local::run_local(args, &global).await,
        Verb::Demo(args) => demo::demo(args).await,
        Verb::Module { verb } => verbs::module::run(verb, &global).await,
        Verb::Task { verb } => verbs::task::run(verb, &global).await,
        Verb::Receipt(args) => verbs::receipt::receipt(args, &global).await,
        Verb::Account { verb } => verbs::account::run(verb, &global).await,
        Verb::Points { verb } => verbs::points::run(verb, &global).await,
        Verb::Content { verb } => verbs::content::run(verb, &global).await,
        Verb::Admin { verb } => verbs::admin::run(verb, &global).await,
        Verb::Market { market } => verbs::admin::market(market, &global).await,
        Verb::Policy { verb } => verbs::policy::run(verb, &global).await,
        Verb::Projections { verb } => verbs::projections::run(verb, &global).await,
        Verb::Log { verb } => verbs::log::run(verb, &global).await,
        Verb::Audit(args) => audit::audit(args, &global).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

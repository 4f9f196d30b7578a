//! Ending in order: on signals, and, for child processes of `aevir`, when their parent is gone.

use std::io::Read as _;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGINT, SIGTERM or, with `stdin`, by the end of standard input. A second signal ends
/// the process at once.
pub(crate) fn shutdown(stdin: bool) -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            tracing::error!("signals can't be listened for");
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = end_of_input(), if stdin => {}
        }
        cancelled.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // As the shell reports a program that was interrupted.
        std::process::exit(130);
    });
    token
}

/// Waits for the end of standard input, whose other end the parent holds for as long as it lives.
async fn end_of_input() {
    let (ended, end) = oneshot::channel();
    // A read of standard input can't be cancelled: it has a thread of its own, which ends with the process.
    std::thread::spawn(move || {
        let mut scrap = [0; 64];
        while std::io::stdin().read(&mut scrap).is_ok_and(|read| read > 0) {}
        // Nobody waits any more when a signal came first.
        let _ = ended.send(());
    });
    let _ = end.await;
}

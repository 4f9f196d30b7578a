//! From a log's table into a replay: pages are fetched ahead while earlier ones are read and folded.

use tokio::sync::mpsc;

use super::{Found, Replay, ReplayError, Stopped, workers};
use crate::{
    log::{Head, Log, LogError, StoredEntry},
    machine::Machine,
    tail::Flaw,
};

/// Entries read from the log at once: large enough to hide the round trip, at most 67 MB.
const PAGE: usize = 1_024;
/// Pages fetched and not yet taken by a worker.
const PAGES_AHEAD: usize = 2;

/// Brings a replay up to `head`, and compares the root.
pub(crate) async fn load<M: Machine>(
    log: &dyn Log,
    replay: Replay<M>,
    head: Head,
) -> Result<Replay<M>, ReplayError> {
    let short = head.size.saturating_sub(replay.size()) <= PAGE as u64;
    let replay = if short {
        load_here(log, replay, head).await?
    } else {
        load_on_all_cores(log, replay, head).await?
    };
    if replay.size() < head.size {
        return Err(replay.tail.damage(Flaw::Missing).into());
    }
    let computed = replay.root();
    if computed != head.root {
        let flaw = Flaw::Root {
            computed,
            head: head.root,
        };
        return Err(replay.tail.damage(flaw).into());
    }
    Ok(replay)
}

async fn load_here<M: Machine>(
    log: &dyn Log,
    mut replay: Replay<M>,
    head: Head,
) -> Result<Replay<M>, ReplayError> {
    while let Some(page) = page(log, replay.size(), head).await? {
        replay.run_here(found(page))?;
    }
    Ok(replay)
}

async fn load_on_all_cores<M: Machine>(
    log: &dyn Log,
    mut replay: Replay<M>,
    head: Head,
) -> Result<Replay<M>, ReplayError> {
    let (pages, mut queue) = mpsc::channel(PAGES_AHEAD);
    let mut next = replay.size();
    let folding = tokio::task::spawn_blocking(move || {
        let source = std::iter::from_fn(|| queue.blocking_recv());
        let stopped = replay.run(workers(), source, &(), &mut ());
        stopped.map(|()| replay)
    });
    loop {
        let page = page(log, next, head).await;
        let last = !matches!(page, Ok(Some(_)));
        let Some(page) = page.transpose() else {
            break;
        };
        next += page.as_ref().map_or(0, |page| page.len() as u64);
        // Nobody takes it where the fold has stopped already.
        if pages.send(page.map(found)).await.is_err() || last {
            break;
        }
    }
    drop(pages);
    match folding.await {
        Ok(Ok(replay)) => Ok(replay),
        Ok(Err(Stopped::Damage(damage))) => Err(damage.into()),
        Ok(Err(Stopped::Source(error))) => Err(ReplayError::Log(error)),
        // Panics of the machine are caught; this one is the pipeline's own, or the runtime is going away.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// The rows from `next` on; none at the head, or where rows are missing.
async fn page(log: &dyn Log, next: u64, head: Head) -> Result<Option<Vec<StoredEntry>>, LogError> {
    let left = usize::try_from(head.size.saturating_sub(next)).unwrap_or(PAGE);
    if left == 0 {
        return Ok(None);
    }
    let page = log.read(next, left.min(PAGE)).await?;
    Ok((!page.is_empty()).then_some(page))
}

fn found(page: Vec<StoredEntry>) -> Vec<Found> {
    page.into_iter().map(Found::from).collect()
}

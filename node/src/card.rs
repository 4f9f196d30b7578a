//! Whether the GPU that the node registered is still there.
//!
//! Tasks are placed, priced and compared by the class of a node's GPU. Where it is gone (a card that was reset, a driver that was replaced, a
//! software adapter that stands in for a card that hangs), runs fail as the host's, and so would all that come: the agent ends, and
//! the next start registers what there is.

use aevir_gpu::GpuLimits;
use aevir_sandbox::{End, Outcome};

use crate::agent::Shared;

/// The class of the GPU that the node registered.
pub(crate) fn class(shared: &Shared) -> Option<&str> {
    shared.profile.gpu.as_ref().map(|gpu| gpu.class.as_str())
}

/// Looks after a run with a GPU that the host failed; ends the agent where another GPU answers, or none.
pub(crate) async fn look(shared: &Shared, outcome: &Outcome) {
    let (End::HostError { .. }, Some(registered)) = (&outcome.end, class(shared)) else {
        return;
    };
    let found = match shared.executor.probe_gpu(&GpuLimits::default()).await {
        Ok(adapter) if adapter.class == registered => return,
        Ok(adapter) => format!("`{}` is there instead", adapter.class),
        Err(error) => error.to_string(),
    };
    tracing::error!(
        registered,
        found,
        "the node's GPU is gone; no more work is taken"
    );
    // Several runs may see it.
    let _ = shared
        .card_gone
        .set(format!("`{registered}` was registered, and {found}"));
    shared.shutdown.cancel();
}

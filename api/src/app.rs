//! What every handler has at hand.

use std::sync::Arc;

use aevir_events::{Handle, Timestamp, projection::Projections};
use aevir_platform::Platform;
use tokio_util::sync::CancellationToken;

use crate::{
    inspect::ModuleInspector, judging::Judging, live::Live, objects::ObjectStore,
    schema::TaskSchema, server::Limits, state_hash::StateHash, tlog::Published,
};

/// The application, shared by all requests.
#[derive(Clone)]
pub(crate) struct App(Arc<Parts>);

/// The parts of an [`App`].
pub(crate) struct Parts {
    pub(crate) log: Handle<Platform>,
    /// What lists are served from.
    pub(crate) views: Projections,
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) published: Published,
    pub(crate) state_hash: StateHash,
    pub(crate) inspector: Arc<dyn ModuleInspector>,
    /// Of uploads of modules.
    pub(crate) judging: Judging,
    pub(crate) live: Live,
    pub(crate) limits: Limits,
    pub(crate) task_schema: TaskSchema,
    /// Cancelled when the server stops: long polls and streams end then.
    pub(crate) stopping: CancellationToken,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl std::ops::Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The time now by this machine's clock: for answers and reminders, never for decisions.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    Timestamp(i64::try_from(millis).unwrap_or(i64::MAX))
}

//! Publishes the log: follows it, extends the published tree, signs.
//!
//! A new checkpoint is consistent with the one before by construction: the tree is extended from the published tiles,
//! and what comes out must be the root that the log's head has. Nothing is written, let alone signed, before that is
//! known. Order of a publication: check, bundles and tiles, signature, record in the database, checkpoint. A crash
//! anywhere leaves what the next publication completes: tiles that no checkpoint names yet are written again with the
//! same content, and a recorded checkpoint is published before a newer one is signed.

mod error;
mod run;
mod step;

use std::sync::Arc;

pub use self::{
    error::PublishError,
    run::{PublishNowError, PublisherHandle, PublisherState, PublisherStatus},
};
use super::{
    builder::TileBuilder, checkpoint::Checkpoint, key::LogKey, reader::TileReader,
    store::TileStore, table::CheckpointTable,
};
use crate::{envelope::Timestamp, log::Log};

/// What a publisher works on.
#[derive(Clone)]
pub struct PublisherConfig {
    pub log: Arc<dyn Log>,
    /// In the same database as the log.
    pub checkpoints: Arc<dyn CheckpointTable>,
    pub store: Arc<dyn TileStore>,
    pub key: Arc<LogKey>,
    /// Only for the record: nothing depends on it.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl std::fmt::Debug for PublisherConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublisherConfig")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Publishes a log. One a process; that several processes do it is safe, and only the leader's gets anywhere.
#[derive(Debug)]
pub struct Publisher {
    config: PublisherConfig,
    reader: Arc<TileReader>,
    /// The store's checkpoint with its right edge, as this publisher last knew them.
    edge: Option<(Checkpoint, TileBuilder)>,
    /// Looks at the head since the last one at the store.
    looks: u32,
}

impl Publisher {
    /// Checks that log and published log fit together, and writes nothing. Long where much of the log is not
    /// published yet: its entries are read.
    ///
    /// # Errors
    /// [`PublishError`]; a final one must keep the server from starting.
    pub async fn open(config: PublisherConfig) -> Result<Self, PublishError> {
        let mut publisher = Self {
            reader: Arc::new(TileReader::new(Arc::clone(&config.store) as _)),
            config,
            edge: None,
            looks: 0,
        };
        publisher.check().await?;
        Ok(publisher)
    }

    /// Reads what is published.
    pub fn reader(&self) -> Arc<TileReader> {
        Arc::clone(&self.reader)
    }
}

//! The database's record of signed checkpoints: written before a checkpoint is published.
//!
//! It orders the publishers of several replicas, and remembers what was signed when a crash comes between.

use async_trait::async_trait;
use ulid::Ulid;

use crate::{envelope::Timestamp, log::LogError, merkle::Hash};

/// Checkpoints that are remembered; older ones say nothing that the newest does not prove. At one a second, the last
/// quarter of an hour of a busy log.
pub(crate) const CHECKPOINTS_KEPT: i64 = 1_024;

/// One signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    pub size: u64,
    pub root: Hash,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub time: Timestamp,
}

/// Beside the log, in the same database.
#[async_trait]
pub trait CheckpointTable: Send + Sync + 'static {
    /// The largest checkpoint that was ever recorded.
    async fn latest_checkpoint(&self) -> Result<Option<CheckpointRow>, LogError>;

    /// Records a checkpoint, durably, if it is larger than every one before, not beyond the log's head, and `leader`
    /// leads the log. Answers whether it did.
    async fn record_checkpoint(&self, leader: Ulid, row: &CheckpointRow) -> Result<bool, LogError>;
}

//! Why nothing is published. What is final says what the operator must do.

use super::super::{checkpoint::CheckpointError, reader::ReadError, store::TileStoreError};
use crate::log::LogError;

/// Why a publisher did not publish.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    #[error(
        "the log is published as another log: {source}; start with the key file it was published with (`log.key`), \
         or publish at a new place"
    )]
    OtherKey {
        #[source]
        source: CheckpointError,
    },
    #[error(
        "the log has {log} entries, but {published} were published and signed: the database is an old backup or \
         another log's; restore the newest state of the database, or set up a new log with a new key and a new place \
         to publish at (clients that know the old one will rightly refuse a shorter log)"
    )]
    Shrunken { published: u64, log: u64 },
    #[error(
        "the log's entries do not continue what was published: with {size} entries the root is {found}, not \
         {expected}; the database was rewritten, is an old backup that went on, or another log's: restore the right \
         one, or set up a new log with a new key and a new place to publish at"
    )]
    Forked {
        size: u64,
        expected: crate::Hash,
        found: crate::Hash,
    },
    #[error(
        "the published log is damaged: {0}; restore its files from a backup, or move all of them away: they are then \
         written anew from the database, checked against the newest recorded checkpoint"
    )]
    Damaged(String),
    #[error("the log is damaged at position {position}: {reason}")]
    Log { position: u64, reason: String },
    #[error("another server leads the log now")]
    Deposed,
    #[error("other servers publish the same log, and were quicker each time")]
    Overtaken,
    #[error("the log can't be read")]
    LogUnavailable(#[source] LogError),
    #[error("the published log can't be reached")]
    StoreUnavailable(#[source] TileStoreError),
}

impl PublishError {
    /// Whether trying again is of no use, and nothing must be signed any more.
    pub fn is_final(&self) -> bool {
        match self {
            Self::OtherKey { .. }
            | Self::Shrunken { .. }
            | Self::Forked { .. }
            | Self::Damaged(_)
            | Self::Log { .. }
            | Self::Deposed => true,
            Self::Overtaken | Self::LogUnavailable(_) | Self::StoreUnavailable(_) => false,
        }
    }
}

impl From<LogError> for PublishError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Corrupt { position, reason } => Self::Log { position, reason },
            error @ (LogError::Fenced
            | LogError::Unknown(_)
            | LogError::Unavailable(_)
            | LogError::Migration(_)) => Self::LogUnavailable(error),
        }
    }
}

impl From<TileStoreError> for PublishError {
    fn from(error: TileStoreError) -> Self {
        match error {
            TileStoreError::Conflict { .. } => Self::Damaged(error.to_string()),
            TileStoreError::Failed { .. } => Self::StoreUnavailable(error),
        }
    }
}

impl From<ReadError> for PublishError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            error @ (ReadError::Beyond { .. }
            | ReadError::Missing { .. }
            | ReadError::Damaged { .. }) => Self::Damaged(error.to_string()),
        }
    }
}

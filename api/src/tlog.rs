//! The published log as handlers see it.

use std::sync::Arc;

use aevir_events::tlog::{
    Checkpoint, PublishNowError, PublisherHandle, PublisherState, ReadError, TilePath, TileSource,
    TileStoreError,
};
use aevir_wire as wire;

use crate::error::{ApiError, Code};

/// What is published, and who publishes it.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) publisher: PublisherHandle,
    pub(crate) tiles: Arc<dyn TileSource>,
    /// Everybody may read the entries.
    pub(crate) public: bool,
}

impl Published {
    /// A checkpoint over at least `min_size` entries of a log of `size`.
    pub(crate) async fn covering(&self, min_size: u64, size: u64) -> Result<Checkpoint, ApiError> {
        if min_size > size {
            let detail = format!("the log has {size} entries, not {min_size}");
            return Err(ApiError::new(Code::NotInLog, detail));
        }
        Ok(self.publisher.publish_now(min_size).await?)
    }

    /// How far the log is published, where it matters for this tile. The store shows a checkpoint before its publisher says so, and another
    /// server's publisher says nothing here: whoever has read it gets the tiles that it names.
    pub(crate) async fn size_for(&self, path: TilePath) -> Result<u64, TileStoreError> {
        let latest = self.publisher.status().latest;
        let said = latest.map_or(0, |checkpoint| checkpoint.size);
        if path.is_within(said) {
            return Ok(said);
        }
        let note = self.tiles.checkpoint().await?;
        let shown = note.and_then(|note| Checkpoint::open(&note, self.publisher.key()).ok());
        Ok(shown.map_or(said, |checkpoint| checkpoint.size))
    }

    /// How publishing goes.
    pub(crate) fn publishing(&self) -> wire::Publishing {
        let status = self.publisher.status();
        let (state, detail) = match status.state {
            PublisherState::Publishing => ("publishing", None),
            PublisherState::Failing(reason) => ("failing", Some(reason)),
            PublisherState::Refused(reason) => ("refused", Some(reason)),
            PublisherState::Ended => ("ended", None),
        };
        wire::Publishing {
            state: state.to_owned(),
            size: status.latest.map(|latest| latest.size.to_string()),
            detail,
        }
    }
}

impl From<PublishNowError> for ApiError {
    fn from(error: PublishNowError) -> Self {
        // The reason is the operator's to know, who finds it in the log's head.
        match error {
            PublishNowError::Refused(_) | PublishNowError::Late(_) => Self::new(
                Code::NotPublished,
                "the log is not published so far: try again, or ask the operator to look at `aevir log head`",
            ),
            PublishNowError::Ended => Self::new(Code::ShuttingDown, error.to_string()),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Beyond { .. } => Self::new(Code::NotInLog, error.to_string()),
            ReadError::Store(error) => error.into(),
            ReadError::Missing { .. } | ReadError::Damaged { .. } => {
                Self::internal("the published log is damaged", &error)
            }
        }
    }
}

impl From<TileStoreError> for ApiError {
    fn from(error: TileStoreError) -> Self {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the published log can't be read"
        );
        Self::new(
            Code::ObjectsUnavailable,
            "the published log does not answer: try again",
        )
    }
}

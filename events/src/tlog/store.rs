//! Where the published log is kept.

use std::sync::Arc;

use async_trait::async_trait;

use super::path::TilePath;

/// A published log that can be read: files, a bucket, or a server's `/log/`.
#[async_trait]
pub trait TileSource: Send + Sync + 'static {
    /// The newest checkpoint's note; `None` where nothing was ever published.
    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, TileStoreError>;

    /// A tile's bytes; `None` where there is no such tile.
    async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, TileStoreError>;
}

/// A place to publish a log at. What is read back is whole or not there, at every moment and after every crash.
#[async_trait]
pub trait TileStore: TileSource {
    /// Stores a tile, durably. The same bytes again are fine.
    ///
    /// # Errors
    /// [`TileStoreError::Conflict`] where the tile is there with other bytes: tiles never change.
    async fn put_tile(&self, path: TilePath, bytes: Vec<u8>) -> Result<(), TileStoreError>;

    /// Replaces the checkpoint, durably. Everything that it names was stored before.
    async fn put_checkpoint(&self, note: &str) -> Result<(), TileStoreError>;

    /// Removes the partial tiles at the place of a full one; fine where there are none.
    async fn remove_partials(&self, of: TilePath) -> Result<(), TileStoreError>;
}

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TileStoreError {
    #[error("`{path}` is there with other content")]
    Conflict { path: String },
    #[error("the store of the published log failed at `{at}`")]
    Failed {
        at: String,
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl TileStoreError {
    /// A failure of what is below.
    pub fn failed(
        at: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            at: at.into(),
            source: Arc::from(source.into()),
        }
    }
}

//! Where blobs are kept: named by their SHA-256, written once, never changed. Beside it, where the published log is.
//!
//! An object is visible only when it is whole and its bytes have the digest that names it. Knows nothing of who
//! may read it.

mod file;
mod file_tiles;
mod s3_store;
mod s3_tiles;

use std::ops::Range;

use aevir_platform::digest::Digest;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use file::FileStore;
pub use file_tiles::FileTiles;
pub use s3_store::{S3Config, S3Store};
pub use s3_tiles::S3Tiles;

/// Bytes on their way in or out.
pub type ByteStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A store of digest-named objects.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Stores the bytes under their digest, durably, and answers their size. Storing what is there already is
    /// fine; the bytes are checked all the same.
    ///
    /// # Errors
    /// See [`PutError`]; nothing is visible then that was not before.
    async fn put(&self, digest: Digest, size_max: u64, bytes: ByteStream) -> Result<u64, PutError>;

    /// The object's size in bytes, or `None` where there is no such object.
    async fn size(&self, digest: Digest) -> Result<Option<u64>, StoreError>;

    /// The bytes of a range that lies within the object, or of all of it. `None` where there is no such object.
    async fn get(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError>;

    /// Removes the object; fine where there is none.
    async fn delete(&self, digest: Digest) -> Result<(), StoreError>;
}

/// An object that is being read.
pub struct Object {
    /// Of the whole object, in bytes.
    pub size: u64,
    pub bytes: ByteStream,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Why an object was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("the bytes have the digest {found}")]
    Digest { found: Digest },
    #[error("there are more than {size_max} bytes")]
    TooLarge { size_max: u64 },
    /// The stream that was to be stored broke.
    #[error("the bytes ended early")]
    Source(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store itself failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the file store failed at {at}")]
    File {
        at: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the S3 store failed at {at}")]
    S3 {
        at: &'static str,
        #[source]
        source: s3::error::S3Error,
    },
}

/// The bytes of one small object as a stream.
pub fn once(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    Box::pin(futures::stream::once(async move { Ok(bytes) }))
}

/// Reads a small object whole.
///
/// # Errors
/// When the store fails, or the object is larger than `size_max`.
pub async fn read_all(
    store: &dyn ObjectStore,
    digest: Digest,
    size_max: u64,
) -> Result<Option<Bytes>, StoreError> {
    use futures::TryStreamExt as _;
    let Some(object) = store.get(digest, None).await? else {
        return Ok(None);
    };
    let failed = |source| StoreError::File {
        at: digest.to_string(),
        source,
    };
    if object.size > size_max {
        return Err(failed(std::io::Error::other(format!(
            "it has {} bytes, and at most {size_max} were expected",
            object.size
        ))));
    }
    let read = object
        .bytes
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        });
    Ok(Some(read.await.map_err(failed)?.into()))
}

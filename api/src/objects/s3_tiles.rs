//! The published log in an S3 bucket: `<prefix>log/` and the paths that it has on the web.

use aevir_events::tlog::{TilePath, TileSource, TileStore, TileStoreError};
use async_trait::async_trait;
use s3::{Bucket, error::S3Error};

use super::{
    StoreError,
    s3_store::{S3Config, is_missing, open_bucket},
};

const TILE_TYPE: &str = "application/octet-stream";
const CHECKPOINT_TYPE: &str = "text/plain; charset=utf-8";

/// A published log in an S3 bucket.
#[derive(Debug, Clone)]
pub struct S3Tiles {
    bucket: Bucket,
    prefix: String,
}

impl S3Tiles {
    /// A published log in an existing bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// When region, endpoint or credentials make no sense.
    pub fn new(config: &S3Config) -> Result<Self, StoreError> {
        Ok(Self {
            bucket: open_bucket(config)?,
            prefix: format!("{}log/", config.prefix),
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, TileStoreError> {
        match self.bucket.get_object(self.key(name)).await {
            Ok(object) => Ok(Some(object.into_bytes().into())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed(name)(e)),
        }
    }

    async fn write(&self, name: &str, bytes: &[u8], kind: &str) -> Result<(), TileStoreError> {
        let key = self.key(name);
        let put = self.bucket.put_object_with_content_type(&key, bytes, kind);
        put.await.map(drop).map_err(failed(name))
    }
}

#[async_trait]
impl TileSource for S3Tiles {
    async fn checkpoint(&self) -> Result<Option<Vec<u8>>, TileStoreError> {
        self.read("checkpoint").await
    }

    async fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, TileStoreError> {
        self.read(&path.to_string()).await
    }
}

#[async_trait]
impl TileStore for S3Tiles {
    /// Looks before it writes. Two writers of one log write the same bytes, so that nothing is lost between.
    async fn put_tile(&self, path: TilePath, bytes: Vec<u8>) -> Result<(), TileStoreError> {
        let name = path.to_string();
        match self.read(&name).await? {
            None => self.write(&name, &bytes, TILE_TYPE).await,
            Some(there) if there == bytes => Ok(()),
            Some(_) => Err(TileStoreError::Conflict { path: name }),
        }
    }

    async fn put_checkpoint(&self, note: &str) -> Result<(), TileStoreError> {
        self.write("checkpoint", note.as_bytes(), CHECKPOINT_TYPE)
            .await
    }

    async fn remove_partials(&self, of: TilePath) -> Result<(), TileStoreError> {
        let folder = format!("{}/", of.partials());
        let pages = self.bucket.list(self.key(&folder), None).await;
        for object in pages
            .map_err(failed(&folder))?
            .into_iter()
            .flat_map(|p| p.contents)
        {
            match self.bucket.delete_object(&object.key).await {
                Err(e) if !is_missing(&e) => return Err(failed(&object.key)(e)),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }
}

fn failed(at: &str) -> impl Fn(S3Error) -> TileStoreError {
    move |source| TileStoreError::failed(at, source)
}

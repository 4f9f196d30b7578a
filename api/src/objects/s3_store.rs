//! Objects in an S3 bucket: `<prefix><first two hex digits>/<digest>`.
//!
//! An object larger than one part goes up as a multipart upload that is completed only once the digest is right,
//! so that S3's own rule makes it visible whole or not at all. Reads go by ranges of one part each: the library's
//! time limit is per request, and a long download would outlive it.

use std::ops::Range;

use aevir_platform::digest::Digest;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use s3::{Bucket, Region, creds::Credentials, error::S3Error, serde_types::Part};
use sha2::{Digest as _, Sha256};

use super::{ByteStream, Object, ObjectStore, PutError, StoreError};

/// One part of an upload, and one range of a download. S3 takes 10,000 parts of at least 5 MiB.
const PART_BYTES: usize = 16 * 1024 * 1024;
const CONTENT_TYPE: &str = "application/octet-stream";

/// Which bucket, and how to get in.
#[derive(Clone)]
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    /// Such as `http://127.0.0.1:9000`; AWS itself when absent.
    pub endpoint: Option<String>,
    pub access_key: String,
    pub secret_key: String,
    /// In front of every object's name; may be empty.
    pub prefix: String,
}

impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Objects in an S3 bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    bucket: Bucket,
    prefix: String,
}

impl S3Store {
    /// A store in an existing bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// When region, endpoint or credentials make no sense.
    pub fn new(config: &S3Config) -> Result<Self, StoreError> {
        Ok(Self {
            bucket: open_bucket(config)?,
            prefix: config.prefix.clone(),
        })
    }

    fn key(&self, digest: Digest) -> String {
        let name = digest.to_string();
        format!("{}{}/{name}", self.prefix, &name[..2])
    }

    /// Uploads what does not fit one part; `first` are the bytes read so far.
    async fn put_parts(&self, key: &str, first: BytesMut, source: Source) -> Result<u64, PutError> {
        let begun = self.bucket.initiate_multipart_upload(key, CONTENT_TYPE);
        let upload = begun.await.map_err(failed("starting an upload"))?.upload_id;
        let sent = self.send_parts(key, &upload, first, source).await;
        if sent.is_err() {
            // The failure that matters is the first one; S3 expires what is left by the bucket's rule.
            if let Err(error) = self.bucket.abort_upload(key, &upload).await {
                tracing::warn!(
                    key,
                    error = &error as &dyn std::error::Error,
                    "an upload could not be aborted"
                );
            }
        }
        sent
    }

    async fn send_parts(
        &self,
        key: &str,
        upload: &str,
        first: BytesMut,
        mut source: Source,
    ) -> Result<u64, PutError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut part = first;
        loop {
            let number = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
            let sent =
                self.bucket
                    .put_multipart_chunk(part.to_vec(), key, number, upload, CONTENT_TYPE);
            parts.push(sent.await.map_err(failed("uploading a part"))?);
            part = source.part().await?;
            if part.is_empty() {
                break;
            }
        }
        let size = source.finish()?;
        let completed = self.bucket.complete_multipart_upload(key, upload, parts);
        completed.await.map_err(failed("completing an upload"))?;
        Ok(size)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn put(&self, digest: Digest, size_max: u64, bytes: ByteStream) -> Result<u64, PutError> {
        let key = self.key(digest);
        let mut source = Source {
            bytes,
            rest: Bytes::new(),
            hash: Sha256::new(),
            size: 0,
            size_max,
            digest,
        };
        let first = source.part().await?;
        if first.len() == PART_BYTES {
            return self.put_parts(&key, first, source).await;
        }
        let size = source.finish()?;
        let stored = self.bucket.put_object(&key, &first).await;
        stored.map_err(failed("uploading an object"))?;
        Ok(size)
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        match self.bucket.head_object(self.key(digest)).await {
            Ok((head, _)) => Ok(head.content_length.and_then(|n| u64::try_from(n).ok())),
            Err(e) if is_missing(&e) => Ok(None),
            Err(e) => Err(failed("looking up an object")(e)),
        }
    }

    async fn get(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>, StoreError> {
        let Some(size) = self.size(digest).await? else {
            return Ok(None);
        };
        let range = range.unwrap_or(0..size);
        let (bucket, key) = (self.bucket.clone(), self.key(digest));
        let starts = range.clone().step_by(PART_BYTES);
        let parts = stream::iter(starts).then(move |start| {
            let (bucket, key) = (bucket.clone(), key.clone());
            let last = range.end.min(start + PART_BYTES as u64) - 1;
            async move {
                let read = bucket.get_object_range(&key, start, Some(last)).await;
                let read = read.map_err(std::io::Error::other)?;
                Ok(read.into_bytes())
            }
        });
        Ok(Some(Object {
            size,
            bytes: parts.boxed(),
        }))
    }

    async fn delete(&self, digest: Digest) -> Result<(), StoreError> {
        match self.bucket.delete_object(self.key(digest)).await {
            Err(e) if !is_missing(&e) => Err(failed("deleting an object")(e)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// The bytes of an upload, cut into parts and hashed on the way.
struct Source {
    bytes: ByteStream,
    /// Of a chunk that crossed the end of the last part.
    rest: Bytes,
    hash: Sha256,
    size: u64,
    size_max: u64,
    digest: Digest,
}

impl Source {
    /// The next part: full, or the last one, or empty at the end.
    async fn part(&mut self) -> Result<BytesMut, PutError> {
        let mut part = BytesMut::new();
        while part.len() < PART_BYTES {
            if self.rest.is_empty() {
                match self.bytes.try_next().await.map_err(PutError::Source)? {
                    Some(chunk) => self.rest = chunk,
                    None => break,
                }
            }
            let take = self.rest.len().min(PART_BYTES - part.len());
            part.extend_from_slice(&self.rest.split_to(take));
        }
        self.hash.update(&part);
        self.size += part.len() as u64;
        if self.size > self.size_max {
            return Err(PutError::TooLarge {
                size_max: self.size_max,
            });
        }
        Ok(part)
    }

    /// Checks the digest and answers the size.
    fn finish(self) -> Result<u64, PutError> {
        let found = Digest(self.hash.finalize().into());
        if found == self.digest {
            Ok(self.size)
        } else {
            Err(PutError::Digest { found })
        }
    }
}

/// # Errors
/// When region, endpoint or credentials make no sense.
pub(super) fn open_bucket(config: &S3Config) -> Result<Bucket, StoreError> {
    let at = "configuration";
    let credentials = Credentials::new(
        Some(&config.access_key),
        Some(&config.secret_key),
        None,
        None,
        None,
    );
    let credentials = credentials.map_err(|e| failed(at)(e.into()))?;
    let region = match &config.endpoint {
        Some(endpoint) => Region::Custom {
            region: config.region.clone(),
            endpoint: endpoint.clone(),
        },
        None => config
            .region
            .parse()
            .map_err(|e: std::str::Utf8Error| failed(at)(e.into()))?,
    };
    let bucket = Bucket::new(&config.bucket, region, credentials).map_err(failed(at))?;
    let bucket = if config.endpoint.is_some() {
        bucket.with_path_style()
    } else {
        bucket
    };
    Ok(*bucket)
}

pub(super) fn is_missing(error: &S3Error) -> bool {
    matches!(error, S3Error::HttpFailWithBody(404, _))
}

fn failed(at: &'static str) -> impl Fn(S3Error) -> StoreError {
    move |source| StoreError::S3 { at, source }
}

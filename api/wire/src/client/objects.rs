//! Blobs, modules and contents; uploads from memory or a file, downloads to a file.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{
    Client, ClientError,
    call::{Body, Call},
};
use crate::{
    contents::{BlobRef, Content, ContentPage, ContentTerms, Module, ModuleList, RegisterContent},
    report,
};

/// Bytes read at once while hashing a file.
const HASH_CHUNK_BYTES: usize = 1 << 20;

impl Client {
    /// Uploads bytes as a blob.
    pub async fn put_blob(&self, bytes: impl Into<Bytes>) -> Result<BlobRef, ClientError> {
        let bytes = bytes.into();
        let path = format!("/v1/blobs/{}", report::digest(&bytes));
        self.fetch(Call::put(path).body(Body::Bytes(bytes))).await
    }

    /// Uploads a file as a blob, streaming it twice from disk: once to learn its digest, once to send it.
    pub async fn put_blob_file(&self, file: &Path) -> Result<BlobRef, ClientError> {
        let digest = hash_file(file).await?;
        let call = Call::put(format!("/v1/blobs/{digest}"));
        self.fetch(call.body(Body::File(file.to_owned()))).await
    }

    /// A blob of the caller as bytes; for small ones.
    pub async fn blob(&self, digest: &str) -> Result<Bytes, ClientError> {
        let bytes = self.get_bytes(format!("/v1/blobs/{digest}")).await?;
        expect_digest(digest, report::digest(&bytes))?;
        Ok(bytes)
    }

    /// Downloads a blob of the caller into a file, checking its digest.
    pub async fn download_blob(&self, digest: &str, to: &Path) -> Result<u64, ClientError> {
        self.download(format!("/v1/blobs/{digest}"), digest, to)
            .await
    }

    /// Pushes a WebAssembly component. Pushing the same one again answers what is there.
    pub async fn push_module(
        &self,
        name: &str,
        wasm: impl Into<Bytes>,
    ) -> Result<Module, ClientError> {
        let call = Call::post("/v1/modules").query("name", Some(name));
        let call = call.repeatable().patient();
        self.fetch(call.body(Body::Bytes(wasm.into()))).await
    }

    /// `after` is the last page's `next`.
    pub async fn modules(&self, after: Option<&str>) -> Result<ModuleList, ClientError> {
        self.fetch(Call::list("/v1/modules").query("after", after))
            .await
    }

    pub async fn module(&self, digest: &str) -> Result<Module, ClientError> {
        self.fetch(Call::get(format!("/v1/modules/{digest}"))).await
    }

    pub async fn register_content(
        &self,
        request: &RegisterContent,
    ) -> Result<Content, ClientError> {
        self.fetch(Call::post("/v1/contents").keyed(None).json(request)?)
            .await
    }

    /// The catalogue; `None` matches everything.
    pub async fn contents(
        &self,
        kind: Option<&str>,
        name: Option<&str>,
        version: Option<&str>,
        after: Option<&str>,
    ) -> Result<ContentPage, ClientError> {
        let call = Call::list("/v1/contents")
            .query("kind", kind)
            .query("name", name)
            .query("version", version)
            .query("after", after);
        self.fetch(call).await
    }

    pub async fn content(&self, id: &str) -> Result<Content, ClientError> {
        self.fetch(Call::get(format!("/v1/contents/{id}"))).await
    }

    /// Sets what later tasks pay for it, and who submits them.
    pub async fn change_content_terms(
        &self,
        id: &str,
        terms: &ContentTerms,
    ) -> Result<Content, ClientError> {
        let call = Call::put(format!("/v1/contents/{id}/terms")).keyed(None);
        self.fetch(call.json(terms)?).await
    }

    pub(super) async fn get_bytes(&self, path: String) -> Result<Bytes, ClientError> {
        let response = self.send(&Call::get(path)).await?;
        response.bytes().await.map_err(ClientError::Transport)
    }

    /// Downloads into a temporary file beside `to`, and renames it once the digest is right. Answers the size in
    /// bytes. A transfer that broke is tried once more from the start.
    pub(super) async fn download(
        &self,
        path: String,
        digest: &str,
        to: &Path,
    ) -> Result<u64, ClientError> {
        match self.download_once(&path, digest, to).await {
            Err(e) if e.is_transient() => self.download_once(&path, digest, to).await,
            done => done,
        }
    }

    async fn download_once(&self, path: &str, digest: &str, to: &Path) -> Result<u64, ClientError> {
        let failed = |e| ClientError::file(to, e);
        let response = self.send(&Call::get(path)).await?;
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        // The temporary file is removed when this future is dropped or fails.
        let temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        let handle = temporary.as_file().try_clone().map_err(failed)?;
        let mut file = tokio::fs::File::from_std(handle);
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(ClientError::Transport)?;
            hash.update(&chunk);
            size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        expect_digest(digest, hex::encode(hash.finalize()))?;
        temporary.persist(to).map_err(|e| failed(e.error))?;
        Ok(size)
    }
}

fn expect_digest(expected: &str, found: String) -> Result<(), ClientError> {
    if expected == found {
        return Ok(());
    }
    Err(ClientError::Digest {
        expected: expected.to_owned(),
        found,
    })
}

async fn hash_file(file: &Path) -> Result<String, ClientError> {
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut file = std::fs::File::open(&path)?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; HASH_CHUNK_BYTES]);
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hex::encode(hash.finalize())),
                read => hash.update(&chunk[..read]),
            }
        }
    });
    let hashed = hashed.await.map_err(std::io::Error::other).flatten();
    hashed.map_err(|e| ClientError::file(file, e))
}

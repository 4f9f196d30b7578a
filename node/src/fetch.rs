//! Getting what a run reads, through the cache.

use std::path::{Path, PathBuf};

use aevir_wire::{Artifact, BlobRef, Client, ClientError, Lease};

use crate::{
    agent::Shared,
    cache::{CacheError, Pinned},
    retry::{Backoff, full},
};

/// What a run reads, kept in place for as long as this lives.
#[derive(Debug)]
pub(crate) struct Materials {
    pub(crate) module: Pinned,
    /// In the order of the lease's inputs.
    pub(crate) inputs: Vec<Pinned>,
    pub(crate) checkpoint: Option<Pinned>,
}

/// Why it can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the lease has the size `{0}`, which is no number")]
    Size(String),
    #[error("{what} can't be fetched")]
    Blob {
        what: String,
        #[source]
        source: CacheError,
    },
}

/// What is fetched.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Module(&'a BlobRef),
    Input(&'a Artifact),
    Checkpoint(&'a BlobRef),
}

impl Part<'_> {
    fn digest(&self) -> &str {
        match self {
            Self::Module(blob) | Self::Checkpoint(blob) => &blob.digest,
            Self::Input(input) => &input.digest,
        }
    }

    fn size(&self) -> Result<u64, FetchError> {
        let size = match self {
            Self::Module(blob) | Self::Checkpoint(blob) => &blob.size,
            Self::Input(input) => &input.size,
        };
        size.parse().map_err(|_| FetchError::Size(size.clone()))
    }

    fn name(&self) -> String {
        match self {
            Self::Module(_) => "the module".into(),
            Self::Input(input) => format!("the input `{}`", input.name),
            Self::Checkpoint(_) => "the checkpoint".into(),
        }
    }

    async fn download(
        &self,
        client: &Client,
        assignment: &str,
        to: &Path,
    ) -> Result<u64, ClientError> {
        match self {
            Self::Module(blob) => client.download_module(assignment, blob, to).await,
            Self::Input(input) => client.download_input(assignment, input, to).await,
            Self::Checkpoint(blob) => client.download_checkpoint(assignment, blob, to).await,
        }
    }
}

/// Fetches everything that a lease names.
pub(crate) async fn fetch(shared: &Shared, lease: &Lease) -> Result<Materials, FetchError> {
    let module = part(shared, lease, Part::Module(&lease.module)).await?;
    let mut inputs = Vec::new();
    for input in &lease.inputs {
        inputs.push(part(shared, lease, Part::Input(input)).await?);
    }
    let checkpoint = match &lease.checkpoint {
        None => None,
        Some(blob) => Some(part(shared, lease, Part::Checkpoint(blob)).await?),
    };
    Ok(Materials {
        module,
        inputs,
        checkpoint,
    })
}

async fn part(shared: &Shared, lease: &Lease, part: Part<'_>) -> Result<Pinned, FetchError> {
    let download = |to| patiently(&shared.client, &lease.assignment, part, to);
    let fetched = shared.cache.fetch(part.digest(), part.size()?, download);
    fetched.await.map_err(|source| FetchError::Blob {
        what: part.name(),
        source,
    })
}

/// Downloads for as long as the server can't be reached: the lease, not the download, decides when it is too late.
async fn patiently(
    client: &Client,
    assignment: &str,
    part: Part<'_>,
    to: PathBuf,
) -> Result<u64, ClientError> {
    let mut backoff = Backoff::default();
    loop {
        match part.download(client, assignment, &to).await {
            // A wrong digest was tried twice by the client already.
            Err(error) if error.is_transient() && !matches!(error, ClientError::Digest { .. }) => {
                tracing::warn!(error = full(&error), "a download broke; trying again");
                tokio::time::sleep(backoff.next()).await;
            }
            done => return done,
        }
    }
}

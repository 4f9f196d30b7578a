//! Why the agent can't go on.

use std::{io, path::PathBuf};

use aevir_wire::ClientError;

use crate::identity::IdentityError;

/// Why the agent ended or did not start. Trouble with a single task never ends it.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("`{path}` can't be used as the node's data folder")]
    DataDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another agent uses `{0}`: give each its own data folder")]
    InUse(PathBuf),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(
        "this node has not joined yet: give it a join token (`aevir account join-token` makes one)"
    )]
    NoToken,
    #[error(
        "there is no node in this folder yet: it joins at its first start (`aevir node --token TOKEN`)"
    )]
    NotJoined,
    #[error("the node's key was not changed, and still is the one before")]
    Rotation(#[source] ClientError),
    #[error("the platform refused what this node offers")]
    Offer(#[source] ClientError),
    #[error("the platform refused the node")]
    Join(#[source] ClientError),
    #[error(
        "the platform no longer knows this node or its key: remove its data folder and join anew with a new token"
    )]
    Disowned(#[source] ClientError),
    #[error("the server's address can't be used")]
    Server(#[source] ClientError),
    #[error(
        "the machine has no GPU that can be used: {0}. Run `cargo xtask setup demo` for a software one, or start the node without a GPU"
    )]
    Gpu(String),
    #[error(
        "the GPU that this node offered is gone: {0}. Look at it with `aevir doctor`; the next start registers what there is"
    )]
    GpuGone(String),
    #[error("the probe of the CPU does not run ({0}), so no task would; `aevir doctor` says more")]
    Probe(String),
    #[error("no executor process can be started; `aevir doctor` says more")]
    Executor(#[source] aevir_sandbox::ProbeError),
}

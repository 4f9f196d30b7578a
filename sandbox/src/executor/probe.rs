//! Starting an executor only to ask it something: what its GPU is, how it is confined, how long it takes.

use std::io;
use std::time::{Duration, Instant};

use aevir_gpu::{AdapterInfo, GpuLimits};
use tokio::time::timeout;

use super::Executor;
use crate::confine::{Confinement, Role};
use crate::ipc::{Reply, Request, receive_async};
use crate::passing::send_with_files;

/// How long opening and probing a GPU may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why an executor or its GPU could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No adapter, or none that computes right.
    #[error("{0}")]
    Adapter(String),
    /// The executor process failed.
    #[error("the executor failed: {0}")]
    Executor(String),
}

/// A process that was started to see whether it can be.
#[derive(Debug, Clone)]
pub struct Started {
    /// What is in force in it.
    pub confinement: Confinement,
    /// From nothing to its first message.
    pub took: Duration,
}

impl Executor {
    /// Opens the GPU in a process of its own and says what it is, so that a bad driver can't harm this one.
    ///
    /// # Errors
    /// No usable adapter, or no executor.
    pub async fn probe_gpu(&self, limits: &GpuLimits) -> Result<AdapterInfo, ProbeError> {
        let started = self.inner.launcher.start(Role::Gpu).await;
        let mut process = started.map_err(|error| ProbeError::Executor(error.to_string()))?;
        let answer = timeout(PROBE_TIMEOUT, async {
            let request = Request::ProbeGpu(limits.clone());
            let sent = send_with_files(&mut process.socket, &request, Vec::new()).await;
            sent.map_err(io::Error::other)?;
            receive_async::<Reply>(&mut process.socket).await
        });
        match answer.await {
            Ok(Ok(Reply::Adapter(adapter))) => {
                process.end(false).await;
                adapter.map_err(ProbeError::Adapter)
            }
            Ok(Ok(reply)) => {
                process.end(false).await;
                Err(ProbeError::Executor(reply.unexpected().to_string()))
            }
            Ok(Err(error)) => Err(ProbeError::Executor(process.died(&error).await)),
            Err(_) => {
                process.end(false).await;
                let text = "the GPU's driver did not answer in time";
                Err(ProbeError::Adapter(text.into()))
            }
        }
    }

    /// Starts a process of a role, to see how it is confined and how long it takes.
    ///
    /// # Errors
    /// It can't be started.
    pub async fn try_start(&self, role: Role) -> Result<Started, ProbeError> {
        let before = Instant::now();
        let started = self.inner.launcher.start(role).await;
        let process = started.map_err(|error| ProbeError::Executor(error.to_string()))?;
        let took = before.elapsed();
        let confinement = process.hello.confinement.clone();
        process.end(false).await;
        Ok(Started { confinement, took })
    }
}

//! What a parent and an executor process say to each other about one run.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cache::Artefact;
use crate::host::files::CHECKPOINTS_DIR;
use crate::ipc::{Reply, Request, RunRequest, receive_async};
use crate::limits::LOAD_MS_MAX;
use crate::outcome::{Outcome, RunEvent};
use crate::passing::{Handed, SendError, send_with_files};
use crate::process::Process;
use crate::spec::RunSpec;

/// Checkpoints of a run whose files stay; see [`RunEvent::Checkpoint`].
const CHECKPOINTS_KEPT: usize = 2;

/// The last message of a run.
pub(super) enum Answer {
    Outcome(Box<Outcome>),
    BadCode(String),
}

/// Why a conversation ended without one.
pub(super) enum Broken {
    /// The run did not start in time.
    Load,
    /// The run took too long.
    Wall,
    /// The process took more than this many bytes of memory, so long after it was told to run.
    HostMemory(u64, Duration),
    /// It asked for so many bytes at once, and this machine had none for it.
    NoMemory(u64),
    /// A declared file can't be handed over.
    File(String),
    /// The caller does not want it any more.
    Cancelled,
    /// The child is gone or talks nonsense.
    Socket(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<SendError> for Broken {
    fn from(error: SendError) -> Self {
        match error {
            SendError::File(text) => Self::File(text),
            SendError::Socket(error) => Self::Socket(error),
        }
    }
}

/// Sends the request and passes events on until the end. The wall clock starts with [`RunEvent::Started`]. Counts the log lines that were
/// passed on, also where it is broken off.
pub(super) async fn converse(
    process: &mut Process,
    spec: &RunSpec,
    artefact: &Artefact,
    events: &mpsc::Sender<RunEvent>,
    heard: &mut u64,
) -> Result<Answer, Broken> {
    let (request, files) = request(spec, artefact);
    let first = timeout(Duration::from_millis(LOAD_MS_MAX), async {
        send_with_files(&mut process.socket, &request, files).await?;
        Ok::<_, Broken>(receive(&mut process.socket).await?)
    });
    let mut reply = first.await.map_err(|_| Broken::Load)??;
    let wall = Duration::from_millis(spec.limits.wall_ms);
    let mut checkpoints = VecDeque::new();
    let rest = async {
        loop {
            match reply {
                Reply::Outcome(outcome) => return Ok(Answer::Outcome(outcome)),
                Reply::BadCode(text) => return Ok(Answer::BadCode(text)),
                Reply::Event(event) => {
                    let event = localize(process, event, &spec.out_dir).await?;
                    if let RunEvent::Checkpoint { path, .. } = &event {
                        checkpoints.push_back(path.clone());
                    }
                    let is_line = matches!(event, RunEvent::Log { .. });
                    // Nobody listening is no reason to stop.
                    let _ = events.send(event).await;
                    *heard += u64::from(is_line);
                    remove_older(&mut checkpoints)?;
                }
                Reply::Hello(_)
                | Reply::Wiped
                | Reply::Adapter(_)
                | Reply::Compiled(_)
                | Reply::Judged(..)
                | Reply::NoMemory => {
                    return Err(Broken::Socket(reply.unexpected()));
                }
            }
            reply = receive(&mut process.socket).await?;
        }
    };
    timeout(wall, rest).await.map_err(|_| Broken::Wall)?
}

async fn receive(socket: &mut UnixStream) -> io::Result<Reply> {
    receive_async::<Reply>(socket).await
}

/// A spec as the child gets it: open files instead of paths.
fn request(spec: &RunSpec, artefact: &Artefact) -> (Request, Vec<Handed>) {
    let mut files: Vec<_> = spec
        .inputs
        .iter()
        .map(|input| Handed::Path(input.path.clone(), Some(input.size)))
        .collect();
    let checkpoint = spec.checkpoint.clone();
    files.extend(checkpoint.map(|path| Handed::Path(path, None)));
    let mut bare = spec.clone();
    bare.module = PathBuf::new();
    bare.out_dir = PathBuf::new();
    bare.checkpoint = None;
    for input in &mut bare.inputs {
        input.path = PathBuf::new();
    }
    let request = RunRequest {
        has_checkpoint: spec.checkpoint.is_some(),
        spec: bare,
        info: (*artefact.info).clone(),
        code: artefact.id,
    };
    (Request::Run(Box::new(request)), files)
}

/// Removes the files of checkpoints but those of the newest: a run that makes a hundred thousand takes the room of two.
fn remove_older(checkpoints: &mut VecDeque<PathBuf>) -> io::Result<()> {
    while checkpoints.len() > CHECKPOINTS_KEPT
        && let Some(older) = checkpoints.pop_front()
    {
        match std::fs::remove_file(older) {
            // The caller may have taken it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Moves the file of a checkpoint out of the process's folder.
async fn localize(process: &Process, event: RunEvent, out_dir: &Path) -> io::Result<RunEvent> {
    match event {
        RunEvent::Checkpoint { path, digest, size } => {
            let name = path.file_name().and_then(|name| name.to_str());
            let taken = process.take(CHECKPOINTS_DIR, name.unwrap_or_default(), out_dir);
            let path = taken.await?;
            Ok(RunEvent::Checkpoint { path, digest, size })
        }
        // The child's word for its own id is not needed.
        RunEvent::Started { pid } => Ok(RunEvent::Started {
            pid: process.pid().unwrap_or(pid),
        }),
        other @ (RunEvent::Log { .. } | RunEvent::Progress { .. } | RunEvent::Metric(_)) => {
            Ok(other)
        }
    }
}

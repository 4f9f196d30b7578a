//! Open files beside a frame (`SCM_RIGHTS`): what a child may read is handed to it, so that it needs no right to open anything.
//!
//! On the wire: the number of files in two bytes; then batches, each one byte that carries up to [`FILES_PER_MESSAGE`] files;
//! then the frame. The first batch travels with the count. Batches keep the number of files that the parent holds open, and that
//! are on their way, far below what a process may have.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::ipc::{HEAD_BYTES, REQUEST_BYTES_MAX, frame, receive_body};
use crate::limits::INPUTS_MAX;

/// Files in one message; the system's own limit is 253.
const FILES_PER_MESSAGE: usize = 64;
/// Most files of a frame: inputs and a checkpoint.
const FILES_MAX: usize = INPUTS_MAX + 1;
/// Pause after the system said that too many files are on their way.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(1);
/// Bytes of the count.
const COUNT_BYTES: usize = 2;

/// A file to hand over: opened when its turn comes.
#[derive(Debug)]
pub(crate) enum Handed {
    /// To be opened for reading; it must have this size, unless none is given.
    Path(PathBuf, Option<u64>),
    /// Open already.
    Open(File),
}

/// Why a request could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// A file can't be handed over: the host's fault.
    #[error("{0}")]
    File(String),
    /// The child is gone.
    #[error(transparent)]
    Socket(#[from] io::Error),
}

/// Sends a request and its files.
pub(crate) async fn send_with_files(
    socket: &mut UnixStream,
    message: &impl Serialize,
    files: Vec<Handed>,
) -> Result<(), SendError> {
    let count = u16::try_from(files.len())
        .ok()
        .filter(|count| usize::from(*count) <= FILES_MAX)
        .ok_or_else(|| SendError::File(format!("{} files; at most {FILES_MAX}", files.len())))?;
    let frame = frame(message, REQUEST_BYTES_MAX)?;
    let mut files = files.into_iter();
    let mut head: &[u8] = &count.to_be_bytes();
    loop {
        let batch: Vec<File> = files
            .by_ref()
            .take(FILES_PER_MESSAGE)
            .map(open)
            .collect::<Result<_, _>>()?;
        let fds: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
        let last = files.len() == 0;
        let body: &[u8] = if last { &frame } else { &[] };
        let sent = send_message(socket, head, body, &fds).await?;
        if last {
            // At least the head went, with the files.
            let rest = sent.saturating_sub(head.len());
            if sent < head.len() {
                socket.write_all(&head[sent..]).await?;
            }
            socket.write_all(&frame[rest..]).await?;
            return Ok(());
        }
        if sent < head.len() {
            socket.write_all(&head[sent..]).await?;
        }
        head = &[0];
    }
}

fn open(handed: Handed) -> Result<File, SendError> {
    let (path, size) = match handed {
        Handed::Open(file) => return Ok(file),
        Handed::Path(path, size) => (path, size),
    };
    let failed = |what: &str, error: io::Error| {
        SendError::File(format!("could not {what} {}: {error}", path.display()))
    };
    let file = File::open(&path).map_err(|error| failed("open", error))?;
    let metadata = file.metadata().map_err(|error| failed("look at", error))?;
    let found = metadata.len();
    match size {
        _ if !metadata.is_file() => Err(SendError::File(format!(
            "{} is no regular file",
            path.display()
        ))),
        Some(size) if size != found => Err(SendError::File(format!(
            "{} is declared with {size} bytes, and has {found}",
            path.display()
        ))),
        _ => Ok(file),
    }
}

/// Sends once, waiting until it can; answers how many bytes went.
async fn send_message(
    socket: &UnixStream,
    head: &[u8],
    body: &[u8],
    fds: &[RawFd],
) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    loop {
        let sent = socket
            .async_io(Interest::WRITABLE, || {
                let parts = [IoSlice::new(head), IoSlice::new(body)];
                sendmsg::<UnixAddr>(
                    socket.as_raw_fd(),
                    &parts,
                    control,
                    MsgFlags::MSG_NOSIGNAL,
                    None,
                )
                .map_err(io::Error::from)
            })
            .await;
        match sent {
            Err(error) if error.raw_os_error() == Some(Errno::ETOOMANYREFS as i32) => {
                tokio::time::sleep(IN_FLIGHT_PAUSE).await;
            }
            sent => return sent,
        }
    }
}

/// Receives a request and its files, blocking. `None`: the parent is done.
pub(crate) fn receive_with_files<T: DeserializeOwned>(
    socket: &mut StdStream,
) -> io::Result<Option<(T, Vec<File>)>> {
    let mut files = Vec::new();
    let mut count = [0; COUNT_BYTES];
    let read = receive_message(socket, &mut count, &mut files)?;
    if read == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut count[read..])?;
    let count = usize::from(u16::from_be_bytes(count));
    while files.len() < count {
        let before = files.len();
        if receive_message(socket, &mut [0], &mut files)? == 0 || files.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut head = [0; HEAD_BYTES];
    socket.read_exact(&mut head)?;
    Ok(Some((
        receive_body(socket, head, REQUEST_BYTES_MAX)?,
        files,
    )))
}

fn receive_message(
    socket: &StdStream,
    bytes: &mut [u8],
    files: &mut Vec<File>,
) -> io::Result<usize> {
    let mut control = nix::cmsg_space!([RawFd; FILES_PER_MESSAGE]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            files.extend(fds.into_iter().map(|fd| {
                // SAFETY: the system made these descriptors for this process a moment ago; nobody else knows them.
                File::from(unsafe { OwnedFd::from_raw_fd(fd) })
            }));
        }
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn pass(files: usize, text: &str) -> (String, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let handed = (0..files).map(|n| {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, n.to_string()).unwrap();
            Handed::Path(path, Some(n.to_string().len() as u64))
        });
        let (ours, mut theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = UnixStream::from_std(ours).unwrap();
        let receiving = tokio::task::spawn_blocking(move || {
            receive_with_files::<String>(&mut theirs).unwrap().unwrap()
        });
        send_with_files(&mut ours, &text, handed.collect())
            .await
            .unwrap();
        let (message, files) = receiving.await.unwrap();
        let contents = files.into_iter().map(|mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        });
        (message, contents.collect())
    }

    #[tokio::test]
    async fn files_arrive_in_their_order_beside_the_message() {
        let long = "x".repeat(1 << 20);
        for (files, text) in [
            (0, "none"),
            (1, "one"),
            (64, &*long),
            (65, "more"),
            (300, &long),
        ] {
            let (message, contents) = pass(files, text).await;
            assert_eq!(message, text);
            let expected: Vec<_> = (0..files).map(|n| n.to_string()).collect();
            assert_eq!(contents, expected);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_declared_is_named() {
        let (ours, _theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = UnixStream::from_std(ours).unwrap();
        for (path, text) in [("/nonexistent", "could not open"), ("/", "no regular file")] {
            let handed = vec![Handed::Path(path.into(), None)];
            let error = send_with_files(&mut ours, &"x", handed).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

//! Frames between an executor process and its parent: a big-endian `u32` length, then JSON; open files travel beside them.
//!
//! Both ends bound what they read before they allocate: the child may have been taken over by a guest, and the parent may be
//! of another build. Knows nothing of what the messages mean.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use aevir_gpu::{AdapterInfo, GpuLimits};

use crate::confine::Confinement;
use crate::engine::{Compatibility, Profile};
use crate::inspect::{ModuleInfo, Refused};
use crate::outcome::{Outcome, RunEvent};
use crate::spec::RunSpec;

/// Most bytes of a frame to a child: a spec with the longest `params`, every byte escaped, and the most inputs.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most bytes of a frame from a child: the longest result, every byte escaped, with the most outputs and metrics, takes less
/// than half of it.
pub const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of a frame's head: its length.
pub(crate) const HEAD_BYTES: usize = 4;

/// What the parent asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a module; answered by events and an outcome.
    Run(Box<RunRequest>),
    /// Compile a module; answered by [`Reply::Compiled`]. Its files: the module to read, the artefact to write.
    Compile(CompileRequest),
    /// Judge an upload; answered by [`Reply::Judged`]. Its files: the upload to read, and where the component goes that it is adapted to.
    Judge(JudgeRequest),
    /// Open the GPU and say what it is; answered by an adapter.
    ProbeGpu(GpuLimits),
}

/// A run, as the child sees it: without paths of the host. Its files: the inputs in their order, then the checkpoint if
/// `has_checkpoint`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunRequest {
    pub(crate) spec: RunSpec,
    pub(crate) has_checkpoint: bool,
    pub(crate) info: ModuleInfo,
    pub(crate) code: CodeId,
}

/// Compiled code that the parent vouches for. A number is never used for two different files within one parent, so that
/// a child may keep what it loaded under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct CodeId(pub(crate) u64);

impl CodeId {
    /// The file's name in the folder of code of a child.
    pub(crate) fn file_name(self) -> String {
        format!("{}.cwasm", self.0)
    }
}

/// One compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompileRequest {
    pub(crate) profile: Profile,
    pub(crate) bounds: CompileBounds,
}

/// One judgement of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JudgeRequest {
    pub(crate) bounds: CompileBounds,
    /// Compile it, too, and measure that.
    pub(crate) compiles: bool,
}

/// Bounds that the child sets itself before it looks at a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompileBounds {
    /// Seconds of processor time, of all threads together.
    pub(crate) cpu_s: u64,
    /// Bytes of writable memory.
    pub(crate) memory_bytes: u64,
}

/// What the child says of itself before anything else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What its compiled code depends on besides the module; another build than the parent's has another.
    pub(crate) compatibility: Compatibility,
    /// What it may still do.
    pub(crate) confinement: Confinement,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Hello(Box<Hello>),
    Event(RunEvent),
    /// How a run ended. [`Reply::Wiped`] follows.
    Outcome(Box<Outcome>),
    /// What the run before held is given back: another one finds no memory taken, and nothing in it.
    Wiped,
    Adapter(Result<AdapterInfo, String>),
    /// The artefact is written, or the module is refused.
    Compiled(Result<ModuleInfo, Refused>),
    /// What an upload is, or why it is refused, and what it took to say so.
    Judged(Result<Judged, Refused>, Took),
    /// The memory that there is for one module was not enough.
    NoMemory,
    /// The code can't be loaded, and should be made anew; ends a run that had not begun.
    BadCode(String),
}

/// An upload that is taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) info: ModuleInfo,
    /// The component is another than what was uploaded, and was written.
    pub(crate) is_adapted: bool,
    /// Bytes of its compiled form; 0 where it was not compiled.
    pub(crate) code_bytes: u64,
}

/// What a compiling process has taken so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Took {
    /// Processor time of all threads together, in ms.
    pub(crate) cpu_ms: u64,
    /// The most writable memory that it had at once, in bytes, as its bound counts it; nothing where the system does not say.
    pub(crate) peak_bytes: Option<u64>,
}

impl Reply {
    /// An error for a message that does not belong where it came.
    pub(crate) fn unexpected(&self) -> io::Error {
        let name = match self {
            Self::Hello(_) => "hello",
            Self::Event(_) => "event",
            Self::Outcome(_) => "outcome",
            Self::Wiped => "wiped",
            Self::Adapter(_) => "adapter",
            Self::Compiled(_) => "compiled",
            Self::Judged(..) => "judged",
            Self::NoMemory => "no memory",
            Self::BadCode(_) => "bad code",
        };
        let text = format!("it sent the message `{name}` where another belongs");
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

/// Writes a frame, blocking.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message, REPLY_BYTES_MAX)?)
}

/// Reads the rest of a frame whose head was read, blocking.
pub(crate) fn receive_body<T: DeserializeOwned>(
    from: &mut impl Read,
    head: [u8; HEAD_BYTES],
    bytes_max: usize,
) -> io::Result<T> {
    let mut body = vec![0; body_len(head, bytes_max)?];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Reads a frame. Not cancel-safe: a frame whose reading was dropped is lost.
pub(crate) async fn receive_async<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; body_len(head, REPLY_BYTES_MAX)?];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

/// A message with its head.
pub(crate) fn frame(message: &impl Serialize, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut bytes, message)?;
    let len = bytes.len() - HEAD_BYTES;
    if len > bytes_max {
        return Err(too_long(len, bytes_max));
    }
    bytes[..HEAD_BYTES].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(bytes)
}

fn body_len(head: [u8; HEAD_BYTES], bytes_max: usize) -> io::Result<usize> {
    let len = u32::from_be_bytes(head) as usize;
    if len > bytes_max {
        return Err(too_long(len, bytes_max));
    }
    Ok(len)
}

fn too_long(len: usize, bytes_max: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a frame of {len} bytes; at most {bytes_max} are allowed"),
    )
}

/// Reads every frame of `bytes` as the parent reads a child's replies (`replies`) or the child its parent's requests, until
/// one is refused; answers how many were read. For fuzzing: whatever the bytes are, it must return.
#[doc(hidden)]
#[must_use]
pub fn read_frames(mut bytes: &[u8], replies: bool) -> usize {
    let mut frames = 0;
    loop {
        let mut head = [0; HEAD_BYTES];
        if Read::read_exact(&mut bytes, &mut head).is_err() {
            return frames;
        }
        let read = if replies {
            receive_body::<Reply>(&mut bytes, head, REPLY_BYTES_MAX).map(drop)
        } else {
            receive_body::<Request>(&mut bytes, head, REQUEST_BYTES_MAX).map(drop)
        };
        if read.is_err() {
            return frames;
        }
        frames += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn receive<T: DeserializeOwned>(from: &mut &[u8]) -> io::Result<T> {
        let mut head = [0; HEAD_BYTES];
        Read::read_exact(from, &mut head)?;
        receive_body(from, head, REPLY_BYTES_MAX)
    }

    #[test]
    fn frames_come_back_as_they_were_sent() {
        let mut bytes = Vec::new();
        send(&mut bytes, &"one").unwrap();
        send(&mut bytes, &"two").unwrap();
        let mut from = bytes.as_slice();
        let texts: [String; 2] = [receive(&mut from).unwrap(), receive(&mut from).unwrap()];
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_is_allocated() {
        let error = receive::<String>(&mut [0xff; 8].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = "x".repeat(REPLY_BYTES_MAX);
        let error = send(&mut Vec::new(), &text).unwrap_err();
        assert!(error.to_string().contains("at most 2097152"), "{error}");
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut bytes = Vec::new();
        send(&mut bytes, &"something").unwrap();
        bytes.pop();
        assert!(receive::<String>(&mut bytes.as_slice()).is_err());
    }
}

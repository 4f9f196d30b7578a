//! Frames between the executor and its parent: a big-endian `u32` length, then JSON.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use aevir_gpu::{AdapterInfo, GpuLimits};

use crate::outcome::{Outcome, RunEvent};
use crate::spec::RunSpec;

/// Most bytes of a frame: a spec with the longest `params`, every byte escaped, and the most inputs.
pub(crate) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the parent asks for: one request, one child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Run a module; answered by events and an outcome.
    Run(Box<RunSpec>),
    /// Open the GPU and say what it is; answered by an adapter.
    ProbeGpu(GpuLimits),
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Event(RunEvent),
    Outcome(Box<Outcome>),
    Adapter(Result<AdapterInfo, String>),
}

/// Writes a frame, blocking.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}

/// Reads a frame, blocking.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut body = vec![0; body_len(head)?];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Writes a frame.
pub(crate) async fn send_async(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
) -> io::Result<()> {
    to.write_all(&frame(message)?).await
}

/// Reads a frame. Not cancel-safe: a frame whose reading was dropped is lost.
pub(crate) async fn receive_async<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; body_len(head)?];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}

fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = bytes.len() - 4;
    if len > FRAME_BYTES_MAX {
        return Err(too_long(len));
    }
    bytes[..4].copy_from_slice(&(len as u32).to_be_bytes());
    Ok(bytes)
}

fn body_len(head: [u8; 4]) -> io::Result<usize> {
    let len = u32::from_be_bytes(head) as usize;
    if len > FRAME_BYTES_MAX {
        return Err(too_long(len));
    }
    Ok(len)
}

fn too_long(len: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a frame of {len} bytes; at most {FRAME_BYTES_MAX} are allowed"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut bytes = Vec::new();
        send(&mut bytes, &"something").unwrap();
        bytes.pop();
        assert!(receive::<String>(&mut bytes.as_slice()).is_err());
    }
}

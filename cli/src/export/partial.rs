//! What an interrupted export left: read, checked line by line, and cut where it is torn.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read as _, Seek as _},
    path::Path,
};

use aevir_events::{CloudEventLine, merkle::Frontier};
use aevir_platform::event::Event;
use anyhow::{Context, Result, ensure};

use super::sink::FRAME_BYTES;

/// The good part of a partial file.
#[derive(Debug)]
pub(super) struct Found {
    /// The position after it.
    pub(super) next: u64,
    /// The tree over it.
    pub(super) frontier: Frontier,
}

impl Found {
    pub(super) fn nothing(from: u64) -> Self {
        Self {
            next: from,
            frontier: Frontier::default(),
        }
    }

    /// Takes a whole line: it must be the next entry's.
    fn take(&mut self, line: &[u8], origin: &str) -> Result<()> {
        let next = self.next;
        let read = CloudEventLine::read(line).with_context(|| format!("position {next}"))?;
        ensure!(
            read.source == origin,
            "position {next}: the line is of the log `{}`, and the server's is `{origin}`",
            read.source
        );
        let recorded = read
            .entry
            .decode_canonical::<Event>()
            .with_context(|| format!("position {next}"))?;
        ensure!(
            recorded.position == next,
            "position {next} is missing: the line has position {}",
            recorded.position
        );
        self.frontier.push(read.entry.leaf());
        self.next += 1;
        Ok(())
    }
}

/// Reads a partial file from its beginning, and cuts off a torn end.
///
/// # Errors
/// When a whole line is not the next entry of the log with this origin.
pub(super) fn check(file: &Path, zstd: bool, origin: &str) -> Result<Found> {
    let mut found = Found::nothing(0);
    let mut bytes = BufReader::new(File::open(file)?);
    let good = if zstd {
        frames(&mut bytes, &mut found, origin)?
    } else {
        lines(&mut bytes, &mut found, origin)?
    };
    drop(bytes);
    let opened = OpenOptions::new().write(true).open(file)?;
    opened.set_len(good)?;
    opened.sync_all()?;
    Ok(found)
}

/// Takes whole lines; answers the bytes that they have.
fn lines(bytes: &mut BufReader<File>, found: &mut Found, origin: &str) -> Result<u64> {
    let (mut good, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = bytes.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(good);
        }
        found.take(&line, origin)?;
        good += read as u64;
    }
}

/// Takes full frames; a torn one and a short last one are written anew, so that an export has the same bytes however
/// often it was interrupted.
fn frames(bytes: &mut BufReader<File>, found: &mut Found, origin: &str) -> Result<u64> {
    let mut good = 0;
    loop {
        if bytes.fill_buf()?.is_empty() {
            return Ok(good);
        }
        let mut text = Vec::new();
        let mut decoder = zstd::Decoder::with_buffer(&mut *bytes)?.single_frame();
        if decoder.read_to_end(&mut text).is_err() || text.len() < FRAME_BYTES {
            return Ok(good);
        }
        drop(decoder);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let line = line
                .strip_suffix(b"\n")
                .context("a frame ends within a line")?;
            found.take(line, origin)?;
        }
        good = bytes.stream_position()?;
    }
}

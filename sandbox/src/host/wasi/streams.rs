//! `wasi:io/error` and `wasi:io/streams`: inputs to be read and outputs to be appended to, in chunks.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

use super::bindings::StreamError;
use super::clocks::Pollable;
use crate::host::{Answer, Host, Stop, charge, context, price, push};
use crate::limits::CHUNK_BYTES_MAX;
use crate::outcome::Level;

/// The output that is a program's standard output.
const STDOUT: &str = "stdout";
/// What an output stream says that it can take: a chunk that is copied fast.
const WRITE_BYTES: usize = 1024 * 1024;
const ZEROES: [u8; 4096] = [0; 4096];

/// Why the last operation on a stream failed.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Failure(pub(super) String);

/// Where bytes come from.
#[derive(Debug, Clone, Copy)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum InputStream {
    /// Standard input of a task that has no input for it.
    Empty,
    /// The rest of an input.
    File {
        /// Its number in the run's files.
        input: usize,
        /// Where the next byte is.
        offset: u64,
    },
}

/// Where bytes go.
#[derive(Debug, Clone, Copy)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum OutputStream {
    /// The output `stdout`, or the log.
    Stdout,
    /// The log.
    Stderr,
    /// The end of an output: its number in the run's files.
    File(usize),
}

type Store<'a> = StoreContextMut<'a, Host>;
type Streamed<T> = Answer<Result<T, StreamError>>;

/// Registers the interfaces.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:io/error@0.2.12")?;
    i.resource("error", ResourceType::host::<Failure>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<Failure>::new_own(rep))?;
        Ok(())
    })?;
    i.func_wrap(
        "[method]error.to-debug-string",
        |mut s: Store<'_>, (this,): (Resource<Failure>,)| {
            charge(&mut s, price::CALL)?;
            Ok((s.data().table.get(&this)?.0.clone(),))
        },
    )?;
    add_input(linker)?;
    add_output(linker)
}

fn add_input(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:io/streams@0.2.12")?;
    let resource = ResourceType::host::<InputStream>();
    i.resource("input-stream", resource, |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<InputStream>::new_own(rep))?;
        Ok(())
    })?;
    // Nothing blocks: both ways of reading and of skipping are the same.
    for name in ["read", "blocking-read"] {
        i.func_wrap(
            &format!("[method]input-stream.{name}"),
            |mut s: Store<'_>, (this, len): (Resource<InputStream>, u64)| {
                Ok((read(&mut s, &this, len)?,))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        i.func_wrap(
            &format!("[method]input-stream.{name}"),
            |s: Store<'_>, (this, len): (Resource<InputStream>, u64)| skip(s, &this, len),
        )?;
    }
    i.func_wrap(
        "[method]input-stream.subscribe",
        |mut s: Store<'_>, (this,): (Resource<InputStream>,)| {
            charge(&mut s, price::CALL)?;
            s.data().table.get(&this)?;
            Ok((push(s.data_mut(), Pollable::Ready)?,))
        },
    )
}

fn add_output(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:io/streams@0.2.12")?;
    let resource = ResourceType::host::<OutputStream>();
    i.resource("output-stream", resource, |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<OutputStream>::new_own(rep))?;
        Ok(())
    })?;
    i.func_wrap(
        "[method]output-stream.check-write",
        |mut s: Store<'_>, (this,): (Resource<OutputStream>,)| -> Streamed<u64> {
            charge(&mut s, price::CALL)?;
            s.data().table.get(&this)?;
            Ok((Ok(WRITE_BYTES as u64),))
        },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        i.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>, (this, bytes): (Resource<OutputStream>, WasmList<u8>)| {
                write(s, &this, &bytes)
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        i.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut s: Store<'_>, (this,): (Resource<OutputStream>,)| -> Streamed<()> {
                charge(&mut s, price::CALL)?;
                s.data().table.get(&this)?;
                Ok((Ok(()),))
            },
        )?;
    }
    i.func_wrap(
        "[method]output-stream.subscribe",
        |mut s: Store<'_>, (this,): (Resource<OutputStream>,)| {
            charge(&mut s, price::CALL)?;
            s.data().table.get(&this)?;
            Ok((push(s.data_mut(), Pollable::Ready)?,))
        },
    )?;
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        i.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>, (this, len): (Resource<OutputStream>, u64)| write_zeroes(s, &this, len),
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        i.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>,
             (this, from, len): (Resource<OutputStream>, Resource<InputStream>, u64)| {
                splice(s, &this, &from, len)
            },
        )?;
    }
    Ok(())
}

/// The next bytes, at most a chunk; at the end, `closed`.
fn read(
    s: &mut Store<'_>,
    this: &Resource<InputStream>,
    len: u64,
) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
    charge(s, price::CALL)?;
    let Some((input, offset, rest)) = rest(s.data(), this)? else {
        return Ok(Err(StreamError::Closed));
    };
    let len = len.min(rest).min(CHUNK_BYTES_MAX as u64);
    charge(s, len / price::READ_BYTES_PER_UNIT)?;
    let host = s.data_mut();
    // At most a chunk, so it fits.
    let bytes = host.files.read_input(input, offset, len as usize)?;
    advance(host, this, len)?;
    Ok(Ok(bytes))
}

fn skip(mut s: Store<'_>, this: &Resource<InputStream>, len: u64) -> Streamed<u64> {
    charge(&mut s, price::CALL)?;
    let Some((_, _, rest)) = rest(s.data(), this)? else {
        return Ok((Err(StreamError::Closed),));
    };
    let len = len.min(rest);
    advance(s.data_mut(), this, len)?;
    Ok((Ok(len),))
}

/// An input stream's input, its place, and how many bytes are left; nothing at the end.
fn rest(host: &Host, this: &Resource<InputStream>) -> wasmtime::Result<Option<(usize, u64, u64)>> {
    Ok(match *host.table.get(this)? {
        InputStream::Empty => None,
        InputStream::File { input, offset } => {
            let rest = host.files.input_size(input).saturating_sub(offset);
            (rest > 0).then_some((input, offset, rest))
        }
    })
}

fn advance(host: &mut Host, this: &Resource<InputStream>, len: u64) -> wasmtime::Result<()> {
    if let InputStream::File { offset, .. } = host.table.get_mut(this)? {
        *offset = offset.saturating_add(len);
    }
    Ok(())
}

fn write(mut s: Store<'_>, this: &Resource<OutputStream>, bytes: &WasmList<u8>) -> Streamed<()> {
    charge(&mut s, price::CALL)?;
    if bytes.len() > CHUNK_BYTES_MAX {
        let text = format!(
            "{} bytes in one write; at most {CHUNK_BYTES_MAX} are allowed",
            bytes.len()
        );
        return Err(Stop::Interface(text).into());
    }
    charge(&mut s, price::WRITE_BYTE * bytes.len() as u64)?;
    let bytes = bytes.as_le_slice(&s).to_vec();
    let to = *s.data().table.get(this)?;
    Ok((put(&mut s, to, &bytes)?,))
}

fn write_zeroes(mut s: Store<'_>, this: &Resource<OutputStream>, len: u64) -> Streamed<()> {
    charge(&mut s, price::CALL)?;
    let to = *s.data().table.get(this)?;
    let mut left = len;
    // As long as there is fuel for it.
    while left > 0 {
        let now = left.min(ZEROES.len() as u64);
        charge(&mut s, price::WRITE_BYTE * now)?;
        if let Err(error) = put(&mut s, to, &ZEROES[..now as usize])? {
            return Ok((Err(error),));
        }
        left -= now;
    }
    Ok((Ok(()),))
}

fn splice(
    mut s: Store<'_>,
    this: &Resource<OutputStream>,
    from: &Resource<InputStream>,
    len: u64,
) -> Streamed<u64> {
    let to = *s.data().table.get(this)?;
    let bytes = match read(&mut s, from, len)? {
        Ok(bytes) => bytes,
        Err(error) => return Ok((Err(error),)),
    };
    let len = bytes.len() as u64;
    charge(&mut s, price::WRITE_BYTE * len)?;
    Ok((put(&mut s, to, &bytes)?.map(|()| len),))
}

/// Writes bytes that were paid for.
fn put(
    s: &mut Store<'_>,
    to: OutputStream,
    bytes: &[u8],
) -> wasmtime::Result<Result<(), StreamError>> {
    let output = match to {
        OutputStream::Stdout if s.data().wasi.program => match stdout(s.data_mut())? {
            Some(output) => output,
            None => {
                let text = "the program has made an output `stdout` itself";
                let failure = push(s.data_mut(), Failure(text.into()))?;
                return Ok(Err(StreamError::LastOperationFailed(failure)));
            }
        },
        OutputStream::Stdout => return say(s, Said::Stdout, bytes).map(Ok),
        OutputStream::Stderr => return say(s, Said::Stderr, bytes).map(Ok),
        OutputStream::File(output) => output,
    };
    let host = s.data_mut();
    let total_max = host.spec.limits.output_bytes;
    host.files.write_output(output, bytes, total_max)?;
    if matches!(to, OutputStream::Stdout) {
        let room = host.spec.limits.result_bytes as usize + 1;
        let printed = &mut host.wasi.printed;
        let more = bytes.len().min(room.saturating_sub(printed.len()));
        printed.extend(&bytes[..more]);
    }
    Ok(Ok(()))
}

/// The number of the output `stdout`, which is made by the first byte; nothing if its name is taken.
fn stdout(host: &mut Host) -> Result<Option<usize>, Stop> {
    if host.wasi.stdout.is_none() {
        host.wasi.stdout = context::new_output(host, STDOUT)?;
    }
    Ok(host.wasi.stdout)
}

#[derive(Clone, Copy)]
enum Said {
    Stdout,
    Stderr,
}

/// Passes complete lines on to the log.
fn say(s: &mut Store<'_>, stream: Said, bytes: &[u8]) -> wasmtime::Result<()> {
    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    charge(s, price::MESSAGE * ends as u64)?;
    let host = s.data_mut();
    let line_bytes_max = host.spec.limits.log_line_bytes as usize;
    let mut lines = std::mem::take(lines_of(host, stream));
    let said = lines.take(bytes, line_bytes_max, |line| {
        context::say(host, Level::Info, line)
    });
    *lines_of(host, stream) = lines;
    Ok(said?)
}

fn lines_of(host: &mut Host, stream: Said) -> &mut super::Lines {
    match stream {
        Said::Stdout => &mut host.wasi.stdout_lines,
        Said::Stderr => &mut host.wasi.stderr_lines,
    }
}

/// Passes on lines that have no end.
pub(super) fn flush(host: &mut Host) -> Result<(), Stop> {
    for stream in [Said::Stdout, Said::Stderr] {
        if let Some(line) = lines_of(host, stream).rest() {
            context::say(host, Level::Info, line)?;
        }
    }
    Ok(())
}

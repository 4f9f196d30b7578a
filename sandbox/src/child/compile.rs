//! Judging and compiling in the process that was started for it: reads one open file, writes another.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};

use wasmtime::component::Component;

use crate::adapt::prepare_upload;
use crate::classify::{TEXT_BYTES_MAX, is_systems};
use crate::confine::limit_compilation;
use crate::engine::Engine;
use crate::inspect::{Refusal, Refused, inspect};
use crate::ipc::{CompileBounds, Judged, Reply};
use crate::limits::MODULE_BYTES_MAX;
use aevir_gpu::error::cut;

/// Compiles; answers what the module is, or why there is no code.
///
/// # Errors
/// The host failed; the process ends with it, so that its parent can tell it from a refusal.
pub(super) fn compile(
    engine: &Engine,
    bounds: CompileBounds,
    files: Vec<File>,
) -> io::Result<Reply> {
    let (module, mut artefact) = begin(bounds, files)?;
    let Some(wasm) = read(module)? else {
        return Ok(Reply::NoMemory);
    };
    let info = match inspect(&wasm) {
        Ok(info) => info,
        Err(error) => return Ok(Reply::Compiled(Err(error.into()))),
    };
    match code(engine, &wasm) {
        Code::Made(code) => {
            artefact.write_all(&code)?;
            artefact.sync_all()?;
            Ok(Reply::Compiled(Ok(info)))
        }
        Code::NoMemory => Ok(Reply::NoMemory),
        Code::Refused(refused) => Ok(Reply::Compiled(Err(refused))),
    }
}

/// Judges an upload: adapts it if it has to be, and compiles what nodes will have to, so that what none of them could is not taken.
///
/// # Errors
/// As for [`compile`].
pub(super) fn judge(engine: &Engine, bounds: CompileBounds, files: Vec<File>) -> io::Result<Reply> {
    let (module, mut component) = begin(bounds, files)?;
    let Some(wasm) = read(module)? else {
        return Ok(Reply::NoMemory);
    };
    let upload = match prepare_upload(&wasm) {
        Ok(upload) => upload,
        Err(error) => return Ok(Reply::Judged(Err(error.into()))),
    };
    match code(engine, &upload.component) {
        Code::Made(_) => {}
        Code::NoMemory => return Ok(Reply::NoMemory),
        Code::Refused(refused) => return Ok(Reply::Judged(Err(refused))),
    }
    let is_adapted = match &upload.component {
        Cow::Owned(adapted) => {
            component.write_all(adapted)?;
            true
        }
        Cow::Borrowed(_) => false,
    };
    let info = upload.info;
    Ok(Reply::Judged(Ok(Judged { info, is_adapted })))
}

fn begin(bounds: CompileBounds, files: Vec<File>) -> io::Result<(File, File)> {
    limit_compilation(bounds.cpu_s, bounds.memory_bytes)?;
    let files = <[File; 2]>::try_from(files);
    let [from, to] =
        files.map_err(|files| io::Error::other(format!("{} files, not two", files.len())))?;
    Ok((from, to))
}

/// The module's bytes; nothing where there is no memory for them.
fn read(module: File) -> io::Result<Option<Vec<u8>>> {
    let mut wasm = Vec::new();
    match module.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Ok(None),
        read => read.map(|_| Some(wasm)),
    }
}

/// What became of a module.
enum Code {
    Made(Vec<u8>),
    NoMemory,
    Refused(Refused),
}

fn code(engine: &Engine, wasm: &[u8]) -> Code {
    let compiled = Component::new(&engine.inner, wasm).and_then(|component| component.serialize());
    match compiled {
        Ok(code) => Code::Made(code),
        // The files are open: there is nothing but memory that the system could refuse.
        Err(error) if is_systems(&error) => Code::NoMemory,
        Err(error) => Code::Refused(Refused {
            kind: Refusal::TooComplex,
            text: cut(
                format!("the module does not compile: {error:#}"),
                TEXT_BYTES_MAX,
            ),
        }),
    }
}

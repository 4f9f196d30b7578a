//! Judging and compiling in the process that was started for it: reads one open file, writes another.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::component::Component;

use super::panic_text;
use super::took::Meter;
use crate::adapt::prepare_upload;
use crate::classify::{TEXT_BYTES_MAX, is_systems};
use crate::confine::limit_compilation;
use crate::engine::Engine;
use crate::inspect::{Refusal, Refused, inspect};
use crate::ipc::{CompileBounds, JudgeRequest, Judged, Reply};
use crate::limits::MODULE_BYTES_MAX;
use aevir_gpu::error::cut;

/// What panics say for which the machine is to blame, and no module: there are no more threads for the compiler.
const MACHINES_PANICS: [&str; 2] = ["thread pool", "failed to spawn thread"];

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
    let info = match guarded(|| inspect(&wasm))? {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => return Ok(Reply::Compiled(Err(error.into()))),
        Err(refused) => return Ok(Reply::Compiled(Err(refused))),
    };
    match code(engine, &wasm)? {
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
pub(super) fn judge(
    engine: &Engine,
    meter: &Meter,
    request: JudgeRequest,
    files: Vec<File>,
) -> io::Result<Reply> {
    let peak = meter.start();
    let (module, mut component) = begin(request.bounds, files)?;
    let Some(wasm) = read(module)? else {
        return Ok(Reply::NoMemory);
    };
    let refused = |refused: Refused| Ok(Reply::Judged(Err(refused), peak.took()));
    let upload = match guarded(|| prepare_upload(&wasm))? {
        Ok(Ok(upload)) => upload,
        Ok(Err(error)) => return refused(error.into()),
        Err(broke) => return refused(broke),
    };
    let mut code_bytes = 0;
    if request.compiles {
        match code(engine, &upload.component)? {
            Code::Made(code) => code_bytes = code.len() as u64,
            Code::NoMemory => return Ok(Reply::NoMemory),
            Code::Refused(why) => return refused(why),
        }
    }
    let is_adapted = match &upload.component {
        Cow::Owned(adapted) => {
            component.write_all(adapted)?;
            true
        }
        Cow::Borrowed(_) => false,
    };
    let judged = Judged {
        info: upload.info,
        is_adapted,
        code_bytes,
    };
    Ok(Reply::Judged(Ok(judged), peak.took()))
}

/// Does what a module may have been made to break: a panic is a refusal of the module.
///
/// # Errors
/// It panicked for the machine's sake.
fn guarded<T>(work: impl FnOnce() -> T) -> io::Result<Result<T, Refused>> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.map(Ok).or_else(|panic| {
        let text = panic_text(&*panic);
        if MACHINES_PANICS.iter().any(|part| text.contains(part)) {
            return Err(io::Error::other(format!("the compiler panicked: {text}")));
        }
        let text = cut(
            format!("the compiler breaks on the module: {text}"),
            TEXT_BYTES_MAX,
        );
        let kind = Refusal::BreaksCompiler;
        Ok(Err(Refused { kind, text }))
    })
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

fn code(engine: &Engine, wasm: &[u8]) -> io::Result<Code> {
    let compile =
        || Component::new(&engine.inner, wasm).and_then(|component| component.serialize());
    let compiled = match guarded(compile)? {
        Ok(compiled) => compiled,
        Err(broke) => return Ok(Code::Refused(broke)),
    };
    Ok(match compiled {
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
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_panic_is_a_refusal_unless_it_is_the_machines() {
        assert_eq!(guarded(|| 1).unwrap(), Ok(1));
        let refused = guarded(|| -> u8 { panic!("assertion failed: {}", 7) }).unwrap();
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, Refusal::BreaksCompiler);
        assert_eq!(
            refused.text,
            "the compiler breaks on the module: assertion failed: 7"
        );
        let machines = guarded(|| -> u8 { panic!("failed to spawn thread: Os {{ code: 11 }}") });
        assert!(machines.is_err());
    }
}

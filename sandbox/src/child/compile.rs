//! Compiling in the process that was started for it: reads one open file, writes another.

use std::fs::File;
use std::io::{self, Read, Write};

use wasmtime::component::Component;

use crate::classify::{TEXT_BYTES_MAX, is_systems};
use crate::confine::limit_compilation;
use crate::engine::Engine;
use crate::inspect::{ModuleInfo, inspect};
use crate::ipc::{CompileRequest, NotCompiled};
use crate::limits::MODULE_BYTES_MAX;
use aevir_gpu::error::cut;

/// Compiles; answers what the module is, or why there is no code.
///
/// # Errors
/// The host failed; the process ends with it, so that its parent can tell it from a refusal.
pub(super) fn compile(
    engine: &Engine,
    request: CompileRequest,
    files: Vec<File>,
) -> io::Result<Result<ModuleInfo, NotCompiled>> {
    limit_compilation(request.cpu_s, request.memory_bytes)?;
    let files = <[File; 2]>::try_from(files);
    let [module, mut artefact] =
        files.map_err(|files| io::Error::other(format!("{} files, not two", files.len())))?;
    let mut wasm = Vec::new();
    match module.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm) {
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            return Ok(Err(NotCompiled::Memory));
        }
        read => read?,
    };
    let refused = |text: String| Ok(Err(NotCompiled::Refused(cut(text, TEXT_BYTES_MAX))));
    let info = match inspect(&wasm) {
        Ok(info) => info,
        Err(error) => return refused(error.to_string()),
    };
    let compiled = Component::new(&engine.inner, &wasm).and_then(|component| component.serialize());
    match compiled {
        Ok(code) => {
            artefact.write_all(&code)?;
            artefact.sync_all()?;
            Ok(Ok(info))
        }
        // The files are open: there is nothing but memory that the system could refuse.
        Err(error) if is_systems(&error) => Ok(Err(NotCompiled::Memory)),
        Err(error) => refused(format!("the module does not compile: {error:#}")),
    }
}

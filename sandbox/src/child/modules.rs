//! Compiled modules that this process has loaded, linked and ready to be instantiated.

use std::collections::{HashMap, hash_map::Entry};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasmtime::component::{Component, Linker};

use crate::classify::is_systems;
use crate::engine::{Engines, Profile};
use crate::host::{self, Host};
use crate::inspect::ModuleInfo;
use crate::ipc::CodeId;
use crate::process::CODE_DIR;
use crate::run::Module;

/// Modules that stay loaded. A process serves one requester, whose tasks use few modules; each takes address space, and memory
/// for the parts that were used.
pub(crate) const MODULES_MAX: usize = 8;

/// Why a module is not ready to run.
#[derive(Debug)]
pub(super) enum LoadError {
    /// The file is no code of this build's.
    Code(String),
    /// The module does not fit the interfaces. Compiling it anew changes nothing.
    Link(String),
    /// The system refused something.
    Host(String),
}

impl LoadError {
    fn of(error: &wasmtime::Error, otherwise: fn(String) -> Self) -> Self {
        let text = format!("{error:#}");
        match is_systems(error) {
            true => Self::Host(text),
            false => otherwise(text),
        }
    }
}

/// The modules, the one that was used last at the end.
pub(super) struct Modules {
    engines: Engines,
    /// One linker of each profile.
    linkers: HashMap<Profile, Linker<Host>>,
    code_dir: PathBuf,
    loaded: Vec<(CodeId, Arc<Module>)>,
}

impl Modules {
    pub(super) fn new(engines: &Engines, dir: &Path) -> Self {
        Self {
            engines: engines.clone(),
            linkers: HashMap::new(),
            code_dir: dir.join(CODE_DIR),
            loaded: Vec::new(),
        }
    }

    /// A profile's linker, made now if it was not before: some hundred host functions, for which a process that waits for its
    /// first run has the time.
    pub(super) fn linker(&mut self, profile: Profile) -> wasmtime::Result<&Linker<Host>> {
        Ok(match self.linkers.entry(profile) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(none) => none.insert(host::linker(&self.engines.of(profile).inner)?),
        })
    }

    /// The module that was compiled for a profile, loaded now if it was not before.
    pub(super) fn get(
        &mut self,
        id: CodeId,
        info: ModuleInfo,
        profile: Profile,
    ) -> Result<Arc<Module>, LoadError> {
        let found = self.loaded.iter().position(|(known, _)| *known == id);
        let module = match found {
            Some(at) => self.loaded.remove(at).1,
            None => Arc::new(self.load(id, info, profile)?),
        };
        if self.loaded.len() == MODULES_MAX {
            self.loaded.remove(0);
        }
        self.loaded.push((id, Arc::clone(&module)));
        Ok(module)
    }

    fn load(
        &mut self,
        id: CodeId,
        info: ModuleInfo,
        profile: Profile,
    ) -> Result<Module, LoadError> {
        let engine = self.engines.of(profile).clone();
        let path = self.code_dir.join(id.file_name());
        // SAFETY: loading compiled code is running it, and changing the file changes the program. The folder is this process's
        // own: its parent made it for its user alone and linked into it a file of its artefact store, which has the digest
        // that it had when a compiler process of this host wrote it (see `crate::cache`); landlock keeps this process, the
        // only other one with a way to it, from writing there. What a compiler that was taken over could have written is no
        // worse than a guest that was: it runs for the same module only, behind the same walls.
        let component = unsafe { Component::deserialize_file(&engine.inner, &path) };
        let component = component.map_err(|error| LoadError::of(&error, LoadError::Code))?;
        let linker = self.linker(profile);
        let linker = linker.map_err(|error| LoadError::Host(format!("{error:#}")))?;
        let pre = linker.instantiate_pre(&component);
        let pre = pre.map_err(|error| LoadError::of(&error, LoadError::Link))?;
        Ok(Module::new(engine, pre, info))
    }
}

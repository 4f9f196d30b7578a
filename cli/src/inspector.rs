//! Tells the API what a module is: the sandbox knows.

use std::borrow::Cow;

use aevir_api::{InspectError, Inspected, ModuleInspector};
use aevir_platform::command::World;
use aevir_sandbox::InspectError as Refusal;
use async_trait::async_trait;
use bytes::Bytes;

/// Looks into modules with the code that will run them.
#[derive(Debug)]
pub(crate) struct SandboxInspector;

#[async_trait]
impl ModuleInspector for SandboxInspector {
    async fn inspect(&self, wasm: Bytes) -> Result<Inspected, InspectError> {
        // Linear in the size, but 64 MiB take a while.
        let prepared = tokio::task::spawn_blocking(move || {
            let upload = aevir_sandbox::prepare_upload(&wasm)?;
            let adapted = match upload.component {
                Cow::Owned(component) => Some(Bytes::from(component)),
                Cow::Borrowed(_) => None,
            };
            Ok((upload.info, adapted))
        });
        let (info, adapted) = prepared
            .await
            .map_err(|error| InspectError::Unavailable(format!("the inspection failed: {error}")))?
            .map_err(refusal)?;
        let world = match info.world {
            // A program runs as a task does; what it is called by stands in the component.
            aevir_sandbox::World::Task | aevir_sandbox::World::Program => World::Task,
            aevir_sandbox::World::Check => World::Check,
            aevir_sandbox::World::Comparator => World::Comparator,
        };
        Ok(Inspected {
            world,
            imports: info.imports,
            adapted,
        })
    }
}

fn refusal(refusal: Refusal) -> InspectError {
    let text = refusal.to_string();
    match refusal {
        Refusal::CoreModule | Refusal::NotWasm | Refusal::NotAdaptable(_) | Refusal::Invalid(_) => {
            InspectError::NotAComponent(text)
        }
        Refusal::UnknownImport(_)
        | Refusal::ForeignCoreImport(_)
        | Refusal::UnknownFunction { .. }
        | Refusal::WrongImport(_)
        | Refusal::ComputeOutsideTask(_)
        | Refusal::StringsBetweenParts => InspectError::ForbiddenImport(text),
        Refusal::NoWorld | Refusal::TwoWorlds | Refusal::WrongType(..) => {
            InspectError::WrongWorld(text)
        }
        Refusal::TooLarge { .. } | Refusal::TooComplex(_) => InspectError::TooComplex(text),
    }
}

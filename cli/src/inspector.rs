//! Tells the API what a module is: the sandbox knows.

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
        let inspected = tokio::task::spawn_blocking(move || aevir_sandbox::inspect(&wasm)).await;
        let info = inspected
            .map_err(|error| InspectError::Unavailable(format!("the inspection failed: {error}")))?
            .map_err(refusal)?;
        let world = match info.world {
            aevir_sandbox::World::Task => World::Task,
            aevir_sandbox::World::Check => World::Check,
            aevir_sandbox::World::Comparator => World::Comparator,
        };
        Ok(Inspected {
            world,
            imports: info.imports,
        })
    }
}

fn refusal(refusal: Refusal) -> InspectError {
    let text = refusal.to_string();
    match refusal {
        Refusal::CoreModule | Refusal::NotWasm | Refusal::Invalid(_) => {
            InspectError::NotAComponent(text)
        }
        Refusal::UnknownImport(_)
        | Refusal::UnknownFunction { .. }
        | Refusal::ComputeOutsideTask(_) => InspectError::ForbiddenImport(text),
        Refusal::NoWorld | Refusal::TwoWorlds | Refusal::WrongType(..) => {
            InspectError::WrongWorld(text)
        }
        Refusal::TooLarge { .. } => InspectError::TooComplex(text),
    }
}

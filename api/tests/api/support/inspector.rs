//! An inspector that believes what a module's text says.

use aevir_api::{InspectError, Inspected, ModuleInspector};
use aevir_platform::command::World;
use async_trait::async_trait;
use bytes::Bytes;

/// Takes what begins with a world's name and the word `module`.
pub(super) struct FakeInspector;

#[async_trait]
impl ModuleInspector for FakeInspector {
    async fn inspect(&self, wasm: Bytes) -> Result<Inspected, InspectError> {
        let text = String::from_utf8_lossy(&wasm).into_owned();
        let world = match text.split_once(" module") {
            Some(("task", _)) => World::Task,
            Some(("check", _)) => World::Check,
            Some(("forbidden", _)) => return Err(InspectError::ForbiddenImport(text)),
            Some(("other", _)) => return Err(InspectError::WrongWorld(text)),
            Some(("endless", _)) => return Err(InspectError::TooComplex(text)),
            Some(("unlucky", _)) => return Err(InspectError::Unavailable(text)),
            Some(_) | None => return Err(InspectError::NotAComponent("it is no component".into())),
        };
        let imports = vec!["aevir:task/context@1.0.0".into()];
        Ok(Inspected {
            world,
            imports,
            adapted: None,
        })
    }
}

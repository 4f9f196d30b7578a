//! An inspector that believes what a module's text says.

use std::sync::atomic::{AtomicUsize, Ordering};

use aevir_api::{InspectError, Inspected, Inspection, ModuleInspector};
use aevir_platform::command::World;
use async_trait::async_trait;
use bytes::Bytes;

/// Processor time that each module takes, and one whose text says that it is slow, in ms.
const CPU_MS: u64 = 1_000;
const SLOW_CPU_MS: u64 = 700_000;

/// Takes what begins with a world's name and the word `module`. Its refusals and imports say how many it judged before.
#[derive(Debug, Default)]
pub(super) struct FakeInspector {
    judged: AtomicUsize,
}

#[async_trait]
impl ModuleInspector for FakeInspector {
    async fn inspect(&self, wasm: Bytes) -> Inspection {
        let before = self.judged.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&wasm).into_owned();
        let is_slow = text.contains("slow");
        Inspection {
            verdict: judge(text, before),
            cpu_ms: if is_slow { SLOW_CPU_MS } else { CPU_MS },
        }
    }
}

fn judge(text: String, before: usize) -> Result<Inspected, InspectError> {
    let world = match text.split_once(" module") {
        Some(("task", _)) => World::Task,
        Some(("check", _)) => World::Check,
        Some(("forbidden", _)) => return Err(InspectError::ForbiddenImport(text)),
        Some(("other", _)) => return Err(InspectError::WrongWorld(text)),
        Some(("endless", _)) => {
            let text = format!("refused after {before} others");
            return Err(InspectError::TooComplex(text));
        }
        Some(("heavy", _)) => {
            let text = format!("too heavy after {before} others");
            return Err(InspectError::TooHeavy(text));
        }
        Some(("breaking", _)) => return Err(InspectError::BreaksCompiler(text)),
        Some(("unlucky", _)) => {
            let text = format!("not judged after {before} others");
            return Err(InspectError::Unavailable(text));
        }
        Some(("program", _)) => {
            return Ok(Inspected {
                world: World::Task,
                imports: vec![format!("judged after {before} others")],
                compile_mib: 320,
                adapted: Some(Bytes::from(text.replace("program", "task"))),
            });
        }
        Some(_) | None => return Err(InspectError::NotAComponent("it is no component".into())),
    };
    Ok(Inspected {
        world,
        imports: vec!["aevir:task/context@1.0.0".into()],
        compile_mib: 320,
        adapted: None,
    })
}

//! Whether the parts of a composed component pass each other strings, which no fuel pays for.
//!
//! A call from one part to another goes through an adapter that the runtime makes. Lists and records are moved by its code, which is metered
//! like any other; strings are moved, checked and turned into the other part's encoding by the runtime itself, for nothing: a call of 88
//! units had it turn 32 MiB of UTF-16 into UTF-8, for 75 ms. No price can be put on it, so such a component is refused.
//!
//! The runtime's own translator says which adapters there are going to be. It is asked only of components of several parts.

use wasmparser::{Validator, WasmFeatures};
use wasmtime_environ::component::{ComponentTypesBuilder, Trampoline, Translator};
use wasmtime_environ::{ScopeVec, Tunables};

/// Whether any string passes from one part to another, in a component that is valid.
///
/// # Errors
/// What the translator says to a component that it does not take.
pub(crate) fn passes_strings(component: &[u8], features: WasmFeatures) -> Result<bool, String> {
    let scope = ScopeVec::new();
    let tunables = Tunables::default_host();
    let mut validator = Validator::new_with_features(features);
    let mut types = ComponentTypesBuilder::new(&validator);
    let translator = Translator::new(&tunables, &mut validator, &mut types, &scope);
    let (translation, _) = translator
        .translate(component)
        .map_err(|error| format!("{error:#}"))?;
    Ok(translation
        .trampolines
        .values()
        .any(|trampoline| matches!(trampoline, Trampoline::Transcoder { .. })))
}

//! A guest for a WGSL case, written out as text: it compiles the kernel, makes the buffers, dispatches, and answers the first
//! word of the last buffer.

use serde::Deserialize;

use crate::support::hostile_template;

/// How a WGSL case is run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dispatch {
    /// The entry point.
    #[serde(default = "main_entry")]
    pub entry: String,
    /// Bytes of each buffer of group 0, in the order of the bindings.
    pub buffers: Vec<u64>,
    /// Words written to the beginning of the first buffer before the dispatch.
    #[serde(default)]
    pub words: Vec<u32>,
    pub groups: [u32; 3],
    /// How often the batch is dispatched and submitted.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Repeats the kernel's text so often: sources too long to be checked in.
    #[serde(default = "once")]
    pub source_times: u32,
}

fn main_entry() -> String {
    "main".into()
}

fn once() -> u32 {
    1
}

/// Where the guest's memory holds what.
const ENTRY_AT: usize = 8 * 1024;
const WORDS_AT: usize = 16 * 1024;
const HANDLES_AT: usize = 32 * 1024;
const SOURCE_AT: usize = 16 * 1024 * 1024;

/// The component's text.
pub(crate) fn guest(dispatch: &Dispatch, wgsl: &str) -> String {
    let wgsl = wgsl.repeat(dispatch.source_times as usize);
    let words: Vec<u8> = dispatch
        .words
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let mut code = format!(
        "(data (i32.const {ENTRY_AT}) \"{}\") (data (i32.const {WORDS_AT}) \"{}\") (data (i32.const {SOURCE_AT}) \"{}\")
         (func $attack (result i32) (local $kernel i32) (local $batch i32) (local $round i32) (block $stop
         (call $new-kernel (i32.const {SOURCE_AT}) (i32.const {}) (i32.const {ENTRY_AT}) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 64))
         (br_if $stop (call $failed)) (local.set $kernel (i32.load (i32.const 68)))\n",
        escape(dispatch.entry.as_bytes()),
        escape(&words),
        escape(wgsl.as_bytes()),
        wgsl.len(),
        dispatch.entry.len(),
    );
    for (i, size) in dispatch.buffers.iter().enumerate() {
        let at = HANDLES_AT + 4 * i;
        // The handle stands behind the result's tag.
        code += &format!(
            "(call $new-buffer (i64.const {size}) (i32.const 64)) (br_if $stop (call $failed))
             (i32.store (i32.const {at}) (i32.load (i32.const 68)))\n"
        );
    }
    if !words.is_empty() {
        code += &format!(
            "(call $write (i32.load (i32.const {HANDLES_AT})) (i64.const 0) (i32.const {WORDS_AT}) (i32.const {})
             (i32.const 64)) (br_if $stop (call $failed))\n",
            words.len()
        );
    }
    let [x, y, z] = dispatch.groups;
    let count = dispatch.buffers.len();
    code += &format!(
        "(loop $again
         (call $new-batch (i32.const 64)) (br_if $stop (call $failed)) (local.set $batch (i32.load (i32.const 68)))
         (call $dispatch (local.get $batch) (local.get $kernel) (i32.const {HANDLES_AT}) (i32.const {count})
           (i32.const {x}) (i32.const {y}) (i32.const {z}) (i32.const 64)) (br_if $stop (call $failed))
         (call $submit (local.get $batch) (i32.const 64)) (br_if $stop (call $failed))
         (local.set $round (i32.add (local.get $round) (i32.const 1)))
         (br_if $again (i32.lt_u (local.get $round) (i32.const {}))))\n",
        dispatch.repeat
    );
    if count > 0 {
        let last = HANDLES_AT + 4 * (count - 1);
        code += &format!(
            "(call $read (i32.load (i32.const {last})) (i64.const 0) (i32.const 4) (i32.const 64)) (br_if $stop (call $failed))
             (call $answer (i32.load (i32.load (i32.const 68))))\n"
        );
    }
    code += "(return (i32.const 0))) (i32.const 1))";
    hostile_template("kernel", &code, "")
}

/// A text as the content of a WAT string.
fn escape(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

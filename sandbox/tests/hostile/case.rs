//! The cases' files: a module or kernel, what is expected of it, and what it may cost.

use std::fs;
use std::path::{Path, PathBuf};

use aevir_sandbox::{Executor, Limits, TrapKind, Tuning};
use serde::Deserialize;

use crate::generators;
use crate::kernel::{self, Dispatch};
use crate::support::{Bench, hostile_template};

/// A case's head: TOML, in the comments at the beginning of its file (`;;!` in WAT, `//!` in WGSL), or a whole `.toml` file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    /// The attack, in a sentence.
    what: String,
    /// WAT: the file of `templates/` whose `;;BODY` the text replaces; without one the text is a whole module.
    template: Option<String>,
    /// WAT: instructions for the template's `;;REALLOC`, run whenever the host asks the guest for room.
    #[serde(default)]
    realloc: String,
    /// TOML: what makes the modules.
    generator: Option<Generator>,
    /// WGSL: how the kernel is run.
    dispatch: Option<Dispatch>,
    /// The task's `params`.
    #[serde(default = "empty_object")]
    params: String,
    /// The task asks for a GPU.
    #[serde(default)]
    gpu: bool,
    /// Inputs by name: their length; the bytes are zeroes.
    #[serde(default)]
    inputs: std::collections::BTreeMap<String, usize>,
    /// So many empty inputs beside them, `many/0`, `many/1` and so on.
    #[serde(default)]
    many_inputs: usize,
    /// The case that the same executor has run just before.
    after: Option<String>,
    /// MiB that the process may take beside what the limits grant; the default is a node's.
    host_mib: Option<u64>,
    /// Limits other than the defaults.
    #[serde(default)]
    limits: Limits,
    expect: Expect,
    #[serde(default)]
    bounds: Bounds,
}

fn empty_object() -> String {
    "{}".into()
}

/// A named function of `generators.rs` and its arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generator {
    pub name: String,
    /// How large the attack is; what it counts is the generator's.
    #[serde(default)]
    pub size: usize,
    /// How many modules are made.
    #[serde(default = "one")]
    pub count: usize,
    /// Where the randomness begins.
    #[serde(default)]
    pub seed: u64,
}

fn one() -> usize {
    1
}

/// What must happen.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// What an upload is told.
    #[serde(default)]
    pub upload: Upload,
    /// A part of the refusal.
    #[serde(default)]
    pub upload_says: String,
    /// How a run ends.
    pub end: Ended,
    /// Of `trap`: its class.
    pub kind: Option<TrapKind>,
    /// Of `limit`: its name.
    pub limit: Option<String>,
    /// Of `limit`: its value.
    pub value: Option<u64>,
    /// Of `ok`: the inline result.
    pub result: Option<String>,
    /// A part of the text of a guest error or trap.
    #[serde(default)]
    pub says: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Upload {
    /// The module is a good one; what it does shows when it runs.
    #[default]
    Accepted,
    /// Refused, saying why.
    Refused,
    /// Families of modules of which some are good.
    Either,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    Ok,
    GuestError,
    Trap,
    Limit,
    /// Any of these: families of modules that end differently.
    Contained,
}

/// What a case may cost. The defaults hold for attacks that should come to nothing.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bounds {
    /// Milliseconds of the judgement at upload, with starting its process and compiling.
    pub upload_ms: u64,
    /// MiB resident at once in the process that judges.
    pub upload_mib: u64,
    /// Milliseconds from the request to the outcome, with starting a process and compiling.
    pub run_ms: u64,
    /// MiB resident at once in all executor processes together.
    pub peak_mib: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            upload_ms: 5_000,
            upload_mib: 160,
            run_ms: 5_000,
            peak_mib: 160,
        }
    }
}

/// A case of the corpus.
pub(crate) struct Case {
    pub name: String,
    pub expect: Expect,
    pub bounds: Bounds,
    head: Head,
    body: String,
}

impl Case {
    /// All cases, by name.
    pub(crate) fn all() -> Vec<Self> {
        let folder = folder().join("cases");
        let files = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        assert!(!files.is_empty(), "no case in {}", folder.display());
        files.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        let (mark, whole) = match &*extension {
            "wat" => (";;!", false),
            "wgsl" => ("//!", false),
            "toml" => ("", true),
            _ => panic!("{}: a case is .wat, .wgsl or .toml", path.display()),
        };
        let (head, body) = if whole {
            (text, String::new())
        } else {
            let is_head = |line: &&str| line.starts_with(mark);
            let head: Vec<_> = text.lines().take_while(is_head).collect();
            let body: Vec<_> = text.lines().skip(head.len()).collect();
            let head: Vec<_> = head.iter().map(|line| &line[mark.len()..]).collect();
            (head.join("\n"), body.join("\n"))
        };
        let head: Head =
            toml::from_str(&head).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!head.what.is_empty(), "{}: say what it is", path.display());
        Self {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            expect: head.expect.clone(),
            bounds: head.bounds,
            body,
            head,
        }
    }

    /// The case that comes before this one on the same executor, if one does.
    pub(crate) fn before(&self) -> Option<Self> {
        let name = self.head.after.as_ref()?;
        Some(Self::read(&folder().join("cases").join(name)))
    }

    /// The modules, each with a name for messages.
    pub(crate) fn modules(&self) -> Vec<(String, Vec<u8>)> {
        if let Some(generator) = &self.head.generator {
            return generators::modules(generator);
        }
        let text = match (&self.head.dispatch, &self.head.template) {
            (Some(dispatch), None) => kernel::guest(dispatch, &self.body),
            (None, Some(name)) => hostile_template(name, &self.body, &self.head.realloc),
            (None, None) => self.body.clone(),
            (Some(_), Some(_)) => panic!("{}: a kernel has no template", self.name),
        };
        let module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        vec![(self.name.clone(), module)]
    }

    /// Gives a run what the case says.
    pub(crate) fn prepare(&self, bench: &mut Bench) {
        bench.spec.params.clone_from(&self.head.params);
        bench.spec.limits = self.head.limits.clone();
        bench.spec.gpu = self.head.gpu || self.head.dispatch.is_some();
        if let Some(mib) = self.head.host_mib {
            let tuning = Tuning {
                host_bytes_max: mib << 20,
                ..Tuning::default()
            };
            bench.executor = Executor::tuned(bench.config(), tuning);
        }
        for (name, len) in &self.head.inputs {
            bench.add_input(name, &vec![0; *len]);
        }
        for number in 0..self.head.many_inputs {
            bench.add_input(&format!("many/{number}"), &[]);
        }
    }
}

/// `sandbox/tests/hostile`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile")
}

//! What a local run takes from a task definition.
//!
//! Read as strictly as the platform reads it, and judged by the platform's own rules; but what does not concern the run may be left out, and
//! a manifest whose `@name`s stand for things on a platform works as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use aevir_platform::{
    definition::{
        DataInput, DataSource, Dependency, Limits as TaskLimits, Runtime, TaskDefinition,
    },
    validate,
};
use aevir_sandbox::{Input, Limits, Profile};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::manifest::{self, Named};

const MIB: u64 = 1024 * 1024;
/// Most bytes of a task definition: the platform takes no longer request.
const DEFINITION_BYTES_MAX: u64 = 4 * MIB;

/// What was given beside the definition.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) inputs: Vec<(String, PathBuf)>,
    pub(super) seed: Option<u64>,
}

/// A run's part of a definition.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) params: String,
    pub(super) seed: u64,
    pub(super) inputs: Vec<Input>,
    pub(super) limits: Limits,
    pub(super) gpu: bool,
    pub(super) profile: Profile,
}

/// What stands between the two parts of the name of an input that a check or comparator gets from the platform, such as `a/model.bin`: no task
/// can define one of such a name.
pub(super) const PART: char = '/';

/// Reads `file`; inline inputs are written below `folder`.
pub(super) fn read(file: Option<&Path>, given: &Given, folder: &Path) -> Result<Local> {
    let definition = match file {
        None => json!({}),
        Some(file) => {
            let named = || format!("`{}` can't be read as a task definition", file.display());
            let mut text = String::new();
            let opened = File::open(file).with_context(named)?;
            let mut bounded = opened.take(DEFINITION_BYTES_MAX + 1);
            bounded.read_to_string(&mut text).with_context(named)?;
            ensure!(
                text.len() as u64 <= DEFINITION_BYTES_MAX,
                "`{}` is no task definition: it is longer than {DEFINITION_BYTES_MAX} bytes",
                file.display()
            );
            serde_json::from_str(&text).with_context(named)?
        }
    };
    ensure!(definition.is_object(), "a task definition is a JSON object");
    let mut definition = typed(definition).context("the task definition is not valid")?;
    // A base model's files are inputs under names that only its registration knows.
    let base = definition
        .model
        .as_ref()
        .is_some_and(|model| model.base.is_some());
    let (judged, own): (Vec<_>, Vec<_>) = given
        .inputs
        .iter()
        .cloned()
        .partition(|(name, _)| name.contains(PART));
    add_given(&mut definition, &own, file.is_none() || base)?;
    validate(&definition).context("the task definition is not valid")?;
    let TaskLimits {
        fuel,
        memory_mib,
        runtime_s,
        output_mib,
    } = definition.limits;
    let mut granted = Limits::for_task(fuel.0, memory_mib, runtime_s, output_mib);
    if let Some(gpu) = &definition.qos.gpu {
        granted = granted.with_gpu(gpu.memory_mib, gpu.buffer_mib, &gpu.features);
    }
    let mut inputs = inputs(&definition, &own, folder)?;
    for (name, path) in judged {
        inputs.push(input(&name, path)?);
    }
    let defined = definition.seed.as_ref().map_or(0, |seed| seed.0);
    Ok(Local {
        params: definition.params.text().to_owned(),
        seed: given.seed.unwrap_or(defined),
        inputs,
        limits: granted,
        gpu: definition.qos.gpu.is_some(),
        profile: match definition.runtime {
            Runtime::Reproducible => Profile::Deterministic,
            Runtime::Fast => Profile::Fast,
        },
    })
}

/// The definition as the platform reads it, to the last field. What a local run does not need may be left out or stand there as `@name`.
fn typed(mut definition: Value) -> Result<TaskDefinition> {
    let nothing = "0".repeat(64);
    for (field, value) in [
        ("type", json!("data-processing")),
        ("module", json!(nothing)),
        (
            "economics",
            json!({"budget": "0", "pricing": {"mode": "fixed", "price": "0"}}),
        ),
    ] {
        let place = &mut definition[field];
        if place.is_null() {
            *place = value;
        }
    }
    manifest::resolve(&mut definition, |kind, _| {
        Some(match kind {
            Named::Module => nothing.clone(),
            Named::Content | Named::Task => "0".repeat(26),
        })
    })?;
    Ok(serde_json::from_value(definition)?)
}

/// Adds the inputs that only the command line names, where the definition may have more than it says.
fn add_given(
    definition: &mut TaskDefinition,
    given: &[(String, PathBuf)],
    may_have_more: bool,
) -> Result<()> {
    let known: BTreeSet<_> = names(definition).map(str::to_owned).collect();
    let mut seen = BTreeSet::new();
    for (name, _) in given {
        ensure!(seen.insert(name), "`--input {name}=` is given twice");
        if known.contains(name) {
            continue;
        }
        if !may_have_more {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            bail!(
                "the definition has no input `{name}`; it has: {}",
                known.join(", ")
            );
        }
        definition.data.push(DataInput {
            name: name.clone(),
            from: DataSource::Inline(String::new()),
        });
    }
    Ok(())
}

/// The names of all inputs.
fn names(definition: &TaskDefinition) -> impl Iterator<Item = &str> {
    let data = definition.data.iter().map(|input| input.name.as_str());
    data.chain(
        definition
            .depends_on
            .iter()
            .filter_map(Dependency::input_name),
    )
}

fn inputs(
    definition: &TaskDefinition,
    given: &[(String, PathBuf)],
    folder: &Path,
) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    let mut missing = Vec::new();
    let inline: BTreeMap<_, _> = definition
        .data
        .iter()
        .filter_map(|data| match &data.from {
            DataSource::Inline(text) => Some((data.name.as_str(), text)),
            DataSource::Content { .. } | DataSource::Blob(_) => None,
        })
        .collect();
    for name in names(definition) {
        let path = given.iter().find(|(given, _)| given == name);
        let path = match (path, inline.get(name)) {
            (Some((_, path)), _) => path.clone(),
            (None, Some(text)) => {
                let path = folder.join(format!("inline-{}", inputs.len()));
                fs::write(&path, text)?;
                path
            }
            (None, None) => {
                missing.push(name);
                continue;
            }
        };
        inputs.push(input(name, path)?);
    }
    ensure!(
        missing.is_empty(),
        "the definition takes {} from elsewhere: say where they are with {}",
        missing.join(", "),
        missing
            .iter()
            .map(|name| format!("--input {name}=PATH"))
            .collect::<Vec<_>>()
            .join(" ")
    );
    Ok(inputs)
}

fn input(name: &str, path: PathBuf) -> Result<Input> {
    let metadata = fs::metadata(&path)
        .with_context(|| format!("the input `{name}` ({}) can't be read", path.display()))?;
    ensure!(
        metadata.is_file(),
        "the input `{name}` ({}) is no file",
        path.display()
    );
    Ok(Input {
        name: name.to_owned(),
        size: metadata.len(),
        path,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_value(definition: &Value, given: &Given) -> Result<Local, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("task.json");
        fs::write(&file, definition.to_string()).unwrap();
        read(Some(&file), given, folder.path()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_definitions_runtime_is_the_runs() {
        let given = Given {
            inputs: Vec::new(),
            seed: None,
        };
        let profile = |definition| read_value(&definition, &given).map(|local| local.profile);
        assert_eq!(profile(json!({})), Ok(Profile::Deterministic));
        assert_eq!(profile(json!({"runtime": "fast/1"})), Ok(Profile::Fast));
    }

    /// What a run may save, a platform keeps: neither crate knows of the other.
    #[test]
    fn a_runs_checkpoints_have_the_room_that_a_task_has() {
        use aevir_platform::{CHECKPOINT_BYTES_MAX, state::TASK_CHECKPOINT_BYTES_MAX};
        let granted = aevir_sandbox::Limits::for_task(1, 1, 1, 1);
        assert_eq!(granted.checkpoint_bytes, CHECKPOINT_BYTES_MAX);
        assert_eq!(granted.checkpoint_total_bytes, TASK_CHECKPOINT_BYTES_MAX);
    }

    /// What a platform takes, a node's sandbox grants: else an honest node would fail at what its requester may ask.
    #[test]
    fn the_most_that_a_definition_may_ask_is_granted() {
        use aevir_platform::definition::GPU_FEATURES;
        let mut known: Vec<_> = aevir_gpu::features::names().collect();
        known.sort_unstable();
        let mut asked = GPU_FEATURES;
        asked.sort_unstable();
        assert_eq!(known, asked);
        let most = |field: &str, value: u64| {
            let mut definition = json!({"limits": {}, "qos": {"gpu": {"features": GPU_FEATURES}}});
            let (object, name) = field.rsplit_once('/').unwrap();
            definition.pointer_mut(object).unwrap()[name] = match name {
                "fuel" => json!(value.to_string()),
                _ => json!(value),
            };
            read_value(&definition, &Given::default())
        };
        for (field, largest) in [
            ("/limits/fuel", 1_000_000_000_000_000),
            ("/limits/memory_mib", 4_096),
            ("/limits/output_mib", 1 << 16),
            ("/limits/runtime_s", 86_400),
            ("/qos/gpu/memory_mib", 1 << 20),
            ("/qos/gpu/buffer_mib", 4_095),
        ] {
            let local = most(field, largest).unwrap();
            assert_eq!(local.limits.check(), Ok(()), "{field}");
            assert_eq!(local.limits.gpu.check(), Ok(()), "{field}");
            let error = most(field, largest + 1).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_definition_gives_params_seed_limits_gpu_and_inline_inputs() {
        let definition = json!({
            "module": "@anything", "params": {"b": 1, "a": 2}, "seed": "7",
            "data": [{"name": "note", "from": {"inline": "text"}}],
            "limits": {"fuel": "5", "runtime_s": 3, "memory_mib": 2, "output_mib": 1},
            "qos": {"gpu": {"memory_mib": 4}},
        });
        let local = read_value(&definition, &Given::default()).unwrap();
        assert_eq!((local.params.as_str(), local.seed), (r#"{"a":2,"b":1}"#, 7));
        assert_eq!(
            (local.inputs[0].name.as_str(), local.inputs[0].size),
            ("note", 4)
        );
        assert_eq!((local.limits.fuel, local.limits.wall_ms), (5, 3_000));
        assert_eq!(local.limits.memory_bytes, 2 * MIB);
        assert_eq!((local.gpu, local.limits.gpu.memory_bytes), (true, 4 * MIB));
    }

    #[test]
    fn what_is_missing_or_too_much_is_said_with_what_to_do() {
        let from_elsewhere = json!({
            "data": [{"name": "digits", "from": {"content": {"id": "@digits"}}}],
            "depends_on": [{"task": "@prepare", "output": "train", "as": "set"}],
        });
        let error = read_value(&from_elsewhere, &Given::default()).unwrap_err();
        assert!(
            error.contains("--input digits=PATH --input set=PATH"),
            "{error}"
        );
        let given = Given {
            inputs: vec![("other".into(), "/etc/hostname".into())],
            seed: None,
        };
        let error = read_value(&json!({}), &given).unwrap_err();
        assert!(error.contains("no input `other`"), "{error}");
        for (definition, text) in [
            (json!({"limits": {"fule": "1"}}), "`fule`"),
            (json!({"seed": 7}), "expected"),
            (json!([]), "JSON object"),
            (json!({"parms": {}}), "`parms`"),
            (json!({"data": {}}), "expected a sequence"),
            (json!({"depends_on": 7}), "expected a sequence"),
            (json!({"limit": {}}), "`limit`"),
            (
                json!({"data": [{"name": "../../x y", "from": {"inline": ""}}]}),
                "is no input name",
            ),
            (
                json!({"data": [{"name": "a", "from": {"inline": ""}}, {"name": "a", "from": {"inline": ""}}]}),
                "two inputs are named `a`",
            ),
            (json!({"params": {"x": "x".repeat(16 * 1024)}}), "/params"),
            (
                json!({"limits": {"fuel": "1000000000000001"}}),
                "/limits/fuel",
            ),
            (
                json!({"limits": {"runtime_s": 90_000}}),
                "/limits/runtime_s",
            ),
        ] {
            let error = read_value(&definition, &Given::default()).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}

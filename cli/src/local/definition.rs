//! What a local run takes from a task definition.
//!
//! Only what concerns the run is read, so that a manifest whose `@name`s stand for things on a platform works as it is; what is read
//! is read as strictly as the platform does.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use aevir_platform::definition::{GpuNeed, Limits as TaskLimits};
use aevir_sandbox::{Input, Limits};
use aevir_wire::canonical;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

const MIB: u64 = 1024 * 1024;

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
}

/// Reads `file`; inline inputs are written below `folder`.
pub(super) fn read(file: Option<&Path>, given: &Given, folder: &Path) -> Result<Local> {
    let definition = match file {
        None => Value::Object(serde_json::Map::new()),
        Some(file) => {
            let named = || format!("`{}` can't be read as a task definition", file.display());
            let text = fs::read_to_string(file).with_context(named)?;
            serde_json::from_str(&text).with_context(named)?
        }
    };
    ensure!(definition.is_object(), "a task definition is a JSON object");
    let limits: TaskLimits = part(&definition, "/limits")?.unwrap_or_default();
    let gpu: Option<GpuNeed> = part(&definition, "/qos/gpu")?;
    let mut granted = Limits::for_task(
        limits.fuel.0,
        limits.memory_mib,
        limits.runtime_s,
        limits.output_mib,
    );
    if let Some(gpu) = &gpu {
        granted.gpu.memory_bytes = u64::from(gpu.memory_mib) * MIB;
        granted.gpu.features.clone_from(&gpu.features);
    }
    Ok(Local {
        params: String::from_utf8(canonical(&definition["params"])?)?,
        seed: seed(&definition, given)?,
        inputs: inputs(&definition, file.is_some(), given, folder)?,
        limits: granted,
        gpu: gpu.is_some(),
    })
}

/// A part of the definition, if it is there.
fn part<T: DeserializeOwned>(definition: &Value, pointer: &str) -> Result<Option<T>> {
    let value = definition.pointer(pointer).filter(|value| !value.is_null());
    let parsed = value.map(|value| serde_json::from_value(value.clone()));
    parsed
        .transpose()
        .with_context(|| format!("the definition's `{pointer}` is not valid"))
}

fn seed(definition: &Value, given: &Given) -> Result<u64> {
    if let Some(seed) = given.seed {
        return Ok(seed);
    }
    let seed = &definition["seed"];
    if seed.is_null() {
        return Ok(0);
    }
    let parsed = seed.as_str().and_then(|text| text.parse().ok());
    parsed.context("the definition's `/seed` is not a whole number in quotes")
}

fn inputs(
    definition: &Value,
    has_definition: bool,
    given: &Given,
    folder: &Path,
) -> Result<Vec<Input>> {
    let mut names = BTreeSet::new();
    let mut inputs = Vec::new();
    let mut missing = Vec::new();
    let mut add = |name: &str, inline: Option<&str>| -> Result<()> {
        ensure!(
            names.insert(name.to_owned()),
            "the definition has two inputs named `{name}`"
        );
        let path = given.inputs.iter().find(|(given, _)| given == name);
        let path = match (path, inline) {
            (Some((_, path)), _) => path.clone(),
            (None, Some(text)) => {
                let path = folder.join(format!("inline-{}", inputs.len()));
                fs::write(&path, text)?;
                path
            }
            (None, None) => {
                missing.push(name.to_owned());
                return Ok(());
            }
        };
        inputs.push(input(name, path)?);
        Ok(())
    };
    for (index, data) in array(definition, "data").enumerate() {
        let name = data["name"]
            .as_str()
            .ok_or_else(|| anyhow!("the definition's `/data/{index}/name` is missing"))?;
        add(name, data["from"]["inline"].as_str())?;
    }
    for dependency in array(definition, "depends_on") {
        let name = dependency["as"].as_str();
        if let Some(name) = name.or_else(|| dependency["output"].as_str()) {
            add(name, None)?;
        }
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
    // A base model's files are inputs under names that only its registration knows.
    let may_have_more = !has_definition || !definition["model"]["base"].is_null();
    for (name, path) in &given.inputs {
        if names.contains(name) {
            continue;
        }
        if !may_have_more {
            let known: Vec<_> = names.iter().map(String::as_str).collect();
            bail!(
                "the definition has no input `{name}`; it has: {}",
                known.join(", ")
            );
        }
        inputs.push(input(name, path.clone())?);
    }
    Ok(inputs)
}

fn array<'a>(definition: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    definition[field].as_array().into_iter().flatten()
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
    use serde_json::json;

    use super::*;

    fn read_value(definition: &Value, given: &Given) -> Result<Local, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("task.json");
        fs::write(&file, definition.to_string()).unwrap();
        read(Some(&file), given, folder.path()).map_err(|error| format!("{error:#}"))
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
            (json!({"limits": {"fule": "1"}}), "`/limits` is not valid"),
            (json!({"seed": 7}), "`/seed`"),
            (json!([]), "JSON object"),
        ] {
            let error = read_value(&definition, &Given::default()).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}

//! `aevir log schemas`: the JSON Schema of every event version, from the program itself; no platform is asked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aevir_platform::schemas::{self, EventSchema};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    args::{Global, Output},
    output::{print, table},
};

#[derive(Debug, Args)]
pub(crate) struct SchemasArgs {
    /// Show the schema of this event type, such as `task.created`; without it, list all types and versions.
    event: Option<String>,
    /// An earlier version of it [default: the newest].
    #[arg(long, requires = "event")]
    version: Option<u16>,
    /// Write them into this folder instead, as `<type>.v<version>.json`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &SchemasArgs, global: &Global) -> Result<()> {
    let chosen = choose(args.event.as_deref(), args.version)?;
    if let Some(folder) = &args.out {
        write(&chosen, folder)?;
        let document = json!({"folder": folder.display().to_string(), "schemas": chosen.len()});
        return print(global.output, &document, || {
            format!("{} schemas written to {}", chosen.len(), folder.display())
        });
    }
    match (&args.event, chosen.as_slice()) {
        (Some(_), [schema]) => {
            print!("{}", schema.text);
            Ok(())
        }
        _ => list(&chosen, global.output),
    }
}

/// All schemas, or the one that is asked for.
fn choose(event: Option<&str>, version: Option<u16>) -> Result<Vec<&'static EventSchema>> {
    let Some(event) = event else {
        return Ok(schemas::all().iter().collect());
    };
    let versions: Vec<_> = schemas::all().iter().filter(|s| s.label == event).collect();
    let Some(newest) = versions.last() else {
        bail!("there is no event type `{event}`: `aevir log schemas` lists them");
    };
    let wanted = version.unwrap_or(newest.version);
    match versions.iter().find(|s| s.version == wanted) {
        Some(schema) => Ok(vec![schema]),
        None => bail!("`{event}` has versions 1 to {}", newest.version),
    }
}

fn write(chosen: &[&EventSchema], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("`{}` can't be made", folder.display()))?;
    for schema in chosen {
        let file = folder.join(format!("{}.v{}.json", schema.label, schema.version));
        fs::write(&file, schema.text)
            .with_context(|| format!("`{}` can't be written", file.display()))?;
    }
    Ok(())
}

fn list(chosen: &[&EventSchema], output: Output) -> Result<()> {
    let rows: Vec<(&EventSchema, String)> = chosen
        .iter()
        .map(|schema| Ok((*schema, description(schema)?)))
        .collect::<Result<_>>()?;
    let document: Vec<Value> = rows
        .iter()
        .map(|(schema, text)| json!({"type": schema.label, "version": schema.version, "description": text}))
        .collect();
    print(output, &document, || {
        let rows = rows.iter().map(|(schema, text)| {
            [
                schema.label.to_owned(),
                schema.version.to_string(),
                text.clone(),
            ]
        });
        table(["TYPE", "VERSION", "DESCRIPTION"], rows)
    })
}

/// What the schema says of itself.
fn description(schema: &EventSchema) -> Result<String> {
    let parsed: Value = serde_json::from_str(schema.text)
        .with_context(|| format!("the schema of `{}` is no JSON", schema.label))?;
    let text = parsed["description"].as_str().unwrap_or_default();
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_version_is_taken_unless_another_is_named() {
        let newest = choose(Some("task.created"), None).unwrap()[0];
        assert_eq!(Some(newest), schemas::find("task.created", newest.version));
        assert_eq!(choose(Some("task.created"), Some(1)).unwrap()[0].version, 1);
        assert!(choose(None, None).unwrap().len() >= 30);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = choose(Some("task.undone"), None).unwrap_err().to_string();
        assert!(error.contains("task.undone"), "{error}");
        let error = choose(Some("task.created"), Some(99))
            .unwrap_err()
            .to_string();
        assert!(error.contains("versions 1 to"), "{error}");
    }

    #[test]
    fn a_folder_holds_what_is_checked_in() {
        let folder = tempfile::tempdir().unwrap();
        write(&choose(None, None).unwrap(), folder.path()).unwrap();
        let there = fs::read_to_string(folder.path().join("task.created.v1.json")).unwrap();
        let checked_in = include_str!("../../../schemas/events/task.created.v1.json");
        assert_eq!(there, checked_in);
    }
}

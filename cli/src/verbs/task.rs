//! `aevir task`.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use aevir_wire::{Client, DisputeTask, Task, TaskFilter, TaskPage, TaskUpdate};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{
    args::{Global, Output},
    manifest::{self, Named},
    output::{aev, one_line, pages, print, properties, say, table},
};

use shown::shown;

mod shown;

/// Most tasks that the server answers at once.
const PAGE_MAX: u32 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum TaskVerb {
    /// Submit a task.
    Run(RunArgs),
    /// List tasks, newest first.
    List(ListArgs),
    /// Show everything about a task.
    Show { id: String },
    /// Follow a task until it has ended; fails unless it settles.
    Watch { id: String },
    /// Cancel a task: work done is paid, the rest of the escrow comes back.
    Cancel { id: String },
    /// Doubt a verdict while its dispute window is open: fresh replicas decide, and whoever was wrong pays for them.
    Dispute {
        id: String,
        /// Why; it stands in the log.
        #[arg(long)]
        reason: String,
        /// The most to put up, in micro-AEV; as much is taken as the fresh replicas may cost.
        #[arg(long, value_name = "MICRO_AEV")]
        bond: String,
    },
    /// Print a task's inline result, and download its outputs.
    Result {
        id: String,
        /// Download the outputs into this folder.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Print the newest log lines of a task's runs.
    Log { id: String },
    /// Say what a task would cost and when it would be done, without submitting it.
    Quote(QuoteArgs),
    /// Say why a task waits: what nodes are refused for, and what would help.
    Why { id: String },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The task definition (`schemas/task.v1.json`); `-` for standard input. `@name` stands for the newest module or
    /// content of that name, one's own before others'.
    definition: PathBuf,
    /// Push this component first and use it as the definition's `module`.
    #[arg(long)]
    module: Option<PathBuf>,
    /// Set a field of the definition: a JSON pointer and a JSON value (or text), such as `/params/epochs=5`.
    #[arg(long = "set", value_name = "POINTER=VALUE")]
    sets: Vec<String>,
    /// The most that its contents may cost, in micro-AEV, as `task quote` says it: a price that was raised since is refused.
    #[arg(long, value_name = "MICRO_AEV")]
    contents_max: Option<String>,
    /// Repeating the command with the same key answers the same task.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// Follow it until it has ended; fails unless it settles.
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QuoteArgs {
    /// The task definition, as for `task run`; its module must have been pushed.
    definition: PathBuf,
    /// Set a field of the definition: a JSON pointer and a JSON value (or text), such as `/params/epochs=5`.
    #[arg(long = "set", value_name = "POINTER=VALUE")]
    sets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Such as `queued`, `running`, `settled`.
    #[arg(long)]
    state: Option<String>,
    /// `training`, `inference`, `evaluation` or `data-processing`.
    #[arg(long = "type")]
    kind: Option<String>,
    /// `name=value`.
    #[arg(long)]
    label: Option<String>,
    /// Created then or later, such as 2026-01-31T00:00:00Z.
    #[arg(long)]
    created_from: Option<String>,
    /// Created before.
    #[arg(long)]
    created_to: Option<String>,
    /// Those of this account (another than one's own: scope `admin` or `audit`).
    #[arg(long)]
    requester: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Those of all accounts (scope `admin` or `audit`).
    #[arg(long)]
    all: bool,
}

pub(crate) async fn run(verb: TaskVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        TaskVerb::Run(args) => submit(&client, args, global).await,
        TaskVerb::List(args) => list(&client, args, global).await,
        TaskVerb::Show { id } => {
            let task = client.task(&id).await?;
            print(global.output, &task, || shown(&task))
        }
        TaskVerb::Watch { id } => {
            let task = watch(&client, &id, global.output).await?;
            expect_settled(&task)
        }
        TaskVerb::Cancel { id } => {
            let closed = client.cancel_task(&id).await?;
            print(global.output, &closed, || {
                properties([
                    ("id", closed.id.clone()),
                    ("state", closed.state.clone()),
                    ("fee", aev(&closed.fee)),
                    ("refund", aev(&closed.refund)),
                ])
            })
        }
        TaskVerb::Dispute { id, reason, bond } => {
            let disputed = client
                .dispute_task(&id, &DisputeTask { reason, bond })
                .await?;
            print(global.output, &disputed, || {
                properties([
                    ("id", disputed.id.clone()),
                    ("review", disputed.review.clone()),
                    ("bond", aev(&disputed.bond)),
                ])
            })
        }
        TaskVerb::Result { id, out } => result(&client, &id, out.as_deref(), global).await,
        TaskVerb::Quote(args) => super::plan::quote(&client, &args, global).await,
        TaskVerb::Why { id } => super::plan::why(&client, &id, global).await,
        TaskVerb::Log { id } => {
            let log = client.task_log(&id).await?;
            print(global.output, &log, || {
                let lines = log
                    .lines
                    .iter()
                    .map(|l| format!("{}  {:<5}  {}", l.time, l.level, l.text));
                lines.collect::<Vec<_>>().join("\n")
            })
        }
    }
}

/// A definition from its file, with fields set and names resolved.
pub(super) async fn definition(client: &Client, args: &QuoteArgs) -> Result<Value> {
    let mut definition = read_definition(&args.definition)?;
    for set in &args.sets {
        apply(&mut definition, set)?;
    }
    resolve_names(client, &mut definition).await?;
    Ok(definition)
}

async fn submit(client: &Client, args: RunArgs, global: &Global) -> Result<()> {
    let mut definition = read_definition(&args.definition)?;
    if let Some(file) = &args.module {
        let wasm =
            std::fs::read(file).with_context(|| format!("`{}` can't be read", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let module = client.push_module(&name, wasm).await?;
        definition["module"] = module.digest.into();
    }
    for set in &args.sets {
        apply(&mut definition, set)?;
    }
    if let Some(most) = args.contents_max {
        let set = format!("/economics/contents_max={}", Value::from(most));
        apply(&mut definition, &set)?;
    }
    resolve_names(client, &mut definition).await?;
    let submitted = client
        .submit_task(&definition, args.idempotency_key.as_deref())
        .await?;
    if !args.watch {
        return print(global.output, &submitted, || {
            properties([
                ("id", submitted.id.clone()),
                ("state", submitted.state.clone()),
                ("escrow", aev(&submitted.escrow)),
            ])
        });
    }
    let task = watch(client, &submitted.id, global.output).await?;
    expect_settled(&task)
}

fn read_definition(file: &Path) -> Result<Value> {
    let named = || format!("`{}` can't be read as a task definition", file.display());
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file).with_context(named)?;
    }
    let definition: Value = serde_json::from_str(&text).with_context(named)?;
    ensure!(definition.is_object(), "a task definition is a JSON object");
    Ok(definition)
}

/// Puts the newest modules and contents of these names in the place of `@name`.
async fn resolve_names(client: &Client, definition: &mut Value) -> Result<()> {
    let mut ids = BTreeMap::new();
    for (kind, name, _) in manifest::names(definition) {
        let id = match kind {
            Named::Module => {
                let modules = pages!(client.modules, modules);
                let named = modules.into_iter().filter(|m| m.name == name);
                let newest = named.max_by(|a, b| a.registered_at.cmp(&b.registered_at));
                newest.map(|m| m.digest)
            }
            Named::Content => {
                let offered = super::content::all(client, None, Some(&name)).await?;
                let own = client.account().await?.account;
                manifest::content_named(&name, &offered, &own)?
            }
            Named::Task => None,
        };
        ids.extend(id.map(|id| ((kind, name), id)));
    }
    manifest::resolve(definition, |kind, name| {
        ids.get(&(kind, name.to_owned())).cloned()
    })
}

/// Sets a field: `/a/b=1`. Objects on the way are made; in arrays the place must be there.
fn apply(definition: &mut Value, set: &str) -> Result<()> {
    let (pointer, text) = set
        .split_once('=')
        .filter(|(pointer, _)| pointer.starts_with('/'))
        .with_context(|| format!("`{set}` is no POINTER=VALUE such as /params/epochs=5"))?;
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let mut place = definition;
    for token in pointer[1..].split('/') {
        let token = token.replace("~1", "/").replace("~0", "~");
        place = match place {
            Value::Array(items) => {
                let index = token.parse::<usize>().ok();
                index
                    .and_then(|index| items.get_mut(index))
                    .with_context(|| format!("`{pointer}`: there is no item {token}"))?
            }
            Value::Null | Value::Object(_) => {
                if place.is_null() {
                    *place = Value::Object(serde_json::Map::new());
                }
                &mut place[token]
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                bail!("`{pointer}`: `{token}` would be inside of a plain value")
            }
        };
    }
    *place = value;
    Ok(())
}

/// Follows a task to its end, telling on standard error what happens.
async fn watch(client: &Client, id: &str, output: Output) -> Result<Task> {
    let mut latest = None;
    // The stream may break; the task goes on, and so do we.
    while latest.as_ref().is_none_or(|task: &Task| !task.ended) {
        let mut updates = client.watch_task(id).await?;
        while let Some(update) = updates.next_update().await {
            match update {
                Ok(TaskUpdate::Task { task }) => latest = Some(*task),
                Ok(update) => tell(&update),
                Err(error) if error.is_transient() => break,
                Err(error) => return Err(error.into()),
            }
        }
        if latest.as_ref().is_none_or(|task| !task.ended) {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }
    let task = latest.context("the server said nothing of the task")?;
    print(output, &task, || shown(&task))?;
    Ok(task)
}

fn tell(update: &TaskUpdate) {
    match update {
        TaskUpdate::Task { .. } => {}
        TaskUpdate::Event { time, kind, .. } => say(format_args!("{time}  {kind}")),
        TaskUpdate::Progress {
            assignment,
            ppm,
            note,
            ..
        } => {
            let note = one_line(note);
            say(format_args!(
                "  {assignment}  {:>3} %  {note}",
                ppm / 10_000
            ));
        }
        TaskUpdate::Log { line } => {
            let text = one_line(&line.text);
            say(format_args!(
                "  {}  {}: {text}",
                line.assignment, line.level
            ));
        }
        TaskUpdate::Metric { metric } => {
            say(format_args!(
                "  {}  {} {} = {}",
                metric.assignment,
                one_line(&metric.name),
                metric.step,
                aev(&metric.value)
            ));
        }
    }
}

fn expect_settled(task: &Task) -> Result<()> {
    if task.state == "settled" {
        return Ok(());
    }
    let detail = task.detail.as_deref().unwrap_or("see its assignments");
    bail!("task {} is {}: {detail}", task.id, task.state)
}

async fn list(client: &Client, args: ListArgs, global: &Global) -> Result<()> {
    let mut filter = TaskFilter {
        state: args.state,
        kind: args.kind,
        label: args.label,
        all_accounts: args.all,
        requester: args.requester,
        created_from: args.created_from,
        created_to: args.created_to,
        ..TaskFilter::default()
    };
    let mut page = TaskPage {
        tasks: Vec::new(),
        next: None,
    };
    // As many pages as it takes.
    loop {
        let left = args.limit.saturating_sub(page.tasks.len() as u32);
        filter.limit = Some(left.min(PAGE_MAX));
        filter.after = page.next.take();
        let more = client.tasks(&filter).await?;
        page.tasks.extend(more.tasks);
        page.next = more.next;
        if page.next.is_none() || page.tasks.len() as u32 >= args.limit {
            break;
        }
    }
    print(global.output, &page, || {
        table(
            ["ID", "TYPE", "STATE", "PROGRESS", "FEE", "CREATED"],
            page.tasks.iter().map(|t| {
                [
                    t.id.clone(),
                    t.kind.clone(),
                    t.state.clone(),
                    t.progress
                        .as_ref()
                        .map_or_else(|| "-".into(), |p| format!("{} %", p.ppm / 10_000)),
                    t.fee.as_deref().map_or_else(|| "-".into(), aev),
                    t.created_at.clone(),
                ]
            }),
        )
    })
}

/// The state of a task whose verdict was reversed.
pub(super) const OVERTURNED: &str = "overturned";

async fn result(client: &Client, id: &str, out: Option<&Path>, global: &Global) -> Result<()> {
    let result = client.task_result(id).await?;
    if let Some(folder) = out {
        std::fs::create_dir_all(folder)?;
        for output in &result.outputs {
            let to = folder.join(&output.name);
            client
                .download_output(id, &output.name, &output.digest, &to)
                .await?;
            say(format_args!("{} ({} bytes)", to.display(), output.size));
        }
    }
    print(global.output, &result, || {
        serde_json::to_string_pretty(&result.result).unwrap_or_default()
    })?;
    // It is shown, and nobody is to go on with it unawares.
    ensure!(
        result.state != OVERTURNED,
        "this result does not stand: its verdict was overturned when it was looked at again (`aevir task show {id}` says by what)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_set_by_pointer() {
        let mut definition = json!({"params": {"epochs": 1}, "data": [{"name": "a"}]});
        for set in [
            "/params/epochs=5",
            "/params/note=some text",
            "/data/0/name=\"b\"",
            "/qos/gpu/memory_mib=64",
            "/labels/a~1b=1",
        ] {
            apply(&mut definition, set).unwrap();
        }
        let expected = json!({
            "params": {"epochs": 5, "note": "some text"},
            "data": [{"name": "b"}],
            "qos": {"gpu": {"memory_mib": 64}},
            "labels": {"a/b": 1},
        });
        assert_eq!(definition, expected);
        for bad in ["params=1", "/data/7=1", "/params/epochs/x=1", "nothing"] {
            assert!(apply(&mut definition, bad).is_err(), "{bad}");
        }
    }
}

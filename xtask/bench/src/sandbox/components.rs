//! Large components: a JavaScript and a Python engine with a task of one line, made by their own tools.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{BENCH, Bench, task::Task};
use crate::figure::{Figure, Target, median};

const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// What a first result may take, in ms.
const FIRST_RESULT_MS: f64 = 5.0;
/// Time for the pool to start the next process, which is not what is measured.
const POOL_PAUSE: Duration = Duration::from_millis(300);
const MB: f64 = 1e6;

const JS_TASK: &str = "\
import { params } from 'aevir:task/context@1.0.0';
export function run() { return JSON.stringify(params().length); }
";
const JS_BUILD: &str = "\
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';
const [sourcePath, witPath, out] = process.argv.slice(2);
const disableFeatures = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];
const { component } = await componentize({ sourcePath, witPath, worldName: 'task', disableFeatures });
await writeFile(out, component);
";
const PY_TASK: &str = "\
import json
from wit_world.imports import context

class WitWorld:
    def run(self) -> str:
        return json.dumps(len(context.params()))
";

pub(super) async fn measure(bench: &mut Bench) -> Result<()> {
    let wit = std::env::current_dir()?.join("schemas/wit");
    let folder = bench.tools.join("components");
    fs::create_dir_all(&folder)?;
    bench.say("making a JavaScript and a Python component");
    let components = [
        ("js", javascript(&folder, &wit)?),
        ("python", python(&folder, &wit)?),
    ];
    for (name, path) in components {
        let wasm = fs::read(&path)?;
        bench.say(name);
        let task = Task::new(&wasm, 1)?;
        let started = Instant::now();
        task.run("first").await?;
        let compiled = started.elapsed().as_secs_f64();
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for n in 0..bench.rounds(60) {
            tokio::time::sleep(POOL_PAUSE).await;
            let tenant = format!("tenant-{n}");
            firsts.push(task.run(&tenant).await?.as_secs_f64() * 1e3);
            seconds.push(task.run(&tenant).await?.as_secs_f64() * 1e3);
        }
        task.executor.close().await;
        let of = |what: &str, value, unit| Figure::of(BENCH, format!("{name}.{what}"), value, unit);
        bench.add(of("size", wasm.len() as f64 / MB, "MB"));
        bench.add(of("compile", compiled, "s"));
        let first = of("first-result", median(firsts), "ms");
        bench.add(first.target(Target::Below(FIRST_RESULT_MS)));
        bench.add(of("next-result", median(seconds), "ms"));
    }
    Ok(())
}

fn javascript(folder: &Path, wit: &Path) -> Result<PathBuf> {
    let root = folder.join("js");
    let out = root.join("task.wasm");
    if out.is_file() {
        return Ok(out);
    }
    fs::create_dir_all(&root)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&root)
        .arg(COMPONENTIZE_JS);
    run(&mut npm).context("the JavaScript component needs Node.js with npm")?;
    fs::write(root.join("task.js"), JS_TASK)?;
    fs::write(root.join("build.mjs"), JS_BUILD)?;
    let mut node = Command::new("node");
    node.args(["build.mjs", "task.js"])
        .arg(wit)
        .arg(&out)
        .current_dir(&root);
    run(&mut node)?;
    Ok(out)
}

fn python(folder: &Path, wit: &Path) -> Result<PathBuf> {
    let root = folder.join("python");
    let out = root.join("task.wasm");
    if out.is_file() {
        return Ok(out);
    }
    fs::create_dir_all(root.join("task"))?;
    let venv = root.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .context("the Python component needs Python 3 with venv (Debian: python3-venv)")?;
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", COMPONENTIZE_PY]))?;
    fs::write(root.join("task/app.py"), PY_TASK)?;
    let mut tool = Command::new(venv.join("bin/componentize-py"));
    tool.arg("-d")
        .arg(wit)
        .args([
            "-w",
            "task",
            "componentize",
            "--stub-wasi",
            "-p",
            "task",
            "app",
            "-o",
        ])
        .arg(&out)
        .current_dir(&root);
    run(&mut tool)?;
    Ok(out)
}

/// Runs a tool; its words count when it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?} can't be started"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}): {}", output.status, words.trim());
    }
    Ok(())
}

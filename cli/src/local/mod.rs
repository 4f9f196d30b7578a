//! `aevir run-local`: a task without a platform: the same module in the same sandbox under the same limits, on this machine.
//!
//! For authors of modules: what comes out here (result, digests, fuel) is what a node would commit to.

mod definition;
mod report;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use aevir_sandbox::{
    End, Executor, ExecutorConfig, Level, Limits, NotTaken, Outcome, Profile, RunEvent, RunSpec,
    TraceIds, Tuning, World,
};
use aevir_wire::digest;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    definition::{Given, Local, PART},
    report::{Line, Report},
};
use crate::{
    EXECUTOR,
    args::{Global, Output},
    inspector,
    lifeline::shutdown,
    output::{one_line, print, say},
    verbs::module,
    workfolder::{compiled, workfolder},
};

/// Events of a run that may wait to be printed.
const EVENTS_WAITING: usize = 256;

#[derive(Debug, Args)]
pub(crate) struct RunLocalArgs {
    /// The module: a WebAssembly component.
    module: PathBuf,
    /// The task definition (`schemas/task.v1.json`); its parameters, seed, inline inputs, limits, runtime and GPU are used, its
    /// `module` is not. Without one: no parameters, no inputs, default limits.
    #[arg(long)]
    task: Option<PathBuf>,
    /// A file for an input that the definition takes from elsewhere; repeatable. For a comparator: `a/NAME=PATH` and `b/NAME=PATH`.
    #[arg(long = "input", value_name = "NAME=PATH", value_parser = name_and_path)]
    inputs: Vec<(String, PathBuf)>,
    /// The seed of the run's randomness; the definition's, or 0, when left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Resume from this checkpoint.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// The runtime profile: det/1, in which replicas and audits run a task, so that digests and fuel can be compared; or fast/1. The
    /// definition's `runtime` when left out.
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// Write the outputs into this folder, under their names.
    #[arg(long)]
    out: Option<PathBuf>,
    /// One JSON document, for programs, with the run's log in it; the same as `--output json`.
    #[arg(long)]
    json: bool,
}

fn name_and_path(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("an input is NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let known = Profile::ALL.map(Profile::name);
        format!("there is no such profile; there are {}", known.join(", "))
    })
}

/// Runs it; fails unless the run ends well.
pub(crate) async fn run_local(args: RunLocalArgs, global: &Global) -> Result<()> {
    let output = if args.json {
        Output::Json
    } else {
        global.output
    };
    let given = Given {
        inputs: args.inputs.clone(),
        seed: args.seed,
    };
    // Listened for from here on, so that the folder goes however the run ends.
    let cancel = shutdown(false);
    let folder = workfolder("run-")?;
    let local = definition::read(args.task.as_deref(), &given, folder.path())?;
    let wasm = module::read(&args.module)?;
    let (module, digest, world) = component(&args.module, wasm, folder.path()).await?;
    expect_inputs_of(world, &local)?;
    if let Some(out) = &args.out {
        prepare(out)?;
    }
    let spec = spec(&args, &local, (module, digest), folder.path())?;
    spec.check()
        .context("the task can't be run as it is defined")?;
    let executor = Executor::tuned(
        ExecutorConfig {
            program: std::env::current_exe().context("this program's own file can't be found")?,
            args: vec![EXECUTOR.to_owned()],
            cache_dir: compiled(folder.path()),
            env: BTreeMap::new(),
            log: None,
        },
        Tuning::one_run(),
    );
    let started = std::time::Instant::now();
    let (mut outcome, log) = run(&executor, spec.clone(), output, cancel).await;
    let total = started.elapsed();
    executor.close().await;
    // Whatever becomes of the files, the report says how it ended.
    let kept = args.out.as_deref().map(|out| keep(&mut outcome, out));
    let is_kept = matches!(kept, Some(Ok(())));
    let report = Report::new(&spec, &outcome, log, total, is_kept);
    print(output, &report, || report.table())?;
    kept.transpose()?;
    match outcome.end {
        End::Ok => match report.refused {
            None => Ok(()),
            Some(why) => bail!("the run ended well, and no node would take what it brought: {why}"),
        },
        end => bail!("the run did not end well: {}", report::sentence(&end)),
    }
}

/// Makes the folder for outputs, which must be an empty one: nothing is ever overwritten, and that is better known before the run.
fn prepare(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("`{}` can't be made", out.display()))?;
    let mut inside =
        fs::read_dir(out).with_context(|| format!("`{}` can't be read", out.display()))?;
    ensure!(
        inside.next().is_none(),
        "`{}` is not empty: choose another folder with --out",
        out.display()
    );
    Ok(())
}

/// The checkpoint, if it is a file that a run can resume from.
fn checkpoint_of(path: &Path, limits: &Limits) -> Result<PathBuf> {
    let shown = path.display();
    let metadata =
        fs::metadata(path).with_context(|| format!("the checkpoint `{shown}` can't be read"))?;
    ensure!(metadata.is_file(), "the checkpoint `{shown}` is no file");
    let (size, max) = (metadata.len(), limits.checkpoint_bytes);
    ensure!(
        size <= max,
        "the checkpoint `{shown}` is {size} bytes; at most {max} are allowed"
    );
    Ok(path.to_owned())
}

/// What a platform would store of a module, with its digest: a WASI preview 1 program is adapted, in a process that may do nothing else, as at
/// an upload. What an upload would refuse is left to the executor, which says the same.
async fn component(
    path: &Path,
    wasm: Vec<u8>,
    folder: &Path,
) -> Result<(PathBuf, String, Option<World>)> {
    let own = digest(&wasm);
    let accepted = match inspector::judge(folder)?.adapt(wasm).await {
        Ok(accepted) => accepted,
        Err(NotTaken::Refused(_)) => return Ok((path.to_owned(), own, None)),
        Err(machine @ NotTaken::Machine(_)) => return Err(machine.into()),
    };
    let world = Some(accepted.info.world);
    let Some(component) = accepted.adapted else {
        return Ok((path.to_owned(), own, world));
    };
    let adapted = folder.join("component.wasm");
    fs::write(&adapted, &component).context("the component can't be written")?;
    Ok((adapted, digest(&component), world))
}

/// Inputs that the platform names are a check's and a comparator's.
fn expect_inputs_of(world: Option<World>, local: &Local) -> Result<()> {
    let mut named = local.inputs.iter().map(|input| input.name.as_str());
    let platforms = named.find(|name| name.contains(PART));
    match (world, platforms) {
        (Some(World::Task | World::Program), Some(name)) => bail!(
            "`{name}` is no input name of a task: [A-Za-z0-9._-]{{1,64}}; names with `{PART}` are those of what checks and comparators judge"
        ),
        (_, _) => Ok(()),
    }
}

fn spec(
    args: &RunLocalArgs,
    local: &Local,
    (module, module_digest): (PathBuf, String),
    folder: &Path,
) -> Result<RunSpec> {
    let checkpoint = args.checkpoint.as_deref();
    let checkpoint = checkpoint
        .map(|path| checkpoint_of(path, &local.limits))
        .transpose()?;
    let out_dir = folder.join("out");
    fs::create_dir(&out_dir).context("the run's folder can't be made")?;
    Ok(RunSpec {
        module,
        module_digest,
        params: local.params.clone(),
        seed: local.seed,
        inputs: local.inputs.clone(),
        checkpoint,
        out_dir,
        limits: local.limits.clone(),
        profile: args.profile.unwrap_or(local.profile),
        gpu: local.gpu,
        gpu_class: None,
        tenant: String::new(),
        trace: TraceIds::default(),
    })
}

async fn run(
    executor: &Executor,
    spec: RunSpec,
    output: Output,
    cancel: CancellationToken,
) -> (Outcome, Vec<Line>) {
    let (events, mut said) = mpsc::channel(EVENTS_WAITING);
    let running = executor.run(spec, events, cancel);
    let listening = async {
        // No more and no longer ones than the sandbox lets a run say.
        let mut log = Vec::new();
        while let Some(event) = said.recv().await {
            match (output, event) {
                (Output::Table, event) => tell(&event),
                (Output::Json, RunEvent::Log { level, text }) => log.push(Line { level, text }),
                (Output::Json, _) => {}
            }
        }
        log
    };
    tokio::join!(running, listening)
}

/// What a run says, on standard error.
fn tell(event: &RunEvent) {
    match event {
        RunEvent::Started { .. } => {}
        RunEvent::Log { level, text } => {
            let level = match level {
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            say(format_args!("{level:<5} {}", one_line(text)));
        }
        RunEvent::Progress { ppm, note } => {
            let percent = f64::from(*ppm) / 10_000.0;
            say(format_args!("{percent:5.1} % {}", one_line(note)));
        }
        RunEvent::Metric(metric) => {
            let value = report::decimal(metric.micro);
            say(format_args!(
                "{} = {value} (step {})",
                metric.name, metric.step
            ));
        }
        RunEvent::Checkpoint { size, digest, .. } => {
            say(format_args!("checkpoint of {size} bytes, {digest}"));
        }
    }
}

/// Moves the outputs to where they were asked for.
fn keep(outcome: &mut Outcome, out: &Path) -> Result<()> {
    for output in &mut outcome.outputs {
        let to = out.join(&output.name);
        let copied = File::create_new(&to)
            .and_then(|mut file| std::io::copy(&mut File::open(&output.path)?, &mut file));
        copied.with_context(|| format!("`{}` can't be written", to.display()))?;
        output.path = to;
    }
    Ok(())
}

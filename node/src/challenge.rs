//! Showing how fast the GPU is, when the platform asks: the work that it names, run in the node's own executor as any task is.
//!
//! The platform's clock runs from its asking to the root's arrival. Runs that share the GPU make the node look slower meanwhile: of its
//! answers the best counts.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aevir_sandbox::{End, Executor, Limits, Outcome, Profile, RunSpec, TraceIds};
use aevir_wire::{Challenge, ChallengeIndices, ChallengeOpenings, ChallengeRoot, Tree, digest};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::Shared,
    card,
    retry::{Tried, full, until_answered},
    work,
};

/// The work, built from `examples/gpu-probe`.
const MODULE: &[u8] = include_bytes!("../../examples/modules/gpu-probe.wasm");
/// Its one output.
const VALUES: &str = "values";
/// It reads the values and writes them, and nothing else.
const FUEL_MAX: u64 = 100_000_000_000;
const MEMORY_MIB: u32 = 64;
/// 16 MiB of values at most, here and on the GPU.
const OUTPUT_MIB: u32 = 32;
const GPU_MEMORY_MIB: u32 = 32;

/// The last challenge that the node was told.
#[derive(Debug, Default)]
pub(crate) struct LastChallenge(Mutex<Option<String>>);

impl LastChallenge {
    /// Its id.
    pub(crate) fn id(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes one; `false` where it is known.
    fn note(&self, id: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(id.to_owned());
        before.as_deref() != Some(id)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the folder can't be used")]
    Folder(#[from] io::Error),
    #[error("the work ended as {0:?}")]
    Ended(End),
    #[error("there is no value {0} to open")]
    NoValue(u32),
    #[error("the platform refused it")]
    Refused(#[from] aevir_wire::ClientError),
    #[error("the node stops")]
    Stopped,
}

/// Takes a challenge up; `false` where it was taken up before.
pub(crate) fn take(shared: &Arc<Shared>, challenge: Challenge, tasks: &mut JoinSet<()>) -> bool {
    if !shared.challenge.note(&challenge.id) {
        return false;
    }
    let shared = Arc::clone(shared);
    tasks.spawn(async move {
        let id = challenge.id.clone();
        match answer(&shared, challenge).await {
            Ok(()) => tracing::info!(
                challenge = id,
                "the GPU's values were opened; `aevir node status` says what they showed"
            ),
            Err(error) => tracing::warn!(
                challenge = id,
                error = full(&error),
                "the GPU's speed was not shown: the platform counts it as slower than claimed until it is"
            ),
        }
    });
    true
}

async fn answer(shared: &Shared, challenge: Challenge) -> Result<(), Unanswered> {
    let folder = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(shared.config.data_dir.join(work::RUNS_FOLDER))?;
    let class = card::class(shared).map(str::to_owned);
    let stop = shared.halt.child_token();
    let values = compute(&shared.executor, folder.path(), &challenge, class, stop).await?;
    let (tree, values) = hashed(values).await?;
    let root = ChallengeRoot {
        root: hex::encode(tree.root()),
    };
    let call = || shared.client.challenge_root(&challenge.id, &root);
    let drawn = done(until_answered("challenge", &shared.halt, call).await)?;
    let openings = open(&tree, &values, &drawn)?;
    let call = || shared.client.challenge_openings(&challenge.id, &openings);
    done(until_answered("challenge", &shared.halt, call).await)
}

fn done<T>(tried: Tried<T>) -> Result<T, Unanswered> {
    match tried {
        Tried::Done(done) => Ok(done),
        Tried::Refused(error) => Err(error.into()),
        Tried::Stopped => Err(Unanswered::Stopped),
    }
}

/// Apart from the agent's threads: 16 MiB take a tenth of a second.
async fn hashed(values: Vec<u8>) -> Result<(Tree, Vec<u8>), Unanswered> {
    let hashed = tokio::task::spawn_blocking(move || (Tree::of(&values), values)).await;
    Ok(hashed.map_err(io::Error::other)?)
}

fn open(
    tree: &Tree,
    values: &[u8],
    drawn: &ChallengeIndices,
) -> Result<ChallengeOpenings, Unanswered> {
    let opened = drawn.indices.iter().map(|index| {
        let opening = tree.open(values, *index);
        opening.ok_or(Unanswered::NoValue(*index))
    });
    let openings = opened.collect::<Result<_, _>>()?;
    Ok(ChallengeOpenings { openings })
}

/// The bytes of all values.
async fn compute(
    executor: &Executor,
    folder: &Path,
    challenge: &Challenge,
    class: Option<String>,
    stop: CancellationToken,
) -> Result<Vec<u8>, Unanswered> {
    let module = folder.join("gpu-probe.wasm");
    fs::write(&module, MODULE)?;
    let out_dir = folder.join("out");
    fs::create_dir(&out_dir)?;
    let wall_s = challenge.answer_ms.div_ceil(1_000);
    let limits = Limits::for_task(FUEL_MAX, MEMORY_MIB, wall_s, OUTPUT_MIB);
    let params = json!({"seed": challenge.seed, "dispatches": challenge.dispatches, "starts": challenge.starts});
    let spec = RunSpec {
        module,
        module_digest: digest(MODULE),
        profile: Profile::Deterministic,
        params: params.to_string(),
        seed: 0,
        inputs: Vec::new(),
        checkpoint: None,
        out_dir,
        limits: limits.with_gpu(GPU_MEMORY_MIB, None, &[]),
        gpu: true,
        gpu_class: class,
        // A process of its own, which serves nobody after it.
        tenant: String::new(),
        trace: TraceIds::default(),
    };
    let outcome = run(executor, spec, stop).await;
    let values = outcome.outputs.iter().find(|output| output.name == VALUES);
    match (outcome.end, values) {
        (End::Ok, Some(values)) => Ok(fs::read(&values.path)?),
        (end, _) => Err(Unanswered::Ended(end)),
    }
}

async fn run(executor: &Executor, spec: RunSpec, stop: CancellationToken) -> Outcome {
    let (events, mut said) = mpsc::channel(1);
    let listening = async { while said.recv().await.is_some() {} };
    let running = executor.run(spec, events, stop);
    tokio::join!(running, listening).0
}

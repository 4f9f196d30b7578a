//! The agent: what its parts share, how it starts, and how it ends.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Arc, OnceLock},
};

use aevir_sandbox::{Executor, ExecutorConfig, PoolConfig, Tuning};
use aevir_wire::{Client, NodeProfile, NodeTerms};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    admission::{Admission, Caches},
    allowance::Allowance,
    cache::BlobCache,
    challenge::LastChallenge,
    config::NodeConfig,
    discard,
    error::NodeError,
    heartbeat::{heartbeats, say_goodbye},
    held::{Held, Holdings},
    identity::NodeKey,
    join::join,
    journal::{Journal, Sealed},
    leasing::lease_loop,
    offer, profile,
    reveal::recommit,
    rotation,
    seal::CurrentKey,
    submit::Submitter,
    work,
};

const MIB: u64 = 1024 * 1024;

/// What all parts of the agent share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) client: Client,
    pub(crate) node: String,
    pub(crate) key: CurrentKey,
    pub(crate) profile: NodeProfile,
    /// What the operator of this machine allows, whatever the platform hands out.
    pub(crate) admission: Admission,
    pub(crate) submitter: Submitter,
    pub(crate) cache: Arc<BlobCache>,
    pub(crate) journal: Journal,
    pub(crate) executor: Executor,
    pub(crate) holdings: Holdings,
    pub(crate) challenge: LastChallenge,
    /// Why the node's GPU is not what it registered any more, which ends the agent.
    pub(crate) card_gone: OnceLock<String>,
    /// No more work: what there is may end.
    pub(crate) shutdown: CancellationToken,
    /// Everything ends now.
    pub(crate) halt: CancellationToken,
}

impl Shared {
    /// Keeps a sealed result with its output files, and their room on the disk.
    pub(crate) fn keep_sealed(&self, sealed: &Sealed, outputs: Option<&Path>) -> io::Result<()> {
        discard::keep(&self.journal, &self.admission, sealed, outputs)
    }

    /// An earlier process kept it.
    fn keeps(&self, assignment: &str) -> io::Result<()> {
        let bytes = self.journal.bytes(assignment)?;
        self.admission.keeps(assignment, bytes);
        Ok(())
    }

    /// Removes what is kept of a sealed result.
    pub(crate) fn discard_sealed(&self, assignment: &str) {
        discard::discard(&self.journal, &self.admission, assignment);
    }
}

/// How an agent ended that had nothing to complain of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and can be started again.
    Stopped,
    /// Its node has left the market, as its owner asked: starting it again is of no use.
    Left,
}

/// Runs the agent until `shutdown` is cancelled: then it takes no more work, lets its runs end for the configured
/// time, gives back what is left, and returns.
///
/// # Errors
/// When the node can't start or join, when the platform does not know it any more, or when its GPU is gone.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> Result<Ended, NodeError> {
    let data_dir = config.data_dir.clone();
    let in_data_dir = |source| NodeError::DataDir {
        path: data_dir.clone(),
        source,
    };
    // What is in it is for its owner only.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .map_err(in_data_dir)?;
    let _lock = lock(&config)?;
    work::sweep(&config.data_dir).map_err(in_data_dir)?;
    let cache = BlobCache::open(&config.data_dir, u64::from(config.storage_mib) * MIB)
        .map_err(in_data_dir)?;
    let journal = Journal::open(&config.data_dir).map_err(in_data_dir)?;
    let sealed = journal.all().map_err(in_data_dir)?;
    let key = NodeKey::load_or_create(&config.data_dir)?;
    let executor = executor(&config);
    let profile = profile::measure(&config, &executor).await?;
    let client = Client::new(&config.server, None).map_err(NodeError::Server)?;
    let registration = tokio::select! {
        registration = join(&config, &client, &key, &profile) => registration?,
        () = shutdown.cancelled() => return Ok(Ended::Stopped),
    };
    let client = rotation::calling(&client, &registration, &config.data_dir)?;
    let node = registration.node;
    rotation::resume(&client, &node, &config.data_dir, &shutdown).await?;
    // A rotation may have been completed just now.
    let key = NodeKey::load_or_create(&config.data_dir)?;
    if !offer::renew(&client, &node, &profile, &config.terms, &shutdown).await? {
        return Ok(Ended::Stopped);
    }
    let caps = config.terms.over(&NodeTerms::default()).caps;
    tracing::info!(
        node,
        gpu = profile.gpu.as_ref().map(|gpu| gpu.adapter.as_str()),
        slots = config.slots,
        "the node is ready"
    );
    let caches = Caches::new(&cache, &executor);
    let shared = Arc::new(Shared {
        submitter: Submitter::new(client.clone()),
        client,
        node,
        config,
        key: CurrentKey::new(key),
        admission: Admission::new(Allowance::of(&profile, &caps), Some(caches)),
        profile,
        cache,
        journal,
        executor,
        holdings: Holdings::default(),
        challenge: LastChallenge::default(),
        shutdown: shutdown.child_token(),
        card_gone: OnceLock::new(),
        halt: CancellationToken::new(),
    });
    // What an earlier process sealed, and the caches as it left them.
    for sealed in &sealed {
        shared.keeps(sealed.assignment()).map_err(in_data_dir)?;
    }
    discard::take_over(&shared.journal, &shared.admission).map_err(in_data_dir)?;
    shared.admission.share();
    serve(&shared, sealed).await
}

/// Takes up what an earlier process sealed, and works until the node is stopped or not known any more.
async fn serve(shared: &Arc<Shared>, sealed: Vec<Sealed>) -> Result<Ended, NodeError> {
    shared.executor.warm();
    let mut tasks = JoinSet::new();
    for sealed in sealed {
        shared.holdings.add(sealed.assignment(), Held::Sealed);
        let (assignment, task) = (sealed.assignment(), sealed.report.task.as_str());
        let span = tracing::info_span!("recommit", assignment, task, node = shared.node);
        tasks.spawn(recommit(Arc::clone(shared), sealed).instrument(span));
    }
    let heartbeats = tokio::spawn(heartbeats(Arc::clone(shared)));
    let removing = tokio::spawn(discard::keep_trying(Arc::clone(shared)));
    let ended = lease_loop(shared, &mut tasks).await;
    shared.halt.cancel();
    while tasks.join_next().await.is_some() {}
    heartbeats.abort();
    removing.abort();
    if matches!(ended, Ok(Ended::Stopped)) {
        say_goodbye(shared).await;
    }
    shared.executor.close().await;
    match shared.card_gone.get() {
        Some(found) if matches!(ended, Ok(Ended::Stopped)) => {
            Err(NodeError::GpuGone(found.clone()))
        }
        _ => ended,
    }
}

fn executor(config: &NodeConfig) -> Executor {
    let (program, args) = config.executor.clone();
    let slots = usize::try_from(config.slots).unwrap_or(usize::MAX);
    let tuning = Tuning {
        pool: PoolConfig {
            // One for each slot, whoever's run comes into it, and those of the requesters who come most.
            idle_max: slots.saturating_mul(2),
            ..PoolConfig::default()
        },
        ..Tuning::default()
    };
    Executor::tuned(
        ExecutorConfig {
            program,
            args,
            cache_dir: config.data_dir.join("compiled"),
            env: BTreeMap::new(),
            log: config.executor_log,
        },
        tuning,
    )
}

/// Keeps other agents out of the data folder while this one runs.
fn lock(config: &NodeConfig) -> Result<File, NodeError> {
    let failed = |source: io::Error| NodeError::DataDir {
        path: config.data_dir.clone(),
        source,
    };
    let file = File::create(config.data_dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeError::InUse(config.data_dir.clone())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

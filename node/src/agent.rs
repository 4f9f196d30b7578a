//! The agent's three loops: asking for work, showing life, and following what the platform says of each assignment.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    sync::Arc,
    time::Duration,
};

use aevir_sandbox::{Executor, ExecutorConfig, PoolConfig, Tuning};
use aevir_wire::{
    Action, Ask, Client, ClientError, Directive, Heartbeat, Heartbeats, Lease, Leases, NodeProfile,
    NodeStanding, NodeTerms, Secret, StopReason,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    allowance::{Allowance, Room},
    cache::BlobCache,
    config::NodeConfig,
    error::NodeError,
    fault::Fault,
    held::{Held, Holdings, Work},
    identity::NodeKey,
    join::join,
    journal::{Journal, is_plain},
    offer, profile,
    retry::{Backoff, full, may_pass},
    reveal::{recommit, reveal},
    rotation,
    seal::CurrentKey,
    submit::Submitter,
    telemetry::HEARTBEAT_BYTES,
    work,
};

/// How long one ask for leases may wait at the server: short against any policy's time until a silent node counts
/// as offline.
const LEASE_WAIT_MS: u32 = 5_000;
/// Signs of life of a node without work.
const IDLE_HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats within a lease: two may get lost.
const HEARTBEATS_PER_LEASE: u32 = 3;
/// Wait after an answer that told only what is known or being done already: it would come again at once.
const NO_NEWS_PAUSE: Duration = Duration::from_millis(250);
/// How long a node that stops waits until the platform knows it.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);
/// Standings of a node that mean something to it.
const WORKING: &str = "working";
const LEAVING: &str = "leaving";
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
    pub(crate) allowance: Allowance,
    pub(crate) submitter: Submitter,
    pub(crate) cache: Arc<BlobCache>,
    pub(crate) journal: Journal,
    pub(crate) executor: Executor,
    pub(crate) holdings: Holdings,
    /// No more work: what there is may end.
    pub(crate) shutdown: CancellationToken,
    /// Everything ends now.
    pub(crate) halt: CancellationToken,
}

/// Runs the agent until `shutdown` is cancelled: then it takes no more work, lets its runs end for the configured
/// time, gives back what is left, and returns.
///
/// # Errors
/// When the node can't start or join, or the platform does not know it any more.
pub async fn run(config: NodeConfig, shutdown: CancellationToken) -> Result<(), NodeError> {
    let in_data_dir = |source| NodeError::DataDir {
        path: config.data_dir.clone(),
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
        () = shutdown.cancelled() => return Ok(()),
    };
    let client = client.with_key(Secret::from_text(registration.api_key));
    let node = registration.node;
    rotation::resume(&client, &node, &config.data_dir, &shutdown).await?;
    // A rotation may have been completed just now.
    let key = NodeKey::load_or_create(&config.data_dir)?;
    if !offer::renew(&client, &node, &profile, &config.terms, &shutdown).await? {
        return Ok(());
    }
    let caps = config.terms.over(&NodeTerms::default()).caps;
    tracing::info!(
        node,
        gpu = profile.gpu.as_ref().map(|gpu| gpu.adapter.as_str()),
        slots = config.slots,
        "the node is ready"
    );
    let shared = Arc::new(Shared {
        submitter: Submitter::new(client.clone()),
        client,
        node,
        config,
        key: CurrentKey::new(key),
        allowance: Allowance::of(&profile, &caps),
        profile,
        cache,
        journal,
        executor,
        holdings: Holdings::default(),
        shutdown: shutdown.clone(),
        halt: CancellationToken::new(),
    });
    shared.executor.warm();
    let mut tasks = JoinSet::new();
    for sealed in sealed {
        shared.holdings.add(sealed.assignment(), Held::Sealed);
        let (assignment, task) = (sealed.assignment(), sealed.report.task.as_str());
        let span = tracing::info_span!("recommit", assignment, task, node = shared.node);
        tasks.spawn(recommit(Arc::clone(&shared), sealed).instrument(span));
    }
    let heartbeats = tokio::spawn(heartbeats(Arc::clone(&shared)));
    let ended = lease_loop(&shared, &mut tasks).await;
    shared.halt.cancel();
    while tasks.join_next().await.is_some() {}
    heartbeats.abort();
    if ended.is_ok() {
        say_goodbye(&shared).await;
    }
    shared.executor.close().await;
    ended
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

/// Asks for work and for what to do with what we have, until the node is stopped and has nothing left, or its time
/// to stop is over.
async fn lease_loop(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) -> Result<(), NodeError> {
    let shutdown = &shared.shutdown;
    let mut standing = NodeStanding::default();
    let mut backoff = Backoff::default();
    let grace = async {
        shutdown.cancelled().await;
        tracing::info!(grace_s = shared.config.grace.as_secs(), "stopping");
        shared.holdings.ask_again.notify_one();
        tokio::time::sleep(shared.config.grace).await;
    };
    tokio::pin!(grace);
    loop {
        if shutdown.is_cancelled() && shared.holdings.is_empty() {
            return Ok(());
        }
        let free = shared.allowance.runs.saturating_sub(shared.holdings.busy());
        let stopping = shutdown.is_cancelled();
        let idle = stopping || !takes_work(&standing);
        let ask = Ask {
            max: if idle { 0 } else { free },
            wait_ms: LEASE_WAIT_MS,
            holding: shared.holdings.named(),
            stopping,
        };
        let answer = tokio::select! {
            answer = shared.client.lease(&ask) => answer,
            () = shared.holdings.ask_again.notified() => continue,
            () = &mut grace => return Ok(()),
        };
        match answer {
            Ok(leases) => {
                backoff.reset();
                heed_standing(&mut standing, &leases.standing);
                let silent = leases.leases.is_empty() && leases.directives.is_empty();
                if !follow(shared, leases, tasks) && !silent {
                    tokio::select! {
                        () = tokio::time::sleep(NO_NEWS_PAUSE) => {}
                        () = &mut grace => return Ok(()),
                    }
                }
            }
            // It asked to leave, and is gone now.
            Err(error) if is_disowned(&error) && standing.standing == LEAVING => {
                tracing::info!("the node has left the market");
                return Ok(());
            }
            Err(error) if is_disowned(&error) => return Err(NodeError::Disowned(error)),
            Err(error) => {
                tracing::warn!(error = full(&error), "no answer to the ask for work");
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = &mut grace => return Ok(()),
                }
            }
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Whether the platform lets the node take work. Servers that do not say so let it.
fn takes_work(standing: &NodeStanding) -> bool {
    matches!(standing.standing.as_str(), "" | WORKING) && standing.suspended.is_none()
}

/// Says what changed in how the node stands.
fn heed_standing(known: &mut NodeStanding, told: &NodeStanding) {
    if known == told {
        return;
    }
    match (&told.suspended, told.standing.as_str()) {
        (Some(reason), _) => {
            tracing::warn!(
                reason,
                "suspended: what runs goes on, and nothing new comes"
            );
        }
        (None, "" | WORKING) if takes_work(known) => {}
        (None, "" | WORKING) => tracing::info!("taking work again"),
        (None, standing) => tracing::info!(standing, "what runs goes on, and nothing new comes"),
    }
    known.clone_from(told);
}

/// Tells the platform that nobody is here any more, so that it plans nothing on this node until it is silent for long.
async fn say_goodbye(shared: &Shared) {
    let last = Heartbeats {
        assignments: Vec::new(),
        stopping: true,
    };
    let told = tokio::time::timeout(GOODBYE_PATIENCE, shared.client.heartbeat(&last)).await;
    if !matches!(told, Ok(Ok(_))) {
        tracing::debug!("the platform was not told that the node is gone");
    }
}

fn is_disowned(error: &ClientError) -> bool {
    match error {
        ClientError::Problem(problem) => matches!(problem.status, 401 | 403),
        ClientError::Transport(_)
        | ClientError::Unexpected { .. }
        | ClientError::Digest { .. }
        | ClientError::File { .. }
        | ClientError::Url(..)
        | ClientError::Json(_)
        | ClientError::Stream(_) => false,
    }
}

/// Does what an answer says; `false` when none of it was news.
fn follow(shared: &Arc<Shared>, answer: Leases, tasks: &mut JoinSet<()>) -> bool {
    let mut news = false;
    for lease in answer.leases {
        news |= take(shared, lease, tasks);
    }
    for directive in answer.directives {
        news |= obey(shared, directive, tasks);
    }
    news
}

/// Takes a lease; `false` when it is held already, or none.
fn take(shared: &Arc<Shared>, lease: Lease, tasks: &mut JoinSet<()>) -> bool {
    let assignment = lease.assignment.clone();
    if !is_plain(&assignment) {
        tracing::error!(assignment, "a lease has an id that is no plain word");
        return false;
    }
    let span =
        tracing::info_span!("assignment", %assignment, task = lease.task, node = shared.node);
    if shared.config.fault == Some(Fault::Stall) {
        let fresh = shared.holdings.add(&assignment, Held::Stalled);
        if fresh {
            let shared = Arc::clone(shared);
            tasks.spawn(async move { work::stall(&shared, &assignment).await }.instrument(span));
        }
        return fresh;
    }
    let others = shared.holdings.running().into_iter();
    let others = others.filter(|(id, _)| *id != assignment);
    let allowed = shared
        .allowance
        .check(&lease, others.map(|(_, work)| work.room));
    let running = Work {
        stop: shared.halt.child_token(),
        telemetry: Arc::default(),
        lease: Duration::from_millis(lease.lease_ms.into()),
        room: Room::of(&lease),
    };
    let fresh = shared
        .holdings
        .add(&assignment, Held::Running(running.clone()));
    if fresh {
        let shared = Arc::clone(shared);
        tasks.spawn(
            async move {
                match allowed {
                    Ok(()) => work::work(&shared, lease, running).await,
                    Err(error) => work::decline(&shared, &assignment, &running, &error).await,
                }
            }
            .instrument(span),
        );
    }
    fresh
}

/// Follows a directive; `false` when there is nothing to do.
fn obey(shared: &Arc<Shared>, directive: Directive, tasks: &mut JoinSet<()>) -> bool {
    let assignment = directive.assignment;
    match (directive.action, shared.holdings.get(&assignment)) {
        (Action::Reveal, Some(Held::Sealed)) => {
            shared.holdings.set(&assignment, Held::Revealing);
            let shared = Arc::clone(shared);
            let span = tracing::info_span!("reveal", assignment, node = shared.node);
            tasks.spawn(async move { reveal(&shared, &assignment).await }.instrument(span));
            true
        }
        (Action::Stop { reason }, Some(held)) => {
            stop(shared, &assignment, reason, held);
            true
        }
        // Nothing to do, done already, or to be done once our own call's answer is here: the platform may say to
        // reveal before the commitment's answer has arrived.
        (Action::Continue, _) | (Action::Reveal | Action::Stop { .. }, _) => false,
    }
}

fn stop(shared: &Shared, assignment: &str, reason: StopReason, held: Held) {
    match reason {
        StopReason::Done => tracing::info!(assignment, "done"),
        StopReason::Withdrawn | StopReason::LeaseEnded | StopReason::Unknown => {
            tracing::info!(assignment, ?reason, "dropping the assignment");
        }
    }
    match held {
        // The task that runs it cleans up behind itself.
        Held::Running(work) => work.stop.cancel(),
        Held::Sealed | Held::Stalled => forget(shared, assignment),
        Held::Revealing => {}
    }
}

/// Drops an assignment and its sealed result.
pub(crate) fn forget(shared: &Shared, assignment: &str) {
    shared.holdings.remove(assignment);
    if let Err(error) = shared.journal.remove(assignment) {
        tracing::warn!(assignment, %error, "the sealed result can't be removed");
    }
}

/// Shows life, and tells what the runs have to say.
async fn heartbeats(shared: Arc<Shared>) {
    loop {
        let running = shared.holdings.running();
        let leases = running.iter().map(|(_, work)| work.lease);
        let pause = leases
            .map(|lease| lease / HEARTBEATS_PER_LEASE)
            .min()
            .unwrap_or(IDLE_HEARTBEAT)
            .min(IDLE_HEARTBEAT);
        tokio::select! {
            () = tokio::time::sleep(pause) => beat(&shared).await,
            // A new run may want a shorter pause.
            () = shared.holdings.beat_again.notified() => {}
        }
    }
}

async fn beat(shared: &Shared) {
    let running = shared.holdings.running();
    let budget = HEARTBEAT_BYTES / running.len().max(1);
    let assignments: Vec<_> = running
        .iter()
        .map(|(assignment, work)| work.telemetry.take(assignment, budget))
        .collect();
    let stopping = shared.shutdown.is_cancelled();
    let full_beat = Heartbeats {
        assignments: assignments.clone(),
        stopping,
    };
    match shared.client.heartbeat(&full_beat).await {
        Ok(answer) => heed(shared, answer.directives),
        Err(error) if may_pass(&error) => {
            tracing::debug!(error = full(&error), "a heartbeat did not arrive");
            for ((_, work), heartbeat) in running.iter().zip(assignments) {
                work.telemetry.give_back(heartbeat);
            }
        }
        // Whatever is wrong with what the runs say, their leases must not die of it.
        Err(error) => {
            tracing::warn!(
                error = full(&error),
                "a heartbeat was refused; going on without what the runs said"
            );
            let assignments = assignments.into_iter().map(bare).collect();
            let bare_beat = Heartbeats {
                assignments,
                stopping,
            };
            match shared.client.heartbeat(&bare_beat).await {
                Ok(answer) => heed(shared, answer.directives),
                Err(error) => tracing::warn!(error = full(&error), "a heartbeat did not arrive"),
            }
        }
    }
}

/// A sign of life, and nothing else.
fn bare(heartbeat: Heartbeat) -> Heartbeat {
    Heartbeat {
        note: String::new(),
        logs: Vec::new(),
        metrics: Vec::new(),
        ..heartbeat
    }
}

/// Stops what the platform says to stop.
fn heed(shared: &Shared, directives: Vec<Directive>) {
    for directive in directives {
        if let (Action::Stop { reason }, Some(held)) = (
            &directive.action,
            shared.holdings.get(&directive.assignment),
        ) {
            stop(shared, &directive.assignment, *reason, held);
        }
    }
}

//! A market in memory, driven through the real state machine: commands are decided, their events folded.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aevir_events::{Context, Event as _, LeaderSecret, Recorded, Timestamp};
use aevir_platform::{
    amount::{Amount, Count, Points},
    command::{
        Availability, COMPILE_MIB_MIN, Command, GpuProfile, NodeProfile, OpenAccount,
        RegisterModule, RegisterNode, Scope, World,
    },
    decide,
    digest::Digest,
    event::{Event, PointsChanged, PointsReason, Track},
    evolve,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    policy::{AccountLimits, Policy, SLOTS_MAX},
    report::{BlobRef, Report, SignedCommitment, Usage},
    state::{State, Task},
    terms::{NodeTerms, WEEK_MIN, Window, minute_of_week},
    testing::actor,
};
use anyhow::{Context as _, Result, bail, ensure};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

/// Nodes of one owner.
const NODES_PER_OWNER: usize = 8;
/// What a requester is given, in micro-AEV.
const MONEY: i64 = 1_000_000_000_000_000;
/// What an account has at least, where it has points, in thousandths of a point.
const POINTS: i64 = 1_000_000;
/// The longest epoch that there is.
const EPOCH_MS: u32 = 86_400_000;
/// Ends of hours: minutes before the week's.
const HOURS: usize = 1_000;
/// Quotas that do not bind.
const LIMITS: AccountLimits = AccountLimits {
    weight: 100,
    tasks_max: 1_000_000,
    running_max: 1_000_000,
};

/// The market.
pub(super) struct Market {
    pub(super) state: State,
    pub(super) now: Timestamp,
    position: u64,
    decisions: u64,
    pub(super) requesters: Vec<AccountId>,
    keys: BTreeMap<NodeId, SigningKey>,
    random: u64,
    /// Leased and not finished.
    pub(super) running: Vec<(AssignmentId, NodeId)>,
}

/// A plan: how long it took and what it gave out.
pub(super) struct Planned {
    pub(super) took: Duration,
    pub(super) leases: Vec<(TaskId, AssignmentId, NodeId)>,
}

impl Market {
    /// With so many requesters and nodes.
    pub(super) fn new(requesters: usize, nodes: usize) -> Result<Self> {
        Self::owned(requesters, nodes, 0)
    }

    /// The same, where the first requester owns so many of the nodes.
    pub(super) fn owned(requesters: usize, nodes: usize, of_one: usize) -> Result<Self> {
        let mut market = Self {
            state: State::default(),
            now: Timestamp(1_700_000_000_000),
            position: 0,
            decisions: 0,
            requesters: Vec::new(),
            keys: BTreeMap::new(),
            random: 5,
            running: Vec::new(),
        };
        let mut policy = Policy::default();
        // The bench plays hours: none ends but those that it closes to measure that.
        policy.scheduling.epoch_ms = EPOCH_MS;
        // All its nodes have shown what they have.
        policy.scheduling.unproven_slots = SLOTS_MAX;
        // None of them puts a stake up.
        policy.verification.staked_votes = 0;
        market.submit(Command::AdoptPolicy(policy))?;
        market.submit(Command::Tick)?;
        for n in 0..requesters {
            let requester = market.account(&format!("requester {n}"))?;
            market.requester(requester, n)?;
        }
        let mut owner = None;
        for n in 0..nodes {
            if n < of_one {
                owner = market.requesters.first().copied();
            } else if n % NODES_PER_OWNER == 0 || n == of_one {
                owner = Some(market.account(&format!("owner {n}"))?);
            }
            market.node(owner.context("an owner")?, n)?;
        }
        Ok(market)
    }

    fn requester(&mut self, account: AccountId, n: usize) -> Result<()> {
        let reference = format!("wire {n}");
        let amount = Amount(MONEY);
        self.submit(Command::Deposit {
            account,
            amount,
            reference,
        })?;
        let weight = [100, 100, 200, 50][n % 4];
        let limits = AccountLimits { weight, ..LIMITS };
        self.submit(Command::SetLimits { account, limits })?;
        self.submit(Command::RegisterModule(RegisterModule {
            owner: account,
            name: "module".into(),
            blob: BlobRef {
                digest: Digest::of(b"module"),
                size: Count(6),
            },
            world: World::Task,
            imports: Vec::new(),
            compile_mib: COMPILE_MIB_MIN,
            code_mib: 1,
        }))?;
        self.requesters.push(account);
        Ok(())
    }

    fn account(&mut self, name: &str) -> Result<AccountId> {
        let events = self.submit(Command::OpenAccount(OpenAccount {
            name: name.into(),
            key_hash: Digest::of(name.as_bytes()),
            scopes: Scope::OWNER.to_vec(),
        }))?;
        match events.first() {
            Some(Event::AccountOpened(opened)) => Ok(opened.account),
            other => bail!("no account was opened: {other:?}"),
        }
    }

    fn node(&mut self, owner: AccountId, n: usize) -> Result<()> {
        let token = Digest::of(format!("node {n}").as_bytes());
        let key = SigningKey::from_bytes(&token.0);
        let expires = self.now.plus_ms(60_000);
        self.submit(Command::IssueJoinToken {
            account: owner,
            token_hash: token,
            expires,
        })?;
        let events = self.submit(Command::RegisterNode(RegisterNode {
            token_hash: token,
            public_key: Hex(key.verifying_key().to_bytes()),
            key_hash: Digest::of(&token.0),
            profile: profile(n),
        }))?;
        let Some(Event::NodeRegistered(registered)) = events.first() else {
            bail!("no node was registered: {events:?}");
        };
        let node = registered.node;
        self.keys.insert(node, key);
        let availability = Availability::Online;
        self.submit(Command::SetAvailability { node, availability })?;
        Ok(())
    }

    /// Gives each node a label, hours and a denial that no other has.
    pub(super) fn make_particular(&mut self) -> Result<()> {
        let now = minute_of_week(self.now);
        let nodes = self.state.nodes.values();
        let nodes: Vec<(NodeId, usize)> = nodes.map(|n| (n.id, n.ordinal as usize)).collect();
        for (node, n) in nodes {
            let mut profile = profile(n);
            profile.labels.insert("host".into(), format!("host {n}"));
            let profile = Box::new(profile);
            self.submit(Command::ChangeProfile { node, profile })?;
            // Open now, in some hundred thousand ways.
            let [from, to] = [n % usize::from(now), n / usize::from(now) % HOURS];
            let window = Window {
                from_min: u16::try_from(from)?,
                to_min: WEEK_MIN - u16::try_from(to)?,
            };
            let mut terms = NodeTerms::default();
            terms.hours.push(window);
            let denied = AccountId(ulid::Ulid(u128::try_from(n)?));
            terms.requesters.deny.insert(denied);
            let terms = Box::new(terms);
            self.submit(Command::ChangeTerms { node, terms })?;
        }
        Ok(())
    }

    /// Queues a task.
    pub(super) fn task(&mut self, requester: AccountId, overrides: Value) -> Result<TaskId> {
        let mut definition = json!({
            "type": "inference",
            "module": Digest::of(b"module").to_string(),
            "economics": {"budget": "100000", "pricing": {"mode": "fixed", "price": "1000"}},
        });
        for (field, value) in overrides.as_object().into_iter().flatten() {
            definition[field] = value.clone();
        }
        let definition = Box::new(serde_json::from_value(definition)?);
        let events = self.submit(Command::SubmitTask {
            requester,
            definition,
        })?;
        match events.first() {
            Some(Event::TaskCreated(created)) => Ok(created.task),
            other => bail!("no task was created: {other:?}"),
        }
    }

    /// Decides a command and folds its events; answers how long both took, without what only keeps the books of the bench.
    fn timed(&mut self, command: &Command) -> Result<(Duration, Vec<Recorded<Event>>)> {
        let context = self.context(command);
        let started = Instant::now();
        let events = decide(&self.state, command, &context)?;
        let decided = started.elapsed();
        let recorded = self.recorded(&context, events);
        let started = Instant::now();
        for recorded in &recorded {
            evolve(&mut self.state, recorded)?;
        }
        Ok((decided + started.elapsed(), recorded))
    }

    /// Makes a plan, and takes its time: the decision and the fold of its events.
    pub(super) fn plan(&mut self) -> Result<Planned> {
        let (took, recorded) = self.timed(&Command::Plan)?;
        let leased = recorded.iter().filter_map(|r| match &r.event {
            Event::AssignmentLeased(lease) => Some((lease.task, lease.assignment, lease.node)),
            _ => None,
        });
        let leases: Vec<_> = leased.collect();
        self.running.extend(
            leases
                .iter()
                .map(|(_, assignment, node)| (*assignment, *node)),
        );
        Ok(Planned { took, leases })
    }

    /// Closes the epoch and opens the next; answers the seconds that its decision and the fold of its events took.
    pub(super) fn turn_epoch(&mut self) -> Result<f64> {
        self.now = self.now.plus_ms(EPOCH_MS.into());
        let (took, recorded) = self.timed(&Command::Tick)?;
        let closed = recorded
            .iter()
            .any(|r| matches!(r.event, Event::EpochClosed(_)));
        ensure!(closed, "the epoch was not closed");
        Ok(took.as_secs_f64())
    }

    /// Opens so many accounts, each with points of its own.
    pub(super) fn endow(&mut self, accounts: usize) -> Result<()> {
        for n in 0..accounts {
            let account = self.account(&format!("account {n}"))?;
            let changed = PointsChanged {
                account,
                track: Track::Compute,
                delta: Points(POINTS + i64::try_from(n)?),
                reason: PointsReason::ResultAccepted,
                task: TaskId(ulid::Ulid::nil()),
                assignment: None,
            };
            let context = self.context(&Command::Tick);
            for recorded in self.recorded(&context, vec![changed.into()]) {
                evolve(&mut self.state, &recorded)?;
            }
        }
        Ok(())
    }

    /// Ends so many of the running runs well, chosen at random.
    pub(super) fn finish(&mut self, count: usize) -> Result<()> {
        for _ in 0..count.min(self.running.len()) {
            let at = self.below(self.running.len() as u64) as usize;
            let (assignment, node) = self.running.swap_remove(at);
            self.end(assignment, node)?;
        }
        Ok(())
    }

    /// Ends this run well.
    pub(super) fn end(&mut self, assignment: AssignmentId, node: NodeId) -> Result<()> {
        self.submit(Command::Start { node, assignment })?;
        let Some((task, _)) = self.state.assignment(assignment) else {
            bail!("assignment {assignment} is gone");
        };
        let report = report(task, assignment, node);
        let task = task.id;
        let key = self.keys.get(&node).context("a node's key")?;
        let commitment = SignedCommitment::sign(key, report.commitment());
        self.submit(Command::Commit {
            node,
            assignment,
            commitment,
            absent_ms: Count(0),
        })?;
        self.reveal(task)
    }

    fn reveal(&mut self, task: TaskId) -> Result<()> {
        let Some(state) = self.state.tasks.get(&task) else {
            bail!("task {task} is gone");
        };
        if state.phase.name() != "verifying" {
            return Ok(());
        }
        let committed = state
            .assignments
            .values()
            .filter(|a| a.state_name() == "committed");
        let reports: Vec<Report> = committed.map(|a| report(state, a.id, a.node)).collect();
        for report in reports {
            let (node, report, result) = (report.node, Box::new(report), json!({}));
            self.submit(Command::Reveal {
                node,
                report,
                result,
            })?;
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, command: Command) -> Result<Vec<Event>> {
        let context = self.context(&command);
        let events = decide(&self.state, &command, &context)?;
        for recorded in self.recorded(&context, events.clone()) {
            evolve(&mut self.state, &recorded)?;
        }
        Ok(events)
    }

    fn context(&mut self, command: &Command) -> Context {
        self.decisions += 1;
        Context {
            time: self.now,
            actor: actor(command),
            entropy: Digest::of(&self.decisions.to_be_bytes()).0,
            secret: LeaderSecret([7; 32]),
        }
    }

    fn recorded(&mut self, context: &Context, events: Vec<Event>) -> Vec<Recorded<Event>> {
        let position = self.position;
        self.position += events.len() as u64;
        let events = events.into_iter().zip(position..);
        events
            .map(|(event, position)| Recorded {
                position,
                id: ulid::Ulid::from_parts(context.time.0.unsigned_abs(), position.into()),
                stream: event.stream(),
                revision: 0,
                time: context.time,
                actor: context.actor.clone(),
                cause: String::new(),
                event,
            })
            .collect()
    }

    /// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

fn report(task: &Task, assignment: AssignmentId, node: NodeId) -> Report {
    Report {
        task: task.id,
        assignment,
        node,
        outputs: Vec::new(),
        result: BlobRef {
            digest: Digest::of(b"{}"),
            size: Count(2),
        },
        metrics: Vec::new(),
        usage: Usage {
            fuel: Count(1_000),
            ..Usage::default()
        },
        trace_root: task
            .definition
            .qos
            .gpu
            .as_ref()
            .map(|_| Digest::of(b"trace")),
        // What the lease was for.
        class: task
            .assignments
            .get(&assignment)
            .and_then(|run| run.hardware.gpu())
            .unwrap_or("cpu")
            .to_owned(),
        resumed_from: None,
        salt: Hex([0; 32]),
    }
}

/// Machines of several sizes in several regions, a third of them with a GPU.
fn profile(n: usize) -> NodeProfile {
    let size = n % 4;
    let label = |name: &str, value: String| (name.to_owned(), value);
    NodeProfile {
        name: format!("node {n}"),
        cpu_cores: 4 << size,
        memory_mib: 8_192 << size,
        storage_mib: 262_144,
        slots: 2 << size,
        gpu: (n.is_multiple_of(3)).then(|| GpuProfile {
            adapter: "adapter".into(),
            class: format!("class-{}", n / 3 % 5),
            memory_mib: 8_192,
            buffer_mib: Some(2_048),
            compute: Some(5),
            features: vec!["shader-f16".into()],
            software: false,
        }),
        runtime: "det/1".into(),
        cpu_mfuel_s: Some(500 + u32::try_from(n % 40).unwrap_or(0) * 25),
        labels: [
            label("region", format!("region-{}", n / 7 % 6)),
            label("tier", format!("tier-{}", n / 5 % 3)),
        ]
        .into(),
        confinement: None,
    }
}

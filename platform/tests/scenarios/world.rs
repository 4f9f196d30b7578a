//! A platform in memory, with the clock and the nodes' keys in the test's hand.
//!
//! Every event goes through its JSON form before it is folded, and after every command the books must balance.

// Other tests take this file by its path.
#[path = "books.rs"]
mod books;
#[path = "machine.rs"]
mod machine;
#[path = "policies.rs"]
mod policies;

use std::collections::BTreeMap;

use aevir_events::{
    Context, Event as _, LeaderSecret, Machine as _, Recorded, Timestamp, state_hash,
};
use aevir_platform::{
    Platform,
    amount::{Amount, Count, MicroUnits, parse_micro},
    command::{
        Availability, COMPILE_MIB_MIN, Command, NodeProfile, OpenAccount, RegisterModule,
        RegisterNode, Scope, World as ModuleWorld,
    },
    decide,
    definition::TaskDefinition,
    digest::Digest,
    event::{Event, Track},
    evolve,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::{Policy, SettlementPolicy},
    rejection::Rejection,
    report::{BlobRef, MetricValue, Report, Usage, class_of_run},
    schedule::specification,
    state::State,
    testing::actor,
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

pub use books::recompute;
pub use machine::profile;
pub use policies::{immediate, unstaked};

/// A `max_latency_ms` that leaves runs of ten minutes no time for one after the other: a sample's replicas are placed at once.
pub const AT_ONCE_MS: u32 = 600_000;

pub struct World {
    pub state: State,
    pub log: Vec<Recorded<Event>>,
    pub now: Timestamp,
    decisions: u64,
    /// Of the leader.
    pub secret: [u8; 32],
    revisions: BTreeMap<String, u64>,
    pub keys: BTreeMap<NodeId, SigningKey>,
    pub requester: AccountId,
    pub module: Digest,
}

/// The result of a simulated run.
pub struct Run {
    pub report: Report,
    pub result: Value,
}

/// The dispute window of [`windowed`].
pub const WINDOW_MS: u32 = 10_000;

/// A platform with a dispute window of ten seconds.
pub fn windowed() -> World {
    World::with_policy(Policy {
        settlement: SettlementPolicy {
            window_ms: WINDOW_MS,
        },
        ..unstaked()
    })
}

impl World {
    /// A platform with a policy, a requester with 1,000 AEV and one module.
    pub fn new() -> Self {
        Self::with_policy(immediate())
    }

    pub fn with_policy(policy: Policy) -> Self {
        let mut world = Self {
            state: State::default(),
            log: Vec::new(),
            now: Timestamp(1_700_000_000_000),
            decisions: 0,
            secret: [7; 32],
            revisions: BTreeMap::new(),
            keys: BTreeMap::new(),
            requester: AccountId(ulid::Ulid::nil()),
            module: Digest::of(b"module"),
        };
        world.ok(Command::AdoptPolicy(policy));
        // Nothing is drawn before an epoch is open.
        world.ok(Command::Tick);
        world.requester = world.account("requester");
        world.deposit(world.requester, 1_000_000_000);
        world.push_module(world.requester);
        world
    }

    /// Decides and folds a command.
    pub fn submit(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        let context = self.next_context(actor(&command));
        let events = decide(&self.state, &command, &context)?;
        if matches!(command, Command::Plan) {
            let specified = specification::plan(&self.state, &context);
            assert_eq!(events, specified, "a plan is what the specification says");
        }
        self.record(&events, &context);
        Ok(events)
    }

    /// Of the next decision.
    pub fn next_context(&mut self, actor: String) -> Context {
        self.decisions += 1;
        Context {
            time: self.now,
            actor,
            entropy: Digest::of(&self.decisions.to_be_bytes()).0,
            secret: LeaderSecret(self.secret),
        }
    }

    /// What a leader writes into its log, right or wrong.
    pub fn record(&mut self, events: &[Event], context: &Context) {
        let entropy = Digest::of(&context.entropy).0;
        let envelope = Context {
            entropy,
            ..context.clone()
        };
        let mut ids = envelope.ids();
        for event in events {
            let data = event.to_data().to_string();
            let read = Event::from_data(event.label(), event.schema(), &data).unwrap();
            assert_eq!(&read, event, "an event survives its JSON form");
            let stream = event.stream();
            let revision = self.revisions.entry(stream.clone()).or_default();
            let recorded = Recorded {
                position: self.log.len() as u64,
                id: ids.ulid(),
                stream,
                revision: *revision,
                time: self.now,
                actor: context.actor.clone(),
                cause: format!("test {}", self.decisions),
                event: read,
            };
            *revision += 1;
            evolve(&mut self.state, &recorded).unwrap_or_else(|e| panic!("{}: {e}", event.label()));
            self.log.push(recorded);
        }
        books::check(&self.state);
    }

    /// A command that must be accepted.
    pub fn ok(&mut self, command: Command) -> Vec<Event> {
        let shown = format!("{command:?}");
        self.submit(command)
            .unwrap_or_else(|e| panic!("{shown} was refused: {e}"))
    }

    /// A command that must be refused, and leaves no event; its code.
    pub fn refused(&mut self, command: Command) -> &'static str {
        let before = self.log.len();
        let shown = format!("{command:?}");
        match self.submit(command) {
            Ok(events) => panic!("{shown} was accepted: {events:?}"),
            Err(rejection) => {
                assert_eq!(self.log.len(), before);
                rejection.code()
            }
        }
    }

    /// Folds the whole log anew: the state must be the same, and at some positions on the way, within commands
    /// too, it must be the same state when it is written down and read back, indexes and all.
    pub fn check_replay(&self) {
        let mut replayed = State::default();
        for (n, recorded) in self.log.iter().enumerate() {
            evolve(&mut replayed, recorded).unwrap();
            if n % (self.log.len() / 7 + 1) == 3 {
                let written = serde_json::to_string(&replayed).unwrap();
                let mut restored: State = serde_json::from_str(&written).unwrap();
                Platform::restored(&mut restored);
                assert_eq!(restored, replayed, "after {}", recorded.event.label());
                replayed = restored;
            }
        }
        // What was decided is what an audit derives.
        recompute(&self.log).unwrap();
        assert_eq!(
            state_hash(&replayed).unwrap(),
            state_hash(&self.state).unwrap()
        );
        assert_eq!(replayed.next_due(), self.state.next_due());
        assert_eq!(replayed.has_placeable(), self.state.has_placeable());
    }

    pub fn later(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    pub fn account(&mut self, name: &str) -> AccountId {
        let key_hash = Digest::of(format!("{name}{}", self.log.len()).as_bytes());
        let events = self.ok(Command::OpenAccount(OpenAccount {
            name: name.into(),
            key_hash,
            scopes: Scope::OWNER.to_vec(),
        }));
        match &events[0] {
            Event::AccountOpened(e) => e.account,
            other => panic!("{other:?}"),
        }
    }

    pub fn deposit(&mut self, account: AccountId, amount: i64) {
        let reference = format!("wire {}", self.log.len());
        self.ok(Command::Deposit {
            account,
            amount: Amount(amount),
            reference,
        });
    }

    pub fn available(&self, account: AccountId) -> i64 {
        self.state
            .ledger
            .balance(LedgerAccount::Available(account))
            .0
    }

    pub fn compute_points(&self, account: AccountId) -> i64 {
        self.state.points(account, Track::Compute)
    }

    /// A node of a new account, online, with one slot.
    pub fn node(&mut self, name: &str) -> NodeId {
        let owner = self.account(name);
        self.node_of(owner, profile(name))
    }

    pub fn node_of(&mut self, owner: AccountId, profile: NodeProfile) -> NodeId {
        let seed = Digest::of(format!("{}{}", profile.name, self.log.len()).as_bytes());
        let key = SigningKey::from_bytes(&seed.0);
        let expires = self.now.plus_ms(60_000);
        self.ok(Command::IssueJoinToken {
            account: owner,
            token_hash: seed,
            expires,
        });
        let events = self.ok(Command::RegisterNode(RegisterNode {
            token_hash: seed,
            public_key: Hex(key.verifying_key().to_bytes()),
            key_hash: Digest::of(&seed.0),
            profile,
        }));
        let node = match &events[0] {
            Event::NodeRegistered(e) => e.node,
            other => panic!("{other:?}"),
        };
        self.keys.insert(node, key);
        self.ok(Command::SetAvailability {
            node,
            availability: Availability::Online,
        });
        node
    }

    /// A node's good and bad outcomes of all types and classes, in thousandths, as they count now.
    pub fn outcomes(&self, node: NodeId) -> (u64, u64) {
        let node = &self.state.nodes[&node];
        let tallies = node.records.values().flat_map(|of| of.tallies.values());
        let faded = tallies.map(|tally| self.state.epochs.fading.fade(*tally, node.faded));
        faded.fold((0, 0), |(good, bad), of| (good + of.good, bad + of.bad))
    }

    pub fn owner(&self, node: NodeId) -> AccountId {
        self.state.nodes[&node].owner
    }

    /// Registers the world's module for another account too.
    pub fn push_module(&mut self, owner: AccountId) {
        self.push(owner, self.module, COMPILE_MIB_MIN);
    }

    /// Registers a task's module that takes so much memory to be compiled.
    pub fn push(&mut self, owner: AccountId, digest: Digest, compile_mib: u32) {
        self.ok(Command::RegisterModule(RegisterModule {
            owner,
            name: "echo".into(),
            blob: BlobRef {
                digest,
                size: Count(6),
            },
            world: ModuleWorld::Task,
            imports: vec![],
            compile_mib,
            code_mib: 1,
        }));
    }

    /// The node shows life again.
    pub fn heard_from(&mut self, node: NodeId) {
        let availability = Availability::Online;
        self.ok(Command::SetAvailability { node, availability });
    }

    /// A definition with overrides merged into the top level.
    pub fn definition(&self, overrides: Value) -> TaskDefinition {
        let mut definition = json!({
            "type": "data-processing",
            "module": self.module.to_string(),
            "params": {},
            "economics": {"budget": "10000000", "pricing": {"mode": "fixed", "price": "1000000"}},
        });
        for (field, value) in overrides.as_object().unwrap() {
            definition[field] = value.clone();
        }
        serde_json::from_value(definition).unwrap()
    }

    pub fn task(&mut self, overrides: Value) -> TaskId {
        let command = self.submission(overrides);
        task_of(&self.ok(command))
    }

    pub fn submission(&self, overrides: Value) -> Command {
        let definition = Box::new(self.definition(overrides));
        Command::SubmitTask {
            requester: self.requester,
            definition,
        }
    }

    /// Plans, and answers the new leases; nodes may be kept free beside.
    pub fn plan(&mut self) -> Vec<(TaskId, AssignmentId, NodeId)> {
        let events = self.ok(Command::Plan);
        let leased = events.iter().filter_map(|e| match e {
            Event::AssignmentLeased(e) => Some((e.task, e.assignment, e.node)),
            Event::TaskReserved(_) => None,
            other => panic!("a plan only leases and reserves: {other:?}"),
        });
        leased.collect()
    }

    pub fn start(&mut self, assignment: AssignmentId) {
        let node = self.node_on(assignment);
        self.ok(Command::Start { node, assignment });
    }

    /// A run says how far it is.
    pub fn progress(&mut self, assignment: AssignmentId, ppm: u32) {
        let node = self.node_on(assignment);
        self.ok(Command::ReportProgress {
            node,
            assignment,
            ppm,
            note: String::new(),
        });
    }

    pub fn node_on(&self, assignment: AssignmentId) -> NodeId {
        self.state.assignment(assignment).unwrap().1.node
    }

    /// A run with this result, as an honest node would report it.
    pub fn run(&self, assignment: AssignmentId, result: Value, metrics: &[(&str, &str)]) -> Run {
        let (task, assigned) = self.state.assignment(assignment).unwrap();
        let bytes = serde_json_canonicalizer::to_vec(&result).unwrap();
        let metric = |(name, value): &(&str, &str)| MetricValue {
            name: (*name).into(),
            step: Count(0),
            value: parse_micro(value).unwrap_or(MicroUnits(0)),
        };
        let report = Report {
            task: task.id,
            assignment,
            node: assigned.node,
            outputs: machine::outputs(task, &bytes),
            result: BlobRef {
                digest: Digest::of(&bytes),
                size: Count(bytes.len() as u64),
            },
            metrics: metrics.iter().map(metric).collect(),
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
            class: class_of_run(&assigned.hardware, task.definition.runtime),
            resumed_from: assigned.resume.map(|b| b.digest),
            salt: Hex(Digest::of(&assigned.node.0.to_bytes()).0),
        };
        Run { report, result }
    }

    pub fn reveal(&mut self, run: &Run) -> Vec<Event> {
        self.ok(reveal_command(run))
    }

    /// Runs, commits and reveals every replica of one task with the result `answer` gives its node.
    pub fn finish(&mut self, task: TaskId, answer: impl Fn(NodeId) -> Value) {
        while matches!(self.state.tasks[&task].phase.name(), "queued" | "running") {
            self.plan();
            let leased: Vec<_> = self.state.tasks[&task].active().map(|a| a.id).collect();
            assert!(!leased.is_empty(), "no node takes the task");
            for assignment in leased {
                self.start(assignment);
                let result = answer(self.node_on(assignment));
                let run = self.run(assignment, result, &[]);
                self.commit(&run);
            }
            if self.phase(task) == "verifying" {
                self.reveal_all(task, &answer);
            }
        }
    }

    pub fn reveal_all(&mut self, task: TaskId, answer: impl Fn(NodeId) -> Value) {
        let committed: Vec<_> = self.state.tasks[&task]
            .assignments
            .values()
            .filter(|a| a.state_name() == "committed")
            .collect();
        let committed: Vec<_> = committed.into_iter().map(|a| (a.id, a.node)).collect();
        for (assignment, node) in committed {
            let run = self.run(assignment, answer(node), &[]);
            self.reveal(&run);
        }
    }

    pub fn phase(&self, task: TaskId) -> &'static str {
        self.state.tasks[&task].phase.name()
    }
}

pub fn reveal_command(run: &Run) -> Command {
    Command::Reveal {
        node: run.report.node,
        report: Box::new(run.report.clone()),
        result: run.result.clone(),
    }
}

pub fn task_of(events: &[Event]) -> TaskId {
    let created = events.iter().find_map(|e| match e {
        Event::TaskCreated(e) => Some(e.task),
        _ => None,
    });
    created.unwrap()
}

pub fn labels(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|e| e.label()).collect()
}

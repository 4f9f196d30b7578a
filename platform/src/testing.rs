//! A long, true history of a busy market, for benchmarks and for tests of what reads logs.
//!
//! Every event was decided by the machine on the state before it, signatures included; the same seed makes the
//! same bytes. Part of the library so that other crates' benchmarks and tests have it; nothing else may use it.

mod life;

use std::collections::BTreeMap;

use aevir_events::{Batch, Entry, Recorded, Timestamp, testing::Author};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    Platform,
    amount::{Amount, Count},
    command::{
        Availability, COMPILE_MIB_MIN, Command, FailureClass, GpuProfile, LossReason, NodeProfile,
        OpenAccount, RegisterContent, RegisterModule, RegisterNode, Scope, World,
    },
    content::Access,
    digest::Digest,
    event::Event,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::{Policy, SettlementPolicy},
    report::{Artifact, BlobRef, Report, SignedCommitment, Usage},
    rights::Giver,
    state::{State, Task},
};

/// Nodes of the market, each of an owner of its own.
const NODES: usize = 24;
const REQUESTERS: usize = 8;
/// Tasks under way at once.
const WAVE_TASKS: usize = 8;
/// Long enough that verdicts of several waves mature in one tick.
const WINDOW_MS: u32 = 60_000;
/// What a requester is given whenever it has less, in micro-AEV.
const MONEY: i64 = 1_000_000_000;

/// Who gives a command where nobody has to act for anybody.
pub fn actor(command: &Command) -> String {
    Giver::of(command).usual().to_string()
}

/// The default policy, but for what asks nodes for a stake.
pub fn unstaked() -> Policy {
    let mut policy = Policy::default();
    policy.verification.staked_votes = 0;
    policy.verification.adaptive.vouched = false;
    policy.stake.free_after = 0;
    policy
}

/// A market's life so far, and how to go on with it.
#[derive(Debug)]
pub struct History {
    author: Author<Platform>,
    now: Timestamp,
    random: u64,
    keys: BTreeMap<NodeId, SigningKey>,
    requesters: Vec<AccountId>,
    dataset: String,
    deposits: u64,
    /// Nodes that joined later.
    joined: usize,
}

impl History {
    /// A market that has just opened: a policy, a module, a dataset, requesters and nodes.
    pub fn new(seed: u64) -> Self {
        let mut history = Self {
            author: Author::new(seed),
            now: Timestamp(1_700_000_000_000),
            random: seed,
            keys: BTreeMap::new(),
            requesters: Vec::new(),
            dataset: String::new(),
            deposits: 0,
            joined: 0,
        };
        history.submit(Command::AdoptPolicy(Policy {
            settlement: SettlementPolicy {
                window_ms: WINDOW_MS,
            },
            ..unstaked()
        }));
        // Nothing is drawn before an epoch is open.
        history.submit(Command::Tick);
        for n in 0..REQUESTERS {
            let requester = history.open_account(&format!("requester {n}"));
            history.requesters.push(requester);
            history.submit(Command::RegisterModule(RegisterModule {
                owner: requester,
                name: "digits".into(),
                blob: blob(b"module"),
                world: World::Task,
                imports: vec!["aevir:guest/host".into()],
                compile_mib: COMPILE_MIB_MIN,
                code_mib: 1,
            }));
        }
        history.register_dataset();
        for n in 0..NODES {
            history.join(n);
        }
        history
    }

    /// Goes on for at least `events` more events and takes them, ready for `Log::append` by the leader of `epoch`.
    pub fn batch(&mut self, events: usize, epoch: u64) -> Batch {
        while self.author.waiting() < events {
            self.wave();
        }
        self.author.take(epoch)
    }

    /// The entries from the beginning on, without end.
    pub fn entries(seed: u64) -> impl Iterator<Item = Entry> {
        let mut history = Self::new(seed);
        std::iter::repeat_with(move || history.batch(1, 0).events)
            .flatten()
            .map(|row| row.entry)
    }

    /// The state after everything so far.
    pub fn state(&self) -> &State {
        self.author.state()
    }

    /// A few tasks from their submission to their ends.
    fn wave(&mut self) {
        // Between waves no node has anything under way that a change could take away.
        if self.chance(2) {
            self.change_a_node();
        }
        let mut tasks: Vec<TaskId> = (0..WAVE_TASKS).map(|_| self.submit_task()).collect();
        if self.chance(5) {
            let task = self.task(tasks[0]);
            let (requester, task) = (task.requester, task.id);
            self.submit(Command::CancelTask { requester, task });
        }
        loop {
            tasks.retain(|task| !self.task(*task).phase.is_final());
            if tasks.is_empty() {
                return;
            }
            // Nodes whose back-off is over take part again.
            self.later(5_000);
            self.submit(Command::Tick);
            self.submit(Command::Plan);
            for task in &tasks {
                let leased: Vec<_> = self.task(*task).active().map(|a| (a.id, a.node)).collect();
                for (assignment, node) in leased {
                    self.run(*task, assignment, node);
                }
            }
            for task in &tasks {
                self.reveal(*task);
            }
        }
    }

    fn submit_task(&mut self) -> TaskId {
        let which = self.below(REQUESTERS as u64) as usize;
        let requester = self.requesters[which];
        let available = LedgerAccount::Available(requester);
        if self.state().ledger.balance(available).0 < MONEY {
            self.deposit(requester);
        }
        let kind = ["inference", "evaluation", "data-processing"][self.below(3) as usize];
        let mut definition = json!({
            "type": kind,
            "module": blob(b"module").digest.to_string(),
            "params": {"batch": self.below(512), "threshold": 0.25, "labels": ["zero", "one"]},
            "data": [{"name": "set", "from": {"content": {"id": self.dataset}}}],
            "economics": {"budget": "5000000", "pricing": {"mode": "fixed", "price": "1000000"}},
            "labels": {"run": format!("run {}", self.below(1_000))},
        });
        let mut methods = Vec::new();
        if !self.chance(4) {
            methods.push(json!({"method": "sampling", "quorum": 2, "replicas": 3}));
        }
        if self.chance(8) {
            let schema = json!({"type": "object", "required": ["n"]});
            methods.push(json!({"method": "check", "schema": schema}));
            definition["privacy"] = json!({"publish": "full"});
        }
        definition["verification"] = Value::from(methods);
        let definition = must(serde_json::from_value(definition));
        let events = self.submit(Command::SubmitTask {
            requester,
            definition: Box::new(definition),
        });
        let task = events.iter().find_map(|recorded| match &recorded.event {
            Event::TaskCreated(e) => Some(e.task),
            _ => None,
        });
        must(task.ok_or("no task was created"))
    }

    /// A run as far as its sealed result, or to where it breaks.
    fn run(&mut self, task: TaskId, assignment: AssignmentId, node: NodeId) {
        self.later(40);
        self.submit(Command::Start { node, assignment });
        for ppm in [250_000, 750_000] {
            self.later(900);
            let note = format!("batch {}", ppm / 10_000);
            self.submit(Command::ReportProgress {
                node,
                assignment,
                ppm,
                note,
            });
        }
        if self.chance(100) {
            let reason = LossReason::Silent;
            self.submit(Command::LoseLease { assignment, reason });
            let availability = Availability::Online;
            self.submit(Command::SetAvailability { node, availability });
            return;
        }
        if self.chance(100) {
            let (class, message) = (FailureClass::HostError, "the disk is full".to_owned());
            self.submit(Command::Fail {
                node,
                assignment,
                class,
                message,
            });
            return;
        }
        let (report, _) = self.report(task, assignment, node);
        for output in &report.outputs {
            let blob = BlobRef {
                digest: output.digest,
                size: output.size,
            };
            self.submit(Command::RecordOutput {
                node,
                assignment,
                blob,
            });
        }
        let commitment = SignedCommitment::sign(&self.keys[&node], report.commitment());
        self.submit(Command::Commit {
            node,
            assignment,
            commitment,
            absent_ms: Count(0),
        });
    }

    fn reveal(&mut self, task: TaskId) {
        if self.task(task).phase.name() != "verifying" {
            return;
        }
        let committed: Vec<_> = self
            .task(task)
            .assignments
            .values()
            .filter(|a| a.state_name() == "committed")
            .map(|a| (a.id, a.node))
            .collect();
        for (assignment, node) in committed {
            let (report, result) = self.report(task, assignment, node);
            self.later(30);
            self.submit(Command::Reveal {
                node,
                report: Box::new(report),
                result,
            });
        }
    }

    /// What the node found; one in twenty results is false.
    fn report(&self, task: TaskId, assignment: AssignmentId, node: NodeId) -> (Report, Value) {
        let draw = Digest::of(&assignment.0.to_bytes()).0;
        let false_by = u64::from(draw[0] < 13) * u64::from(draw[1]);
        let result = json!({"n": task.0.random() as u64 % 1_000 + false_by, "of": 1_797});
        let bytes = must(serde_json_canonicalizer::to_vec(&result));
        let output = blob(&[b"output of ", &bytes[..]].concat());
        let report = Report {
            task,
            assignment,
            node,
            outputs: vec![Artifact {
                name: "labels.csv".into(),
                digest: output.digest,
                size: output.size,
            }],
            result: blob(&bytes),
            metrics: Vec::new(),
            usage: Usage {
                fuel: Count(4_200_000 + task.0.random() as u64 % 100_000),
                wall_ms: Count(1_850 + u64::from(draw[2])),
                peak_memory_bytes: Count(11_534_336),
                ..Usage::default()
            },
            trace_root: None,
            class: "cpu".into(),
            resumed_from: None,
            salt: Hex(draw),
        };
        (report, result)
    }

    fn open_account(&mut self, name: &str) -> AccountId {
        let events = self.submit(Command::OpenAccount(OpenAccount {
            name: name.into(),
            key_hash: Digest::of(name.as_bytes()),
            scopes: Scope::OWNER.to_vec(),
        }));
        let account = events.iter().find_map(|recorded| match &recorded.event {
            Event::AccountOpened(e) => Some(e.account),
            _ => None,
        });
        must(account.ok_or("no account was opened"))
    }

    fn deposit(&mut self, account: AccountId) {
        self.deposits += 1;
        let reference = format!("wire {}", self.deposits);
        self.submit(Command::Deposit {
            account,
            amount: Amount(MONEY),
            reference,
        });
    }

    fn register_dataset(&mut self) {
        let (owner, blob) = (self.requesters[0], blob(b"dataset"));
        self.submit(Command::RecordUpload {
            account: owner,
            blob,
        });
        let events = self.submit(Command::RegisterContent(RegisterContent {
            owner,
            kind: crate::command::ContentKind::Dataset,
            name: "digits".into(),
            version: "1".into(),
            files: vec![Artifact {
                name: "digits.csv".into(),
                digest: blob.digest,
                size: blob.size,
            }],
            licence: "CC0-1.0".into(),
            weight: 1,
            price: Amount::ZERO,
            access: Access::Everybody,
            contributors: Vec::new(),
        }));
        let content = events.iter().find_map(|recorded| match &recorded.event {
            Event::ContentRegistered(e) => Some(e.content.to_string()),
            _ => None,
        });
        self.dataset = must(content.ok_or("no content was registered"));
    }

    fn join(&mut self, n: usize) {
        let name = format!("node {n}");
        let owner = self.open_account(&format!("owner of {name}"));
        let secret = Digest::of(name.as_bytes());
        let key = SigningKey::from_bytes(&secret.0);
        self.submit(Command::IssueJoinToken {
            account: owner,
            token_hash: secret,
            expires: self.now.plus_ms(60_000),
        });
        let events = self.submit(Command::RegisterNode(RegisterNode {
            token_hash: secret,
            public_key: Hex(key.verifying_key().to_bytes()),
            key_hash: Digest::of(&secret.0),
            profile: profile(name),
        }));
        let node = events.iter().find_map(|recorded| match &recorded.event {
            Event::NodeRegistered(e) => Some(e.node),
            _ => None,
        });
        let node = must(node.ok_or("no node was registered"));
        self.keys.insert(node, key);
        let availability = Availability::Online;
        self.submit(Command::SetAvailability { node, availability });
    }

    fn submit(&mut self, command: Command) -> Vec<std::sync::Arc<Recorded<Event>>> {
        must(self.author.submit(&actor(&command), self.now, &command))
    }

    fn task(&self, task: TaskId) -> &Task {
        &self.author.state().tasks[&task]
    }

    fn later(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    /// Once in `times`.
    fn chance(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef {
        digest: Digest::of(bytes),
        size: Count(bytes.len() as u64),
    }
}

fn profile(name: String) -> NodeProfile {
    NodeProfile {
        name,
        cpu_cores: 8,
        memory_mib: 16_384,
        storage_mib: 65_536,
        slots: 4,
        gpu: Some(GpuProfile {
            adapter: "software".into(),
            class: "class-a".into(),
            memory_mib: 4_096,
            buffer_mib: Some(2_048),
            features: Vec::new(),
            software: true,
            compute: Some(3),
        }),
        runtime: "det/1".into(),
        cpu_mfuel_s: Some(2_000),
        labels: BTreeMap::new(),
        confinement: None,
    }
}

/// The history is true by construction: what the machine refuses is a fault of this file.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|e| panic!("the history can't go on: {e}"))
}

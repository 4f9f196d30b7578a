//! The machine and the model side by side: each command is decided by the one and worked out by the other, and then they are compared.

use std::collections::BTreeMap;

use aevir_events::{Context, Event as _, LeaderSecret, Recorded, Timestamp};
use aevir_platform::{
    amount::{Amount, Count},
    command::{
        Availability, COMPILE_MIB_MIN, Command, GpuProfile, NodeProfile, OpenAccount,
        RegisterContent, RegisterModule, RegisterNode, Scope, World as ModuleWorld,
    },
    content::{Access, Contributor},
    decide,
    definition::Method,
    digest::Digest,
    event::Event,
    evolve,
    hexbytes::Hex,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    rejection::Rejection,
    report::{Artifact, BlobRef, Report, SignedCommitment, Usage, class_of_run},
    state::{InspectionOf, State},
    testing::actor,
};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use crate::{
    coverage::{Coverage, apart, end, kind},
    naive::Naive,
};

/// Rejections of commands about money that money is the reason of.
const OF_MONEY: [&str; 12] = [
    "bond-too-small",
    "nothing-to-claim",
    "insufficient-balance",
    "budget-too-small",
    "contents-too-dear",
    "balance-too-small",
    "stake-locked",
    "amount-not-positive",
    "reference-used",
    "unknown-withdrawal",
    "unknown-node",
    "amount-too-large",
];

/// Classes of GPUs that nodes have: each second one has the first.
const CLASSES: [&str; 2] = ["one-1", "two-2"];

/// Short epochs: points fade and pools open many times in a life.
pub const EPOCH_MS: u32 = 300_000;

/// A small market.
pub struct Market {
    pub state: State,
    pub naive: Naive,
    pub now: Timestamp,
    pub log: Vec<Recorded<Event>>,
    pub keys: BTreeMap<NodeId, SigningKey>,
    pub requesters: Vec<AccountId>,
    pub owners: Vec<AccountId>,
    pub nodes: Vec<NodeId>,
    /// Tasks that have not ended, and all.
    pub open: Vec<TaskId>,
    pub tasks: Vec<TaskId>,
    pub coverage: Coverage,
    /// Commands so far.
    pub decisions: u64,
    seed: u64,
}

/// On which terms a content is there.
#[derive(Default)]
pub struct Offer {
    pub price: Amount,
    pub access: Access,
    pub contributors: Vec<Contributor>,
}

impl Market {
    /// With three requesters and six owners of a node each.
    pub fn new(seed: u64) -> Self {
        let mut market = Self {
            state: State::default(),
            naive: Naive::default(),
            now: Timestamp(1_700_000_000_000),
            log: Vec::new(),
            keys: BTreeMap::new(),
            requesters: Vec::new(),
            owners: Vec::new(),
            nodes: Vec::new(),
            open: Vec::new(),
            tasks: Vec::new(),
            coverage: Coverage::new(),
            decisions: 0,
            seed,
        };
        let mut policy = Policy::default();
        policy.scheduling.epoch_ms = EPOCH_MS;
        // Results stand alone from the beginning, and mature within a life.
        policy.verification.adaptive.trusted_ppm = 0;
        policy.settlement.window_ms = 60_000;
        market.ok(Command::AdoptPolicy(policy));
        market.ok(Command::Tick);
        for n in 0..3 {
            let requester = market.account(&format!("requester {n}"));
            market.module(requester, blob(b"module"), ModuleWorld::Task);
            market.module(requester, check_module(), ModuleWorld::Check);
            market.module(requester, comparator(), ModuleWorld::Comparator);
            market.content(requester, &format!("set {n}"), 1 + n, Offer::default());
            market.deposit(requester, 100_000_000);
            market.requesters.push(requester);
        }
        for n in 0..6 {
            let owner = market.account(&format!("owner {n}"));
            market.owners.push(owner);
            market.join(owner);
            market.deposit(owner, 30_000_000);
            market.ok(Command::Stake {
                account: owner,
                node: market.nodes[n],
                amount: Amount(20_000_000),
            });
        }
        market
    }

    /// What the machine makes of a command, and whether the model makes the same of it.
    pub fn submit(&mut self, command: Command) -> Result<Vec<Event>, Rejection> {
        self.decisions += 1;
        let mut seed = self.seed.to_be_bytes().to_vec();
        seed.extend(self.decisions.to_be_bytes());
        let context = Context {
            time: self.now,
            actor: actor(&command),
            entropy: Digest::of(&seed).0,
            secret: LeaderSecret([7; 32]),
        };
        let affords = self.naive.affords(&command);
        let counts = self.coverage.entry(kind(&command)).or_default();
        let events = match decide(&self.state, &command, &context) {
            Ok(events) => events,
            Err(rejection) => {
                counts.1 += 1;
                let is_of_money = OF_MONEY.contains(&rejection.code());
                assert!(
                    affords != Some(true) || !is_of_money,
                    "the model affords what is refused: {rejection}: {command:?}"
                );
                return Err(rejection);
            }
        };
        counts.0 += 1;
        for end in events
            .iter()
            .flat_map(|e| end(e).into_iter().chain(apart(e)))
        {
            self.coverage.entry(end).or_default().0 += 1;
        }
        assert!(
            affords != Some(false),
            "the model does not afford {command:?}"
        );
        self.fold(&events, &context);
        self.naive.granted(&command, &events, self.now);
        self.compare(&command, &events);
        Ok(events)
    }

    fn fold(&mut self, events: &[Event], context: &Context) {
        for event in events {
            match event {
                Event::TaskCreated(e) => {
                    self.open.push(e.task);
                    self.tasks.push(e.task);
                }
                Event::TaskSettled(e) => self.open.retain(|task| *task != e.task),
                Event::TaskClosed(e) => self.open.retain(|task| *task != e.task),
                _ => {}
            }
            let position = self.log.len() as u64;
            let recorded = Recorded {
                position,
                id: ulid::Ulid::from_parts(self.now.0.unsigned_abs(), position.into()),
                stream: event.stream(),
                revision: 0,
                time: self.now,
                actor: context.actor.clone(),
                cause: self.decisions.to_string(),
                event: event.clone(),
            };
            evolve(&mut self.state, &recorded)
                .unwrap_or_else(|e| panic!("{}: {e}, of {events:?}", event.label()));
            self.log.push(recorded);
        }
    }

    /// What must hold after each operation.
    fn compare(&self, command: &Command, events: &[Event]) {
        let shown = || format!("after {command:?} brought {events:?}");
        let (state, naive) = (&self.state, &self.naive);
        let machine: BTreeMap<LedgerAccount, i64> = state
            .ledger
            .balances()
            .map(|(account, balance)| (account, balance.0))
            .collect();
        assert_eq!(machine, naive.money, "balances {}", shown());
        let sum: i128 = machine.values().map(|balance| i128::from(*balance)).sum();
        assert_eq!(sum, 0);
        for (account, balance) in &machine {
            assert!(
                *balance > 0 || *account == LedgerAccount::External,
                "{account}: {balance}"
            );
        }
        for task in &self.open {
            let task = &state.tasks[task];
            let escrow = naive.balance(LedgerAccount::Escrow(task.id));
            assert!(escrow == task.held().0 && escrow <= task.definition.economics.budget.0);
        }
        let mut by_results: BTreeMap<NodeId, i64> = BTreeMap::new();
        for run in state.tasks.values().flat_map(|t| t.assignments.values()) {
            *by_results.entry(run.node).or_default() += run.stake.0;
        }
        for node in &self.nodes {
            let locked = naive.locked(*node);
            let pledged = by_results.get(node).copied().unwrap_or(0);
            assert_eq!(pledged, locked, "pledges of {node} {}", shown());
            assert_eq!(
                state.nodes[node].pledges.locked.0, locked,
                "locks of {node}"
            );
            assert!(
                locked <= naive.balance(LedgerAccount::Stake(*node)),
                "stake covers {node}"
            );
        }
        let points = state.points.iter().flat_map(|(account, balance)| {
            use aevir_platform::event::Track::{Compute, Content, Verification};
            [Compute, Content, Verification]
                .map(|track| ((*account, track), balance.thousandths_on(track) as i64))
        });
        let points: BTreeMap<_, i64> = points.filter(|(_, points)| *points != 0).collect();
        assert_eq!(points, naive.points, "points {}", shown());
    }

    /// The log gives the same state once more.
    pub fn check_replay(&self) {
        let mut replayed = State::default();
        for recorded in &self.log {
            evolve(&mut replayed, recorded).unwrap();
        }
        assert!(replayed == self.state, "a replay gives another state");
    }

    pub fn ok(&mut self, command: Command) -> Vec<Event> {
        let shown = format!("{command:?}");
        self.submit(command)
            .unwrap_or_else(|e| panic!("{shown} was refused: {e}"))
    }

    fn account(&mut self, name: &str) -> AccountId {
        let events = self.ok(Command::OpenAccount(OpenAccount {
            name: name.into(),
            key_hash: Digest::of(format!("{name}{}", self.decisions).as_bytes()),
            scopes: Scope::OWNER.to_vec(),
        }));
        match &events[0] {
            Event::AccountOpened(e) => e.account,
            other => panic!("{other:?}"),
        }
    }

    fn module(&mut self, owner: AccountId, blob: BlobRef, world: ModuleWorld) {
        self.ok(Command::RegisterModule(RegisterModule {
            owner,
            name: format!("a {world:?}"),
            blob,
            world,
            imports: Vec::new(),
            compile_mib: COMPILE_MIB_MIN,
            code_mib: 1,
        }));
    }

    /// Money comes in under a reference of its own.
    pub fn deposit(&mut self, account: AccountId, amount: i64) {
        let reference = format!("wire {}", self.decisions);
        self.ok(Command::Deposit {
            account,
            amount: Amount(amount),
            reference,
        });
    }

    /// A dataset of an account that uploads its file.
    pub fn content(&mut self, owner: AccountId, name: &str, weight: u32, offer: Offer) {
        let blob = blob(name.as_bytes());
        let account = owner;
        // Refused where it is suspended; the content is refused then, too.
        let _ = self.submit(Command::RecordUpload { account, blob });
        let file = Artifact {
            name: "data.csv".into(),
            digest: blob.digest,
            size: blob.size,
        };
        let _ = self.submit(Command::RegisterContent(RegisterContent {
            owner,
            kind: aevir_platform::command::ContentKind::Dataset,
            name: name.into(),
            version: format!("{}", self.decisions),
            files: vec![file],
            licence: "CC0-1.0".into(),
            weight,
            price: offer.price,
            access: offer.access,
            contributors: offer.contributors,
        }));
    }

    /// A node of an owner, there and ready.
    pub fn join(&mut self, account: AccountId) {
        let token_hash = Digest::of(format!("node {}", self.decisions).as_bytes());
        let key = SigningKey::from_bytes(&token_hash.0);
        let expires = self.now.plus_ms(60_000);
        self.ok(Command::IssueJoinToken {
            account,
            token_hash,
            expires,
        });
        let events = self.ok(Command::RegisterNode(RegisterNode {
            token_hash,
            public_key: Hex(key.verifying_key().to_bytes()),
            key_hash: Digest::of(&token_hash.0),
            profile: profile(
                &format!("node {}", self.nodes.len()),
                CLASSES[self.nodes.len() % CLASSES.len()],
            ),
        }));
        let node = match &events[0] {
            Event::NodeRegistered(e) => e.node,
            other => panic!("{other:?}"),
        };
        self.keys.insert(node, key);
        self.nodes.push(node);
        let availability = Availability::Online;
        self.ok(Command::SetAvailability { node, availability });
    }

    /// What a run reports that says so, and its result.
    pub fn report(&self, id: AssignmentId, answer: u8) -> (Report, Value) {
        let (task, assignment) = self.state.assignment(id).unwrap();
        let brought = assignment.uploads.len() + assignment.closed_outputs.len();
        let result = match task.inspects.as_ref().map(|of| self.asks_for_words(of)) {
            Some(true) => json!(answer == 0),
            Some(false) | None => json!({"n": answer}),
        };
        let bytes = serde_json_canonicalizer::to_vec(&result).unwrap();
        let report = Report {
            task: task.id,
            assignment: id,
            node: assignment.node,
            outputs: (0..brought).map(output).collect(),
            result: blob(&bytes),
            metrics: Vec::new(),
            usage: Usage {
                // As much for the same answer, so that the same results agree.
                fuel: Count(1_000_000_007 * (1 + u64::from(answer))),
                ..Usage::default()
            },
            trace_root: task
                .definition
                .qos
                .gpu
                .as_ref()
                .map(|_| Digest([answer; 32])),
            class: class_of_run(&assignment.hardware, task.definition.runtime),
            resumed_from: assignment.resume.map(|blob| blob.digest),
            salt: Hex([answer; 32]),
        };
        (report, result)
    }

    /// Verifiers say `true` or `false`, and do not run a task again.
    fn asks_for_words(&self, of: &InspectionOf) -> bool {
        if of.compares.is_some() {
            return true;
        }
        let method = &self.state.tasks[&of.task].definition.verification[of.method as usize];
        matches!(method, Method::Check { .. })
    }

    pub fn seal(&self, report: &Report) -> SignedCommitment {
        SignedCommitment::sign(&self.keys[&report.node], report.commitment())
    }

    /// Assignments of open tasks in a state.
    pub fn assignments(&self, state: &str) -> Vec<(AssignmentId, NodeId)> {
        let tasks = self.open.iter().map(|task| &self.state.tasks[task]);
        let all = tasks.flat_map(|task| task.assignments.values());
        let found = all.filter(|a| a.state_name() == state);
        found.map(|a| (a.id, a.node)).collect()
    }
}

/// All that any run brings.
pub fn an_output() -> BlobRef {
    blob(b"an output")
}

/// What verifiers run on two results.
pub fn comparator() -> BlobRef {
    blob(b"comparator")
}

/// What verifiers run on a result.
pub fn check_module() -> BlobRef {
    blob(b"check module")
}

fn output(n: usize) -> Artifact {
    let blob = an_output();
    Artifact {
        name: format!("out-{n}"),
        digest: blob.digest,
        size: blob.size,
    }
}

pub fn blob(bytes: &[u8]) -> BlobRef {
    BlobRef {
        digest: Digest::of(bytes),
        size: Count(bytes.len() as u64),
    }
}

/// A machine with two slots and a GPU of this class.
pub fn profile(name: &str, class: &str) -> NodeProfile {
    NodeProfile {
        name: name.into(),
        cpu_cores: 4,
        memory_mib: 2_048,
        storage_mib: 20_480,
        slots: 2,
        gpu: Some(GpuProfile {
            adapter: "Test".into(),
            class: class.into(),
            memory_mib: 2_048,
            buffer_mib: None,
            features: Vec::new(),
            software: false,
            compute: Some(3),
        }),
        runtime: "det/1".into(),
        cpu_mfuel_s: Some(1_000),
        labels: BTreeMap::from([("zone".into(), "here".into())]),
        confinement: None,
    }
}

//! Random lives of a small platform: steps that a property test draws. Views are tested with them too.

use std::collections::BTreeMap;

use aevir_platform::{
    amount::Amount,
    command::{Availability, Command, FailureClass, LossReason, Subject},
    digest::Digest,
    ids::{AccountId, NodeId, TaskId, WithdrawalId},
    policy::{Policy, SettlementPolicy},
    rotation::SignedRotation,
};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde_json::json;

use crate::world::{World, profile, reveal_command};

/// One random step; the numbers choose among what there is.
#[derive(Debug, Clone)]
pub enum Step {
    Submit {
        quorum: u32,
        extra: u32,
        price: u32,
        after: Option<usize>,
        deadline_s: Option<u16>,
    },
    Cancel(usize),
    Plan,
    Tick {
        later_ms: u16,
    },
    Start(usize),
    Commit {
        which: usize,
        answer: u8,
    },
    Reveal(usize),
    Fail {
        which: usize,
        host: bool,
    },
    Lose(usize),
    GiveBack(usize),
    Online {
        node: usize,
        online: bool,
    },
    /// The requester, or a node's owner, wants part of what it has.
    Withdraw {
        whose: usize,
        part_ppm: u32,
    },
    /// One that is open is paid or refused.
    EndWithdrawal {
        which: usize,
        paid: bool,
    },
    /// An account takes its parts of the reward pools.
    Claim {
        whose: usize,
    },
    /// Its requester, or who brought a result, doubts a verdict.
    Dispute {
        which: usize,
        by_node: bool,
    },
    /// Its operator or an administrator decides something about a node.
    Decide {
        node: usize,
        what: Decision,
    },
}

/// What is decided about a node.
#[derive(Debug, Clone, Copy)]
pub enum Decision {
    Drain,
    Resume,
    Leave,
    Revoke,
    Rotate,
    Terms {
        runs: u32,
        open: bool,
        ask: u32,
    },
    /// Its owner puts money up that came in for it, or takes some back.
    Stake {
        amount: u32,
    },
    Unstake {
        amount: u32,
    },
    Suspend(Whom),
    Release(Whom),
    /// It comes back with another GPU.
    Machine {
        class: u8,
    },
    AnotherJoins,
}

/// Whom a suspension is about.
#[derive(Debug, Clone, Copy)]
pub enum Whom {
    Node,
    Owner,
    Requester,
    Module,
}

fn decision() -> impl Strategy<Value = Decision> {
    let whom = || {
        prop_oneof![
            Just(Whom::Node),
            Just(Whom::Owner),
            Just(Whom::Requester),
            Just(Whom::Module)
        ]
    };
    prop_oneof![
        2 => Just(Decision::Drain),
        4 => Just(Decision::Resume),
        1 => Just(Decision::Leave),
        1 => Just(Decision::Revoke),
        2 => Just(Decision::Rotate),
        2 => (0u32..3, any::<bool>(), 0u32..2_000_000)
            .prop_map(|(runs, open, ask)| Decision::Terms { runs, open, ask }),
        3 => (1u32..8_000_000).prop_map(|amount| Decision::Stake { amount }),
        1 => (1u32..4_000_000).prop_map(|amount| Decision::Unstake { amount }),
        2 => whom().prop_map(Decision::Suspend),
        4 => whom().prop_map(Decision::Release),
        2 => (0u8..2).prop_map(|class| Decision::Machine { class }),
        2 => Just(Decision::AnotherJoins),
    ]
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    prop_oneof![
        3 => (1u32..4, 0u32..2, 0u32..2_000_000, prop::option::of(index()), prop::option::of(1u16..100))
            .prop_map(|(quorum, extra, price, after, deadline_s)| Step::Submit { quorum, extra, price, after, deadline_s }),
        1 => index().prop_map(Step::Cancel),
        6 => Just(Step::Plan),
        3 => (0u16..20_000).prop_map(|later_ms| Step::Tick { later_ms }),
        8 => index().prop_map(Step::Start),
        8 => (index(), 0u8..5).prop_map(|(which, answer)| Step::Commit { which, answer }),
        8 => index().prop_map(Step::Reveal),
        1 => (index(), any::<bool>()).prop_map(|(which, host)| Step::Fail { which, host }),
        1 => index().prop_map(Step::Lose),
        2 => index().prop_map(Step::GiveBack),
        1 => (index(), any::<bool>()).prop_map(|(node, online)| Step::Online { node, online }),
        1 => (index(), 0u32..1_000_000).prop_map(|(whose, part_ppm)| Step::Withdraw { whose, part_ppm }),
        1 => (index(), any::<bool>()).prop_map(|(which, paid)| Step::EndWithdrawal { which, paid }),
        2 => index().prop_map(|whose| Step::Claim { whose }),
        2 => (index(), any::<bool>()).prop_map(|(which, by_node)| Step::Dispute { which, by_node }),
        3 => (index(), decision()).prop_map(|(node, what)| Step::Decide { node, what }),
    ]
}

/// Answers 0 to 3 are the honest one: replicas mostly agree.
fn answer(choice: u8) -> serde_json::Value {
    json!({"n": choice / 4})
}

/// The dispute window: some ticks pass within it, and some after it.
pub const WINDOW_MS: u32 = 7_000;

/// A small platform with random lives in it.
pub struct Lives {
    pub world: World,
    nodes: Vec<NodeId>,
    tasks: Vec<TaskId>,
    answers: BTreeMap<aevir_platform::ids::AssignmentId, u8>,
}

impl Lives {
    /// A platform with four nodes.
    pub fn new() -> Self {
        // Epochs of half a minute, so that records fade.
        let settlement = SettlementPolicy {
            window_ms: WINDOW_MS,
        };
        let mut policy = Policy {
            settlement,
            ..Policy::default()
        };
        policy.scheduling.epoch_ms = 30_000;
        policy.points.keep_ppm = 900_000;
        policy.rewards.claim_epochs = 2;
        // Whoever has enough stake is trusted, so that some results stand alone.
        policy.verification.adaptive.trusted_ppm = 0;
        policy.verification.inspection_ms = 10_000;
        let mut world = World::with_policy(policy);
        world.push_check();
        // The later ones are faster, so that a run on the first ones may be overtaken.
        let node = |i: u32| {
            let name = format!("node {i}");
            let owner = world.account(&name);
            let mut profile = profile(&name);
            profile.cpu_mfuel_s = Some(500 * (i + 1));
            world.node_of(owner, profile)
        };
        let nodes = (0..4).map(node).collect();
        Self {
            world,
            nodes,
            tasks: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    fn assignments(&self, state: &str) -> Vec<aevir_platform::ids::AssignmentId> {
        let all = self
            .world
            .state
            .tasks
            .values()
            .flat_map(|t| t.assignments.values());
        all.filter(|a| a.state_name() == state)
            .map(|a| a.id)
            .collect()
    }

    /// Takes a step, as far as there is something to take it with.
    pub fn take(&mut self, step: Step) {
        let w = &mut self.world;
        match step {
            Step::Submit {
                quorum,
                extra,
                price,
                after,
                deadline_s,
            } => {
                let replicas = (quorum + extra).min(quorum * 2 - 1);
                let depends: Vec<_> = after
                    .filter(|_| !self.tasks.is_empty())
                    .map(|i| json!({"task": self.tasks[i % self.tasks.len()].to_string(), "output": "out"}))
                    .into_iter()
                    .collect();
                let deadline = deadline_s.map(|s| w.now.plus_ms(i64::from(s) * 1_000).to_string());
                let mut overrides = json!({
                    "depends_on": depends,
                    "verification": [{"method": "sampling", "quorum": quorum, "replicas": replicas, "adaptive": price % 2 == 0 && replicas > 1}],
                    "economics": {"budget": "20000000", "pricing": {"mode": "fixed", "price": price.to_string()}},
                });
                if let (Some(deadline), Some(s)) = (deadline, deadline_s) {
                    let max_latency_ms = u32::from(s) * 200;
                    overrides["qos"] =
                        json!({"deadline": deadline, "max_latency_ms": max_latency_ms});
                }
                let methods = overrides["verification"].as_array_mut();
                methods.unwrap().extend(World::inspection(price));
                if price % 3 == 0 {
                    overrides["qos"]["gpu"] = json!({});
                }
                let command = w.submission(overrides);
                if let Ok(events) = w.submit(command) {
                    self.tasks.push(crate::world::task_of(&events));
                }
            }
            Step::Cancel(i) if !self.tasks.is_empty() => {
                let task = self.tasks[i % self.tasks.len()];
                let _ = w.submit(Command::CancelTask {
                    requester: w.requester,
                    task,
                });
            }
            Step::Cancel(_) => {}
            Step::Plan => drop(w.plan()),
            Step::Tick { later_ms } => {
                w.later(later_ms.into());
                w.ok(Command::Tick);
            }
            Step::Start(i) => {
                if let Some(assignment) = pick(self.assignments("leased"), i) {
                    self.world.start(assignment);
                }
            }
            Step::Commit {
                which,
                answer: choice,
            } => {
                if let Some(assignment) = pick(self.assignments("running"), which) {
                    let run = self.world.run(assignment, answer(choice), &[]);
                    self.world.commit(&run);
                    self.answers.insert(assignment, choice);
                }
            }
            Step::Reveal(i) => {
                if let Some(assignment) = pick(self.assignments("committed"), i) {
                    let run = self
                        .world
                        .run(assignment, answer(self.answers[&assignment]), &[]);
                    let _ = self.world.submit(reveal_command(&run));
                }
            }
            Step::Fail { which, host } => {
                if let Some(assignment) = pick(self.assignments("running"), which) {
                    let class = if host {
                        FailureClass::HostError
                    } else {
                        FailureClass::Trap
                    };
                    let node = self.world.node_on(assignment);
                    self.world.ok(Command::Fail {
                        node,
                        assignment,
                        class,
                        message: "no".into(),
                    });
                }
            }
            Step::Lose(i) => {
                if let Some(assignment) = pick(self.assignments("running"), i) {
                    self.world.ok(Command::LoseLease {
                        assignment,
                        reason: LossReason::Silent,
                    });
                }
            }
            Step::GiveBack(i) => {
                if let Some(assignment) = pick(self.assignments("running"), i) {
                    let node = self.world.node_on(assignment);
                    self.world.ok(Command::GiveBack { node, assignment });
                    self.world.heard_from(node);
                }
            }
            Step::Online { node, online } => {
                let node = self.nodes[node % self.nodes.len()];
                let availability = if online {
                    Availability::Online
                } else {
                    Availability::Offline
                };
                // One that is gone does not come back.
                let _ = w.submit(Command::SetAvailability { node, availability });
            }
            Step::Withdraw { whose, part_ppm } => {
                let account = nth_account(w, whose);
                let amount = Amount(w.available(account)).share(part_ppm);
                let destination = "the account on file".to_owned();
                // Nothing, too many, or suspended: refused.
                let _ = w.submit(Command::RequestWithdrawal {
                    account,
                    amount,
                    destination,
                });
            }
            Step::EndWithdrawal { which, paid } => {
                let open = w.state.withdrawals.iter();
                let open = open.flat_map(|(account, open)| open.keys().map(|id| (*account, *id)));
                if let Some((account, withdrawal)) = pick(open.collect(), which) {
                    w.ok(end(account, withdrawal, paid));
                }
            }
            Step::Claim { whose } => {
                let account = nth_account(w, whose);
                // Nothing to claim, or suspended: refused.
                let _ = w.submit(Command::ClaimRewards { account });
            }
            Step::Dispute { which, by_node } => {
                let settled = w.state.tasks.values().filter(|t| t.maturing().is_some());
                let settled: Vec<TaskId> = settled.map(|t| t.id).collect();
                if let Some(task) = pick(settled, which) {
                    let of = &w.state.tasks[&task];
                    let brought = of.assignments.values().find(|a| a.commitment().is_some());
                    let account = match brought.filter(|_| by_node) {
                        Some(assignment) => w.owner(assignment.node),
                        None => of.requester,
                    };
                    // Too little money, or the window is over: refused.
                    let _ = w.submit(Command::Dispute {
                        account,
                        task,
                        reason: "a random one".into(),
                        bond: Amount(100_000_000),
                    });
                }
            }
            Step::Decide { node, what } => {
                let node = self.nodes[node % self.nodes.len()];
                self.decide(node, what);
            }
        }
    }

    /// Decides something about a node; what does not fit its state is refused, and changes nothing.
    fn decide(&mut self, node: NodeId, what: Decision) {
        let w = &mut self.world;
        let reason = || "a random one".to_owned();
        let command = match what {
            Decision::Drain => Command::DrainNode { node },
            Decision::Resume => Command::ResumeNode { node },
            Decision::Leave => Command::LeaveMarket { node },
            Decision::Revoke => Command::RevokeNode {
                node,
                reason: reason(),
            },
            Decision::Rotate => {
                let next = Digest::of(&w.log.len().to_be_bytes());
                let next = SigningKey::from_bytes(&next.0);
                let rotation =
                    SignedRotation::sign(node, &w.keys[&node], &next, Digest::of(next.as_bytes()));
                if w.submit(Command::RotateKey { node, rotation }).is_ok() {
                    w.keys.insert(node, next);
                }
                return;
            }
            Decision::Terms { runs, open, ask } => {
                let hours = if open {
                    json!([])
                } else {
                    json!([{"from_min": 0, "to_min": 1}])
                };
                let asks = json!({"data-processing": ask.to_string()});
                let terms = json!({"caps": {"runs": runs}, "hours": hours, "asks": asks});
                let terms = Box::new(serde_json::from_value(terms).unwrap());
                Command::ChangeTerms { node, terms }
            }
            Decision::Stake { amount } => {
                let account = w.owner(node);
                w.deposit(account, amount.into());
                let amount = Amount(amount.into());
                Command::Stake {
                    account,
                    node,
                    amount,
                }
            }
            Decision::Unstake { amount } => Command::Unstake {
                account: w.owner(node),
                node,
                amount: Amount(amount.into()),
            },
            Decision::Suspend(whom) => Command::Suspend {
                subject: subject(w, node, whom),
                reason: reason(),
            },
            Decision::Release(whom) => Command::Release {
                subject: subject(w, node, whom),
                reason: reason(),
            },
            Decision::Machine { class } => {
                let mut profile = w.state.nodes[&node].profile.clone();
                let gpu = profile.gpu.as_mut().unwrap();
                gpu.class = format!("class-{class}");
                let profile = Box::new(profile);
                Command::ChangeProfile { node, profile }
            }
            Decision::AnotherJoins => {
                let name = format!("node {}", self.nodes.len());
                let joined = self.world.node(&name);
                return self.nodes.push(joined);
            }
        };
        let _ = w.submit(command);
    }
}

fn nth_account(w: &World, which: usize) -> AccountId {
    let accounts = w.state.accounts.keys();
    accounts
        .copied()
        .nth(which % w.state.accounts.len())
        .unwrap()
}

fn end(account: AccountId, withdrawal: WithdrawalId, paid: bool) -> Command {
    if paid {
        Command::PayWithdrawal {
            account,
            withdrawal,
            reference: format!("payout {withdrawal}"),
        }
    } else {
        Command::RefuseWithdrawal {
            account,
            withdrawal,
            reason: "a random one".into(),
        }
    }
}

fn subject(w: &World, node: NodeId, whom: Whom) -> Subject {
    match whom {
        Whom::Node => Subject::Node(node),
        Whom::Owner => Subject::Account(w.owner(node)),
        Whom::Requester => Subject::Account(w.requester),
        Whom::Module => Subject::Module(w.module),
    }
}

fn pick<T: Copy>(all: Vec<T>, which: usize) -> Option<T> {
    (!all.is_empty()).then(|| all[which % all.len()])
}

//! Random operations: all kinds of commands, most of them such as can be granted, some not.

mod office;
mod submission;

use std::collections::BTreeMap;

use aevir_platform::{
    amount::{Amount, Count},
    command::{Availability, Command, ComputeCheck, FailureClass, LossReason, Subject},
    digest::Digest,
    event::ComputeOutcome,
    hexbytes::Hex,
    ids::{AccountId, NodeId, TaskId},
    rotation::SignedRotation,
};
use ed25519_dalek::SigningKey;
use serde_json::json;

use crate::market::{Market, an_output, blob, profile};

/// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }

    /// An amount that is sometimes nothing, or less.
    fn amount(&mut self, most: i64) -> Amount {
        match self.below(20) {
            0 => Amount(0),
            1 => Amount(-1),
            _ => Amount(1 + self.below(most.max(1) as usize) as i64),
        }
    }
}

/// A market and the chance that moves it.
pub struct Player {
    pub market: Market,
    pub random: Random,
    answers: BTreeMap<aevir_platform::ids::AssignmentId, u8>,
}

impl Player {
    pub fn new(seed: u64) -> Self {
        Self {
            market: Market::new(seed),
            random: Random(seed),
            answers: BTreeMap::new(),
        }
    }

    /// One operation: a command is decided, or a few that belong together.
    pub fn play(&mut self) {
        let before = self.market.decisions;
        while self.market.decisions == before {
            let ms = [0, 0, 0, 40, 700, 3_000][self.random.below(6)];
            self.market.now = self.market.now.plus_ms(ms);
            if let Some(command) = self.operation() {
                // What is refused changes nothing, and is counted.
                let _ = self.market.submit(command);
            }
        }
    }

    /// What is done next; often what a node would do next.
    fn operation(&mut self) -> Option<Command> {
        match self.random.below(100) {
            0..8 => self.submission(),
            8..18 => Some(Command::Plan),
            18..26 => {
                let ms = match self.random.chance(40) {
                    true => 700_000,
                    false => [500, 2_000, 5_000, 10_000][self.random.below(4)],
                };
                self.market.now = self.market.now.plus_ms(ms);
                Some(Command::Tick)
            }
            26..44 => self.begin(),
            44..64 => self.commit(),
            64..84 => self.reveal(),
            84..87 => self.trouble(),
            87..94 => self.money(),
            94..98 => self.node(),
            _ => self.office(),
        }
    }

    fn requester(&mut self) -> AccountId {
        let requesters = &self.market.requesters;
        requesters[self.random.below(requesters.len())]
    }

    fn begin(&mut self) -> Option<Command> {
        let leased = self.market.assignments("leased");
        let (assignment, node) = self.random.pick(&leased)?;
        Some(Command::Start { node, assignment })
    }

    fn commit(&mut self) -> Option<Command> {
        let running = self.market.assignments("running");
        let (assignment, node) = self.random.pick(&running)?;
        if let Some((task, run)) = self.market.state.assignment(assignment) {
            // So does whoever runs it again before its verdict.
            let asks = task.inspects.as_ref().map_or(task.id, |of| of.task);
            let trains = self.market.state.tasks[&asks].definition.model.is_some();
            if trains && run.uploads.is_empty() && !self.random.chance(8) {
                // The same of each replica, so that they agree.
                let blob = blob(&task.id.0.to_bytes());
                return Some(Command::RecordOutput {
                    node,
                    assignment,
                    blob,
                });
            }
        }
        match self.random.below(12) {
            0 => {
                let ppm = self.random.below(1_000_001) as u32;
                let note = String::new();
                return Some(Command::ReportProgress {
                    node,
                    assignment,
                    ppm,
                    note,
                });
            }
            1 => {
                let checkpoint = blob(&assignment.0.to_bytes());
                return Some(Command::SaveCheckpoint {
                    node,
                    assignment,
                    checkpoint,
                });
            }
            2 => {
                let blob = an_output();
                return Some(Command::RecordOutput {
                    node,
                    assignment,
                    blob,
                });
            }
            _ => {}
        }
        // One in five is wrong, and two that are may be wrong alike.
        let answer = if self.random.chance(5) {
            1 + self.random.below(3) as u8
        } else {
            0
        };
        self.answers.insert(assignment, answer);
        let (report, _) = self.market.report(assignment, answer);
        let commitment = self.market.seal(&report);
        Some(Command::Commit {
            node,
            assignment,
            commitment,
            absent_ms: Count(0),
        })
    }

    fn reveal(&mut self) -> Option<Command> {
        let mut sealed = self.market.assignments("committed");
        if !self.random.chance(20) {
            sealed.retain(|(id, _)| {
                let task = self.market.state.task_of(*id);
                task.is_some_and(|task| task.phase.name() == "verifying")
            });
        }
        let (assignment, node) = self.random.pick(&sealed)?;
        let mut answer = self.answers[&assignment];
        if self.random.chance(30) {
            answer += 1;
        }
        let (report, result) = self.market.report(assignment, answer);
        let report = Box::new(report);
        Some(Command::Reveal {
            node,
            report,
            result,
        })
    }

    fn trouble(&mut self) -> Option<Command> {
        let (leased, running) = (
            self.market.assignments("leased"),
            self.market.assignments("running"),
        );
        let task = self.random.pick(&self.market.open);
        match self.random.below(6) {
            0 | 1 => {
                use FailureClass::{GuestError, HostError, Limit, NotCompiled, Trap};
                let (assignment, node, class) = match self.random.pick(&running) {
                    Some((assignment, node)) => {
                        let classes = [GuestError, Trap, Trap, Limit, HostError];
                        (assignment, node, classes[self.random.below(5)])
                    }
                    None if self.random.chance(2) => return None,
                    None => {
                        let (assignment, node) = self.random.pick(&leased)?;
                        (assignment, node, NotCompiled)
                    }
                };
                let message = "no".into();
                Some(Command::Fail {
                    node,
                    assignment,
                    class,
                    message,
                })
            }
            2 => {
                let runs = self.random.pick(&running);
                let (assignment, _) = runs.or(self.random.pick(&leased))?;
                let reason = match self.random.below(2) {
                    1 if runs.is_none() => LossReason::NotStarted,
                    _ => LossReason::Silent,
                };
                Some(Command::LoseLease { assignment, reason })
            }
            3 => {
                let (assignment, node) = self.random.pick(&running)?;
                Some(Command::GiveBack { node, assignment })
            }
            4 => {
                let task = &self.market.state.tasks[&task?];
                let (requester, task) = (task.requester, task.id);
                Some(Command::CancelTask { requester, task })
            }
            _ => self.back(),
        }
    }

    /// A node that was gone is there again.
    fn back(&mut self) -> Option<Command> {
        let offline = |node: &&NodeId| {
            let node = &self.market.state.nodes[*node];
            node.availability == Availability::Offline && !node.standing.is_gone()
        };
        let offline: Vec<NodeId> = self.market.nodes.iter().filter(offline).copied().collect();
        let node = self.random.pick(&offline)?;
        let availability = Availability::Online;
        Some(Command::SetAvailability { node, availability })
    }

    fn money(&mut self) -> Option<Command> {
        let node = self.random.pick(&self.market.nodes)?;
        let owner = self.market.state.nodes[&node].owner;
        let account = if self.random.chance(3) {
            self.requester()
        } else {
            owner
        };
        let open = self.market.state.withdrawals.iter();
        let open: Vec<_> = open
            .flat_map(|(account, open)| open.keys().map(|id| (*account, *id)))
            .collect();
        match self.random.below(12) {
            11 => self.content_terms(),
            9 | 10 => self.dispute(),
            8 => Some(Command::ClaimRewards { account }),
            0 | 1 => {
                let used = self.random.chance(10);
                let number = if used { 7 } else { self.market.log.len() };
                let reference = format!("payment {number}");
                let amount = self.random.amount(9_000_000);
                Some(Command::Deposit {
                    account,
                    amount,
                    reference,
                })
            }
            2 => {
                let available = aevir_platform::ledger::LedgerAccount::Available(account);
                let most = self.market.naive.balance(available) + 2;
                let amount = self.random.amount(most);
                let destination = "the account on file".into();
                Some(Command::RequestWithdrawal {
                    account,
                    amount,
                    destination,
                })
            }
            3 => {
                let (account, withdrawal) = self.random.pick(&open)?;
                if self.random.chance(3) {
                    let reason = "a random one".into();
                    return Some(Command::RefuseWithdrawal {
                        account,
                        withdrawal,
                        reason,
                    });
                }
                let reference = format!("payment {}", self.random.below(1 << 40));
                Some(Command::PayWithdrawal {
                    account,
                    withdrawal,
                    reference,
                })
            }
            4..=6 => {
                let account = if self.random.chance(20) {
                    account
                } else {
                    owner
                };
                let amount = self.random.amount(9_000_000);
                Some(Command::Stake {
                    account,
                    node,
                    amount,
                })
            }
            _ => {
                let account = owner;
                let amount = self.random.amount(3_000_000);
                Some(Command::Unstake {
                    account,
                    node,
                    amount,
                })
            }
        }
    }

    /// Its requester doubts a verdict that has not matured.
    fn dispute(&mut self) -> Option<Command> {
        let tasks = &self.market.state.tasks;
        let pending = self.market.tasks.iter().rev().take(40);
        let pending = pending.filter(|id| tasks[id].maturing().is_some());
        let pending: Vec<TaskId> = pending.copied().collect();
        let task = self.random.pick(&pending)?;
        let account = self.market.state.tasks[&task].requester;
        let bond = self.random.amount(40_000_000);
        let reason = "a random doubt".into();
        Some(Command::Dispute {
            account,
            task,
            reason,
            bond,
        })
    }

    fn node(&mut self) -> Option<Command> {
        let node = self.random.pick(&self.market.nodes)?;
        let known = &self.market.state.nodes[&node];
        let owner = known.owner;
        let reason = || "a random one".to_owned();
        match self.random.below(15) {
            0 => Some(Command::DrainNode { node }),
            1 | 2 => Some(Command::ResumeNode { node }),
            3 => self
                .random
                .chance(2)
                .then_some(Command::LeaveMarket { node }),
            4 => self.random.chance(4).then(|| Command::RevokeNode {
                node,
                reason: reason(),
            }),
            5 => {
                let next =
                    SigningKey::from_bytes(&Digest::of(&self.market.log.len().to_be_bytes()).0);
                let rotation = SignedRotation::sign(
                    node,
                    &self.market.keys[&node],
                    &next,
                    Digest::of(next.as_bytes()),
                );
                let command = Command::RotateKey { node, rotation };
                if !known.standing.is_gone() {
                    self.market.keys.insert(node, next);
                }
                Some(command)
            }
            6 => {
                let ask = self.random.below(1_000_000).to_string();
                let other = [0, 1, 90_001][self.random.below(3)].to_string();
                let terms = json!({"asks": {"inference": ask, "evaluation": other}, "caps": {"runs": 1 + self.random.below(2)}});
                let terms = Box::new(serde_json::from_value(terms).unwrap());
                Some(Command::ChangeTerms { node, terms })
            }
            7 => {
                let class = known.profile.gpu.as_ref().unwrap().class.clone();
                let mut changed = profile("another", &class);
                changed.memory_mib = 1_024 + self.random.below(2_048) as u32;
                let profile = Box::new(changed);
                Some(Command::ChangeProfile { node, profile })
            }
            8 => {
                let availability = Availability::Offline;
                Some(Command::SetAvailability { node, availability })
            }
            9 | 10 => self.back(),
            11 => {
                let contents: Vec<_> = self.market.state.contents.keys().copied().collect();
                let content = self.random.pick(&contents)?;
                if self.random.chance(8) {
                    return Some(Command::Suspend {
                        subject: Subject::Content(content),
                        reason: reason(),
                    });
                }
                let subjects = [
                    Subject::Node(node),
                    Subject::Account(owner),
                    Subject::Account(self.requester()),
                    Subject::Module(blob(b"module").digest),
                ];
                let subject = self.random.pick(&subjects)?;
                Some(Command::Suspend {
                    subject,
                    reason: reason(),
                })
            }
            12 => Some(Command::CheckCompute(ComputeCheck {
                node,
                class: 1 + self.random.below(4) as u8,
                elapsed_ms: self.random.below(100_000) as u32,
                outcome: [
                    ComputeOutcome::Shown,
                    ComputeOutcome::Wrong,
                    ComputeOutcome::Silent,
                ][self.random.below(3)],
                seed: Hex([7; 32]),
                root: self.random.chance(8).then(|| Digest::of(b"values")),
            })),
            // Nothing stays shut for long.
            _ => self.release(),
        }
    }

    fn release(&mut self) -> Option<Command> {
        let state = &self.market.state;
        let accounts = state.accounts.iter().filter(|(_, a)| a.suspended.is_some());
        let nodes = state.nodes.values().filter(|n| n.suspended.is_some());
        let modules = state.modules.iter().filter(|(_, m)| m.suspended.is_some());
        let contents = state.contents.iter().filter(|(_, c)| c.suspended.is_some());
        let contents = contents.map(|(id, _)| Subject::Content(*id));
        let subjects = accounts.map(|(id, _)| Subject::Account(*id));
        let subjects = subjects.chain(nodes.map(|n| Subject::Node(n.id)));
        let subjects: Vec<Subject> = subjects
            .chain(modules.map(|(id, _)| Subject::Module(*id)))
            .chain(contents)
            .collect();
        let subject = self.random.pick(&subjects)?;
        let reason = "a random one".into();
        Some(Command::Release { subject, reason })
    }
}

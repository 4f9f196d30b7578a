//! Random lives of a small platform: steps that a property test draws. Views are tested with them too.

use std::collections::BTreeMap;

use aevir_platform::{
    command::{Availability, Command, FailureClass, LossReason},
    ids::{NodeId, TaskId},
};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{World, reveal_command};

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
    Online {
        node: usize,
        online: bool,
    },
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
        1 => (index(), any::<bool>()).prop_map(|(node, online)| Step::Online { node, online }),
    ]
}

/// Answers 0 to 3 are the honest one: replicas mostly agree.
fn answer(choice: u8) -> serde_json::Value {
    json!({"n": choice / 4})
}

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
        let mut world = World::new();
        let nodes = (0..4).map(|i| world.node(&format!("node {i}"))).collect();
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
                    "verification": [{"method": "sampling", "quorum": quorum, "replicas": replicas}],
                    "economics": {"budget": "20000000", "pricing": {"mode": "fixed", "price": price.to_string()}},
                });
                if let Some(deadline) = deadline {
                    overrides["qos"] = json!({"deadline": deadline});
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
            Step::Online { node, online } => {
                let node = self.nodes[node % self.nodes.len()];
                let availability = if online {
                    Availability::Online
                } else {
                    Availability::Offline
                };
                w.ok(Command::SetAvailability { node, availability });
            }
        }
    }
}

fn pick<T: Copy>(all: Vec<T>, which: usize) -> Option<T> {
    (!all.is_empty()).then(|| all[which % all.len()])
}

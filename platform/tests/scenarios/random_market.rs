//! Random markets: several requesters with their tasks, nodes of all sorts, and what happens to them.

use aevir_platform::{
    amount::Amount,
    command::{Availability, Command, FailureClass, GpuProfile, LossReason},
    definition::TaskType,
    digest::Digest,
    event::ComputeOutcome::{Shown, Silent, Wrong},
    ids::{AccountId, NodeId},
    policy::{AccountLimits, Policy},
    terms::{NodeTerms, Window, minute_of_week},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    compute::checked,
    world::{World, profile},
};

/// Memory that compiling the market's second module takes, in MiB: more than most of its runs, and than its smallest nodes have.
const HEAVY_MIB: u32 = 384;

fn heavy() -> Digest {
    Digest::of(b"heavy")
}

/// A market of several requesters and nodes of all sorts.
pub struct Market {
    pub w: World,
    requesters: Vec<AccountId>,
    nodes: Vec<NodeId>,
}

#[derive(Debug, Clone)]
pub struct Machine {
    pub owner: usize,
    pub slots: u32,
    pub memory: u32,
    pub region: u8,
    pub class: Option<u8>,
    pub f16: bool,
    /// Not known where it is 0.
    pub mfuel_s: u32,
    /// In tenths of the price that all tasks have; 0: it asks nothing.
    pub ask: u32,
    pub terms: Terms,
}

/// Whom, what and when a node works for.
#[derive(Debug, Clone, Copy)]
pub enum Terms {
    Any,
    NotTheFirst,
    OnlyTwo,
    NoModule,
    /// So many minutes from now on, and again later.
    Hours(u16),
}

#[derive(Debug, Clone)]
pub struct Ask {
    pub requester: usize,
    pub kind: u8,
    pub memory: u32,
    pub region: u8,
    pub gpu: u8,
    pub replicas: u32,
    pub priority: u32,
    pub runtime_s: u32,
    /// Some are in a hurry.
    pub latency_ms: Option<u32>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Submit(Ask),
    Plan,
    Later(u16),
    Start(usize),
    Commit(usize),
    Reveal(usize),
    Fail(usize),
    Lose(usize),
    GiveBack(usize),
    Flip(usize),
    /// A node comes back with a GPU of another class, or without one.
    Change(usize, Option<u8>),
    /// A node shows in so many ms how fast its GPU is.
    Check(usize, u32),
    Limits {
        who: usize,
        weight: u32,
        running: u32,
    },
}

pub fn machine() -> impl Strategy<Value = Machine> {
    (
        0usize..6,
        1u32..5,
        0u32..4,
        0u8..4,
        prop::option::of(0u8..2),
        any::<bool>(),
        0u32..4,
        0u32..12,
        terms(),
    )
        .prop_map(
            |(owner, slots, memory, region, class, f16, speed, ask, terms)| Machine {
                owner,
                slots,
                memory: 256 << memory,
                region,
                class,
                f16,
                mfuel_s: 500 * speed,
                ask,
                terms,
            },
        )
}

fn terms() -> impl Strategy<Value = Terms> {
    prop_oneof![
        6 => Just(Terms::Any),
        1 => Just(Terms::NotTheFirst),
        1 => Just(Terms::OnlyTwo),
        1 => Just(Terms::NoModule),
        2 => (1u16..4).prop_map(Terms::Hours),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let of = (0usize..4, 0u8..4, 0u32..4, 0u8..6, 0u8..6);
    let latency = prop::option::of(100u32..60_000);
    (of, 1u32..4, 0u32..10, 1u32..100, latency).prop_map(
        |((requester, kind, memory, region, gpu), replicas, priority, runtime_s, latency_ms)| Ask {
            requester,
            kind,
            memory: 128 << memory,
            region,
            gpu,
            replicas,
            priority,
            runtime_s,
            latency_ms,
        },
    )
}

pub fn step() -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    prop_oneof![
        8 => ask().prop_map(Step::Submit),
        4 => Just(Step::Plan),
        2 => (0u16..30_000).prop_map(Step::Later),
        6 => index().prop_map(Step::Start),
        6 => index().prop_map(Step::Commit),
        6 => index().prop_map(Step::Reveal),
        1 => index().prop_map(Step::Fail),
        1 => index().prop_map(Step::Lose),
        2 => index().prop_map(Step::GiveBack),
        1 => index().prop_map(Step::Flip),
        1 => (index(), prop::option::of(0u8..3)).prop_map(|(which, class)| Step::Change(which, class)),
        1 => (index(), 1u32..20_000).prop_map(|(which, ms)| Step::Check(which, ms)),
        1 => (index(), 1u32..1_000, 0u32..6).prop_map(|(who, weight, running)| Step::Limits { who, weight, running }),
    ]
}

impl Market {
    pub fn new(machines: &[Machine], policy: Policy) -> Self {
        let mut w = World::with_policy(policy);
        let mut requesters = vec![w.requester];
        for name in ["second", "third", "fourth"] {
            let account = w.account(name);
            w.deposit(account, 1_000_000_000);
            w.push_module(account);
            requesters.push(account);
        }
        for account in &requesters {
            w.push(*account, heavy(), HEAVY_MIB);
        }
        // Some requesters own nodes themselves.
        let mut owners = requesters[..2].to_vec();
        owners.extend((0..4).map(|i| w.account(&format!("owner {i}"))));
        let mut nodes = Vec::new();
        for (i, machine) in machines.iter().enumerate() {
            let mut profile = profile(&format!("node {i}"));
            profile.slots = machine.slots;
            profile.memory_mib = machine.memory;
            profile.cpu_cores = machine.slots;
            profile.cpu_mfuel_s = Some(machine.mfuel_s).filter(|speed| *speed > 0);
            profile.labels = [("region".to_owned(), format!("r{}", machine.region))].into();
            match (machine.class, &mut profile.gpu) {
                (Some(class), Some(gpu)) => {
                    gpu.class = format!("class-{class}");
                    gpu.software = class == 0;
                    gpu.memory_mib = machine.memory;
                    gpu.features = machine
                        .f16
                        .then(|| "shader-f16".to_owned())
                        .into_iter()
                        .collect();
                }
                _ => profile.gpu = None,
            }
            let node = w.node_of(owners[machine.owner], profile);
            let ask = Amount(i64::from(machine.ask) * 100_000);
            let asks = TaskType::ALL.map(|kind| (kind, ask));
            let mut terms = NodeTerms {
                asks: asks.into_iter().filter(|(_, ask)| ask.0 > 0).collect(),
                ..NodeTerms::default()
            };
            match machine.terms {
                Terms::Any => {}
                Terms::NotTheFirst => terms.requesters.deny = [requesters[0]].into(),
                Terms::OnlyTwo => {
                    terms.requesters.allow = requesters[1..3].iter().copied().collect()
                }
                Terms::NoModule => terms.modules.deny = [w.definition(json!({})).module].into(),
                Terms::Hours(minutes) => {
                    // A Tuesday: the week has room behind it.
                    let now = minute_of_week(w.now);
                    terms.hours = [now, now + 5]
                        .map(|from_min| Window {
                            from_min,
                            to_min: from_min + minutes,
                        })
                        .into();
                }
            }
            let terms = Box::new(terms);
            w.ok(Command::ChangeTerms { node, terms });
            nodes.push(node);
        }
        Self {
            w,
            requesters,
            nodes,
        }
    }

    fn submit(&mut self, ask: &Ask) {
        let kind = ["training", "inference", "evaluation", "data-processing"][ask.kind as usize];
        let mut qos = json!({"priority": ask.priority});
        if let Some(ms) = ask.latency_ms {
            qos["max_latency_ms"] = ms.into();
        }
        match ask.region {
            0 => qos["labels"] = json!({"region": "r0"}),
            1 => qos["labels_any"] = json!({"region": ["r1", "r2"]}),
            2 => qos["labels_not"] = json!({"region": ["r0", "r3"]}),
            _ => {}
        }
        match ask.gpu {
            0 => qos["gpu"] = json!({"memory_mib": ask.memory}),
            1 => qos["gpu"] = json!({"features": ["shader-f16"]}),
            2 => qos["gpu"] = json!({"classes": ["class-1"], "min_compute": 3}),
            3 => qos["cpu_cores"] = json!(2),
            _ => {}
        }
        let mut overrides = json!({
            "type": kind,
            "qos": qos,
            "limits": {"memory_mib": ask.memory, "runtime_s": ask.runtime_s, "output_mib": 64},
            "data": [{"name": "a", "from": {"inline": format!("{}", ask.memory)}}],
        });
        if ask.replicas > 1 {
            let sampling =
                json!({"method": "sampling", "quorum": ask.replicas, "replicas": ask.replicas});
            overrides["verification"] = json!([sampling]);
        }
        if ask.priority % 2 == 1 {
            overrides["module"] = heavy().to_string().into();
        }
        let requester = self.requesters[ask.requester];
        let definition = Box::new(self.w.definition(overrides));
        // A quota or the money may be used up.
        let _ = self.w.submit(Command::SubmitTask {
            requester,
            definition,
        });
    }

    pub fn take(&mut self, step: Step) {
        match step {
            Step::Submit(ask) => self.submit(&ask),
            Step::Plan => drop(self.w.plan()),
            Step::Later(ms) => {
                self.w.later(ms.into());
                self.w.ok(Command::Tick);
            }
            Step::Start(i) => self.on("leased", i, |w, id| w.start(id)),
            Step::Commit(i) => self.on("running", i, |w, id| {
                let run = w.run(id, json!({}), &[]);
                w.commit(&run);
            }),
            Step::Reveal(i) => self.on("committed", i, |w, id| {
                let run = w.run(id, json!({}), &[]);
                let _ = w.submit(crate::world::reveal_command(&run));
            }),
            Step::Fail(i) => {
                let (stage, class) = match i % 2 {
                    0 => ("running", FailureClass::HostError),
                    _ => ("leased", FailureClass::NotCompiled),
                };
                self.on(stage, i, |w, assignment| {
                    let node = w.node_on(assignment);
                    let message = "no".into();
                    w.ok(Command::Fail {
                        node,
                        assignment,
                        class,
                        message,
                    });
                });
            }
            Step::Lose(i) => self.on("running", i, |w, assignment| {
                let reason = LossReason::Silent;
                w.ok(Command::LoseLease { assignment, reason });
            }),
            Step::GiveBack(i) => self.on("running", i, |w, assignment| {
                let node = w.node_on(assignment);
                w.ok(Command::GiveBack { node, assignment });
            }),
            Step::Flip(i) => {
                let node = self.nodes[i % self.nodes.len()];
                let availability = match self.w.state.nodes[&node].availability {
                    Availability::Online => Availability::Offline,
                    Availability::Offline => Availability::Online,
                };
                self.w.ok(Command::SetAvailability { node, availability });
            }
            Step::Change(i, class) => {
                let node = self.nodes[i % self.nodes.len()];
                let mut changed = self.w.state.nodes[&node].profile.clone();
                let gpu = profile("of a GPU").gpu.unwrap();
                changed.gpu = class.map(|class| GpuProfile {
                    class: format!("class-{class}"),
                    software: class == 0,
                    memory_mib: changed.memory_mib,
                    features: vec!["shader-f16".into()],
                    ..gpu
                });
                let profile = Box::new(changed);
                self.w.ok(Command::ChangeProfile { node, profile });
            }
            Step::Check(i, ms) => {
                let node = self.nodes[i % self.nodes.len()];
                let known = &self.w.state.nodes[&node];
                if known.compute.drawn_on(self.w.now) < 16 {
                    let check = checked(node, 3, ms, [Shown, Wrong, Silent][ms as usize % 3]);
                    self.w.ok(check);
                }
            }
            Step::Limits {
                who,
                weight,
                running,
            } => {
                let account = self.requesters[who % self.requesters.len()];
                let limits = AccountLimits {
                    weight,
                    tasks_max: 100,
                    running_max: running,
                };
                self.w.ok(Command::SetLimits { account, limits });
            }
        }
    }

    fn on(
        &mut self,
        state: &str,
        which: usize,
        act: impl FnOnce(&mut World, aevir_platform::ids::AssignmentId),
    ) {
        let tasks = self.w.state.tasks.values();
        let all: Vec<_> = tasks
            .flat_map(|t| t.assignments.values())
            .filter(|a| a.state_name() == state)
            .map(|a| a.id)
            .collect();
        if !all.is_empty() {
            act(&mut self.w, all[which % all.len()]);
        }
    }
}

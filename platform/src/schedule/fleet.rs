//! The index of nodes that placement works on: who is free, who has what, and who is how good, each as a set of ordinals.
//!
//! A function of the state, kept by `evolve` one node at a time; [`Fleet::of`] is that function.

use aevir_events::Timestamp;

use super::{
    bits::Bits,
    classes::Classes,
    column::Column,
    filter,
    hours::Hours,
    members::{Members, Named},
    needs::Needs,
    parties::Parties,
    rooms::Rooms,
    score,
};
use crate::{
    definition::TaskType,
    digest::Digest,
    ids::{AccountId, NodeId},
    policy::{SCORE_LEVELS, ScorePolicy},
    state::{HardwareClass, Node, Room, State},
    terms::minute_of_week,
};

/// The GPU class that a task's replicas have begun on, and its requester: where they have begun on none, his own nodes do not make a class large.
pub(super) type Class<'a> = (Option<&'a str>, AccountId);

/// The index of nodes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// By ordinal, in the order in which they were registered.
    ids: Vec<NodeId>,
    /// Those that take work, busy or not.
    working: Bits,
    /// Of them, those that have a slot for it.
    pub(super) free: Bits,
    /// Free slots, and all.
    slots: Vec<(u32, u32)>,
    left: Rooms,
    /// Of an idle node.
    all: Rooms,
    /// Stake that covers nothing yet, in micro-AEV.
    pub(super) free_stake: Column,
    /// All of it.
    stake: Column,
    /// Measured speed, in millions of fuel a second; 0 where it is not known.
    mfuel_s: Column,
    /// What results showed of it; 0 where that is not enough to tell.
    pub(super) shown_mfuel_s: Column,
    gpus: Bits,
    /// 0 where it is not told.
    gpu_buffer_mib: Column,
    /// Class of throughput that counts, and one; 0 where none does.
    gpu_compute: Column,
    hours: Hours,
    pub(super) parties: Parties,
    /// By who owns them; those that are gone for good are not there.
    owners: Named<AccountId>,
    gpu_features: Named<String>,
    pub(super) classes: Classes,
    labels: Named<(String, String)>,
    kinds: [Kind; TaskType::ALL.len()],
    /// Who has a blob.
    holders: Named<Digest>,
}

/// What changes of a node with its load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    ordinal: u32,
    is_working: bool,
    is_free: bool,
    /// Free ones, and all.
    slots: (u32, u32),
    left: Room,
    all: Room,
    free_stake: u64,
    stake: u64,
    mfuel_s: u64,
    shown_mfuel_s: u64,
}

impl Load {
    pub(crate) fn of(state: &State, node: &Node) -> Self {
        let mut left = node.room();
        left.remove(node.taken);
        Self {
            ordinal: node.ordinal,
            is_working: node.is_working() && state.suspension(node.owner).is_none(),
            is_free: state.takes_work(node),
            slots: (node.free_slots(), node.slots()),
            left,
            all: node.idle_room(),
            free_stake: filter::free_stake(state, node),
            stake: filter::whole_stake(state, node),
            mfuel_s: node.mfuel_s(),
            shown_mfuel_s: node.shown_mfuel_s(),
        }
    }
}

/// A node's levels by type of task, for tasks without a GPU and with one; 0 where it has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Levels {
    on_cpu: [u8; TaskType::ALL.len()],
    on_gpu: [u8; TaskType::ALL.len()],
}

impl Levels {
    /// For a task.
    pub(super) fn of(&self, needs: &Needs) -> u8 {
        match needs.gpu {
            None => self.on_cpu[needs.kind as usize],
            Some(_) => self.on_gpu[needs.kind as usize],
        }
    }
}

/// What depends on the type of task.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Kind {
    /// In ms since 1970; 0 where the node never had one.
    backoff_until: Column,
    /// What a replica must earn at least, in micro-AEV.
    ask: Column,
    /// Nodes that publish one.
    asking: Bits,
    /// For tasks without a GPU.
    on_cpu: Ranks,
    /// For tasks with one, by the record on the GPU that a node has now.
    on_gpu: Ranks,
}

/// How good nodes are for one type of task on one sort of hardware.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Ranks {
    /// The part of the score that does not change with load; 0 for nodes without such hardware.
    fixed: Vec<u64>,
    level: Vec<u8>,
    /// The free nodes of each level.
    levels: Vec<Bits>,
}

impl Ranks {
    /// The part of a node's score that does not change with load.
    fn regard(&mut self, i: u32, fixed: u64) {
        let i = i as usize;
        if i >= self.fixed.len() {
            self.fixed.resize(i + 1, 0);
            self.level.resize(i + 1, 0);
            self.levels
                .resize_with(SCORE_LEVELS as usize, Bits::default);
        }
        self.fixed[i] = fixed;
    }

    /// Puts a node among the free ones of its level, or takes it out.
    fn place(&mut self, i: u32, is_free: bool, level: u32) {
        let Some(known) = self.level.get_mut(i as usize) else {
            return;
        };
        let before = std::mem::replace(known, level as u8);
        if !is_free || u32::from(before) != level {
            self.levels[before as usize].remove(i);
        }
        if is_free {
            self.levels[level as usize].insert(i);
        }
    }

    fn fixed(&self, i: u32) -> u64 {
        self.fixed.get(i as usize).copied().unwrap_or(0)
    }
}

impl Fleet {
    /// The index over a state's nodes.
    pub(crate) fn of(state: &State) -> Self {
        let mut fleet = Self::default();
        let mut nodes: Vec<&Node> = state.nodes.values().collect();
        nodes.sort_unstable_by_key(|node| node.ordinal);
        for node in nodes {
            fleet.add(state, node);
        }
        fleet
    }

    /// The node with an ordinal.
    pub(crate) fn id(&self, ordinal: u32) -> Option<NodeId> {
        self.ids.get(ordinal as usize).copied()
    }

    /// Whether any node takes work.
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A node that was just registered.
    pub(crate) fn add(&mut self, state: &State, node: &Node) {
        self.ids.push(node.id);
        let is_there = !node.standing.is_gone();
        self.describe(node, is_there);
        for digest in node.cached.iter().filter(|_| is_there) {
            self.hold(node, *digest);
        }
        self.regard(state, node);
    }

    /// A node is gone for good: what it was costs no plan anything any more.
    pub(crate) fn retire(&mut self, node: &Node) {
        self.describe(node, false);
        for digest in &node.cached {
            self.let_go(node, *digest);
        }
    }

    /// What a node is: added, or taken back before its profile changes.
    pub(crate) fn describe(&mut self, node: &Node, is_there: bool) {
        let i = node.ordinal;
        let profile = &node.profile;
        let terms = &node.terms;
        self.hours.set(i, &terms.hours, is_there);
        self.parties.set(i, terms, is_there);
        self.owners.mark(node.owner, i, is_there);
        for kind in TaskType::ALL {
            let ask = u64::try_from(terms.ask(kind).0).unwrap_or(0);
            let of = &mut self.kinds[kind as usize];
            of.ask.set(i, ask);
            of.asking.set(i, is_there && terms.asks.contains_key(&kind));
        }
        for (name, value) in &profile.labels {
            let label = (name.clone(), value.clone());
            self.labels.mark(label, i, is_there);
        }
        let Some(gpu) = &profile.gpu else {
            self.gpus.set(i, false);
            self.gpu_buffer_mib.set(i, 0);
            self.measure(node);
            return;
        };
        self.gpus.set(i, is_there);
        let buffer = gpu.buffer_mib.unwrap_or(0);
        self.gpu_buffer_mib.set(i, buffer.into());
        self.measure(node);
        let is_at_work = self.working.contains(i);
        self.classes
            .mark(&gpu.class, node.owner, i, (is_there, is_at_work));
        for feature in &gpu.features {
            self.gpu_features.mark(feature.clone(), i, is_there);
        }
    }

    /// How fast a node's GPU counts as being.
    pub(crate) fn measure(&mut self, node: &Node) {
        let class = node.counted_compute();
        let class = class.map_or(0, |class| u64::from(class) + 1);
        self.gpu_compute.set(node.ordinal, class);
    }

    /// Whether some class of GPU, of these if any are named, has nodes of so many owners beside the requester, of those that are not gone for good.
    pub(crate) fn has_owners(&self, classes: &[String], requester: AccountId, needed: u32) -> bool {
        if classes.is_empty() {
            let mut nodes = self.gpus.clone();
            self.classes.there.keep_owned(&mut nodes, requester, needed);
            return !nodes.is_empty();
        }
        let mut named = classes.iter();
        named.any(|class| self.classes.there.has_owners(class, requester, needed))
    }

    /// The node has a blob from here on.
    pub(crate) fn hold(&mut self, node: &Node, digest: Digest) {
        self.holders.mark(digest, node.ordinal, true);
    }

    /// The node is not known to have the blob any more.
    pub(crate) fn let_go(&mut self, node: &Node, digest: Digest) {
        self.holders.mark(digest, node.ordinal, false);
    }

    /// A node's records or its owner's points changed, or its GPU.
    pub(crate) fn regard(&mut self, state: &State, node: &Node) {
        let policy = &state.scheduling().score;
        let (cpu, gpu) = (HardwareClass::Cpu, node.hardware(true));
        let has_gpu = gpu != HardwareClass::Cpu;
        for kind in TaskType::ALL {
            let of = &mut self.kinds[kind as usize];
            let until = u64::try_from(node.backoff_until(kind).0).unwrap_or(0);
            of.backoff_until.set(node.ordinal, until);
            let fixed = score::fixed(node, kind, &cpu, policy);
            of.on_cpu.regard(node.ordinal, fixed);
            let fixed = has_gpu.then(|| score::fixed(node, kind, &gpu, policy));
            of.on_gpu.regard(node.ordinal, fixed.unwrap_or(0));
        }
        self.refresh(&Load::of(state, node), policy);
    }

    /// A node came or went, took a run or ended one.
    pub(crate) fn refresh(&mut self, load: &Load, policy: &ScorePolicy) {
        let (i, is_free, slots) = (load.ordinal, load.is_free, load.slots);
        if self.working.contains(i) != load.is_working {
            self.working.set(i, load.is_working);
            self.classes.work(i, load.is_working);
        }
        self.free.set(i, is_free);
        match self.slots.get_mut(i as usize) {
            Some(known) => *known = slots,
            None => self.slots.push(slots),
        }
        self.left.set(i, load.left);
        self.all.set(i, load.all);
        self.free_stake.set(i, load.free_stake);
        self.stake.set(i, load.stake);
        self.mfuel_s.set(i, load.mfuel_s);
        self.shown_mfuel_s.set(i, load.shown_mfuel_s);
        let idle = score::idle(slots.0, slots.1, policy);
        let has_gpu = self.gpus.contains(i);
        for kind in &mut self.kinds {
            let level = score::level(kind.on_cpu.fixed(i) + idle, policy);
            kind.on_cpu.place(i, is_free, level);
            let level = if has_gpu {
                score::level(kind.on_gpu.fixed(i) + idle, policy)
            } else {
                0
            };
            kind.on_gpu.place(i, is_free && has_gpu, level);
        }
    }

    fn ranks(&self, needs: &Needs) -> &Ranks {
        let kind = &self.kinds[needs.kind as usize];
        match needs.gpu {
            None => &kind.on_cpu,
            Some(_) => &kind.on_gpu,
        }
    }

    /// The free nodes of a level for a task.
    pub(super) fn at_level(&self, needs: &Needs, level: u32) -> Option<&Bits> {
        self.ranks(needs).levels.get(level as usize)
    }

    /// The level of a node as the state has it.
    pub(super) fn level_of(&self, needs: &Needs, i: u32) -> u32 {
        let level = self.ranks(needs).level.get(i as usize);
        level.copied().unwrap_or(0).into()
    }

    /// The levels that a node would have with so many of its slots taken in addition.
    pub(super) fn levels_less(&self, i: u32, taken: u32, policy: &ScorePolicy) -> Levels {
        let (free, slots) = self.slots_of(i);
        let idle = score::idle(free.saturating_sub(taken), slots, policy);
        let has_gpu = self.gpus.contains(i);
        let mut levels = Levels::default();
        for kind in TaskType::ALL {
            let of = &self.kinds[kind as usize];
            // Below `SCORE_LEVELS`.
            levels.on_cpu[kind as usize] = score::level(of.on_cpu.fixed(i) + idle, policy) as u8;
            if has_gpu {
                levels.on_gpu[kind as usize] =
                    score::level(of.on_gpu.fixed(i) + idle, policy) as u8;
            }
        }
        levels
    }

    /// Keeps the nodes that ask for at most so much, in micro-AEV.
    pub(super) fn keep_asking(&self, kind: TaskType, nodes: &mut Bits, most: u64) {
        self.kinds[kind as usize].ask.keep_at_most(nodes, most);
    }

    /// What a node asks for, in micro-AEV.
    pub(super) fn ask_of(&self, kind: TaskType, i: u32) -> u64 {
        self.kinds[kind as usize].ask.get(i)
    }

    /// Free slots, and all.
    pub(super) fn slots_of(&self, i: u32) -> (u32, u32) {
        self.slots.get(i as usize).copied().unwrap_or((0, 0))
    }

    /// The room that is left.
    pub(super) fn room_left(&self, i: u32) -> Room {
        self.left.get(i)
    }

    /// An owner's nodes, but for those that are gone for good.
    pub(super) fn nodes_of(&self, owner: AccountId) -> Option<&Members> {
        self.owners.get(&owner)
    }

    /// Who is known to have a blob.
    pub(super) fn holders(&self, digest: &Digest) -> Option<&Members> {
        self.holders.get(digest)
    }

    /// The free nodes that have what is needed, at this time.
    pub(super) fn fitting(&self, needs: &Needs, class: Class<'_>, now: Timestamp) -> Bits {
        let mut fit = self.able(self.free.clone(), needs, class, now);
        self.left.keep(&mut fit, needs.room);
        self.free_stake.keep_at_least(&mut fit, needs.stake);
        fit
    }

    /// The nodes that have what is needed once they are idle.
    pub(super) fn fitting_idle(&self, needs: &Needs, class: Class<'_>, now: Timestamp) -> Bits {
        let mut fit = self.able(self.working.clone(), needs, class, now);
        self.all.keep(&mut fit, needs.room);
        self.stake.keep_at_least(&mut fit, needs.stake);
        fit
    }

    /// Those of some nodes that have what is needed, but for the room.
    fn able(&self, of: Bits, needs: &Needs, class: Class<'_>, now: Timestamp) -> Bits {
        let mut fit = of;
        self.hours.take_out_closed(minute_of_week(now), &mut fit);
        let of_kind = &self.kinds[needs.kind as usize];
        let price = u64::try_from(needs.price.0).unwrap_or(0);
        of_kind.ask.keep_at_most(&mut fit, price);
        if needs.by_ask {
            fit.intersect(&of_kind.asking);
        }
        if needs.by_ask && needs.stake > 0 {
            of_kind.ask.keep_at_least(&mut fit, 1);
        }
        let named = |label: &String, value: &String| (label.clone(), value.clone());
        for (label, value) in &needs.labels {
            self.labels.keep(&named(label, value), &mut fit);
        }
        for (label, values) in &needs.labels_any {
            let names: Vec<_> = values.iter().map(|value| named(label, value)).collect();
            self.labels.keep_any(names.iter(), &mut fit);
        }
        for (label, values) in &needs.labels_not {
            let unwanted = values
                .iter()
                .filter_map(|value| self.labels.get(&named(label, value)));
            unwanted.for_each(|nodes| nodes.take_out(&mut fit));
        }
        if let Some(gpu) = &needs.gpu {
            fit.intersect(&self.gpus);
            let buffer = gpu.buffer_mib.unwrap_or(0);
            self.gpu_buffer_mib.keep_at_least(&mut fit, buffer.into());
            let compute = gpu.min_compute.map_or(0, |class| u64::from(class) + 1);
            self.gpu_compute.keep_at_least(&mut fit, compute);
            for feature in &gpu.features {
                self.gpu_features.keep(feature, &mut fit);
            }
            if !gpu.classes.is_empty() {
                self.classes.there.keep_any(&gpu.classes, &mut fit);
            }
        }
        let (class, requester) = class;
        match class {
            Some(class) => self.classes.there.keep(class, &mut fit),
            None if needs.class_owners > 0 => {
                let at_work = &self.classes.at_work;
                at_work.keep_owned(&mut fit, requester, needs.class_owners);
            }
            None => {}
        }
        self.mfuel_s.keep_at_least(&mut fit, needs.mfuel_s);
        self.shown_mfuel_s
            .keep_at_least(&mut fit, needs.shown_mfuel_s);
        let now_ms = u64::try_from(now.0).unwrap_or(0);
        of_kind.backoff_until.keep_at_most(&mut fit, now_ms);
        fit
    }
}

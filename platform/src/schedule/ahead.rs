//! What is served before a task that is not there yet: the turns that a plan would give, as far as what its requester has before it.
//!
//! Who has most tasks does not come first, nor who waits longest: a requester's tasks are ahead only while what it has used, with what
//! those reserve, is less than the task's requester has then. Requesters are looked at in the order of their turns, so that nobody
//! hides others.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    iter::Peekable,
    ops::Bound,
    sync::Arc,
};

use super::{
    charge, held,
    needs::floor_power,
    queue::{Line, Turn},
    reserved_ms, slots_milli,
};
use crate::{
    ids::{AccountId, TaskId},
    state::{Node, Room, State, Task},
};

/// Runs that are counted one by one; some ms of work at most. It is as many as an account may have tasks, by default.
const RUNS_MAX: usize = 10_000;
/// Lines that are held against nodes for one answer, over all requesters.
const LINES_MAX: usize = 4_096;

/// What is served first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    /// Tasks, those among them that are not looked at by estimate.
    pub(super) tasks: usize,
    /// How long each run may take that was looked at, in ms, in the order in which they are served.
    pub(super) runs_ms: Vec<u64>,
    /// Runs beyond those.
    pub(super) further: usize,
}

/// The first tasks of a requester's lines, in their order.
type Heads<'a> = Peekable<Box<dyn Iterator<Item = (Turn, &'a Arc<Line>)> + 'a>>;

/// A market in which a task would wait.
struct Market<'a> {
    state: &'a State,
    /// Nodes that fit the task: what none of them can take does not compete with it.
    nodes: &'a [&'a Node],
    /// Whether those are told exactly.
    is_private: bool,
    /// Lines that may still be looked at.
    lines_left: usize,
}

/// A requester whose turn has come.
struct Waiting<'a> {
    requester: AccountId,
    weight: u32,
    /// Runs until its quota is reached.
    left: u32,
    /// Its tasks count up to this one.
    last: Turn,
    /// Lines that were not come to.
    fresh: Heads<'a>,
    /// Lines that may still be passed over, as many as a plan looks at.
    misses_left: u32,
    begun: BinaryHeap<Reverse<(Turn, usize)>>,
    lines: Vec<Competing<'a>>,
    /// Runs that are left of the task which was begun last.
    rest: Option<(Run, u32)>,
    /// Tasks that were come to.
    tasks: usize,
}

/// A line of which one of the nodes could take the tasks.
struct Competing<'a> {
    tasks: &'a BTreeSet<Turn>,
    /// For how many thousandths of a slot a run counts on the first of these.
    slots_milli: u64,
}

#[derive(Clone, Copy)]
struct Run {
    ms: u64,
    charge: u64,
}

/// What is served before a task that has such a place among its requester's, of what these nodes could take, which fit it. Where any of
/// them is free, only what its requester's quota leaves now: that is what can be placed before it.
pub(super) fn ahead(
    state: &State,
    task: &Task,
    (nodes, any_free): (&[&Node], bool),
    turn: i64,
) -> Ahead {
    let mut market = Market {
        state,
        nodes,
        is_private: state.is_private(task),
        lines_left: LINES_MAX,
    };
    let queues = &state.index.queues;
    // Of an equal place the smaller id comes first, which is not known: all of them are taken to be before it.
    let last = (turn, TaskId(ulid::Ulid(u128::MAX)));
    let mut own = market.begin(task.requester, last, false);
    own.left = u32::MAX;
    let mut all = vec![own];
    let mut again = BinaryHeap::from([Reverse((
        turn_then(state, task.requester),
        task.requester,
        0,
    ))]);
    let others = queues.turns().filter(|(_, id)| *id != task.requester);
    let mut fresh = others.peekable();
    let mut ahead = Ahead::default();
    while let Some(Reverse((used, requester, at))) = again.pop() {
        // The task's own requester is always among the known ones: nobody is begun who comes after it.
        if let Some((used_by, id)) = fresh.next_if(|other| *other < (used, requester)) {
            let any = (i64::MAX, last.1);
            all.push(market.begin(id, any, any_free));
            again.push(Reverse((used_by, id, all.len() - 1)));
            again.push(Reverse((used, requester, at)));
            continue;
        }
        let waiting = &mut all[at];
        let Some(run) = market.next_run(waiting) else {
            if at == 0 {
                break;
            }
            continue;
        };
        if ahead.runs_ms.len() == RUNS_MAX {
            break;
        }
        ahead.runs_ms.push(run.ms);
        let used = used.saturating_add(run.charge);
        again.push(Reverse((used, requester, at)));
    }
    ahead.tasks = all.iter().map(|waiting| waiting.tasks).sum();
    if ahead.runs_ms.len() == RUNS_MAX || market.lines_left == 0 {
        ahead.go_on(queues.tasks_before(task.requester, last), all[0].tasks);
    }
    ahead
}

impl Ahead {
    /// Not all was looked at: what is left of the requester's own tasks brings as many of the others' with it as those before did.
    fn go_on(&mut self, own: usize, looked_at: usize) {
        let left = own.saturating_sub(looked_at);
        let further = left.saturating_mul(self.tasks).checked_div(looked_at);
        let further = further.unwrap_or(left);
        let runs = further.saturating_mul(self.runs_ms.len());
        self.further = runs.checked_div(self.tasks).unwrap_or(further);
        self.tasks = self.tasks.saturating_add(further);
    }
}

/// A requester's turn if something of it waited: who comes back does not get what it left unused.
fn turn_then(state: &State, requester: AccountId) -> u64 {
    let mut entry = state
        .requesters
        .get(&requester)
        .copied()
        .unwrap_or_default();
    if !state.index.queues.has(requester) {
        entry.used = entry.used.max(state.virtual_time);
    }
    entry.turn()
}

impl<'a> Market<'a> {
    /// `now_only`: it is asked what can be placed at once, beside what runs.
    fn begin(&self, requester: AccountId, last: Turn, now_only: bool) -> Waiting<'a> {
        let limits = self.state.limits_of(requester);
        let running = if now_only {
            self.state.running(requester)
        } else {
            0
        };
        let heads: Box<dyn Iterator<Item = (Turn, &'a Arc<Line>)> + 'a> =
            Box::new(self.state.index.queues.heads_of(requester));
        Waiting {
            requester,
            weight: limits.weight,
            left: limits.running_max.saturating_sub(running),
            last,
            fresh: heads.peekable(),
            misses_left: self.state.scheduling().lines_max,
            begun: BinaryHeap::new(),
            lines: Vec::new(),
            rest: None,
            tasks: 0,
        }
    }

    /// The requester's next run, of its first task that competes.
    fn next_run(&mut self, of: &mut Waiting<'a>) -> Option<Run> {
        of.left = of.left.checked_sub(1)?;
        if let Some((run, left)) = of.rest.take() {
            of.rest = (left > 1).then(|| (run, left - 1));
            return Some(run);
        }
        let (turn, at) = self.next_task(of)?;
        let line = of.lines.get(at)?;
        let rest = (Bound::Excluded(turn), Bound::Included(of.last));
        let next = (turn < of.last).then(|| line.tasks.range(rest).next().copied());
        of.begun
            .extend(next.flatten().map(|turn| Reverse((turn, at))));
        let task = self.state.tasks.get(&turn.1)?;
        let ms = reserved_ms(task);
        let run = Run {
            ms,
            charge: charge(ms, line.slots_milli, of.weight),
        };
        of.tasks += 1;
        let more = task.open_slots().saturating_sub(1);
        of.rest = (more > 0).then_some((run, more));
        Some(run)
    }

    fn next_task(&mut self, of: &mut Waiting<'a>) -> Option<(Turn, usize)> {
        loop {
            let begun = of.begun.peek().map(|Reverse((turn, _))| *turn);
            let is_before = |(turn, _): &(Turn, &Arc<Line>)| {
                *turn <= of.last && begun.is_none_or(|begun| *turn < begun)
            };
            let Some((turn, line)) = of.fresh.next_if(is_before) else {
                return of.begun.pop().map(|Reverse(next)| next);
            };
            if of.misses_left == 0 || self.lines_left == 0 {
                return of.begun.pop().map(|Reverse(next)| next);
            }
            self.lines_left -= 1;
            match self.open(of.requester, turn, line) {
                Some(line) => {
                    of.lines.push(line);
                    return Some((turn, of.lines.len() - 1));
                }
                None => of.misses_left -= 1,
            }
        }
    }

    /// A line, where one of the nodes could take its tasks.
    fn open(&self, requester: AccountId, head: Turn, line: &Arc<Line>) -> Option<Competing<'a>> {
        let task = self.state.tasks.get(&head.1)?;
        if held(self.state, task).is_some() {
            return None;
        }
        let mut nodes = self.nodes.iter();
        let node = nodes.find(|node| line.fits(requester, node))?;
        let room = match self.is_private {
            true => node.room(),
            false => rounded(node.room()),
        };
        Some(Competing {
            tasks: self.state.index.queues.tasks_in(requester, line)?,
            slots_milli: slots_milli(line.needs.run, room, node.slots()),
        })
    }
}

/// What may be told of another's node.
fn rounded(room: Room) -> Room {
    Room {
        memory_mib: floor_power(room.memory_mib),
        storage_mib: floor_power(room.storage_mib),
        gpu_memory_mib: floor_power(room.gpu_memory_mib),
        cpu_cores: floor_power(room.cpu_cores),
        memories_mib: floor_power(room.memories_mib),
    }
}

//! The nodes that fit one kind of needs, while a plan gives them out.
//!
//! Found once a plan with a few operations on sets, and then kept right with each placement: what was given out leaves the
//! set or sinks in it, and when the best level is used up the set grows downwards.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use aevir_events::Timestamp;

use super::{bits::Bits, fleet::Fleet, needs::Needs, terms};
use crate::{
    policy::{SCORE_LEVELS, ScorePolicy},
    state::{Room, State, Task},
};

/// What a plan has given to one node.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    slots: u32,
    room: Room,
}

/// What a plan has given out so far.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// With the ordinals, in the order in which they were given something first.
    nodes: Vec<(u32, Taken)>,
    /// Where an ordinal stands there, from 1; 0 for those that were given nothing.
    place: Vec<u32>,
    /// The same nodes as a set.
    touched: Bits,
    /// Places in the order of giving: a fit looks at those since it was used last.
    order: Vec<u32>,
}

impl Given {
    pub(super) fn give(&mut self, i: u32, room: Room) {
        let at = i as usize;
        if at >= self.place.len() {
            self.place.resize(at + 1, 0);
        }
        if self.place[at] == 0 {
            self.nodes.push((i, Taken::default()));
            self.place[at] = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            self.touched.insert(i);
        }
        let place = self.place[at];
        self.order.push(place - 1);
        if let Some((_, taken)) = self.nodes.get_mut(place as usize - 1) {
            taken.slots += 1;
            taken.room.add(room);
        }
    }
}

/// What all fits of a plan look at.
#[derive(Clone, Copy)]
pub(super) struct Market<'a> {
    pub(super) state: &'a State,
    pub(super) score: &'a ScorePolicy,
    pub(super) now: Timestamp,
}

impl<'a> Market<'a> {
    fn fleet(&self) -> &'a Fleet {
        &self.state.index.fleet
    }
}

/// The nodes that fit some needs.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    needs: Arc<Needs>,
    eligible: Bits,
    /// Of tasks that are not replicated.
    near: Option<Near>,
    /// How many of the plan's gifts it has seen.
    seen: usize,
}

/// The best of them and their near-equals.
#[derive(Debug, Clone)]
struct Near {
    set: Bits,
    /// The level of the best, what a node has of the task included.
    best: u32,
    /// Nodes that were given nothing when this began, by what they gain for what they have of the task.
    parts: Vec<(Bits, u32)>,
    /// The levels of the nodes that were given something, and how many of them each level has.
    sunk: BTreeMap<u32, u32>,
    sunk_at: Vec<u32>,
}

impl Fit {
    /// Finds them, for tasks of the same requester and module as this one where nodes choose by those.
    pub(super) fn of(
        market: Market<'_>,
        needs: &Arc<Needs>,
        class: Option<&str>,
        task: &Task,
        given: &Given,
    ) -> Self {
        let fleet = market.fleet();
        let mut eligible = fleet.fitting(needs, class, market.now);
        if !fleet.choosy.is_empty() {
            let mut choosy = fleet.choosy.clone();
            choosy.intersect(&eligible);
            for i in choosy.iter() {
                let node = fleet.id(i).and_then(|id| market.state.nodes.get(&id));
                if node.is_none_or(|node| terms::party(node, task).is_some()) {
                    eligible.remove(i);
                }
            }
        }
        let needs = Arc::clone(needs);
        let mut fit = Self {
            needs,
            eligible,
            near: None,
            seen: 0,
        };
        fit.begin(market, given);
        fit
    }

    pub(super) fn is_empty(&self) -> bool {
        self.eligible.is_empty()
    }

    /// Takes in what was given out since the last time.
    pub(super) fn catch_up(&mut self, market: Market<'_>, given: &Given) {
        let since = given.order.iter().skip(self.seen);
        for (i, taken) in since.filter_map(|place| given.nodes.get(*place as usize)) {
            self.gave(market, *i, taken);
        }
        self.seen = given.order.len();
    }

    fn gave(&mut self, market: Market<'_>, i: u32, taken: &Taken) {
        if !self.eligible.contains(i) {
            return;
        }
        if !still_fits(market, &self.needs, i, taken) {
            self.eligible.remove(i);
            if let Some(near) = &mut self.near {
                near.forget(i);
            }
        } else if let Some(near) = &mut self.near {
            let fleet = market.fleet();
            let base = fleet.level_less(&self.needs, i, taken.slots, market.score);
            near.sink(i, base + gain(market, &self.needs, i), market.score);
        }
    }

    /// The nodes that a task with these needs is drawn among, without those that it can't go to itself.
    pub(super) fn candidates(
        &mut self,
        market: Market<'_>,
        excluded: &[u32],
        given: &Given,
    ) -> Candidates<'_> {
        self.catch_up(market, given);
        if let Some(near) = &mut self.near {
            near.settle(market, &self.needs, given);
        }
        let set = self.near.as_ref().map_or(&self.eligible, |near| &near.set);
        let inside = excluded.iter().copied().filter(|i| set.contains(*i));
        let inside: Vec<u32> = inside.collect();
        let is_best = |near: &Near| {
            let level = |i: &u32| near.level(market, &self.needs, *i);
            inside.iter().any(|i| level(i) == near.best)
        };
        if !self.near.as_ref().is_some_and(is_best) {
            return Candidates {
                set: Cow::Borrowed(set),
                excluded: inside,
            };
        }
        // The best may be out of reach for this one task: it has a ranking of its own.
        let mut own = self.clone();
        excluded.iter().for_each(|i| {
            own.eligible.remove(*i);
        });
        own.begin(market, given);
        let set = own.near.map(|near| near.set).unwrap_or_default();
        Candidates {
            set: Cow::Owned(set),
            excluded: Vec::new(),
        }
    }

    /// Ranks the nodes anew, those that were given something by what is left of them.
    fn begin(&mut self, market: Market<'_>, given: &Given) {
        self.near = None;
        if !self.needs.sampled {
            let parts = parts(market, &self.needs, &self.eligible, &given.touched);
            let top = SCORE_LEVELS - 1 + parts.iter().map(|(_, gain)| *gain).max().unwrap_or(0);
            let most = SCORE_LEVELS + market.score.cached_levels + market.score.in_time_levels;
            self.near = Some(Near {
                set: Bits::default(),
                // So that the nodes that sink below are taken in.
                best: top.max(most - 1),
                parts,
                sunk: BTreeMap::new(),
                sunk_at: vec![0; most as usize],
            });
        }
        for (i, taken) in &given.nodes {
            self.gave(market, *i, taken);
        }
        self.seen = given.order.len();
        if let Some(near) = &mut self.near {
            near.extend(
                market,
                &self.needs,
                given,
                near.floor(market.score),
                near.best,
            );
            near.settle(market, &self.needs, given);
        }
    }
}

/// The nodes by what they gain for having the largest input and for being fast enough.
fn parts(market: Market<'_>, needs: &Needs, eligible: &Bits, touched: &Bits) -> Vec<(Bits, u32)> {
    let mut rest = eligible.clone();
    rest.subtract(touched);
    let mut parts = vec![(rest, 0)];
    let holders = needs.data.as_ref().and_then(|d| market.fleet().holders(d));
    if let Some(holders) = holders {
        split(&mut parts, market.score.cached_levels, |set| {
            set.intersect(holders)
        });
    }
    if needs.in_time_mfuel_s > 0 {
        let speeds = &market.fleet().mfuel_s;
        split(&mut parts, market.score.in_time_levels, |set| {
            speeds.keep_at_least(set, needs.in_time_mfuel_s);
        });
    }
    parts.retain(|(set, _)| !set.is_empty());
    parts
}

fn split(parts: &mut Vec<(Bits, u32)>, gain: u32, keep: impl Fn(&mut Bits)) {
    let with: Vec<(Bits, u32)> = parts
        .iter_mut()
        .map(|(set, before)| {
            let mut kept = set.clone();
            keep(&mut kept);
            set.subtract(&kept);
            (kept, *before + gain)
        })
        .collect();
    parts.extend(with);
}

fn still_fits(market: Market<'_>, needs: &Needs, i: u32, taken: &Taken) -> bool {
    let fleet = market.fleet();
    let (memory, storage) = fleet.room_left(i);
    fleet.slots_of(i).0 > taken.slots
        && memory >= taken.room.memory_mib.saturating_add(needs.room.memory_mib)
        && storage
            >= taken
                .room
                .storage_mib
                .saturating_add(needs.room.storage_mib)
}

/// Levels that a node gains for what it has of the task.
fn gain(market: Market<'_>, needs: &Needs, i: u32) -> u32 {
    let fleet = market.fleet();
    let holders = needs.data.as_ref().and_then(|d| fleet.holders(d));
    let cached = holders.is_some_and(|holders| holders.contains(i));
    let in_time = needs.in_time_mfuel_s > 0 && fleet.mfuel_s.get(i) >= needs.in_time_mfuel_s;
    u32::from(cached) * market.score.cached_levels
        + u32::from(in_time) * market.score.in_time_levels
}

impl Near {
    fn floor(&self, score: &ScorePolicy) -> u32 {
        self.best.saturating_sub(score.near_levels)
    }

    /// A node's level for these needs, after what it was given.
    fn level(&self, market: Market<'_>, needs: &Needs, i: u32) -> u32 {
        let untouched = || market.fleet().level_of(needs, i) + gain(market, needs, i);
        self.sunk.get(&i).copied().unwrap_or_else(untouched)
    }

    /// A node was given something, and has another level now.
    fn sink(&mut self, i: u32, level: u32, score: &ScorePolicy) {
        let before = self.sunk.insert(i, level);
        if let Some(count) = before.and_then(|level| self.sunk_at.get_mut(level as usize)) {
            *count -= 1;
        }
        if let Some(count) = self.sunk_at.get_mut(level as usize) {
            *count += 1;
        }
        self.set.set(i, level >= self.floor(score));
    }

    /// A node does not fit any more.
    fn forget(&mut self, i: u32) {
        let before = self.sunk.remove(&i);
        if let Some(count) = before.and_then(|level| self.sunk_at.get_mut(level as usize)) {
            *count -= 1;
        }
        self.set.remove(i);
    }

    /// Lowers the best level to one that a node has, and takes in those that are near it then.
    fn settle(&mut self, market: Market<'_>, needs: &Needs, given: &Given) {
        while self.best > 0 && !self.has_best(market, needs, given) {
            let floor = self.floor(market.score);
            self.best -= 1;
            let lower = self.floor(market.score);
            if lower < floor {
                self.extend(market, needs, given, lower, lower);
            }
        }
    }

    fn has_best(&self, market: Market<'_>, needs: &Needs, given: &Given) -> bool {
        let sunk = self.sunk_at.get(self.best as usize);
        sunk.is_some_and(|count| *count > 0)
            || self.parts.iter().any(|(part, gain)| {
                let level = self.best.checked_sub(*gain);
                let level = level.and_then(|level| market.fleet().at_level(needs, level));
                level.is_some_and(|level| level.meets(part, &given.touched))
            })
    }

    /// Takes in the nodes of some levels.
    fn extend(&mut self, market: Market<'_>, needs: &Needs, given: &Given, from: u32, to: u32) {
        for level in from..=to {
            for (part, gain) in &self.parts {
                let level = level.checked_sub(*gain);
                if let Some(level) = level.and_then(|l| market.fleet().at_level(needs, l)) {
                    self.set.add_shared(level, part, &given.touched);
                }
            }
        }
        let sunk = self.sunk_at.get(from as usize..=to as usize);
        if sunk.is_none_or(|counts| counts.iter().any(|count| *count > 0)) {
            let near = self
                .sunk
                .iter()
                .filter(|(_, level)| (from..=to).contains(*level));
            let near: Vec<u32> = near.map(|(i, _)| *i).collect();
            near.into_iter().for_each(|i| {
                self.set.insert(i);
            });
        }
    }
}

/// The nodes that one draw is among, in the order of their registration.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    set: Cow<'a, Bits>,
    /// Members of the set that are none of the candidates, ascending.
    excluded: Vec<u32>,
}

impl Candidates<'_> {
    /// How many.
    pub(crate) fn len(&self) -> u32 {
        self.set.len() - self.excluded.len() as u32
    }

    /// The candidate with `k` others before it.
    pub(crate) fn select(&self, k: u32) -> Option<u32> {
        let mut k = k;
        for i in &self.excluded {
            if self.set.rank(*i) <= k {
                k += 1;
            } else {
                break;
            }
        }
        self.set.select(k)
    }

    /// How many candidates are before this one; `None` where it is none.
    pub(crate) fn position(&self, i: u32) -> Option<u32> {
        if !self.set.contains(i) || self.excluded.contains(&i) {
            return None;
        }
        let before = self.excluded.iter().filter(|e| **e < i).count();
        Some(self.set.rank(i) - before as u32)
    }
}

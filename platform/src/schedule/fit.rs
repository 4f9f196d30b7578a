//! The nodes that fit one kind of needs, while a plan gives them out.
//!
//! Found once a plan with a few operations on sets, and then kept right with each placement: what was given out leaves the
//! set or sinks in it, and when the best level is used up the set grows downwards.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use aevir_events::Timestamp;

use super::{
    barred::{Barred, ordinal, take_out_own},
    bits::Bits,
    filter::after_pledge,
    fleet::{Fleet, Levels},
    needs::Needs,
    reserve::{Kept, surely_ms},
    score,
};
use crate::{
    policy::{SCORE_LEVELS, ScorePolicy},
    state::{Room, State, Task},
};

/// Nodes of a set that a draw passes over one by one; where a task can't go to more, a set without them is made for it.
const ONE_BY_ONE_MAX: usize = 16;

/// A node after what a plan has given to it: worked out once, for all fits.
#[derive(Debug, Clone, Copy)]
struct Left {
    ordinal: u32,
    taken: u32,
    slots: u32,
    levels: Levels,
    room: Room,
    /// Stake that covers nothing yet, in micro-AEV.
    free_stake: u64,
}

/// What a plan has given out so far.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// In the order in which the nodes were given something first.
    nodes: Vec<Left>,
    /// Where an ordinal stands there.
    place: BTreeMap<u32, u32>,
    /// The same nodes as a set.
    touched: Bits,
    /// Places in the order of giving: a fit looks at those since it was used last.
    order: Vec<u32>,
}

impl Given {
    /// Of a plan that makes so many placements at most: grown step by step, the nodes would be moved more often than looked at.
    pub(super) fn new(fleet: &Fleet, placements_max: usize) -> Self {
        let nodes = placements_max.min(fleet.free.len() as usize);
        Self {
            nodes: Vec::with_capacity(nodes),
            order: Vec::with_capacity(placements_max),
            ..Self::default()
        }
    }

    /// A node is given a run that takes so much room, and for which it pledges `stake` if it has that.
    pub(super) fn give(&mut self, market: Market<'_>, i: u32, room: Room, stake: u64) {
        let fleet = market.fleet();
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let place = *self.place.entry(i).or_insert(next);
        if place == next {
            self.nodes.push(Left {
                ordinal: i,
                taken: 0,
                slots: fleet.slots_of(i).0,
                room: fleet.room_left(i),
                free_stake: fleet.free_stake.get(i),
                levels: Levels::default(),
            });
            self.touched.insert(i);
        }
        self.order.push(place);
        if let Some(left) = self.nodes.get_mut(place as usize) {
            left.taken += 1;
            left.slots = left.slots.saturating_sub(1);
            left.room.remove(room);
            left.free_stake = after_pledge(left.free_stake, stake);
            left.levels = fleet.levels_less(i, left.taken, market.score);
        }
    }
}

/// What all fits of a plan look at.
#[derive(Clone, Copy)]
pub(super) struct Market<'a> {
    pub(super) state: &'a State,
    pub(super) score: &'a ScorePolicy,
    pub(super) now: Timestamp,
    /// The nodes that are kept free.
    pub(super) kept: &'a Kept,
}

/// Takes the nodes out that could not compile the task's module, for a while.
pub(super) fn take_out_barred(state: &State, task: &Task, now: Timestamp, nodes: &mut Bits) {
    let module = state.modules.get(&task.definition.module);
    let barred = module.into_iter().flat_map(|module| module.barred(now));
    for i in barred.filter_map(|node| ordinal(state, node)) {
        nodes.remove(i);
    }
}

impl<'a> Market<'a> {
    pub(super) fn fleet(&self) -> &'a Fleet {
        &self.state.index.fleet
    }

    /// Takes the nodes out that are kept free for others, for longer than a run that has ended within so many ms takes, those whose
    /// terms take nothing of the requester or no such module, those that could not compile it, and the requester's own where he has many.
    pub(super) fn admit(&self, nodes: &mut Bits, task: &Task, surely_ms: i64) {
        self.kept.take_out(nodes, task, surely_ms);
        let parties = &self.fleet().parties;
        parties.take_out(task.requester, task.definition.module, nodes);
        take_out_barred(self.state, task, self.now, nodes);
        take_out_own(self.state, task, nodes);
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
    /// The levels of the nodes that were given something, by their place among those, from 1; 0 for those that do not fit. And how
    /// many of them each level has.
    sunk: Vec<u16>,
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
        let mut eligible = fleet.fitting(needs, (class, task.requester), market.now);
        market.admit(&mut eligible, task, surely_ms(market.state, task));
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
        for place in given.order.get(self.seen..).unwrap_or_default() {
            self.gave(market, *place as usize, given);
        }
        self.seen = given.order.len();
    }

    /// Takes in what is left of one node.
    fn gave(&mut self, market: Market<'_>, place: usize, given: &Given) {
        let Some(left) = given.nodes.get(place) else {
            return;
        };
        let i = left.ordinal;
        if !self.eligible.contains(i) {
            return;
        }
        let fits = left.slots > 0
            && self.needs.room.fits_beside(Room::default(), left.room)
            && left.free_stake >= self.needs.stake;
        if !fits {
            self.eligible.remove(i);
        }
        if let Some(near) = &mut self.near {
            let level = u32::from(left.levels.of(&self.needs));
            let level = fits.then(|| level + gain(market, &self.needs, i));
            near.sink(i, place, level, market.score);
        }
    }

    /// The nodes that a task with these needs is drawn among, without those that it can't go to itself.
    pub(super) fn candidates(
        &mut self,
        market: Market<'_>,
        barred: &Barred<'_>,
        given: &Given,
    ) -> Candidates<'_> {
        self.catch_up(market, given);
        if let Some(near) = &mut self.near {
            near.settle(market, &self.needs, given);
        }
        let set = self.near.as_ref().map_or(&self.eligible, |near| &near.set);
        let inside = barred.named.iter().copied();
        let inside: Vec<u32> = inside.filter(|i| set.contains(*i)).collect();
        let is_best = |near: &Near| {
            let level = |i: &u32| near.level(market, &self.needs, given, *i);
            inside.iter().any(|i| level(i) == near.best)
        };
        let are_few = barred.is_named() && inside.len() <= ONE_BY_ONE_MAX;
        if are_few && !self.near.as_ref().is_some_and(is_best) {
            return Candidates {
                set: Cow::Borrowed(set),
                excluded: inside,
            };
        }
        let mut left = set.clone();
        barred.take_out(&mut left);
        let near = self.near.as_ref();
        if near.is_none_or(|near| near.has_best(market, &self.needs, given, Some(&left))) {
            return Candidates {
                set: Cow::Owned(left),
                excluded: Vec::new(),
            };
        }
        // The best are out of reach for this one task: it has a ranking of its own.
        let mut own = self.clone();
        barred.take_out(&mut own.eligible);
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
            let gains = market.score;
            let gains = gains.cached_levels + gains.in_time_levels + gains.price_levels;
            let most = SCORE_LEVELS + gains;
            self.near = Some(Near {
                set: Bits::default(),
                // So that the nodes that sink below are taken in.
                best: top.max(most - 1),
                parts,
                sunk: Vec::with_capacity(given.nodes.capacity()),
                sunk_at: vec![0; most as usize],
            });
        }
        for place in 0..given.nodes.len() {
            self.gave(market, place, given);
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

/// The nodes by what they gain for having the largest input, for being fast enough, and for what they ask.
fn parts(market: Market<'_>, needs: &Needs, eligible: &Bits, touched: &Bits) -> Vec<(Bits, u32)> {
    let mut rest = eligible.clone();
    rest.subtract(touched);
    let mut parts = vec![(rest, 0)];
    let holders = needs.data.as_ref().and_then(|d| market.fleet().holders(d));
    if let Some(holders) = holders {
        split(&mut parts, market.score.cached_levels, |set| {
            holders.keep_in(set)
        });
    }
    if needs.in_time_mfuel_s > 0 {
        let speeds = &market.fleet().shown_mfuel_s;
        split(&mut parts, market.score.in_time_levels, |set| {
            speeds.keep_at_least(set, needs.in_time_mfuel_s);
        });
    }
    parts.retain(|(set, _)| !set.is_empty());
    parts
        .into_iter()
        .flat_map(|(set, gain)| by_price(market, needs, set, gain))
        .collect()
}

/// The nodes of a part by what they gain for what they ask.
fn by_price(market: Market<'_>, needs: &Needs, mut rest: Bits, gain: u32) -> Vec<(Bits, u32)> {
    let mut parts = Vec::new();
    for levels in (1..=market.score.price_levels).rev() {
        let Some(most) = score::asks_at_most(needs.price, levels, market.score) else {
            continue;
        };
        let mut asking = rest.clone();
        market.fleet().keep_asking(needs.kind, &mut asking, most);
        if asking.len() == rest.len() {
            parts.push((rest, gain + levels));
            return parts;
        }
        if !asking.is_empty() {
            rest.subtract(&asking);
            parts.push((asking, gain + levels));
        }
    }
    parts.push((rest, gain));
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

/// Levels that a node gains for what it has of the task.
fn gain(market: Market<'_>, needs: &Needs, i: u32) -> u32 {
    let fleet = market.fleet();
    let holders = needs.data.as_ref().and_then(|d| fleet.holders(d));
    let cached = holders.is_some_and(|holders| holders.contains(i));
    let shown = fleet.shown_mfuel_s.get(i);
    let in_time = needs.in_time_mfuel_s > 0 && shown >= needs.in_time_mfuel_s;
    u32::from(cached) * market.score.cached_levels
        + u32::from(in_time) * market.score.in_time_levels
        + score::price_levels(needs.price, fleet.ask_of(needs.kind, i), market.score)
}

impl Near {
    fn floor(&self, score: &ScorePolicy) -> u32 {
        self.best.saturating_sub(score.near_levels)
    }

    /// A node's level for these needs, after what it was given.
    fn level(&self, market: Market<'_>, needs: &Needs, given: &Given, i: u32) -> u32 {
        let place = given.place.get(&i);
        let sunk = place.and_then(|at| self.sunk.get(*at as usize));
        match sunk.and_then(|level| level.checked_sub(1)) {
            Some(level) => level.into(),
            None => market.fleet().level_of(needs, i) + gain(market, needs, i),
        }
    }

    /// A node was given something, and has another level now, or none, for it does not fit any more.
    fn sink(&mut self, i: u32, place: usize, level: Option<u32>, score: &ScorePolicy) {
        if place >= self.sunk.len() {
            self.sunk.resize(place + 1, 0);
        }
        // At most `SCORE_LEVELS` and three gains of as many.
        let after = level.map_or(0, |level| level as u16 + 1);
        let before = std::mem::replace(&mut self.sunk[place], after);
        if let Some(count) = before
            .checked_sub(1)
            .and_then(|level| self.sunk_at.get_mut(usize::from(level)))
        {
            *count -= 1;
        }
        if let Some(count) = level.and_then(|level| self.sunk_at.get_mut(level as usize)) {
            *count += 1;
        }
        let floor = self.floor(score);
        self.set.set(i, level.is_some_and(|level| level >= floor));
    }

    /// Lowers the best level to one that a node has, and takes in those that are near it then.
    fn settle(&mut self, market: Market<'_>, needs: &Needs, given: &Given) {
        while self.best > 0 && !self.has_best(market, needs, given, None) {
            let floor = self.floor(market.score);
            self.best -= 1;
            let lower = self.floor(market.score);
            if lower < floor {
                self.extend(market, needs, given, lower, lower);
            }
        }
    }

    /// Whether a node has the best level: any, or one among these.
    fn has_best(
        &self,
        market: Market<'_>,
        needs: &Needs,
        given: &Given,
        among: Option<&Bits>,
    ) -> bool {
        let sunk = self.sunk_at.get(self.best as usize);
        let has_sunk = sunk.is_some_and(|count| *count > 0);
        has_sunk && among.is_none_or(|among| self.has_sunk_best(given, among))
            || self.parts.iter().any(|(part, gain)| {
                let level = self.best.checked_sub(*gain);
                let level = level.and_then(|level| market.fleet().at_level(needs, level));
                level.is_some_and(|level| match among {
                    None => level.meets(part, &given.touched),
                    Some(among) => level.meets_among(part, among, &given.touched),
                })
            })
    }

    /// Whether one of these that was given something has the best level.
    fn has_sunk_best(&self, given: &Given, among: &Bits) -> bool {
        let mut sunk = self.sunk.iter().zip(&given.nodes);
        sunk.any(|(after, left)| u32::from(*after) == self.best + 1 && among.contains(left.ordinal))
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
            for (place, level) in self.sunk.iter().enumerate() {
                let is_near = (from + 1..=to + 1).contains(&u32::from(*level));
                if let Some(left) = given.nodes.get(place).filter(|_| is_near) {
                    self.set.insert(left.ordinal);
                }
            }
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

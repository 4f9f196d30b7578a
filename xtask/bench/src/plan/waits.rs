//! Whether anybody starves: tasks arrive without end, as fast as they can be run, behind a queue that stays as long as it is, from requesters
//! who want unequally much, with priorities, and among tasks that no node can take. Of equal tasks, which are those of one requester and one priority,
//! the longest wait is held against the mean one. What still waits at the end counts with what it has waited so far, for who starves is
//! never served.
//!
//! All of it is in the market's time, so that the figure is the same on every machine.

use std::collections::{BTreeMap, VecDeque};

use aevir_platform::ids::{AssignmentId, NodeId, TaskId};
use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::market::Market;

/// How often runs end, tasks arrive and a plan is made, in ms of the market's time.
const STEP_MS: i64 = 1_000;
/// How long a run lasts, in steps.
const RUN_STEPS: u64 = 10;
/// What requesters want in units of a common one. The first of each four wants more than there is: a task arrives for each of its own whose
/// run begins, so that its queue stays as long as it is. The others have less than their shares, and hardly wait. Requesters' weights go by
/// fours, too.
const DEMANDS: [u64; 4] = [12, 4, 4, 1];
/// Priorities that tasks have, from 0.
const PRIORITIES: u64 = 3;
/// One in so many tasks can be taken by no node.
const STUCK_ONE_IN: u64 = 50;
const MILLION: u64 = 1_000_000;

/// How much arrives, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) requesters: usize,
    /// The queue, as steps of what those want who want most.
    pub(super) backlog_steps: u64,
    /// For how long tasks arrive: many times as long as they wait.
    pub(super) steps: u64,
}

/// What `bench plan` measures.
pub(super) const FULL: Load = Load {
    requesters: 20,
    backlog_steps: 240,
    steps: 4_800,
};

/// Where tasks arrive, and which of them are served.
pub(super) trait Service {
    /// Runs that can begin in each step, in the long run.
    fn rate(&self) -> u64;
    /// A task arrives, by its number.
    fn arrives(&mut self, number: u64, task: Arrival) -> Result<()>;
    /// A step later: the numbers of the tasks whose runs begin.
    fn serves(&mut self) -> Result<Vec<u64>>;
}

/// A task that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) requester: usize,
    pub(super) priority: u64,
    /// No node can take it.
    pub(super) is_stuck: bool,
}

/// How long tasks waited that are equal, in steps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Waits {
    pub(super) mean: f64,
    pub(super) longest: f64,
}

impl Waits {
    fn ratio(self) -> f64 {
        self.longest / self.mean
    }
}

/// The waits of those equal tasks of which the longest is furthest above the mean. Who hardly waits, less than a run lasts, doesn't count.
pub(super) fn worst(load: Load, service: &mut impl Service) -> Result<Waits> {
    let mut random = Random(5);
    let mut arrived: BTreeMap<u64, (Arrival, u64)> = BTreeMap::new();
    let mut waits: BTreeMap<Arrival, (u64, u64, u64)> = BTreeMap::new();
    let mut note = |task: Arrival, waited: u64| {
        let (count, sum, longest) = waits.entry(task).or_default();
        (*count, *sum, *longest) = (*count + 1, *sum + waited, waited.max(*longest));
    };
    let demands = DEMANDS.iter().cycle().take(load.requesters);
    let all: u64 = demands.clone().sum();
    let demands: Vec<u64> = demands.copied().collect();
    // In millionths of a task.
    let rate = service.rate() * MILLION;
    let per_step: Vec<u64> = demands.iter().map(|demand| rate * demand / all).collect();
    let most = demands.iter().max().copied().unwrap_or(0);
    let mut number = 0;
    let mut begun = vec![0; load.requesters];
    for step in 0..load.steps {
        for (requester, per_step) in per_step.iter().enumerate() {
            let wants_more = demands[requester] == most;
            let arrive = match (wants_more, step) {
                (true, 0) => random.rounded(per_step * load.backlog_steps),
                (true, _) => std::mem::take(&mut begun[requester]),
                (false, _) => {
                    let owed = random.below(2 * per_step + 1);
                    random.rounded(owed)
                }
            };
            for _ in 0..arrive {
                let task = Arrival {
                    requester,
                    priority: random.below(PRIORITIES),
                    is_stuck: random.below(STUCK_ONE_IN) == 0,
                };
                service.arrives(number, task)?;
                if !task.is_stuck {
                    arrived.insert(number, (task, step));
                }
                number += 1;
            }
        }
        for served in service.serves()? {
            let served = arrived.remove(&served);
            let (task, since) = served.context("only what waits is served, and once")?;
            note(task, step - since);
            begun[task.requester] += 1;
        }
    }
    for (task, since) in arrived.into_values() {
        note(task, load.steps - since);
    }
    let waits = waits.into_values().map(|(count, sum, longest)| Waits {
        mean: sum as f64 / count as f64,
        longest: longest as f64,
    });
    let waits = waits.filter(|waits| waits.mean >= RUN_STEPS as f64);
    let worst = waits.max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    worst.context("nobody waited: nothing is shown")
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// So many millionths as a whole number, the same on average.
    fn rounded(&mut self, millionths: u64) -> u64 {
        let more = self.below(MILLION) < millionths % MILLION;
        millionths / MILLION + u64::from(more)
    }
}

/// The real market.
pub(super) struct RealMarket {
    market: Market,
    slots: u64,
    numbers: BTreeMap<TaskId, u64>,
    /// Runs under way, with the step in which they end.
    running: VecDeque<(u64, AssignmentId, NodeId)>,
    step: u64,
}

impl RealMarket {
    pub(super) fn new(requesters: usize, nodes: usize) -> Result<Self> {
        let market = Market::new(requesters, nodes)?;
        let slots = market
            .state
            .nodes
            .values()
            .map(|node| u64::from(node.profile.slots));
        Ok(Self {
            slots: slots.sum(),
            market,
            numbers: BTreeMap::new(),
            running: VecDeque::new(),
            step: 0,
        })
    }
}

impl Service for RealMarket {
    fn rate(&self) -> u64 {
        self.slots / RUN_STEPS
    }

    fn arrives(&mut self, number: u64, task: Arrival) -> Result<()> {
        let mut qos = json!({"priority": task.priority});
        if task.is_stuck {
            qos["labels"] = json!({"nowhere": "at all"});
        }
        let requester = self.market.requesters[task.requester];
        let id = self.market.task(requester, json!({"qos": qos}))?;
        self.numbers.insert(id, number);
        Ok(())
    }

    fn serves(&mut self) -> Result<Vec<u64>> {
        while let Some((_, assignment, node)) = self.running.pop_front_if(|run| run.0 <= self.step)
        {
            self.market.end(assignment, node)?;
        }
        let mut begun = Vec::new();
        loop {
            let leases = self.market.plan()?.leases;
            self.market.running.clear();
            if leases.is_empty() {
                break;
            }
            for (task, assignment, node) in leases {
                let ends = self.step + RUN_STEPS;
                self.running.push_back((ends, assignment, node));
                begun.push(*self.numbers.get(&task).context("a task that arrived")?);
            }
        }
        self.step += 1;
        self.market.now = self.market.now.plus_ms(STEP_MS);
        Ok(begun)
    }
}

/// Mean and longest wait of equal tasks, in seconds of the market's time.
pub(super) fn measure(load: Load, nodes: usize) -> Result<(f64, f64)> {
    let mut market = RealMarket::new(load.requesters, nodes)?;
    let worst = worst(load, &mut market)?;
    ensure!(
        worst.mean * 10.0 <= load.steps as f64,
        "tasks wait for {} steps of {}: too few to tell who starves",
        worst.mean,
        load.steps
    );
    let seconds = STEP_MS as f64 / 1_000.0;
    Ok((worst.mean * seconds, worst.longest * seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SMALL: Load = Load {
        steps: 2_400,
        ..FULL
    };
    /// What the issue allows.
    const MOST: f64 = 3.0;

    /// Serves what waits in a planted order.
    struct Planted {
        waiting: Vec<u64>,
        next: fn(&[u64], &mut Random) -> usize,
        random: Random,
    }

    impl Planted {
        fn new(next: fn(&[u64], &mut Random) -> usize) -> Self {
            Self {
                waiting: Vec::new(),
                next,
                random: Random(9),
            }
        }
    }

    impl Service for Planted {
        fn rate(&self) -> u64 {
            10
        }

        fn arrives(&mut self, number: u64, task: Arrival) -> Result<()> {
            if !task.is_stuck {
                self.waiting.push(number);
            }
            Ok(())
        }

        fn serves(&mut self) -> Result<Vec<u64>> {
            let rate = self.rate().min(self.waiting.len() as u64);
            let served = (0..rate).map(|_| {
                let at = (self.next)(&self.waiting, &mut self.random);
                self.waiting.remove(at)
            });
            Ok(served.collect())
        }
    }

    fn ratio(next: fn(&[u64], &mut Random) -> usize) -> f64 {
        worst(SMALL, &mut Planted::new(next)).unwrap().ratio()
    }

    #[test]
    fn who_came_first_is_served_first_and_nobody_starves() {
        let found = ratio(|_, _| 0);
        assert!(found < MOST, "{found}");
    }

    #[test]
    fn who_came_last_is_served_first_and_the_figure_says_so() {
        let found = ratio(|waiting, _| waiting.len() - 1);
        assert!(found > MOST, "{found}");
    }

    #[test]
    fn whoever_is_served_by_chance_the_figure_says_so() {
        let found = ratio(|waiting, random| random.below(waiting.len() as u64) as usize);
        assert!(found > MOST, "{found}");
    }

    /// One in a thousand is passed over for ever.
    #[test]
    fn who_is_forgotten_is_found_though_he_is_never_served() {
        let found = ratio(|waiting, _| {
            let kept = waiting.iter().position(|number| number % 1_000 != 7);
            kept.unwrap_or(0)
        });
        assert!(found > MOST, "{found}");
    }

    #[test]
    fn nobody_starves_in_the_real_market() {
        let (mean, longest) = measure(SMALL, 4).unwrap();
        assert!(longest <= MOST * mean, "{longest} {mean}");
    }
}

//! What a simulation says: the figures of one run, and of one strategy over its seeds. Floating point begins here.

use aevir_platform::ledger::LedgerAccount;
use serde::{Deserialize, Serialize};

use crate::{
    agent::{Agent, Seat},
    book::BEGIN,
    strategy::Strategy,
    terms::{BOOTSTRAP_ONE_IN, HOUR_MS},
    world::World,
};

/// Without a lease for so long at the end of the time in which tasks come in, a node counts as ejected: a sixth of it.
const EJECTED_ONE_IN: i64 = 6;

/// The figures of one strategy with one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) strategy: Strategy,
    pub(crate) seed: u64,
    /// Tasks that came in, and of them those whose result matured.
    pub(crate) tasks: u64,
    pub(crate) matured: u64,
    /// Wrong results that matured, and as a part of all that did.
    pub(crate) wrong_matured: u64,
    pub(crate) wrong_matured_rate: f64,
    /// Wrong results that were sealed, and those that a verdict accepted.
    pub(crate) wrong_sealed: u64,
    pub(crate) wrong_accepted: u64,
    /// Sealed results for each verdict, those of second looks among them.
    pub(crate) replication_factor: f64,
    /// The same of tasks that came in after the first quarter of the time.
    pub(crate) replication_factor_after_bootstrap: f64,
    /// Mean income of a follower's seat, net of what was slashed, by that of an honest one. Absent where all are honest.
    pub(crate) cheater_income_ratio: Option<f64>,
    /// The same of what is left when computing was paid for.
    pub(crate) cheater_profit_ratio: Option<f64>,
    /// Mean income and profit of an honest seat, in AEV.
    pub(crate) honest_income: f64,
    pub(crate) honest_profit: f64,
    /// Slashed of followers, and of the honest, in AEV.
    pub(crate) slashed: f64,
    pub(crate) honest_slashed: f64,
    /// Results of honest nodes that a verdict refused.
    pub(crate) honest_refused: u64,
    /// Followers that got nothing more at the end, as a part of those that were ever wrong; and their mean time from the first
    /// wrong result to the last lease, in hours.
    pub(crate) ejected: Option<f64>,
    pub(crate) hours_to_eject: Option<f64>,
    /// Slots that leases held, as a part of all, while tasks came in and until the last one ended.
    pub(crate) utilisation: f64,
    /// From the queue to the first lease, in s.
    pub(crate) queue_mean_s: f64,
    pub(crate) queue_p99_s: f64,
    /// From the queue to the verdict, in s.
    pub(crate) verdict_mean_s: f64,
    /// Tasks without an agreement, and closed ones without a verdict.
    pub(crate) inconclusive: u64,
    pub(crate) closed: u64,
    /// Verdicts that were looked at again, and of them those that were overturned.
    pub(crate) reviews: u64,
    pub(crate) overturned: u64,
    /// Looks of verifiers at results, of them those that decided nothing, and those whose verifiers were believed and never looked.
    pub(crate) inspections: u64,
    pub(crate) undecided: u64,
    pub(crate) unlooked: u64,
    /// Names that were taken beyond the first ones.
    pub(crate) renamed: u64,
    /// Events in the log.
    pub(crate) events: u64,
    /// By the hour in which tasks came in: replication factor.
    pub(crate) replication_by_hour: Vec<f64>,
    /// By the hour, summed: wrong results that matured of tasks until then.
    pub(crate) wrong_by_hour: Vec<u64>,
}

/// A part of a whole; 0 of nothing.
pub(crate) fn part(of: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { of / whole }
}

fn aev(micro: i64) -> f64 {
    micro as f64 / 1e6
}

fn hours(ms: i64) -> f64 {
    ms as f64 / HOUR_MS as f64
}

impl Figures {
    /// Of a market that has played.
    pub(crate) fn of(world: &World) -> Self {
        let (terms, tally) = (&world.terms, &world.tally);
        let all = tally.sum(0..terms.hours);
        let late = tally.sum(terms.hours / BOOTSTRAP_ONE_IN..terms.hours);
        let by_hour = || (0..terms.hours).map(|hour| tally.sum(hour..hour + 1));
        let mut wrong = 0;
        let honest = Means::of(world, false);
        let followers = (terms.others() > 0).then(|| Means::of(world, true));
        let ejected = Ejected::of(world);
        let mut queue = tally.queue_ms.clone();
        queue.sort_unstable();
        let waited = queue.iter().sum::<i64>() as f64 / 1e3;
        let p99 = queue.get(queue.len() * 99 / 100).copied().unwrap_or(0);
        let verdicts = (all.verified + tally.inconclusive) as f64;
        let lasted = world.book.now.0 - BEGIN.0;
        let time = lasted.min(terms.span_ms() + HOUR_MS) as f64;
        Self {
            strategy: terms.strategy,
            seed: terms.seed,
            tasks: all.created,
            matured: all.matured,
            wrong_matured: all.wrong_matured,
            wrong_matured_rate: part(all.wrong_matured as f64, all.matured as f64),
            wrong_sealed: tally.wrong_sealed,
            wrong_accepted: tally.wrong_accepted,
            replication_factor: part(all.sealed as f64, all.verified as f64),
            replication_factor_after_bootstrap: part(late.sealed as f64, late.verified as f64),
            cheater_income_ratio: followers.map(|f| part(f.income, honest.income)),
            cheater_profit_ratio: followers.map(|f| part(f.profit, honest.profit)),
            honest_income: honest.income,
            honest_profit: honest.profit,
            slashed: aev(tally.slashed),
            honest_slashed: aev(tally.honest_slashed),
            honest_refused: tally.honest_refused,
            ejected: ejected.map(|e| e.part),
            hours_to_eject: ejected.and_then(|e| e.mean_hours),
            utilisation: part(tally.busy_ms as f64, time * terms.nodes as f64),
            queue_mean_s: part(waited, queue.len() as f64),
            queue_p99_s: p99 as f64 / 1e3,
            verdict_mean_s: part(tally.verdict_ms as f64 / 1e3, verdicts),
            inconclusive: tally.inconclusive,
            closed: tally.closed,
            reviews: tally.reviews,
            overturned: tally.overturned,
            inspections: tally.inspections,
            undecided: tally.undecided,
            unlooked: tally.unlooked,
            renamed: tally.renamed,
            events: world.book.events(),
            replication_by_hour: by_hour()
                .map(|h| part(h.sealed as f64, h.verified as f64))
                .collect(),
            wrong_by_hour: by_hour()
                .map(|h| {
                    wrong += h.wrong_matured;
                    wrong
                })
                .collect(),
        }
    }
}

/// Means of seats, in AEV.
#[derive(Debug, Clone, Copy)]
struct Means {
    income: f64,
    profit: f64,
}

impl Means {
    fn of(world: &World, follows: bool) -> Self {
        let mut held = vec![0; world.seats.len()];
        for agent in &world.agents {
            held[agent.seat] += equity(world, agent);
        }
        let seats = world.seats.iter().zip(held);
        let seats: Vec<(&Seat, i64)> = seats.filter(|(seat, _)| seat.follows == follows).collect();
        let count = seats.len() as f64;
        let income: i64 = seats.iter().map(|(seat, held)| held - seat.brought).sum();
        let cost: i64 = seats.iter().map(|(seat, _)| seat.cost).sum();
        Self {
            income: part(aev(income), count),
            profit: part(aev(income - cost), count),
        }
    }
}

/// What an owner has, wherever it lies.
fn equity(world: &World, agent: &Agent) -> i64 {
    let accounts = [
        LedgerAccount::Available(agent.account),
        LedgerAccount::Pending(agent.account),
        LedgerAccount::Withdrawing(agent.account),
        LedgerAccount::Stake(agent.node),
    ];
    let balance = |account| world.book.state.ledger.balance(account).0;
    accounts.into_iter().map(balance).sum()
}

/// How the market got rid of followers that were wrong.
#[derive(Debug, Clone, Copy)]
struct Ejected {
    part: f64,
    mean_hours: Option<f64>,
}

impl Ejected {
    fn of(world: &World) -> Option<Self> {
        let end = BEGIN.0 + world.terms.span_ms();
        let quiet = end - world.terms.span_ms() / EJECTED_ONE_IN;
        let wrong = world.seats.iter().filter(|seat| seat.follows);
        let wrong = wrong.filter_map(|seat| Some((seat.first_wrong?, seat.last_lease?)));
        let wrong: Vec<_> = wrong.collect();
        let gone = wrong.iter().filter(|(_, last)| last.0 < quiet);
        let times: Vec<f64> = gone
            .map(|(first, last)| hours((last.0 - first.0).max(0)))
            .collect();
        (!wrong.is_empty()).then(|| Self {
            part: part(times.len() as f64, wrong.len() as f64),
            mean_hours: (!times.is_empty()).then(|| part(times.iter().sum(), times.len() as f64)),
        })
    }
}

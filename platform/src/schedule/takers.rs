//! How many owners have a node that could take a task once it is idle: what a dispute asks before it holds everybody's money up.

use aevir_events::Timestamp;

use super::{
    barred::{Barred, take_out_own},
    filter::replica_class,
    fit::take_out_barred,
    needs::{Needs, most_stake},
};
use crate::{
    amount::Amount,
    state::{State, Task},
};

/// As far as `most`: owners, each with a node that takes work, busy or not, and has what the task needs; of a private market, whose
/// replicas may be one owner's, nodes. And the stake that such a node has, where replicas with stake behind them are asked about.
///
/// It works on sets of nodes, once for each owner that it finds.
pub(crate) fn takers(
    state: &State,
    task: &Task,
    staked: bool,
    most: usize,
    now: Timestamp,
) -> (usize, Amount) {
    let policy = state.policy_of(task);
    let mut needs = Needs::of(task, &policy).unstaked();
    if staked {
        needs.stake = most_stake(task, &policy);
    }
    let fleet = &state.index.fleet;
    let class = replica_class(state, task, &[]);
    let mut fit = fleet.fitting_idle(&needs, (class, task.requester), now);
    fleet
        .parties
        .take_out(task.requester, task.definition.module, &mut fit);
    take_out_barred(state, task, now, &mut fit);
    take_out_own(state, task, &mut fit);
    Barred::of(state, task, &[]).take_out(&mut fit);
    let stake = Amount(i64::try_from(needs.stake).unwrap_or(i64::MAX));
    if needs.private {
        return (fit.iter().take(most).count(), stake);
    }
    let mut found = 0;
    while found < most {
        let first = fit.iter().next().and_then(|i| fleet.id(i));
        let Some(node) = first.and_then(|id| state.nodes.get(&id)) else {
            break;
        };
        fit.remove(node.ordinal);
        if let Some(others) = fleet.nodes_of(node.owner) {
            others.take_out(&mut fit);
        }
        found += 1;
    }
    (found, stake)
}

//! What must hold of money after every command, and what an audit makes of a log.

use std::collections::BTreeMap;

use aevir_events::Recorded;
use aevir_platform::{
    amount::Amount,
    audit::{Counts, Fault, Recomputation, Sealed},
    event::Event,
    evolve,
    ids::NodeId,
    ledger::LedgerAccount,
    state::State,
};

/// The books balance, and what is held for tasks, withdrawals and open results is what it must be.
pub fn check(state: &State) {
    assert_eq!(state.ledger.sum(), 0);
    for (account, balance) in state.ledger.balances() {
        assert!(
            balance.0 > 0 || account == LedgerAccount::External,
            "{account}: {balance}"
        );
    }
    for account in state.accounts.keys() {
        let open = state.withdrawals.get(account);
        let open: i64 = open.into_iter().flatten().map(|(_, w)| w.amount.0).sum();
        let held = LedgerAccount::Withdrawing(*account);
        assert_eq!(state.ledger.balance(held), Amount(open));
    }
    let mut locked: BTreeMap<NodeId, i64> = BTreeMap::new();
    for assignment in state.tasks.values().flat_map(|t| t.assignments.values()) {
        *locked.entry(assignment.node).or_default() += assignment.stake.0;
    }
    for node in state.nodes.values() {
        let locked = locked.remove(&node.id).unwrap_or_default();
        assert_eq!(node.pledges.locked.0, locked);
        assert!(locked <= state.stake(node.id).0);
    }
    for node in state.nodes.values() {
        assert!(node.active.len() <= node.profile.slots as usize);
    }
    for task in state.tasks.values() {
        let escrow = state.ledger.balance(LedgerAccount::Escrow(task.id));
        assert!(task.escrow <= task.definition.economics.budget);
        assert_eq!(
            escrow,
            if task.phase.is_final() {
                Amount::ZERO
            } else {
                task.held()
            }
        );
    }
}

/// Follows a log as an audit does: each command before its events are folded, each event after.
pub fn recompute(log: &[Recorded<Event>]) -> Result<(Counts, Vec<Sealed>), Fault> {
    let mut state = State::default();
    let mut recomputation = Recomputation::default();
    let mut sealed = Vec::new();
    for command in log.chunk_by(|a, b| a.cause == b.cause) {
        let events: Vec<&Recorded<Event>> = command.iter().collect();
        recomputation.before(&state, &events, &mut sealed)?;
        for recorded in command {
            evolve(&mut state, recorded).unwrap();
            recomputation.after(&state, recorded)?;
        }
    }
    Ok((recomputation.counts(), sealed))
}

//! Withdrawals open and end.

use aevir_events::{Corrupt, Timestamp};

use super::ensure;
use crate::{
    event::WithdrawalRequested,
    ids::{AccountId, WithdrawalId},
    state::{State, Withdrawal},
};

pub(super) fn requested(
    state: &mut State,
    e: &WithdrawalRequested,
    at: Timestamp,
) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("withdrawal of the unknown account {}", e.account)
    })?;
    let withdrawal = Withdrawal {
        amount: e.amount,
        destination: e.destination.clone(),
        requested_at: at,
    };
    let of_account = state.withdrawals.entry(e.account).or_default();
    ensure(
        of_account.insert(e.withdrawal, withdrawal).is_none(),
        || format!("withdrawal {} requested twice", e.withdrawal),
    )
}

/// It was paid or refused.
pub(super) fn ended(
    state: &mut State,
    account: AccountId,
    withdrawal: WithdrawalId,
) -> Result<(), Corrupt> {
    let of_account = state.withdrawals.get_mut(&account);
    let open = of_account.and_then(|open| {
        let ended = open.remove(&withdrawal);
        ended.map(|_| open.is_empty())
    });
    let none_left = open.ok_or_else(|| Corrupt(format!("withdrawal {withdrawal} is not open")))?;
    if none_left {
        state.withdrawals.remove(&account);
    }
    Ok(())
}

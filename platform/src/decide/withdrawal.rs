//! Money leaves the platform: an account asks, and who runs the platform pays it out and says so, or refuses.
//!
//! An account can't take its request back: whoever pays may have paid already, and books it a moment later.

use aevir_events::Context;

use super::{
    Decision,
    account::{active_account, check_name, check_reason},
    posting::{posted, transfer},
};
use crate::{
    amount::Amount,
    event::{PostingReason, WithdrawalPaid, WithdrawalRefused, WithdrawalRequested},
    ids::{AccountId, WithdrawalId},
    ledger::LedgerAccount,
    rejection::Rejection,
    state::{State, Withdrawal},
};

/// Open withdrawals of one account: each is work for somebody.
const OPEN_MAX: usize = 16;

pub(super) fn request(
    state: &State,
    account: AccountId,
    amount: Amount,
    destination: &str,
    context: &Context,
) -> Decision {
    active_account(state, account)?;
    check_name("a withdrawal's destination", destination)?;
    if amount.0 <= 0 {
        return Err(Rejection::AmountNotPositive);
    }
    let available = state.ledger.balance(LedgerAccount::Available(account));
    if amount > available {
        let needed = amount;
        return Err(Rejection::BalanceTooSmall { available, needed });
    }
    let open = state.withdrawals.get(&account);
    if open.is_some_and(|open| open.len() >= OPEN_MAX) {
        return Err(Rejection::TooManyWithdrawals { most: OPEN_MAX });
    }
    let requested = WithdrawalRequested {
        account,
        withdrawal: WithdrawalId(context.ids().ulid()),
        amount,
        destination: destination.into(),
    };
    let (from, to) = (
        LedgerAccount::Available(account),
        LedgerAccount::Withdrawing(account),
    );
    let posted = posted(PostingReason::Withdrawal, None, transfer(from, to, amount));
    Ok(vec![requested.into(), posted])
}

pub(super) fn pay(
    state: &State,
    account: AccountId,
    withdrawal: WithdrawalId,
    reference: &str,
) -> Decision {
    let amount = open(state, account, withdrawal)?.amount;
    check_name("a payout's reference", reference)?;
    if state.references.contains(reference) {
        return Err(Rejection::ReferenceUsed {
            reference: reference.into(),
        });
    }
    let paid = WithdrawalPaid {
        account,
        withdrawal,
    };
    let (from, to) = (LedgerAccount::Withdrawing(account), LedgerAccount::External);
    let posted = posted(
        PostingReason::Payout,
        Some(reference),
        transfer(from, to, amount),
    );
    Ok(vec![paid.into(), posted])
}

pub(super) fn refuse(
    state: &State,
    account: AccountId,
    withdrawal: WithdrawalId,
    reason: &str,
) -> Decision {
    let amount = open(state, account, withdrawal)?.amount;
    check_reason(reason)?;
    let refused = WithdrawalRefused {
        account,
        withdrawal,
        reason: reason.into(),
    };
    let (from, to) = (
        LedgerAccount::Withdrawing(account),
        LedgerAccount::Available(account),
    );
    let posted = posted(
        PostingReason::WithdrawalRefused,
        None,
        transfer(from, to, amount),
    );
    Ok(vec![refused.into(), posted])
}

fn open(
    state: &State,
    account: AccountId,
    withdrawal: WithdrawalId,
) -> Result<&Withdrawal, Rejection> {
    let of_account = state.withdrawals.get(&account);
    let open = of_account.and_then(|open| open.get(&withdrawal));
    open.ok_or(Rejection::UnknownWithdrawal { withdrawal })
}

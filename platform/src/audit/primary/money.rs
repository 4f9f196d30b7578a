//! Commands that move money, read off their postings.

use aevir_events::Recorded;

use super::{closing, missing};
use crate::audit::Fault;
use crate::{
    amount::Amount,
    command::Command,
    event::{Event, LedgerPosted, PostingReason},
    ids::{AccountId, NodeId},
    ledger::LedgerAccount,
    state::State,
};

/// The reference under which a payout is booked.
pub(super) fn reference_after(batch: &[&Recorded<Event>]) -> Result<String, Fault> {
    if let Some(Event::LedgerPosted(posted)) = batch.get(1).map(|r| &r.event)
        && let Some(reference) = &posted.reference
    {
        return Ok(reference.clone());
    }
    Err(missing(batch, "ledger.posted"))
}

pub(super) fn posting(
    posted: &LedgerPosted,
    batch: &[&Recorded<Event>],
    state: &State,
) -> Result<Option<Command>, Fault> {
    match posted.reason {
        PostingReason::Deposit => Ok(deposit(posted)),
        PostingReason::Closure => closing(batch, state).map(Some),
        PostingReason::Stake => Ok(
            staked(posted).map(|(account, node, amount)| Command::Stake {
                account,
                node,
                amount,
            }),
        ),
        PostingReason::Unstake => {
            Ok(
                staked(posted).map(|(account, node, amount)| Command::Unstake {
                    account,
                    node,
                    amount: -amount,
                }),
            )
        }
        // With a verdict's it would not stand first.
        PostingReason::Maturity => Ok(Some(Command::Tick)),
        PostingReason::Escrow
        | PostingReason::Settlement
        | PostingReason::Withdrawal
        | PostingReason::Payout
        | PostingReason::WithdrawalRefused
        | PostingReason::Slash
        | PostingReason::Pool
        | PostingReason::Reward
        | PostingReason::PoolExpired
        | PostingReason::Reversal => Ok(None),
    }
}

/// The owner's account of a posting, and what it gets.
pub(super) fn owners_part(posted: &LedgerPosted) -> Option<(AccountId, Amount)> {
    posted.postings.iter().find_map(|p| match p.account {
        LedgerAccount::Available(account) => Some((account, p.amount)),
        LedgerAccount::External
        | LedgerAccount::Withdrawing(_)
        | LedgerAccount::Pending(_)
        | LedgerAccount::Escrow(_)
        | LedgerAccount::Stake(_)
        | LedgerAccount::Pool(_)
        | LedgerAccount::Treasury => None,
    })
}

pub(super) fn deposit(posted: &LedgerPosted) -> Option<Command> {
    let (account, amount) = owners_part(posted)?;
    Some(Command::Deposit {
        account,
        amount,
        reference: posted.reference.clone()?,
    })
}

/// What an owner adds to a node's stake, or takes from it.
pub(super) fn staked(posted: &LedgerPosted) -> Option<(AccountId, NodeId, Amount)> {
    let (account, _) = owners_part(posted)?;
    posted.postings.iter().find_map(|p| {
        if let LedgerAccount::Stake(node) = p.account {
            Some((account, node, p.amount))
        } else {
            None
        }
    })
}

//! How money moves: the one way in which decisions write the ledger.

use crate::{
    amount::Amount,
    event::{Event, LedgerPosted, Posting, PostingReason},
    ids::TaskId,
    ledger::LedgerAccount,
};

/// All of an amount, from one account to another.
pub(super) fn transfer(from: LedgerAccount, to: LedgerAccount, amount: Amount) -> [Posting; 2] {
    [
        Posting {
            account: from,
            amount: -amount,
        },
        Posting {
            account: to,
            amount,
        },
    ]
}

/// Postings that belong to no task.
pub(super) fn posted(
    reason: PostingReason,
    reference: Option<&str>,
    postings: impl Into<Vec<Posting>>,
) -> Event {
    LedgerPosted {
        reason,
        task: None,
        reference: reference.map(str::to_owned),
        postings: postings.into(),
    }
    .into()
}

/// Postings of a task.
pub(super) fn posted_for(
    task: TaskId,
    reason: PostingReason,
    postings: impl Into<Vec<Posting>>,
) -> Event {
    LedgerPosted {
        reason,
        task: Some(task),
        reference: None,
        postings: postings.into(),
    }
    .into()
}

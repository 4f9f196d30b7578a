//! One upload of a module of each account at a time: a module is held in memory while it is judged, and judging takes processor time, so that
//! an account that sends many keeps itself waiting and nobody else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aevir_platform::ids::AccountId;
use tokio::sync::OwnedMutexGuard;

use super::COME_BACK_S;
use crate::error::{ApiError, ApiResult, Code};

/// How long an upload waits for the one before it; its body stays with its sender until then.
const TURN_WAIT_MAX: Duration = Duration::from_secs(60);

/// Whose upload is under way.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<AccountId, Arc<tokio::sync::Mutex<()>>>>);

/// An account's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl Turns {
    /// Waits until no other upload of the account is under way.
    pub(super) async fn take(&self, account: AccountId) -> ApiResult<Turn> {
        self.take_within(account, TURN_WAIT_MAX).await
    }

    async fn take_within(&self, account: AccountId, wait_max: Duration) -> ApiResult<Turn> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits for those that only the map holds.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(account).or_default())
        };
        let taken = tokio::time::timeout(wait_max, turn.lock_owned()).await;
        taken.map(Turn).map_err(|_| {
            ApiError::new(
                Code::InspectorUnavailable,
                format!(
                    "another upload of this account has been under way for {} s: send one module at a time",
                    wait_max.as_secs()
                ),
            )
            .after(COME_BACK_S)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_account_waits_for_itself_alone() {
        let turns = Turns::default();
        let account = |n: u128| AccountId(ulid::Ulid(n));
        let first = turns.take(account(1)).await.unwrap();
        let other = turns.take(account(2)).await;
        assert!(other.is_ok());
        let wait_max = Duration::from_millis(20);
        let refused = turns.take_within(account(1), wait_max).await.unwrap_err();
        assert_eq!(refused.code(), Code::InspectorUnavailable.name());
        assert_eq!(refused.after_s(), Some(COME_BACK_S));
        drop(first);
        assert!(turns.take(account(1)).await.is_ok());
        drop(other);
        let _third = turns.take(account(3)).await;
        assert_eq!(turns.0.lock().unwrap().len(), 1, "nobody's turn is kept");
    }
}

//! Policy, accounts, keys, join tokens and deposits.

use aevir_events::{Context, Timestamp};

use super::{
    Decision,
    posting::{posted, transfer},
};
use crate::{
    amount::{Amount, PPM, Ppm},
    command::{AddKey, OpenAccount, Scope, World},
    digest::Digest,
    event::{
        AccountOpened, JoinTokenIssued, KeyAdded, KeyRevoked, LimitsSet, PolicyAdopted,
        PostingReason,
    },
    ids::{AccountId, KeyId},
    ledger::LedgerAccount,
    policy::{AccountLimits, Policy},
    rejection::Rejection,
    state::State,
};

/// A fee above it would make every task's worst case pass 64 bits.
const ATTEMPT_FEE_MAX: Amount = Amount(1_000_000_000_000);
/// Below it points would be gone before they mean anything.
const POINTS_KEEP_PPM: std::ops::RangeInclusive<Ppm> = 500_000..=PPM as Ppm;
/// Names of accounts, nodes, contents and the like.
pub(super) const NAME_CHARS_MAX: usize = 64;
/// Reasons of suspensions, releases and revocations.
const REASON_CHARS_MAX: usize = 400;

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), Rejection> {
    let length = name.chars().count();
    let printable = !name.chars().any(char::is_control) && name.trim() == name;
    if (1..=NAME_CHARS_MAX).contains(&length) && printable {
        Ok(())
    } else {
        Err(Rejection::NameInvalid { what })
    }
}

/// Why something was done, for people.
pub(super) fn check_reason(reason: &str) -> Result<(), Rejection> {
    let length = reason.chars().count();
    let printable = !reason.chars().any(char::is_control) && reason.trim() == reason;
    if (1..=REASON_CHARS_MAX).contains(&length) && printable {
        Ok(())
    } else {
        Err(Rejection::ReasonInvalid {
            most: REASON_CHARS_MAX,
        })
    }
}

pub(super) fn adopt_policy(state: &State, policy: &Policy) -> Decision {
    let shares = i64::from(policy.content_share_ppm) + i64::from(policy.platform_share_ppm);
    let invalid = |detail: &str| {
        Err(Rejection::PolicyInvalid {
            detail: detail.into(),
        })
    };
    if shares > PPM
        || i64::from(policy.points.content_ppm) > PPM
        || i64::from(policy.points.refused_ppm) > PPM
        || i64::from(policy.points.unrepeated_ppm) > PPM
        || i64::from(policy.points.late_ppm) > PPM
    {
        return invalid(
            "shares are parts per million, and content and platform share together at most all of it",
        );
    }
    if let Some(digest) = policy.verification.tolerance {
        let module = state.modules.get(&digest);
        if module.is_none_or(|m| m.world != World::Comparator) {
            return invalid(
                "the verification's `tolerance` is a registered module of the world `comparator`: push it first",
            );
        }
    }
    if policy.attempt_fee.0 < 0 || policy.points.refused_min.0 < 0 || policy.points.lost.0 < 0 {
        return invalid("fees and losses can't be negative");
    }
    if i64::from(policy.points.per_aev_of_platform_share) > PPM {
        return invalid(
            "the points' `per_aev_of_platform_share` is at most 1,000,000: a point for each micro-AEV",
        );
    }
    if policy.attempt_fee > ATTEMPT_FEE_MAX {
        return invalid("the attempt fee is at most 1,000,000 AEV");
    }
    if policy.verification.staked_votes > 0 && i64::from(policy.stake.per_result_ppm) < PPM {
        return invalid(
            "where `verification.staked_votes` is not 0 the stake's `per_result_ppm` is at least 1,000,000: what is pledged for a result covers its price",
        );
    }
    if !POINTS_KEEP_PPM.contains(&policy.points.keep_ppm) {
        return invalid("the points' `keep_ppm` is 500,000 to 1,000,000");
    }
    if policy.lease_ms < 1_000
        || policy.accept_ms < 1_000
        || policy.reveal_ms < 1_000
        || policy.offline_ms < 1_000
    {
        return invalid("lease, accept, reveal and offline times are at least 1,000 ms");
    }
    let checked = policy.scheduling.check();
    let checked = checked.and_then(|()| policy.settlement.check());
    let checked = checked.and_then(|()| policy.stake.check());
    let checked = checked.and_then(|()| policy.rewards.check());
    let checked = checked.and_then(|()| policy.verification.check());
    let checked = checked.and_then(|()| policy.contents.check());
    checked.map_err(|detail| Rejection::PolicyInvalid { detail })?;
    let version = state.policy().map_or(1, |(version, _)| version + 1);
    Ok(vec![
        PolicyAdopted {
            version,
            policy: policy.clone(),
        }
        .into(),
    ])
}

pub(super) fn set_limits(state: &State, account: AccountId, limits: AccountLimits) -> Decision {
    known_account(state, account)?;
    limits
        .check()
        .map_err(|detail| Rejection::LimitsInvalid { detail })?;
    Ok(vec![LimitsSet { account, limits }.into()])
}

pub(super) fn open(state: &State, command: &OpenAccount, context: &Context) -> Decision {
    check_name("an account's name", &command.name)?;
    check_key(state, command.key_hash, &command.scopes)?;
    let mut ids = context.ids();
    let account = AccountId(ids.ulid());
    let key = KeyAdded {
        account,
        key: KeyId(ids.ulid()),
        label: "first".into(),
        hash: command.key_hash,
        scopes: command.scopes.clone(),
        node: None,
    };
    Ok(vec![
        AccountOpened {
            account,
            name: command.name.clone(),
        }
        .into(),
        key.into(),
    ])
}

pub(super) fn add_key(state: &State, command: &AddKey, context: &Context) -> Decision {
    known_account(state, command.account)?;
    check_name("a key's label", &command.label)?;
    check_key(state, command.hash, &command.scopes)?;
    // A node's key comes with its join, and never otherwise.
    let missing =
        |scope: &&Scope| **scope == Scope::Node || !state.has_scope(command.account, **scope);
    if let Some(scope) = command.scopes.iter().find(missing) {
        return Err(Rejection::ScopeNotHeld {
            scope: scope.name(),
        });
    }
    let key = KeyAdded {
        account: command.account,
        key: KeyId(context.ids().ulid()),
        label: command.label.clone(),
        hash: command.hash,
        scopes: command.scopes.clone(),
        node: None,
    };
    Ok(vec![key.into()])
}

fn check_key(state: &State, hash: Digest, scopes: &[Scope]) -> Result<(), Rejection> {
    if scopes.is_empty() {
        return Err(Rejection::ScopesMissing);
    }
    if state.index.key_by_hash.contains_key(&hash) {
        return Err(Rejection::KeyInUse);
    }
    Ok(())
}

pub(super) fn revoke_key(state: &State, account: AccountId, key: KeyId) -> Decision {
    match state.keys.get(&key) {
        Some(known) if known.account == account && !known.revoked => {
            Ok(vec![KeyRevoked { account, key }.into()])
        }
        Some(_) | None => Err(Rejection::UnknownKey),
    }
}

pub(super) fn issue_join_token(
    state: &State,
    account: AccountId,
    token_hash: Digest,
    expires: Timestamp,
) -> Decision {
    active_account(state, account)?;
    if state.join_tokens.contains_key(&token_hash) {
        return Err(Rejection::TokenInUse);
    }
    Ok(vec![
        JoinTokenIssued {
            account,
            token_hash,
            expires,
        }
        .into(),
    ])
}

pub(super) fn deposit(
    state: &State,
    account: AccountId,
    amount: Amount,
    reference: &str,
) -> Decision {
    known_account(state, account)?;
    check_name("a deposit's reference", reference)?;
    if amount.0 <= 0 {
        return Err(Rejection::AmountNotPositive);
    }
    if state.references.contains(reference) {
        return Err(Rejection::ReferenceUsed {
            reference: reference.into(),
        });
    }
    // `external` holds minus the sum of all others, so that no balance can pass what it can't.
    let outside = state.ledger.balance(LedgerAccount::External);
    if outside
        .minus(amount)
        .is_none_or(|after| after.0 == i64::MIN)
    {
        return Err(Rejection::AmountTooLarge);
    }
    let postings = transfer(
        LedgerAccount::External,
        LedgerAccount::Available(account),
        amount,
    );
    Ok(vec![posted(
        PostingReason::Deposit,
        Some(reference),
        postings,
    )])
}

pub(super) fn known_account(state: &State, account: AccountId) -> Result<(), Rejection> {
    if state.accounts.contains_key(&account) {
        Ok(())
    } else {
        Err(Rejection::UnknownAccount { account })
    }
}

/// An account that may do new things.
pub(super) fn active_account(state: &State, account: AccountId) -> Result<(), Rejection> {
    known_account(state, account)?;
    match state.suspension(account) {
        None => Ok(()),
        Some(suspension) => Err(Rejection::AccountSuspended {
            reason: suspension.reason.clone(),
        }),
    }
}

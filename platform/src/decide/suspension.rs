//! Administrators stop what is new of an account, a node, a content or a module, and release it again. What has begun goes on.

use aevir_events::Context;

use super::{
    Decision,
    account::{check_reason, known_account},
};
use crate::{
    command::Subject,
    event::{
        AccountReleased, AccountSuspended, ContentReleased, ContentSuspended, Event,
        ModuleReleased, ModuleSuspended, NodeReleased, NodeSuspended,
    },
    rejection::Rejection,
    rights::Actor,
    state::{State, Suspension},
};

pub(super) fn suspend(
    state: &State,
    subject: Subject,
    reason: &str,
    context: &Context,
) -> Decision {
    check_reason(reason)?;
    if suspension(state, subject)?.is_some() {
        return Err(Rejection::SuspendedAlready);
    }
    // So that there is always somebody who can release.
    if let (Subject::Account(account), Ok(by)) = (subject, context.actor.parse::<Actor>())
        && by == Actor::Account(account)
    {
        return Err(Rejection::SuspendsItself);
    }
    let reason = reason.to_owned();
    let event: Event = match subject {
        Subject::Account(account) => AccountSuspended { account, reason }.into(),
        Subject::Node(node) => NodeSuspended { node, reason }.into(),
        Subject::Content(content) => ContentSuspended { content, reason }.into(),
        Subject::Module(module) => ModuleSuspended { module, reason }.into(),
    };
    Ok(vec![event])
}

pub(super) fn release(state: &State, subject: Subject, reason: &str) -> Decision {
    check_reason(reason)?;
    if suspension(state, subject)?.is_none() {
        return Err(Rejection::NotSuspended);
    }
    let reason = reason.to_owned();
    let event: Event = match subject {
        Subject::Account(account) => AccountReleased { account, reason }.into(),
        Subject::Node(node) => NodeReleased { node, reason }.into(),
        Subject::Content(content) => ContentReleased { content, reason }.into(),
        Subject::Module(module) => ModuleReleased { module, reason }.into(),
    };
    Ok(vec![event])
}

fn suspension(state: &State, subject: Subject) -> Result<Option<&Suspension>, Rejection> {
    match subject {
        Subject::Account(account) => {
            known_account(state, account)?;
            Ok(state.suspension(account))
        }
        Subject::Node(node) => {
            let node = state.nodes.get(&node).ok_or(Rejection::UnknownNode)?;
            Ok(node.suspended.as_ref())
        }
        Subject::Content(content) => {
            let known = state.contents.get(&content);
            let known = known.ok_or(Rejection::UnknownContent { content })?;
            Ok(known.suspended.as_ref())
        }
        Subject::Module(digest) => {
            let known = state.modules.get(&digest);
            let known = known.ok_or(Rejection::UnregisteredModule { digest })?;
            Ok(known.suspended.as_ref())
        }
    }
}

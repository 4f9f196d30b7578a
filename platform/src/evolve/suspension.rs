//! Administrators suspend and release.

use aevir_events::{Corrupt, Timestamp};

use super::{
    ensure,
    node::{node_mut, refresh_node},
};
use crate::{
    command::Subject,
    digest::Digest,
    ids::{AccountId, ContentId},
    state::{State, Suspension},
};

pub(super) fn suspended(
    state: &mut State,
    subject: Subject,
    reason: &str,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let suspension = Suspension {
        reason: reason.into(),
        since: at,
    };
    let earlier = place(state, subject)?.replace(suspension);
    ensure(earlier.is_none(), || format!("{subject:?} suspended twice"))?;
    refresh(state, subject);
    Ok(())
}

pub(super) fn released(state: &mut State, subject: Subject) -> Result<(), Corrupt> {
    let earlier = place(state, subject)?.take();
    ensure(earlier.is_some(), || {
        format!("{subject:?} released without a suspension")
    })?;
    refresh(state, subject);
    Ok(())
}

/// Where a suspension of the subject is noted.
fn place(state: &mut State, subject: Subject) -> Result<&mut Option<Suspension>, Corrupt> {
    match subject {
        Subject::Account(id) => account(state, id),
        Subject::Node(id) => Ok(&mut node_mut(state, id)?.suspended),
        Subject::Content(id) => content(state, id),
        Subject::Module(digest) => module(state, digest),
    }
}

fn account(state: &mut State, id: AccountId) -> Result<&mut Option<Suspension>, Corrupt> {
    let account = state.accounts.get_mut(&id);
    let account = account.ok_or_else(|| Corrupt(format!("no account {id}")))?;
    Ok(&mut account.suspended)
}

fn content(state: &mut State, id: ContentId) -> Result<&mut Option<Suspension>, Corrupt> {
    let content = state.contents.get_mut(&id);
    let content = content.ok_or_else(|| Corrupt(format!("no content {id}")))?;
    Ok(&mut content.suspended)
}

fn module(state: &mut State, digest: Digest) -> Result<&mut Option<Suspension>, Corrupt> {
    let module = state.modules.get_mut(&digest);
    let module = module.ok_or_else(|| Corrupt(format!("no module {digest}")))?;
    Ok(&mut module.suspended)
}

/// Nodes may take work again, or no more.
fn refresh(state: &mut State, subject: Subject) {
    match subject {
        Subject::Account(owner) => {
            let nodes = state.index.nodes_by_owner.get(&owner);
            let nodes: Vec<_> = nodes.into_iter().flatten().copied().collect();
            nodes.into_iter().for_each(|node| refresh_node(state, node));
        }
        Subject::Node(node) => refresh_node(state, node),
        // What they hold back is looked up when it is placed.
        Subject::Content(_) | Subject::Module(_) => {}
    }
}

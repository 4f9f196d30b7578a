//! Accounts, keys, money, points, modules and contents.

use aevir_events::{Corrupt, Timestamp};
use std::sync::Arc;

use super::{ensure, fleet::regard, node::node_mut, stake, task::task_ref};
use crate::{
    event::{
        AccountOpened, AssignmentFailed, BlobUploaded, ContentRegistered, ContentTermsChanged,
        JoinTokenIssued, KeyAdded, KeyRevoked, LedgerPosted, ModuleRegistered, PointsChanged,
        PolicyAdopted, Track,
    },
    ids::{AccountId, NodeId},
    report::BlobRef,
    schedule::Fleet,
    state::{Account, Blob, Content, JoinToken, Key, Module, NOT_COMPILED_MS, State},
};

pub(super) fn policy_adopted(state: &mut State, e: &PolicyAdopted) -> Result<(), Corrupt> {
    let next = state.policy().map_or(1, |(version, _)| version + 1);
    ensure(e.version == next, || {
        format!("policy version {} where {next} is due", e.version)
    })?;
    state.policies.insert(e.version, Arc::new(e.policy.clone()));
    // Scores follow from the policy in force.
    state.index.fleet = Fleet::of(state);
    Ok(())
}

pub(super) fn account_opened(
    state: &mut State,
    e: &AccountOpened,
    at: Timestamp,
) -> Result<(), Corrupt> {
    ensure(!state.accounts.contains_key(&e.account), || {
        format!("account {} opened twice", e.account)
    })?;
    state.accounts.insert(
        e.account,
        Account {
            name: e.name.clone(),
            opened_at: at,
            suspended: None,
        },
    );
    Ok(())
}

pub(super) fn key_added(state: &mut State, e: &KeyAdded) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("key for the unknown account {}", e.account)
    })?;
    ensure(!state.keys.contains_key(&e.key), || {
        format!("key {} added twice", e.key)
    })?;
    ensure(!state.index.key_by_hash.contains_key(&e.hash), || {
        format!("a hash twice, at key {}", e.key)
    })?;
    state.index.key_by_hash.insert(e.hash, e.key);
    let key = Key {
        account: e.account,
        label: e.label.clone(),
        hash: e.hash,
        scopes: e.scopes.iter().copied().collect(),
        node: e.node,
        revoked: false,
    };
    state.index.add_key(e.key, &key);
    state.keys.insert(e.key, key);
    Ok(())
}

pub(super) fn key_revoked(state: &mut State, e: &KeyRevoked) -> Result<(), Corrupt> {
    let key = state
        .keys
        .get_mut(&e.key)
        .filter(|k| k.account == e.account && !k.revoked);
    let key = key.ok_or_else(|| Corrupt(format!("no live key {} to revoke", e.key)))?;
    key.revoked = true;
    state.index.remove_key(key);
    Ok(())
}

pub(super) fn join_token_issued(state: &mut State, e: &JoinTokenIssued) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("token for the unknown account {}", e.account)
    })?;
    let token = JoinToken {
        account: e.account,
        expires: e.expires,
    };
    ensure(
        state.join_tokens.insert(e.token_hash, token).is_none(),
        || "a join token issued twice".into(),
    )
}

pub(super) fn blob_uploaded(state: &mut State, e: &BlobUploaded) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("upload by the unknown account {}", e.account)
    })?;
    own_blob(state, e.account, e.blob)
}

/// Lets an account read a blob.
pub(super) fn own_blob(
    state: &mut State,
    account: AccountId,
    blob: BlobRef,
) -> Result<(), Corrupt> {
    let known = state.blobs.entry(blob.digest).or_insert_with(|| Blob {
        size: blob.size,
        owners: [].into(),
    });
    known.owners.insert(account);
    ensure(known.size == blob.size, || {
        format!("blob {} with two sizes", blob.digest)
    })
}

pub(super) fn ledger_posted(state: &mut State, e: &LedgerPosted) -> Result<(), Corrupt> {
    if let Some(reference) = &e.reference {
        ensure(state.references.insert(reference.clone()), || {
            format!("reference `{reference}` booked twice")
        })?;
    }
    state.ledger.post(&e.postings)?;
    let accounts = e.postings.iter().map(|p| p.account);
    accounts
        .into_iter()
        .try_for_each(|a| stake::moved(state, a))
}

pub(super) fn points_changed(state: &mut State, e: &PointsChanged) -> Result<(), Corrupt> {
    ensure(state.accounts.contains_key(&e.account), || {
        format!("points for the unknown account {}", e.account)
    })?;
    let points = state.points.entry(e.account).or_default();
    let changed = points.change(e.track, e.delta);
    changed.ok_or_else(|| {
        let account = e.account;
        Corrupt(format!(
            "points of {account} would be below zero or pass 64 bits"
        ))
    })?;
    state.rewards.changed.insert(e.account);
    if e.track == Track::Compute {
        let points = state.points(e.account, Track::Compute);
        let nodes = state.index.nodes_by_owner.get(&e.account);
        let nodes: Vec<NodeId> = nodes.into_iter().flatten().copied().collect();
        for node in nodes {
            node_mut(state, node)?.ranked_points = points;
            regard(state, node);
        }
    }
    Ok(())
}

pub(super) fn module_registered(
    state: &mut State,
    e: &ModuleRegistered,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let module = state
        .modules
        .entry(e.blob.digest)
        .or_insert_with(|| Module {
            names: [].into(),
            size: e.blob.size,
            world: e.world,
            imports: e.imports.clone(),
            compile_mib: e.compile_mib,
            registered_at: at,
            suspended: None,
            not_compiled: [].into(),
        });
    let earlier = module.names.insert(e.owner, e.name.clone());
    ensure(
        earlier.is_none() && module.size == e.blob.size && module.world == e.world,
        || format!("module {} registered amiss", e.blob.digest),
    )
}

/// A node could not compile a task's module: for a while it gets nothing that needs it.
pub(super) fn not_compiled(
    state: &mut State,
    e: &AssignmentFailed,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let task = task_ref(state, e.task)?;
    let node = task.assignments.get(&e.assignment).map(|run| run.node);
    let digest = task.definition.module;
    let module = state.modules.get_mut(&digest);
    if let (Some(node), Some(module)) = (node, module) {
        module.not_compiled.retain(|_, until| *until > at);
        let until = at.plus_ms(NOT_COMPILED_MS);
        module.not_compiled.insert(node, until);
    }
    Ok(())
}

pub(super) fn content_registered(
    state: &mut State,
    e: &ContentRegistered,
    at: Timestamp,
) -> Result<(), Corrupt> {
    let named = state.content_named(e.owner, &e.name, &e.version);
    ensure(named.is_none(), || {
        format!(
            "content `{}` version `{}` registered twice",
            e.name, e.version
        )
    })?;
    if let Some(lineage) = &e.lineage {
        let task = state.tasks.get_mut(&lineage.task);
        task.ok_or_else(|| Corrupt(format!("content {} of an unknown task", e.content)))?
            .model = Some(e.content);
    }
    let content = Content {
        owner: e.owner,
        kind: e.kind,
        name: e.name.clone(),
        version: e.version.clone(),
        files: e.files.clone(),
        licence: e.licence.clone(),
        weight: e.weight,
        price: e.price,
        access: e.access.clone(),
        contributors: e.contributors.clone(),
        lineage: e.lineage.clone(),
        registered_at: at,
        suspended: None,
    };
    let earlier = state.contents.insert(e.content, content);
    ensure(earlier.is_none(), || {
        format!("content {} registered twice", e.content)
    })?;
    if let Some(content) = state.contents.get(&e.content) {
        let index = &mut state.index;
        index.add_content(&state.contents, e.content, content);
    }
    Ok(())
}

pub(super) fn content_terms_changed(
    state: &mut State,
    e: &ContentTermsChanged,
) -> Result<(), Corrupt> {
    let content = state.contents.get_mut(&e.content);
    let content = content.ok_or_else(|| Corrupt(format!("no content {}", e.content)))?;
    content.price = e.price;
    content.access = e.access.clone();
    Ok(())
}

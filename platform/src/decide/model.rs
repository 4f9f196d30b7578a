//! What a task made is its requester's: the model that a training task registers, and copies that a node registered meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Context;

use super::verdict::Replica;
use crate::{
    command::{ContentKind, Lineage},
    digest::Digest,
    event::{ContentRegistered, ContentSuspended, Event, TaskVerified},
    ids::{AssignmentId, ContentId, NodeId, TaskId},
    report::Artifact,
    state::{Content, Phase, State, Task},
};

/// Contents that one verdict suspends, the first to be registered first: each is an entry of its batch.
const COPIES_MAX: usize = 64;

/// Registers the model that a training task made, with its lineage. A name that was taken meanwhile leaves the
/// outputs with the requester and registers nothing; so do files that somebody else had registered before a node knew the task, each for
/// itself. What was registered later is no reason: it may come from a run of this very task.
pub(super) fn register(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    nodes: &BTreeMap<AssignmentId, NodeId>,
    context: &Context,
) -> Option<Event> {
    let model = task.definition.model.as_ref()?;
    let target = model.target.as_ref()?;
    if state
        .content_named(task.requester, &target.name, &target.version)
        .is_some()
    {
        return None;
    }
    let mut files: Vec<Artifact> = verified
        .outputs
        .iter()
        .filter(|o| target.outputs.contains(&o.name))
        .cloned()
        .collect();
    if state.policy_of(task).contents.first_registrant {
        files.retain(|file| !is_of_others(state, task, file));
    }
    if files.is_empty() {
        return None;
    }
    let lineage = Lineage {
        task: task.id,
        base: model.base,
        contents: contents_behind(state, task),
        tasks: task.definition.depends_on.iter().map(|d| d.task).collect(),
        nodes: verified
            .accepted
            .iter()
            .filter_map(|id| nodes.get(id).copied())
            .collect(),
    };
    let registered = ContentRegistered {
        content: ContentId(context.ids().ulid()),
        owner: task.requester,
        kind: ContentKind::Model,
        name: target.name.clone(),
        version: target.version.clone(),
        files,
        licence: target.licence.clone(),
        weight: 1,
        price: target.price,
        access: target.access.clone(),
        contributors: Vec::new(),
        lineage: Some(lineage),
    };
    Some(registered.into())
}

/// The files of its model that a settled task did not register, for another account has each under a content that was there before it ran.
pub fn taken_by_others<'a>(
    state: &'a State,
    task: &'a Task,
) -> impl Iterator<Item = (&'a str, ContentId)> + 'a {
    let model = task.definition.model.as_ref();
    let target = model.and_then(|model| model.target.as_ref());
    let is_settled = matches!(task.phase, Phase::Settled { .. });
    let goes_by_it = is_settled && state.policy_of(task).contents.first_registrant;
    let made = task.model.and_then(|model| state.contents.get(&model));
    let target = target.filter(|_| goes_by_it);
    let outputs = task.verdict.iter().flat_map(|verdict| &verdict.outputs);
    let files = outputs.filter(move |o| {
        let is_there = made.is_some_and(|made| made.files.iter().any(|f| f.digest == o.digest));
        !is_there && target.is_some_and(|target| target.outputs.contains(&o.name))
    });
    files.filter_map(move |file| {
        let mut of = others(state, task, file);
        Some((file.name.as_str(), of.next()?.0))
    })
}

/// Other accounts' contents with a file, which were there before the task's first lease.
fn others<'a>(
    state: &'a State,
    task: &'a Task,
    file: &Artifact,
) -> impl Iterator<Item = (ContentId, &'a Content)> + 'a {
    let begun = task.assignments.values().map(|a| a.leased_at).min();
    state.registrants(file.digest).filter(move |(_, content)| {
        let is_before = begun.is_none_or(|begun| content.registered_at <= begun);
        content.owner != task.requester && is_before
    })
}

/// Whether another account had registered a file before the task's first lease, and its requester has not.
fn is_of_others(state: &State, task: &Task, file: &Artifact) -> bool {
    let mut own = state
        .registrants(file.digest)
        .filter(|(_, content)| content.owner == task.requester);
    file.size.0 > 0 && others(state, task, file).next().is_some() && own.next().is_none()
}

/// Suspends what owners of accepted runs registered by hand after the lease of the run that has the same file as an output: their own report
/// says where it is from, so that no false verdict can take a content from who did not make the file for this task.
pub(super) fn copies(
    state: &State,
    task: &Task,
    verified: &TaskVerified,
    replicas: &BTreeMap<AssignmentId, Replica<'_>>,
) -> Vec<Event> {
    if !state.policy_of(task).contents.first_registrant {
        return Vec::new();
    }
    let mut copies = BTreeMap::new();
    for id in &verified.accepted {
        let (Some(run), Some(replica)) = (task.assignments.get(id), replicas.get(id)) else {
            continue;
        };
        let owner = state.nodes.get(&run.node).map(|node| node.owner);
        let Some(owner) = owner.filter(|owner| *owner != task.requester) else {
            continue;
        };
        let outputs = replica.report.outputs.iter().filter(|o| o.size.0 > 0);
        // One file can be there under many names.
        let files: BTreeMap<Digest, &String> = outputs.map(|o| (o.digest, &o.name)).collect();
        for (digest, name) in files {
            let own = state.registrants(digest);
            let own: Vec<_> = own.filter(|(_, c)| c.owner == owner).collect();
            let is_later = |content: &Content| content.registered_at > run.leased_at;
            // Who had registered it before has not got it from this run.
            if own.iter().all(|(_, content)| is_later(content)) {
                let by_hand = own.iter().filter(|(_, content)| content.lineage.is_none());
                copies.extend(by_hand.map(|(id, c)| ((c.registered_at, *id), name)));
            }
        }
    }
    let suspended = copies.into_iter().take(COPIES_MAX);
    let suspended = suspended.map(|((_, content), file)| {
        let reason = format!(
            "it has `{file}` of task {}, and was registered by the owner of a node that ran it, after its lease",
            task.id
        );
        ContentSuspended { content, reason }.into()
    });
    suspended.collect()
}

/// The contents used by a task, and by all the tasks that it rests on as far as there is room, each once.
fn contents_behind(state: &State, task: &Task) -> Vec<ContentId> {
    /// Tasks that are looked through: ancestry can be long.
    const ANCESTORS_MAX: usize = 256;
    /// Contents that a lineage names: it has to fit an entry.
    const CONTENTS_MAX: usize = 256;
    let mut contents: BTreeSet<ContentId> = task.definition.contents().into_iter().collect();
    let mut seen: Vec<TaskId> = Vec::new();
    let mut left: Vec<TaskId> = task.definition.depends_on.iter().map(|d| d.task).collect();
    while let Some(id) = left.pop() {
        if seen.contains(&id) || seen.len() >= ANCESTORS_MAX {
            continue;
        }
        seen.push(id);
        if let Some(ancestor) = state.tasks.get(&id) {
            for content in ancestor.definition.contents() {
                // Its own come first: no crowd behind it takes their place.
                if contents.len() < CONTENTS_MAX {
                    contents.insert(content);
                }
            }
            left.extend(ancestor.definition.depends_on.iter().map(|d| d.task));
        }
    }
    contents.into_iter().collect()
}

//! The model that a training task made.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Context;

use super::content::of_others;
use crate::{
    command::{ContentKind, Lineage},
    event::{ContentRegistered, Event, TaskVerified},
    ids::{AssignmentId, ContentId, NodeId, TaskId},
    report::Artifact,
    state::{State, Task},
};

/// Registers the model that a training task made, with its lineage. A name that was taken meanwhile leaves the
/// outputs with the requester and registers nothing; so do files that somebody else registered first, each for itself.
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
        let known = of_others(state, task.requester, &files);
        let known: BTreeSet<String> = known.map(|file| file.name.clone()).collect();
        files.retain(|file| !known.contains(&file.name));
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

//! A task is created: everything it names must exist, and its worst case must fit budget and balance.

use std::{collections::BTreeSet, sync::Arc};

use aevir_events::Context;

use super::{
    Decision,
    account::active_account,
    content::check_terms,
    inspect,
    posting::{posted_for, transfer},
    uses,
    validate::validate,
};
use crate::{
    amount::{Amount, Count},
    command::World,
    definition::{DataSource, Dependency, TaskDefinition},
    digest::Digest,
    event::{BlobUploaded, Event, PostingReason, TaskCreated, TaskQueued},
    hexbytes::Hex,
    ids::{AccountId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
    rejection::Rejection,
    report::{Artifact, BlobRef},
    schedule::class_owners,
    state::{Phase, State, Task},
};

/// Tasks that wait for one other task.
const DEPENDENTS_MAX: usize = 1_000;

pub(super) fn submit(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    context: &Context,
) -> Decision {
    submit_with(state, requester, definition, &[], context)
}

/// A task that would be created: everything it names exists, and its worst case fits its budget.
pub(crate) struct Prepared {
    pub(crate) created: TaskCreated,
    /// Absent while it waits for other tasks.
    pub(crate) inputs: Option<Vec<Artifact>>,
}

/// The decision on a submission. `brought` are blobs that count as the requester's already: an audit sees a definition
/// whose inline inputs have become blobs, with their uploads just before it in the log.
pub(crate) fn submit_with(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    brought: &[BlobRef],
    context: &Context,
) -> Decision {
    let Prepared { created, inputs } = prepare(state, requester, definition, brought, context)?;
    let (task, escrow) = (created.task, created.escrow);
    let available = state.ledger.balance(LedgerAccount::Available(requester));
    if escrow > available {
        let needed = escrow;
        return Err(Rejection::InsufficientBalance { available, needed });
    }
    let mut events = inline_uploads(state, requester, definition);
    events.push(created.into());
    if escrow > Amount::ZERO {
        let (from, to) = (
            LedgerAccount::Available(requester),
            LedgerAccount::Escrow(task),
        );
        let postings = transfer(from, to, escrow);
        events.push(posted_for(task, PostingReason::Escrow, postings));
    }
    events.extend(inputs.map(|inputs| TaskQueued { task, inputs }.into()));
    Ok(events)
}

/// What a submission would create, whether or not its requester can pay for it.
///
/// # Errors
/// Why it can't be created.
pub(crate) fn prepare(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    brought: &[BlobRef],
    context: &Context,
) -> Result<Prepared, Rejection> {
    active_account(state, requester)?;
    let most = state.limits_of(requester).tasks_max;
    let unended = state.index.unended.get(&requester);
    if unended.copied().unwrap_or(0) >= most {
        return Err(Rejection::TooManyTasks { most });
    }
    validate(definition)?;
    let resolved = resolved(state, definition)?;
    let definition = resolved.as_ref().unwrap_or(definition);
    check_module(state, requester, definition.module, World::Task)?;
    for (_, check) in definition.check_modules() {
        check_module(state, requester, check.module, World::Check)?;
    }
    if let Some((_, comparator)) = definition.comparison() {
        let ours = state.policy().and_then(|(_, p)| p.verification.tolerance);
        if ours != Some(comparator.module) {
            check_module(state, requester, comparator.module, World::Comparator)?;
        }
    }
    check_deadline(definition, context)?;
    check_sources(state, requester, definition, brought)?;
    check_dependencies(state, requester, definition)?;
    check_target(state, requester, definition)?;
    let (policy_version, policy) = state.policy().ok_or_else(|| Rejection::PolicyInvalid {
        detail: "no policy was adopted yet: set the platform up first".into(),
    })?;
    let priority_max = policy.scheduling.priority_max;
    if definition.qos.priority > priority_max {
        let detail = format!("the market's policy has priorities from 0 to {priority_max}");
        return Err(Rejection::definition("/qos/priority", detail));
    }
    check_classes(state, requester, definition, policy)?;
    uses::check_payees(state, definition, policy)?;
    let prices = uses::prices(state, definition);
    let needed = uses::sum(&prices);
    if let Some(most) = definition.economics.contents_max
        && needed > most
    {
        return Err(Rejection::ContentsTooDear { most, needed });
    }
    let escrow = check_budget(definition, policy, needed)?;
    let sealed = definition.without_inline();
    let definition_digest = Digest::of_json("aevir.task/1", &sealed)
        .map_err(|e| Rejection::definition("", format!("it has no JSON form: {e}")))?;
    let is_settled = |d: &Dependency| state.tasks.get(&d.task).is_some_and(is_settled);
    let inputs = if definition.depends_on.iter().all(is_settled) {
        let inputs = resolve_inputs(state, definition, brought);
        Some(inputs.map_err(|detail| Rejection::definition("/depends_on", detail))?)
    } else {
        None
    };
    let seed = definition.seed;
    let created = TaskCreated {
        task: TaskId(context.ids().ulid()),
        requester,
        seed: seed.unwrap_or_else(|| drawn_seed(context, definition_digest)),
        nonce: definition.nonce.unwrap_or(Hex(context.entropy)),
        definition: Arc::new(sealed),
        definition_digest,
        policy_version,
        escrow,
        prices,
        review: None,
        inspection: None,
    };
    Ok(Prepared { created, inputs })
}

/// Replicas on GPUs that are compared bit by bit are all of one class: where none has owners enough for all of them, nothing could begin.
fn check_classes(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    policy: &Policy,
) -> Result<(), Rejection> {
    let owners = class_owners(definition, policy);
    let Some(gpu) = definition.qos.gpu.as_ref().filter(|_| owners > 0) else {
        return Ok(());
    };
    let fleet = &state.index.fleet;
    fleet
        .has_owners(&gpu.classes, requester, owners)
        .then_some(())
        .ok_or(Rejection::ClassTooSmall { owners })
}

/// The definition with the module by which the market compares, where it names a tolerance.
fn resolved(
    state: &State,
    definition: &TaskDefinition,
) -> Result<Option<TaskDefinition>, Rejection> {
    let Some((at, _)) = definition.tolerance() else {
        return Ok(None);
    };
    let module = state.policy().and_then(|(_, p)| p.verification.tolerance);
    let module = module.filter(|digest| {
        let module = state.modules.get(digest);
        module.is_some_and(|m| m.suspended.is_none())
    });
    let Some(module) = module else {
        let pointer = format!("/verification/{at}/comparator/tolerance");
        let detail = "this market has no module that compares by a tolerance: push one of your own, such as `examples/modules/tolerance.wasm`, and name it as `module`";
        return Err(Rejection::definition(pointer, detail));
    };
    Ok(Some(definition.compared_by(module)))
}

/// A module that no administrator holds back.
pub(super) fn check_suspension(state: &State, digest: Digest) -> Result<(), Rejection> {
    let suspended = state
        .modules
        .get(&digest)
        .and_then(|m| m.suspended.as_ref());
    suspended.map_or(Ok(()), |suspension| {
        let reason = suspension.reason.clone();
        Err(Rejection::ModuleSuspended { digest, reason })
    })
}

/// A module that the requester pushed, for this world.
fn check_module(
    state: &State,
    requester: AccountId,
    digest: Digest,
    world: World,
) -> Result<(), Rejection> {
    let module = state.modules.get(&digest);
    let module = module.filter(|m| m.names.contains_key(&requester));
    let module = module.ok_or(Rejection::UnknownModule { digest })?;
    check_suspension(state, digest)?;
    if module.world == world {
        Ok(())
    } else {
        let world = world.name();
        Err(Rejection::WrongWorld { digest, world })
    }
}

/// The most that the task can cost under a policy: every replica accepted, with all shares, or an attempt fee
/// for each where that is more; an attempt fee for each attempt; and all verifiers. `uses` is what its contents cost. `None` past 64 bits.
pub fn worst_case(definition: &TaskDefinition, policy: &Policy, uses: Amount) -> Option<Amount> {
    let replicas = definition.sampling().replicas;
    let price = definition.economics.pricing.max_price();
    let paid = fee(definition, policy, (price, replicas), uses)?;
    let undecided = policy.attempt_fee.times(replicas)?;
    paid.max(undecided)
        .plus(policy.attempt_fee.times(definition.retry.max_attempts)?)?
        .plus(inspect::worst_case(definition, policy)?)
}

/// What so many accepted replicas at a price cost, with all shares and what using the contents costs. `None` past 64 bits.
pub(crate) fn fee(
    definition: &TaskDefinition,
    policy: &Policy,
    (price, accepted): (Amount, u32),
    uses: Amount,
) -> Option<Amount> {
    let compute = price.times(accepted)?;
    let content = if definition.contents().is_empty() {
        0
    } else {
        policy.content_share_ppm
    };
    compute
        .plus(compute.share(content))?
        .plus(compute.share(policy.platform_share_ppm))?
        .plus(uses)
}

fn check_budget(
    definition: &TaskDefinition,
    policy: &Policy,
    uses: Amount,
) -> Result<Amount, Rejection> {
    let needed = worst_case(definition, policy, uses).ok_or_else(|| {
        Rejection::definition("/economics/pricing", "the worst case passes 64 bits")
    })?;
    let budget = definition.economics.budget;
    if needed > budget {
        return Err(Rejection::BudgetTooSmall { budget, needed });
    }
    Ok(needed)
}

fn check_deadline(definition: &TaskDefinition, context: &Context) -> Result<(), Rejection> {
    match definition.qos.deadline {
        Some(deadline) if deadline <= context.time => Err(Rejection::definition(
            "/qos/deadline",
            "the deadline has passed",
        )),
        Some(_) | None => Ok(()),
    }
}

fn check_sources(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
    brought: &[BlobRef],
) -> Result<(), Rejection> {
    for (i, input) in definition.data.iter().enumerate() {
        match &input.from {
            DataSource::Content { id, file } => {
                let content = state.content_for(requester, *id);
                let content = content.ok_or(Rejection::UnknownContent { content: *id })?;
                if content.file(file.as_deref()).is_none() {
                    let pointer = format!("/data/{i}/from/content/file");
                    let names: Vec<_> = content.files.iter().map(|f| f.name.as_str()).collect();
                    return Err(Rejection::definition(
                        pointer,
                        format!("name one of its files: {}", names.join(", ")),
                    ));
                }
            }
            DataSource::Blob(digest)
                if !state.may_read_blob(requester, *digest)
                    && !brought.iter().any(|blob| blob.digest == *digest) =>
            {
                return Err(Rejection::BlobUnknown { digest: *digest });
            }
            DataSource::Blob(_) | DataSource::Inline(_) => {}
        }
    }
    for content in definition.contents() {
        let known = state.content_for(requester, content);
        if let Some(suspension) = known.and_then(|c| c.suspended.as_ref()) {
            return Err(Rejection::ContentSuspended {
                content,
                reason: suspension.reason.clone(),
            });
        }
    }
    if let Some(base) = definition.model.as_ref().and_then(|m| m.base) {
        let content = state.content_for(requester, base);
        let content = content.ok_or(Rejection::UnknownContent { content: base })?;
        let declared: BTreeSet<&str> = definition
            .data
            .iter()
            .map(|d| d.name.as_str())
            .chain(definition.depends_on.iter().filter_map(|d| d.input_name()))
            .collect();
        if let Some(file) = content
            .files
            .iter()
            .find(|f| declared.contains(f.name.as_str()))
        {
            let detail = format!("its file `{}` has the name of another input", file.name);
            return Err(Rejection::definition("/model/base", detail));
        }
    }
    Ok(())
}

/// The model that it is to register has a name of its own, and terms that can hold.
fn check_target(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
) -> Result<(), Rejection> {
    let target = definition.model.as_ref().and_then(|m| m.target.as_ref());
    let Some(target) = target else {
        return Ok(());
    };
    if state
        .content_named(requester, &target.name, &target.version)
        .is_some()
    {
        return Err(Rejection::ContentExists {
            name: target.name.clone(),
            version: target.version.clone(),
        });
    }
    let terms = check_terms(state, target.price, &target.access);
    terms.map_err(|detail| Rejection::definition("/model/target", detail))
}

fn check_dependencies(
    state: &State,
    requester: AccountId,
    definition: &TaskDefinition,
) -> Result<(), Rejection> {
    for (i, dependency) in definition.depends_on.iter().enumerate() {
        let id = dependency.task;
        let task = state.tasks.get(&id).filter(|t| t.requester == requester);
        let task = task.ok_or(Rejection::UnknownTask { task: id })?;
        if task.phase.is_final() && !is_settled(task) {
            return Err(Rejection::DependencyFailed { task: id });
        }
        if state
            .index
            .dependents
            .get(&id)
            .is_some_and(|d| d.len() >= DEPENDENTS_MAX)
        {
            let detail = format!("{DEPENDENTS_MAX} tasks depend on it already; at most that many");
            return Err(Rejection::definition(
                format!("/depends_on/{i}/task"),
                detail,
            ));
        }
    }
    Ok(())
}

/// Inline inputs become blobs of the requester.
fn inline_uploads(state: &State, account: AccountId, definition: &TaskDefinition) -> Vec<Event> {
    let mut seen = BTreeSet::new();
    let blobs = definition.inline_inputs().map(|text| BlobRef {
        digest: Digest::of(text.as_bytes()),
        size: Count(text.len() as u64),
    });
    blobs
        .filter(|blob| !state.may_read_blob(account, blob.digest) && seen.insert(blob.digest))
        .map(|blob| BlobUploaded { account, blob }.into())
        .collect()
}

fn drawn_seed(context: &Context, definition: Digest) -> Count {
    let mut bytes = context.entropy.to_vec();
    bytes.extend(definition.0);
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(&bytes).0;
    Count(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

fn is_settled(task: &Task) -> bool {
    matches!(task.phase, Phase::Settled { .. })
}

/// All inputs of a task whose dependencies have settled: data, the base model's files, outputs of other tasks.
///
/// # Errors
/// What is missing. A definition that was accepted can only lack outputs of its dependencies.
pub(super) fn resolve_inputs(
    state: &State,
    definition: &TaskDefinition,
    brought: &[BlobRef],
) -> Result<Vec<Artifact>, String> {
    let mut inputs = Vec::new();
    for input in &definition.data {
        let (digest, size) = match &input.from {
            DataSource::Content { id, file } => {
                let file = state.contents.get(id).and_then(|c| c.file(file.as_deref()));
                let file = file.ok_or_else(|| format!("content {id} is gone"))?;
                (file.digest, file.size)
            }
            DataSource::Blob(digest) => {
                let known = state.blobs.get(digest).map(|blob| blob.size);
                let new = brought.iter().find(|blob| blob.digest == *digest);
                let size = known.or(new.map(|blob| blob.size));
                (
                    *digest,
                    size.ok_or_else(|| format!("blob {digest} is gone"))?,
                )
            }
            DataSource::Inline(text) => (Digest::of(text.as_bytes()), Count(text.len() as u64)),
        };
        inputs.push(Artifact {
            name: input.name.clone(),
            digest,
            size,
        });
    }
    if let Some(base) = definition.model.as_ref().and_then(|m| m.base) {
        let content = state
            .contents
            .get(&base)
            .ok_or_else(|| format!("model {base} is gone"))?;
        inputs.extend(content.files.iter().cloned());
    }
    for dependency in &definition.depends_on {
        let (Some(output), Some(name)) = (&dependency.output, dependency.input_name()) else {
            continue;
        };
        let task = state.tasks.get(&dependency.task);
        let artifact = task.and_then(|t| t.output(output));
        let artifact =
            artifact.ok_or_else(|| format!("task {} has no output `{output}`", dependency.task))?;
        inputs.push(Artifact {
            name: name.to_owned(),
            ..artifact.clone()
        });
    }
    Ok(inputs)
}

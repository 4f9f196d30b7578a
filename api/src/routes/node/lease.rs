//! Handing out leases by long poll.
//!
//! The machine has assigned the work before; here it is told. What a node does not name in `holding` is told again,
//! so that a lost answer loses no lease. A node that is about to stop is told nothing more, and has given back what it does not name.

use std::{collections::BTreeSet, time::Duration};

use aevir_events::LeaderSecret;
use aevir_platform::{
    command::Command,
    ids::{AccountId, AssignmentId, NodeId},
    inputs_of,
    report::BlobRef,
    schedule::reserve_mib,
    state::{Assignment, Node, Stage, State as Platform, Task},
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{action, challenge, show_life};
use crate::{
    app::App,
    auth::NodeCaller,
    convert::{artifacts, blob, name_of, to_wire},
    error::{ApiError, ApiResult, Code},
    extract::Json,
    submit::submit,
};

/// Longest wait of one poll, in ms; below the time-outs of common proxies.
const WAIT_MS_MAX: u32 = 30_000;
/// Leases of one answer, and assignments that a node can hold.
const LEASES_MAX: usize = 256;
/// Bytes of a tenant's tag: enough that two never meet.
const TENANT_BYTES: usize = 16;

/// Long poll: answers as soon as there is a lease to hand out, or an assignment in `holding` to reveal or stop. With `stopping` there is none to
/// hand out, and what is leased to the node and does not stand in `holding` is given back.
#[utoipa::path(post, path = "/v1/node/leases", tag = "node", request_body = wire::Ask,
    responses((status = 200, body = wire::Leases)))]
pub(super) async fn lease(
    State(app): State<App>,
    caller: NodeCaller,
    Json(ask): Json<wire::Ask>,
) -> ApiResult<Reply<wire::Leases>> {
    if ask.holding.len() > LEASES_MAX {
        let detail = format!("at most {LEASES_MAX} assignments");
        return Err(ApiError::new(Code::FieldInvalid, detail).at("/holding"));
    }
    let wait = Duration::from_millis(ask.wait_ms.min(WAIT_MS_MAX).into());
    let until = Instant::now() + wait;
    show_life(&app, caller, ask.stopping).await?;
    let mut challenge = None;
    if ask.stopping {
        give_back_unheard(&app, caller, &ask).await;
    } else {
        challenge = challenge::hand(&app, caller.node, ask.challenge.as_deref());
    }
    let poll = app.live.open_poll(caller.node);
    loop {
        // Registered before looking, so that what happens in between is not slept over.
        let woken = poll.wake.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let mut leases = app
            .log
            .read(|state, _| look(state, caller, &ask, app.log.secret()))?;
        leases.challenge = challenge.take();
        // A node that was drained, or whose terms changed, hears of it with the next answer, and within one wait.
        let is_told = !leases.leases.is_empty() || !leases.directives.is_empty();
        if is_told || leases.challenge.is_some() {
            return Ok(Reply(leases));
        }
        tokio::select! {
            () = &mut woken => {}
            () = tokio::time::sleep_until(until) => return Ok(Reply(leases)),
            () = app.stopping.cancelled() => return Ok(Reply(leases)),
        }
    }
}

/// A node that is about to stop will not take what it has not heard of: it comes back now, and not when its time to start is over.
async fn give_back_unheard(app: &App, caller: NodeCaller, ask: &wire::Ask) {
    let node = caller.node;
    let holding = holding(ask);
    let given: Vec<AssignmentId> = app.log.read(|state, _| {
        let unheard = unheard(state, node, &holding).into_iter();
        unheard.map(|(_, assignment)| assignment.id).collect()
    });
    for assignment in given {
        let command = Command::GiveBack { node, assignment };
        // It has ended meanwhile, or is lost as any that nobody starts.
        if let Err(error) = submit(app, caller.actor(), None, command).await {
            tracing::debug!(%assignment, code = error.code(), "what a stopping node has not heard of was not given back");
        }
    }
}

/// What the node says that it has.
fn holding(ask: &wire::Ask) -> BTreeSet<AssignmentId> {
    let named = ask.holding.iter();
    named.filter_map(|text| text.parse().ok()).collect()
}

/// What is leased to a node, and it does not say that it has it.
fn unheard<'a>(
    state: &'a Platform,
    node: NodeId,
    holding: &BTreeSet<AssignmentId>,
) -> Vec<(&'a Task, &'a Assignment)> {
    let active = state.nodes.get(&node).into_iter().flat_map(|n| &n.active);
    active
        .filter(|id| !holding.contains(id))
        .filter_map(|id| state.assignment(*id))
        .filter(|(_, assignment)| matches!(assignment.stage, Stage::Leased))
        .collect()
}

fn look(
    state: &Platform,
    caller: NodeCaller,
    ask: &wire::Ask,
    secret: &LeaderSecret,
) -> ApiResult<wire::Leases> {
    let mut directives = Vec::new();
    for text in &ask.holding {
        let id = text.parse::<AssignmentId>().ok();
        let action = id.map_or(
            wire::Action::Stop {
                reason: wire::StopReason::Unknown,
            },
            |id| action(state, caller.node, id),
        );
        if action != wire::Action::Continue {
            let assignment = text.clone();
            directives.push(wire::Directive { assignment, action });
        }
    }
    let node = state.nodes.get(&caller.node);
    // A node works by asks in which it can be told to show how fast its GPU is, and by no others.
    let most = match ask.stopping {
        true => 0,
        false => LEASES_MAX.min(ask.max as usize),
    };
    let unheard = unheard(state, caller.node, &holding(ask));
    let fresh = unheard.into_iter().take(most);
    let leases =
        fresh.map(|(task, assignment)| render(state, caller.node, task, assignment, secret));
    Ok(wire::Leases {
        leases: leases.collect::<ApiResult<_>>()?,
        directives,
        standing: node
            .map(|node| standing(state, node))
            .transpose()?
            .unwrap_or_default(),
        challenge: None,
    })
}

fn standing(state: &Platform, node: &Node) -> ApiResult<wire::NodeStanding> {
    let suspended = node.suspended.as_ref().or(state.suspension(node.owner));
    Ok(wire::NodeStanding {
        standing: node.standing.name().to_owned(),
        suspended: suspended.map(|s| s.reason.clone()),
        terms: to_wire(&node.terms)?,
    })
}

/// Everything that a node needs to run an assignment; nothing that tells whether others run it too.
fn render(
    state: &Platform,
    node: NodeId,
    task: &Task,
    assignment: &Assignment,
    secret: &LeaderSecret,
) -> ApiResult<wire::Lease> {
    let definition = &task.definition;
    let policy = state.policy_of(task);
    let module = state.modules.get(&definition.module);
    let code_mib = module.map_or(0, |m| m.code_mib);
    let module = BlobRef {
        digest: definition.module,
        size: module.map(|m| m.size).unwrap_or_default(),
    };
    let params = definition.params.text().to_owned();
    let expected = task.review_of.as_ref().and_then(|of| of.expects);
    Ok(wire::Lease {
        assignment: assignment.id.to_string(),
        task: task.id.to_string(),
        task_type: name_of(&definition.kind),
        tenant: tenant(node, task.requester),
        module: blob(&module),
        compile_mib: task.compile_mib,
        reserve_mib: u32::try_from(reserve_mib(task, &policy.scheduling)).unwrap_or(u32::MAX),
        code_mib,
        runtime: definition.runtime.name().to_owned(),
        params,
        seed: task.seed.to_string(),
        inputs: artifacts(&inputs_of(state, task, Some(secret))),
        limits: wire::Limits {
            fuel: definition.limits.fuel.to_string(),
            memory_mib: definition.limits.memory_mib,
            runtime_s: definition.limits.runtime_s,
            output_mib: definition.limits.output_mib,
        },
        gpu: definition.qos.gpu.as_ref().map(|gpu| wire::GpuNeed {
            memory_mib: gpu.memory_mib,
            buffer_mib: gpu.buffer_mib,
            features: gpu.features.clone(),
        }),
        checkpoint: assignment.resume.as_ref().map(blob),
        expects: expected.map(|expected| blob(&expected.blob)),
        pay: Some(wire::Pay {
            price: assignment.price.to_string(),
            max_latency_ms: definition.qos.max_latency_ms,
            late_price: definition
                .certain_pay(assignment.price)
                .min(definition.least_pay())
                .to_string(),
            deadline: definition.qos.deadline.map(|at| at.to_string()),
        }),
        word_only: task.compares().is_some(),
        lease_ms: policy.lease_ms,
        accept_ms: policy.accept_ms,
        reveal_ms: policy.reveal_ms,
    })
}

/// A tag by which a node tells requesters apart without learning who they are. It differs from node to node, so that nodes can't
/// find out by it that they work for the same one; whoever knows an account's id can compute it, which tells nothing new.
fn tenant(node: NodeId, requester: AccountId) -> String {
    let hash = Sha256::new()
        .chain_update("aevir/tenant/1\0")
        .chain_update(node.to_string())
        .chain_update([0])
        .chain_update(requester.to_string());
    hex::encode(&hash.finalize()[..TENANT_BYTES])
}

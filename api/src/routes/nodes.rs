//! Nodes as seen from outside: they join, and their owners look at them.

use std::collections::BTreeMap;

use aevir_events::{Timestamp, projection::Snapshot};
use aevir_platform::{
    Actor,
    command::{Availability, Command, NodeProfile, RegisterNode, Scope},
    definition::TaskType,
    ids::NodeId,
    rejection::Rejection,
    schedule,
    state::{
        Backoff, ComputeRecord, Fading, Node, Record, SpeedRecord, Standing, State as Machine,
        Tally,
    },
};
use aevir_wire as wire;
use axum::{Json as Reply, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::tasks::whose;
use crate::{
    app::{App, now},
    auth::Caller,
    convert::{from_name, into_domain, name_of, parse, time, to_wire},
    error::{ApiError, ApiResult},
    extract::{Json, Path, Query},
    listing::{Shown, cursor, invalid, limit, next, open},
    submit::{event, submit},
    views::{self, Cells, WORK},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register_node, list_nodes))
        .routes(routes!(show_node))
}

/// Joins a node to the account that the token is bound to. The token is the authentication.
#[utoipa::path(post, path = "/v1/nodes", tag = "nodes", request_body = wire::RegisterNode,
    responses((status = 201, body = wire::RegisteredNode)))]
async fn register_node(
    State(app): State<App>,
    Json(request): Json<wire::RegisterNode>,
) -> ApiResult<(StatusCode, Reply<wire::RegisteredNode>)> {
    let profile: NodeProfile = into_domain("/profile", &request.profile)?;
    let token = wire::Secret::from_text(request.token);
    let token_hash = parse("/token", &token.hash())?;
    // Nobody is authenticated yet: what no token opens must not reach the log's writer.
    if !app
        .log
        .read(|state, _| state.join_tokens.contains_key(&token_hash))
    {
        return Err(Rejection::TokenUnknown.into());
    }
    let command = Command::RegisterNode(RegisterNode {
        token_hash,
        public_key: into_domain("/public_key", &request.public_key)?,
        key_hash: parse("/key_hash", &request.key_hash)?,
        profile,
    });
    let receipt = submit(&app, Actor::System, None, command).await?;
    let registered = event!(&receipt, NodeRegistered)?;
    let registered = wire::RegisteredNode {
        node: registered.node.to_string(),
        owner: registered.owner.to_string(),
    };
    Ok((StatusCode::CREATED, Reply(registered)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NodeFilter {
    /// `online` or `offline`.
    availability: Option<String>,
    /// Scope `audit` or `admin` for another account than one's own.
    owner: Option<String>,
    /// 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// The last page's `next`.
    after: Option<String>,
    /// Shows at least so many entries of the log.
    min_position: Option<u64>,
}

/// The caller's nodes, oldest first; all nodes for the scopes `audit` and `admin`. A node's own key shows that node, so
/// that one whose registration's answer got lost can find out that it is registered.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(NodeFilter),
    responses((status = 200, body = wire::NodeList)))]
async fn list_nodes(
    State(app): State<App>,
    caller: Caller,
    Query(filter): Query<NodeFilter>,
) -> ApiResult<Shown<wire::NodeList>> {
    caller.require_one_of(&[Scope::Read, Scope::Node])?;
    if let Some(node) = caller.node() {
        let (node, size) = app
            .log
            .read(|state, size| (state.nodes.get(&node).map(|node| view(state, node)), size));
        let nodes = node.into_iter().collect::<ApiResult<_>>()?;
        return Ok(Shown::new(size, wire::NodeList { nodes, next: None }));
    }
    let limit = limit(filter.limit)?;
    let availability = filter.availability.as_deref();
    let known = availability.map(|a| from_name::<Availability>("", a));
    let known = known
        .transpose()
        .map_err(|_| invalid("`availability` is `online` or `offline`"));
    known?;
    let what = "`owner` is an account's id";
    let owner = whose(filter.owner.as_deref(), caller.sees_all(), &caller, what)?;
    let after = cursor::<NodeId>(filter.after.as_deref())?;
    let mut query = views::Query::new(
        "SELECT id, owner, public_key, profile, availability, standing, standing_reason, suspended_for, suspended_at, terms,
            shown_mfuel_s, speed_samples, shown_mflop_s, compute_checks, compute_wrong, earned, registered_at FROM {nodes}",
    );
    query.when_some("owner = ?", owner.map(|a| a.to_string()));
    query.when_some("availability = ?", availability);
    query.when_some("id > ?", after.map(|id| id.to_string()));
    query.page("id", limit);
    let mut view = open(&app, WORK, filter.min_position).await?;
    let rows = view.select(&query.sql, &query.params).await?;
    let rows = rows.into_iter().map(|row| from_row(Cells::new(row)));
    let mut nodes = rows.collect::<ApiResult<Vec<_>>>()?;
    let next = next(&mut nodes, limit, |n| n.id.clone());
    complete(&mut view, &mut nodes).await?;
    // What is locked, and what it has shown, follow from the whole state, which the view does not hold.
    app.log.read(|state, _| {
        for node in &mut nodes {
            let id = node.id.parse().ok();
            node.stake = id.and_then(|id| stake(state, id));
            let known = id.and_then(|id| state.nodes.get(&id));
            node.runs_at_once = known.map(|node| node.slots());
            node.kept_free_until = known.and_then(|node| kept_free_until(state, node));
        }
    });
    Ok(Shown::new(view.position(), wire::NodeList { nodes, next }))
}

fn from_row(mut cells: Cells) -> ApiResult<wire::Node> {
    let (id, owner, public_key) = (cells.text()?, cells.text()?, cells.text()?);
    let profile: wire::NodeProfile = cells.json()?;
    let availability = cells.text()?;
    let (standing, standing_reason) = (cells.text()?, cells.text_or_null()?);
    let suspended = match (cells.text_or_null()?, cells.int_or_null()?) {
        (Some(reason), Some(since)) => Some(wire::Suspension {
            reason,
            since: time(Timestamp(since)),
        }),
        (Some(_) | None, _) => None,
    };
    let terms = cells.json()?;
    let shown = SpeedRecord {
        mfuel_s: cells.count()?,
        samples: cells.count()?,
    };
    let checks = ComputeRecord {
        mflop_s: cells.size()?,
        checks: cells.count()?,
        wrong: cells.int()? != 0,
        ..ComputeRecord::default()
    };
    Ok(wire::Node {
        id,
        owner,
        public_key,
        availability,
        standing,
        standing_reason,
        suspended,
        terms,
        speed: speed(shown, profile.cpu_mfuel_s),
        compute: profile.gpu.as_ref().map(|gpu| compute(checks, gpu.compute)),
        profile,
        active: Vec::new(),
        runs_at_once: None,
        kept_free_until: None,
        stake: None,
        sealed: Vec::new(),
        sealed_count: 0,
        earned: cells.int()?.to_string(),
        records: [].into(),
        registered_at: time(Timestamp(cells.int()?)),
    })
}

/// Adds what other tables know of these nodes.
async fn complete(view: &mut Snapshot, nodes: &mut [wire::Node]) -> ApiResult<()> {
    let ids = Snapshot::texts(nodes.iter().map(|n| n.id.clone()));
    let places = nodes.iter().enumerate();
    let places: BTreeMap<String, usize> = places.map(|(i, n)| (n.id.clone(), i)).collect();
    let active = format!(
        "SELECT node, id FROM {{assignments}} WHERE state IN ('leased', 'running') AND {} ORDER BY id",
        view.is_one_of("node", 1)
    );
    for row in view.select(&active, std::slice::from_ref(&ids)).await? {
        let mut cells = Cells::new(row);
        if let Some(place) = places.get(&cells.text()?) {
            nodes[*place].active.push(cells.text()?);
        }
    }
    let sealed = format!(
        "SELECT node, id, many FROM (
            SELECT a.node AS node, a.id AS id,
                COUNT(*) OVER (PARTITION BY a.node) AS many,
                ROW_NUMBER() OVER (PARTITION BY a.node ORDER BY a.id DESC) AS place
            FROM {{assignments}} a JOIN {{tasks}} t ON t.id = a.task
            WHERE a.state IN ('committed', 'revealed', 'accepted', 'refused')
            AND (t.ended_at IS NULL OR (t.verdict IN ('passed', 'unmet') AND t.matured_at IS NULL))
            AND {}) counted
        WHERE place <= {} ORDER BY id DESC",
        view.is_one_of("a.node", 1),
        wire::SEALED_SHOWN_MAX
    );
    for row in view.select(&sealed, std::slice::from_ref(&ids)).await? {
        let mut cells = Cells::new(row);
        if let Some(place) = places.get(&cells.text()?) {
            nodes[*place].sealed.push(cells.text()?);
            nodes[*place].sealed_count = cells.size()?;
        }
    }
    let fading = fading(view).await?;
    let tallies = format!(
        "SELECT node, type, class, good, bad, epoch FROM {{node_records}} WHERE {}",
        view.is_one_of("node", 1)
    );
    for row in view.select(&tallies, std::slice::from_ref(&ids)).await? {
        let mut cells = Cells::new(row);
        let (node, kind, class) = (cells.text()?, cells.text()?, cells.text()?);
        let of = Tally {
            good: cells.size()?,
            bad: cells.size()?,
        };
        let of = fading.fade(of, cells.count()?);
        if let Some(place) = places.get(&node) {
            let record = nodes[*place].records.entry(kind).or_default();
            record.classes.extend(tally(class, of));
        }
    }
    let backoffs = format!(
        "SELECT node, type, faults_in_a_row, backoff_until FROM {{node_backoffs}} WHERE {}",
        view.is_one_of("node", 1)
    );
    for row in view.select(&backoffs, &[ids]).await? {
        let mut cells = Cells::new(row);
        let (node, kind) = (cells.text()?, cells.text()?);
        let of = Backoff {
            faults_in_a_row: cells.count()?,
            backoff_until: Timestamp(cells.int()?),
        };
        if let Some(place) = places.get(&node) {
            let record = nodes[*place].records.entry(kind).or_default();
            back_off(record, of);
        }
    }
    Ok(())
}

/// How outcomes fade, as of the view's position.
async fn fading(view: &mut Snapshot) -> ApiResult<Fading> {
    let sql = "SELECT closed, keeps FROM {fading}";
    let Some(row) = view.select(sql, &[]).await?.into_iter().next() else {
        return Ok(Fading::default());
    };
    let mut cells = Cells::new(row);
    Ok(Fading {
        closed: cells.count()?,
        keeps: cells.json()?,
    })
}

/// One node, with how it stands. A node's own key shows that node.
#[utoipa::path(get, path = "/v1/nodes/{id}", tag = "nodes", params(("id" = String, Path)),
    responses((status = 200, body = wire::Node)))]
async fn show_node(
    State(app): State<App>,
    caller: Caller,
    Path(text): Path<String>,
) -> ApiResult<Reply<wire::Node>> {
    caller.require_one_of(&[Scope::Read, Scope::Node])?;
    let unknown = || ApiError::from(Rejection::UnknownNode);
    let id: NodeId = text.parse().map_err(|_| unknown())?;
    let node = app.log.read(|state, _| {
        let node = state.nodes.get(&id)?;
        let own = match caller.node() {
            Some(of_key) => of_key == id,
            None => node.owner == caller.account || caller.sees_all(),
        };
        own.then(|| view(state, node))
    });
    Ok(Reply(node.ok_or_else(unknown)??))
}

fn stake(state: &Machine, id: NodeId) -> Option<wire::NodeStake> {
    let node = state.nodes.get(&id)?;
    let strikes = state.policy().map_or(0, |(_, policy)| {
        node.pledges.strikes_at(now(), policy.stake)
    });
    Some(wire::NodeStake {
        amount: state.stake(id).to_string(),
        locked: node.pledges.locked.to_string(),
        free: state.free_stake(id).to_string(),
        strikes,
    })
}

fn kept_free_until(state: &Machine, node: &Node) -> Option<String> {
    schedule::kept_free_until(state, node, now()).map(time)
}

pub(super) fn view(state: &Machine, node: &Node) -> ApiResult<wire::Node> {
    Ok(wire::Node {
        runs_at_once: Some(node.slots()),
        kept_free_until: kept_free_until(state, node),
        stake: stake(state, node.id),
        id: node.id.to_string(),
        owner: node.owner.to_string(),
        public_key: node.public_key.to_string(),
        profile: to_wire(&node.profile)?,
        availability: name_of(&node.availability),
        standing: node.standing.name().to_owned(),
        standing_reason: match &node.standing {
            Standing::Revoked { reason, .. } => Some(reason.clone()),
            Standing::Working | Standing::Draining { .. } | Standing::Left { .. } => None,
        },
        suspended: node.suspended.as_ref().map(|s| wire::Suspension {
            reason: s.reason.clone(),
            since: time(s.since),
        }),
        terms: to_wire(&node.terms)?,
        speed: speed(node.speed, node.profile.cpu_mfuel_s),
        compute: node
            .profile
            .gpu
            .as_ref()
            .map(|gpu| compute(node.compute, gpu.compute)),
        sealed: newest_sealed(node),
        sealed_count: node.sealed.len() as u64,
        earned: node.earned.to_string(),
        active: node.active.iter().map(ToString::to_string).collect(),
        records: records(state, node),
        registered_at: time(node.registered_at),
    })
}

/// Ids begin with the time at which they were made.
fn newest_sealed(node: &Node) -> Vec<String> {
    let newest = node.sealed.iter().rev().take(wire::SEALED_SHOWN_MAX);
    newest.map(ToString::to_string).collect()
}

fn speed(shown: SpeedRecord, claimed: Option<u32>) -> wire::NodeSpeed {
    wire::NodeSpeed {
        claimed_mfuel_s: claimed,
        shown_mfuel_s: shown.mfuel_s,
        samples: shown.samples,
        counted_mfuel_s: shown.counted(claimed),
        slower_than_claimed: shown.is_below(claimed),
    }
}

fn compute(record: ComputeRecord, claimed: Option<u8>) -> wire::NodeCompute {
    wire::NodeCompute {
        claimed,
        shown: (record.checks > 0).then(|| record.shown()),
        shown_mflop_s: record.mflop_s.to_string(),
        checks: record.checks,
        wrong: record.wrong,
        counted: record.counted(claimed),
        slower_than_claimed: record.is_below(claimed),
    }
}

/// A node's records, all epochs that have closed considered.
fn records(state: &Machine, node: &Node) -> BTreeMap<String, wire::NodeRecord> {
    let fading = &state.epochs.fading;
    let record = |(kind, of): (&TaskType, &Record)| {
        let mut record = wire::NodeRecord::default();
        for (class, of) in &of.tallies {
            let of = fading.fade(*of, node.faded);
            record.classes.extend(tally(class.to_string(), of));
        }
        back_off(&mut record, of.backoff);
        (name_of(kind), record)
    };
    node.records.iter().map(record).collect()
}

/// What there is of a tally; nothing where all of it has faded.
fn tally(class: String, tally: Tally) -> Option<(String, wire::NodeTally)> {
    let shown = wire::NodeTally {
        good_thousandths: tally.good,
        bad_thousandths: tally.bad,
        reliability_ppm: tally.reliability(),
    };
    (!tally.is_empty()).then_some((class, shown))
}

fn back_off(record: &mut wire::NodeRecord, backoff: Backoff) {
    record.faults_in_a_row = backoff.faults_in_a_row;
    let until = Some(backoff.backoff_until).filter(|until| *until > now());
    record.backoff_until = until.map(time);
}

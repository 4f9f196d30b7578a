//! What the views must say of a state.

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::{
    Timestamp,
    projection::{Projections, Snapshot, Value},
};
use aevir_platform::{
    content::Access,
    event::Track,
    ids::{AccountId, ContentId, WithdrawalId},
    state::{Assignment, Phase, Review, Stage, Standing, State, Tally, Task, Withdrawal},
};
use serde::Serialize;

type Table = Vec<Vec<Value>>;

fn text(value: impl ToString) -> Value {
    value.to_string().into()
}

fn name(value: &impl Serialize) -> Value {
    serde_json::to_value(value)
        .unwrap()
        .as_str()
        .unwrap()
        .into()
}

fn ms(time: Timestamp) -> Value {
    time.0.into()
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_string(value).unwrap().into()
}

/// Compares every table with the state after `position` events.
pub async fn check(views: &Projections, state: &State, position: u64) {
    let mut work = views.snapshot("work").await.unwrap();
    assert_eq!(work.position(), position);
    same(&mut work, TASKS, state.tasks.values().map(task).collect()).await;
    same(&mut work, LABELS, labels(state)).await;
    same(&mut work, ASSIGNMENTS, assignments(state)).await;
    same(&mut work, NODES, nodes(state)).await;
    records(&mut work, state).await;
    let mut accounts = views.snapshot("accounts").await.unwrap();
    assert_eq!(accounts.position(), position);
    let opened = state.accounts.iter();
    let opened = opened.map(|(id, a)| vec![text(id), a.name.as_str().into(), ms(a.opened_at)]);
    same(
        &mut accounts,
        "SELECT id, name, opened_at FROM {accounts} ORDER BY id",
        opened.collect(),
    )
    .await;
    same(&mut accounts, KEYS, keys(state)).await;
    money(&mut accounts, state).await;
    points(&mut accounts, state).await;
    same(&mut accounts, WITHDRAWALS, withdrawals(state)).await;
    let mut catalogue = views.snapshot("catalogue").await.unwrap();
    assert_eq!(catalogue.position(), position);
    same(&mut catalogue, MODULES, modules(state)).await;
    same(&mut catalogue, CONTENTS, contents(state)).await;
    same(&mut catalogue, READERS, readers(state)).await;
}

async fn same(view: &mut Snapshot, sql: &str, mut expected: Table) {
    expected.sort();
    let found = view.select(sql, &[]).await.unwrap();
    assert_eq!(found, expected, "{sql}");
}

const TASKS: &str =
    "SELECT id, requester, type, state, escrow, fee, refund, round, replicas_wanted, sample, replicas,
    attempts_spent, review, review_outcome, reviews, inspects, created_at, queued_at, started_at, ended_at, matures_at, matured_at, verdict, late, model,
    CASE WHEN state IN ('failed', 'cancelled') THEN detail END FROM {tasks} ORDER BY id";

fn task(task: &Task) -> Vec<Value> {
    let settlement = task.settlement.as_ref();
    let detail = match &task.phase {
        Phase::Failed { detail } | Phase::Cancelled { detail } => Some(detail.as_str()),
        _ => None,
    };
    vec![
        text(task.id),
        text(task.requester),
        name(&task.definition.kind),
        task.phase.name().into(),
        task.escrow.0.into(),
        settlement.map(|s| s.fee.0).into(),
        settlement.map(|s| s.refund.0).into(),
        task.round.into(),
        task.replicas_wanted.into(),
        task.sample_name().into(),
        task.replicas().into(),
        task.attempts_spent.into(),
        task.review.by().map(|id| id.to_string()).into(),
        match &task.review {
            Review::Ended { outcome, .. } => name(outcome),
            Review::None | Review::Due { .. } | Review::Open { .. } => Value::Null,
        },
        task.review_of.as_ref().map(|of| of.task.to_string()).into(),
        task.inspects.as_ref().map(|of| of.task.to_string()).into(),
        ms(task.created_at),
        task.queued_at.map(|t| t.0).into(),
        task.started_at.map(|t| t.0).into(),
        task.ended_at.map(|t| t.0).into(),
        settlement.and_then(|s| s.matures_at).map(|t| t.0).into(),
        task.matured_at().map(|t| t.0).into(),
        task.verdict
            .as_ref()
            .map_or(Value::Null, |v| name(&v.verdict)),
        task.verdict.as_ref().map(|v| v.late).into(),
        task.model.map(|m| m.to_string()).into(),
        detail.into(),
    ]
}

const WITHDRAWALS: &str = "SELECT id, account, amount, destination, requested_at FROM {withdrawals} WHERE state = 'open' ORDER BY id";

fn withdrawals(state: &State) -> Table {
    let row = |account: &AccountId, (id, w): (&WithdrawalId, &Withdrawal)| {
        vec![
            text(id),
            text(account),
            w.amount.0.into(),
            w.destination.as_str().into(),
            ms(w.requested_at),
        ]
    };
    let all = state.withdrawals.iter();
    all.flat_map(|(account, open)| open.iter().map(move |one| row(account, one)))
        .collect()
}

const LABELS: &str = "SELECT task, name, value FROM {task_labels} ORDER BY task, name";

fn labels(state: &State) -> Table {
    let of = |task: &Task| {
        let id = task.id;
        let labels = task.definition.labels.clone().into_iter();
        labels.map(move |(name, value)| vec![text(id), name.into(), value.into()])
    };
    state.tasks.values().flat_map(of).collect()
}

const ASSIGNMENTS: &str =
    "SELECT id, task, requester, node, owner, round, state, reason, message,
    CASE WHEN state <> 'withdrawn' THEN commitment END, CASE WHEN state = 'running' THEN progress_ppm ELSE 0 END,
    leased_at, CASE WHEN state <> 'withdrawn' THEN committed_at END, hardware, doubles, checkpoint_author FROM {assignments} ORDER BY id";

fn assignments(state: &State) -> Table {
    let all = state
        .tasks
        .values()
        .flat_map(|t| t.assignments.values().map(move |a| (t, a)));
    let row = |(task, a): (&Task, &Assignment)| {
        let (reason, message) = match &a.stage {
            Stage::Refused { reason, .. } => (name(reason), Value::Null),
            Stage::Lost { reason, .. } => (name(reason), Value::Null),
            Stage::Failed { class, message, .. } => (name(class), message.as_str().into()),
            Stage::Returned { counted: true, .. } => ("counted".into(), Value::Null),
            _ => (Value::Null, Value::Null),
        };
        let ppm = if let Stage::Running { ppm, .. } = &a.stage {
            *ppm
        } else {
            0
        };
        // A withdrawn one's commitment is forgotten in the state, and stands in the view.
        let withdrawn = matches!(a.stage, Stage::Withdrawn);
        let commitment = a.commitment().filter(|_| !withdrawn);
        vec![
            text(a.id),
            text(task.id),
            text(task.requester),
            text(a.node),
            text(state.nodes[&a.node].owner),
            a.round.into(),
            a.state_name().into(),
            reason,
            message,
            commitment.map(|c| c.digest.to_string()).into(),
            ppm.into(),
            ms(a.leased_at),
            commitment.map(|c| c.at.0).into(),
            text(&a.hardware),
            a.doubles.map(|run| run.to_string()).into(),
            a.author.map(|node| node.to_string()).into(),
        ]
    };
    all.map(row).collect()
}

const NODES: &str = "SELECT n.id, n.owner, n.name, n.availability, n.public_key, n.slots, n.profile, n.registered_at,
    n.terms, n.standing, n.standing_reason, n.suspended_for, n.suspended_at, n.shown_mfuel_s, n.speed_samples, n.earned,
    (SELECT count(*) FROM {assignments} a WHERE a.node = n.id AND a.state IN ('leased', 'running')) FROM {nodes} n ORDER BY n.id";

fn nodes(state: &State) -> Table {
    let row = |n: &aevir_platform::state::Node| {
        vec![
            text(n.id),
            text(n.owner),
            n.profile.name.as_str().into(),
            name(&n.availability),
            text(n.public_key),
            n.profile.slots.into(),
            json(&n.profile),
            ms(n.registered_at),
            json(&n.terms),
            n.standing.name().into(),
            match &n.standing {
                Standing::Revoked { reason, .. } => reason.as_str().into(),
                _ => Value::Null,
            },
            n.suspended.as_ref().map(|s| s.reason.as_str()).into(),
            n.suspended.as_ref().map(|s| s.since.0).into(),
            n.speed.mfuel_s.into(),
            n.speed.samples.into(),
            n.earned.0.into(),
            Value::Int(n.active.len() as i64),
        ]
    };
    state.nodes.values().map(row).collect()
}

const RECORDS: &str =
    "SELECT node, type, class, good, bad, epoch FROM {node_records} ORDER BY node, type, class";
const BACKOFFS: &str =
    "SELECT node, type, faults_in_a_row, backoff_until FROM {node_backoffs} ORDER BY node, type";

/// Records, as they count now: the state's and the view's were brought up to date at other times.
async fn records(view: &mut Snapshot, state: &State) {
    let fading = &state.epochs.fading;
    let shown = |mut row: Vec<Value>| {
        let mut int = || match row.pop() {
            Some(Value::Int(n)) => n,
            other => panic!("{other:?} is no number"),
        };
        let (epoch, bad, good) = (int(), int(), int());
        let (good, bad) = (good.unsigned_abs(), bad.unsigned_abs());
        let tally = fading.fade(Tally { good, bad }, u32::try_from(epoch).unwrap());
        (row, tally)
    };
    let rows = view.select(RECORDS, &[]).await.unwrap();
    let found = rows.into_iter().map(shown);
    let found: Vec<_> = found.filter(|(_, tally)| !tally.is_empty()).collect();
    let all = state.nodes.values().flat_map(|n| {
        let records = n.records.iter();
        let tallies = records.flat_map(|(kind, of)| of.tallies.iter().map(move |t| (kind, t)));
        tallies.map(move |(kind, (class, tally))| {
            let row = vec![text(n.id), name(kind), text(class)];
            (row, fading.fade(*tally, n.faded))
        })
    });
    let mut expected: Vec<_> = all.filter(|(_, tally)| !tally.is_empty()).collect();
    expected.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(found, expected);
    let all = state.nodes.values().flat_map(|n| {
        let records = n.records.iter();
        records.map(move |(kind, of)| {
            let (faults, until) = (of.backoff.faults_in_a_row, of.backoff.backoff_until);
            vec![text(n.id), name(kind), faults.into(), ms(until)]
        })
    });
    same(view, BACKOFFS, all.collect()).await;
    let keeps = serde_json::to_string(&fading.keeps).unwrap();
    let row = vec![fading.closed.into(), keeps.into()];
    same(view, "SELECT closed, keeps FROM {fading}", vec![row]).await;
}

const KEYS: &str = "SELECT id, account, label, scopes, node, revoked FROM {keys} ORDER BY id";

fn keys(state: &State) -> Table {
    let row = |(id, key): (&aevir_platform::ids::KeyId, &aevir_platform::state::Key)| {
        vec![
            text(id),
            text(key.account),
            key.label.as_str().into(),
            json(&key.scopes),
            key.node.map(|n| n.to_string()).into(),
            key.revoked.into(),
        ]
    };
    state.keys.iter().map(row).collect()
}

/// Balances, the sums of the entries, and the sum over everything.
async fn money(view: &mut Snapshot, state: &State) {
    let balances = state.ledger.balances();
    let balances: Table = balances
        .map(|(account, amount)| vec![text(account), amount.0.into()])
        .collect();
    let sql = "SELECT account, amount FROM {balances} WHERE open = 1 ORDER BY account";
    same(view, sql, balances.clone()).await;
    let sql = "SELECT account, CAST(sum(amount) AS BIGINT) FROM {ledger_entries} GROUP BY account
        HAVING sum(amount) <> 0 ORDER BY account";
    same(view, sql, balances).await;
    let sql = "SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM {balances}";
    same(view, sql, vec![vec![Value::Int(0)]]).await;
    let sql = "SELECT position FROM {ledger_entries} GROUP BY position HAVING sum(amount) <> 0";
    same(view, sql, Vec::new()).await;
}

const TRACKS: [Track; 3] = [Track::Compute, Track::Content, Track::Verification];

async fn points(view: &mut Snapshot, state: &State) {
    let thousandths = |n: u64| i64::try_from(n).unwrap();
    let rows = state.points.iter().map(|(account, points)| {
        let by_track = TRACKS.map(|track| thousandths(points.thousandths_on(track)));
        let mut row = vec![text(account)];
        row.extend(by_track.map(Value::from));
        row.push(by_track.iter().sum::<i64>().into());
        row
    });
    same(
        view,
        "SELECT account, compute, content, verification, total FROM {points} ORDER BY account",
        rows.collect(),
    )
    .await;
    // From zero on, what was earned and lost and what epochs took off lead to what there is.
    let mut sums: BTreeMap<(Value, Value), i64> = BTreeMap::new();
    let changes =
        "SELECT account, track, delta, faded, balance FROM {point_changes} ORDER BY position";
    for row in view.select(changes, &[]).await.unwrap() {
        let [account, track, delta, faded, balance] = &row[..] else {
            panic!("{row:?}")
        };
        let (Value::Int(delta), Value::Int(faded), Value::Int(balance)) = (delta, faded, balance)
        else {
            panic!("{row:?}")
        };
        let sum = sums.entry((account.clone(), track.clone())).or_default();
        *sum += 1_000 * delta - faded;
        assert!(*faded >= 0 && sum == balance, "{row:?}");
    }
    let lasts = "SELECT account, track, balance FROM {point_tracks} ORDER BY account, track";
    let lasts = view.select(lasts, &[]).await.unwrap();
    assert_eq!(lasts.len(), sums.len());
    for row in lasts {
        let key = (row[0].clone(), row[1].clone());
        assert_eq!(row[2], Value::Int(sums[&key]));
    }
    let pools = state.rewards.pools.iter();
    let pools = pools.map(|(epoch, pool)| {
        let points = thousandths(pool.points.0);
        vec![(*epoch).into(), pool.amount.0.into(), points.into()]
    });
    let oldest = state
        .rewards
        .pools
        .keys()
        .next()
        .copied()
        .unwrap_or(u32::MAX);
    let sql = format!(
        "SELECT epoch, reward, reward_points FROM {{epochs}} WHERE reward > 0 AND epoch >= {oldest} ORDER BY epoch"
    );
    same(view, &sql, pools.collect()).await;
    // No pool has paid more than it got.
    let sql = "SELECT c.epoch FROM {reward_claims} c JOIN {epochs} e ON e.epoch = c.epoch GROUP BY c.epoch, e.reward HAVING sum(c.amount) > e.reward";
    same(view, sql, Vec::new()).await;
}

const MODULES: &str =
    "SELECT m.digest, n.account, n.name, m.size, m.world, m.imports, m.compile_mib, m.code_mib, m.registered_at
    FROM {modules} m JOIN {module_names} n ON n.digest = m.digest ORDER BY m.digest, n.account";

fn modules(state: &State) -> Table {
    let mut rows = Vec::new();
    for (digest, module) in &state.modules {
        for (account, called) in &module.names {
            rows.push(vec![
                text(digest),
                text(account),
                called.as_str().into(),
                Value::Int(module.size.0 as i64),
                name(&module.world),
                json(&module.imports),
                Value::Int(module.compile_mib.into()),
                Value::Int(module.code_mib.into()),
                ms(module.registered_at),
            ]);
        }
    }
    rows
}

const READERS: &str =
    "SELECT account, content FROM {content_readers} WHERE may_read = 1 ORDER BY account, content";

/// Who may use a content though it isn't for everybody, and who earns by it.
fn readers(state: &State) -> Table {
    let mut rows: BTreeSet<(AccountId, ContentId)> = BTreeSet::new();
    for (id, content) in &state.contents {
        let listed = match &content.access {
            Access::Everybody => BTreeSet::new(),
            Access::Accounts(accounts) => accounts.clone(),
        };
        let earning = content.contributors.iter().map(|c| c.account);
        rows.extend(listed.into_iter().chain(earning).map(|a| (a, *id)));
    }
    let rows = rows.into_iter();
    rows.map(|(account, id)| vec![text(account), text(id)])
        .collect()
}

const CONTENTS: &str = "SELECT id, owner, kind, name, version, licence, weight, price, is_open, access, contributors, files, lineage, registered_at FROM {contents} ORDER BY id";

fn contents(state: &State) -> Table {
    let row = |(id, c): (
        &aevir_platform::ids::ContentId,
        &aevir_platform::state::Content,
    )| {
        vec![
            text(id),
            text(c.owner),
            name(&c.kind),
            c.name.as_str().into(),
            c.version.as_str().into(),
            c.licence.as_str().into(),
            c.weight.into(),
            Value::Int(c.price.0),
            Value::Int(i64::from(c.access.is_open())),
            json(&c.access),
            json(&c.contributors),
            json(&c.files),
            c.lineage.as_ref().map_or(Value::Null, json),
            ms(c.registered_at),
        ]
    };
    state.contents.iter().map(row).collect()
}

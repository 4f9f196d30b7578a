//! Lists: pages, filters, who sees what, the position that they show; and the projections behind them.

use aevir_wire::{AssignmentFilter, EntryFilter, LOG_POSITION, NodeFilter, TaskFilter};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    FakeNode, TestPlatform,
    node::{Outcome, until},
    single,
};

async fn writes_are_read_at_once(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    for n in 1..=30 {
        single(&module).submit(&requester.client).await;
        let filter = TaskFilter {
            limit: Some(200),
            ..TaskFilter::default()
        };
        let listed = requester.client.tasks(&filter).await.unwrap();
        assert_eq!(listed.tasks.len(), n, "its own writes are there");
    }
    platform.check_replay().await;
}

#[tokio::test]
async fn a_client_reads_what_it_wrote() {
    writes_are_read_at_once(TestPlatform::start().await).await;
}

#[tokio::test]
async fn a_client_reads_what_it_wrote_in_postgres() {
    writes_are_read_at_once(TestPlatform::builder().postgres().start().await).await;
}

#[tokio::test]
async fn answers_name_the_position_that_they_show() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let key = Some(requester.key.as_str());
    let position = |headers: &reqwest::header::HeaderMap| -> u64 {
        headers[LOG_POSITION].to_str().unwrap().parse().unwrap()
    };
    let body = single(&module).0.to_string();
    let (status, headers, _) = platform.raw(Method::POST, "/v1/tasks", key, body).await;
    assert_eq!(status, 201);
    let written = position(&headers);
    assert!(written > 0 && written <= platform.size());
    let path = format!("/v1/tasks?min_position={written}");
    let (status, headers, body) = platform.raw(Method::GET, &path, key, "").await;
    assert_eq!(status, 200);
    assert!(position(&headers) >= written);
    let page: aevir_wire::TaskPage = serde_json::from_slice(&body).unwrap();
    assert_eq!(page.tasks.len(), 1);
    // Without it a list still waits for what was there when it was asked.
    let (_, headers, _) = platform.raw(Method::GET, "/v1/modules", key, "").await;
    assert!(position(&headers) >= written);
    // A command without events of its own, too.
    let (status, headers, _) = platform
        .raw(Method::POST, "/v1/modules?name=m", key, "task module")
        .await;
    assert_eq!(status, 200, "it is there already");
    assert!(position(&headers) >= written);
    // A single object is read from the state, and what only reads it names no position.
    let (_, headers, _) = platform.raw(Method::GET, "/v1/account", key, "").await;
    assert!(headers.get(LOG_POSITION).is_none());
    // What the log does not have can't be shown.
    let problem = platform
        .refuse(
            (Method::GET, "/v1/tasks?min_position=1000000"),
            key,
            "",
            (503, "views-behind"),
        )
        .await;
    assert!(
        problem.detail.contains("1000000 was asked for"),
        "{problem:?}"
    );
}

#[tokio::test]
async fn pages_are_stable_while_tasks_arrive() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let mut before = Vec::new();
    for _ in 0..12 {
        before.push(single(&module).submit(&requester.client).await.id);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    before.reverse();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = TaskFilter {
            limit: Some(5),
            after: after.take(),
            ..TaskFilter::default()
        };
        let page = requester.client.tasks(&filter).await.unwrap();
        seen.extend(page.tasks.into_iter().map(|t| t.id));
        // Newer ones come in front, and move nothing.
        single(&module).submit(&requester.client).await;
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, before);
}

#[tokio::test]
async fn lists_are_filtered_and_show_each_his_own() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let stranger = platform.account("stranger").await;
    let node = platform.node("n").await;
    node.appear().await;
    let first = single(&module).submit(&requester.client).await;
    node.work(&Outcome::of(json!({"n": 1}))).await;
    let settled = until(&requester.client, &first.id, "settled").await;
    let second = single(&module).submit(&requester.client).await;
    let lease = node.lease().await;
    platform.level().await;

    assignments(
        &platform,
        &requester.client,
        &stranger.client,
        &node,
        (&first.id, &lease),
    )
    .await;
    money(&platform, &requester, &stranger.client, &first.id).await;
    let tasks = |filter: TaskFilter| {
        let client = requester.client.clone();
        async move {
            let page = client.tasks(&filter).await.unwrap();
            page.tasks.into_iter().map(|t| t.id).collect::<Vec<_>>()
        }
    };
    let filter = TaskFilter {
        created_to: Some(settled.ended_at.clone().unwrap()),
        ..TaskFilter::default()
    };
    assert_eq!(tasks(filter).await, std::slice::from_ref(&first.id));
    let filter = TaskFilter {
        created_from: settled.ended_at,
        ..TaskFilter::default()
    };
    assert_eq!(tasks(filter).await, std::slice::from_ref(&second.id));
    let of_requester = TaskFilter {
        requester: Some(requester.id.clone()),
        ..TaskFilter::default()
    };
    assert_eq!(
        tasks(of_requester.clone()).await.len(),
        2,
        "one's own may be named"
    );
    assert_eq!(
        platform
            .admin
            .tasks(&of_requester)
            .await
            .unwrap()
            .tasks
            .len(),
        2
    );
    platform
        .refused(stranger.client.tasks(&of_requester), 403, "scope-missing")
        .await;

    let online = NodeFilter {
        availability: Some("online".into()),
        ..NodeFilter::default()
    };
    let listed = platform.admin.nodes(&online).await.unwrap().nodes;
    let shown = node.owner.node(&node.id).await.unwrap();
    assert_eq!(listed, [shown], "the list and the single node are the same");
    assert_eq!(listed[0].active, [lease.assignment]);
    let tally = listed[0].records["inference"].classes["cpu"];
    assert_eq!((tally.good_thousandths, tally.bad_thousandths), (1_000, 0));
    let offline = NodeFilter {
        availability: Some("offline".into()),
        ..NodeFilter::default()
    };
    assert!(
        platform
            .admin
            .nodes(&offline)
            .await
            .unwrap()
            .nodes
            .is_empty()
    );
    let others = NodeFilter {
        owner: Some(requester.id),
        ..NodeFilter::default()
    };
    platform
        .refused(stranger.client.nodes(&others), 403, "scope-missing")
        .await;
}

async fn assignments(
    platform: &TestPlatform,
    requester: &aevir_wire::Client,
    stranger: &aevir_wire::Client,
    node: &FakeNode,
    (settled, leased): (&str, &aevir_wire::Lease),
) {
    let all = AssignmentFilter::default();
    for client in [requester, &node.owner, &platform.admin] {
        let listed = client.assignments(&all).await.unwrap().assignments;
        let states: Vec<_> = listed.iter().map(|a| a.state.as_str()).collect();
        assert_eq!(states, ["leased", "accepted"]);
        // Who works must not learn that it decides between others.
        let rounds: Vec<_> = listed.iter().map(|a| a.round).collect();
        let is_worker = std::ptr::eq(client, &node.owner);
        assert_eq!(rounds, [(!is_worker).then_some(1), Some(1)]);
        assert_eq!(
            (listed[0].id.as_str(), listed[0].node.as_str()),
            (leased.assignment.as_str(), node.id.as_str())
        );
    }
    assert!(
        stranger
            .assignments(&all)
            .await
            .unwrap()
            .assignments
            .is_empty()
    );
    let of_task = AssignmentFilter {
        task: Some(settled.into()),
        state: Some("accepted".into()),
        node: Some(node.id.clone()),
        ..all.clone()
    };
    assert_eq!(
        requester
            .assignments(&of_task)
            .await
            .unwrap()
            .assignments
            .len(),
        1
    );
    let one = AssignmentFilter {
        limit: Some(1),
        ..all
    };
    let page = requester.assignments(&one).await.unwrap();
    let rest = AssignmentFilter {
        after: page.next,
        ..one
    };
    let rest = requester.assignments(&rest).await.unwrap();
    assert_eq!(
        (rest.assignments[0].task.as_str(), rest.next),
        (settled, None)
    );
}

async fn money(
    platform: &TestPlatform,
    requester: &crate::support::Account,
    stranger: &aevir_wire::Client,
    settled: &str,
) {
    // All postings, page by page, sum to zero, and a balance is the sum of its own.
    let (mut sum, mut own, mut after, mut positions) = (0i64, 0i64, None, Vec::new());
    let available = format!("account/{}/available", requester.id);
    loop {
        let filter = EntryFilter {
            limit: Some(2),
            after: after.take(),
            ..EntryFilter::default()
        };
        let page = platform.admin.ledger_entries(&filter).await.unwrap();
        for entry in page.entries {
            let amount: i64 = entry.amount.parse().unwrap();
            sum += amount;
            own += if entry.account == available {
                amount
            } else {
                0
            };
            positions.push((entry.position.parse::<u64>().unwrap(), entry.line));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "each once, in order");
    let account = requester.client.account().await.unwrap();
    assert_eq!((sum, own.to_string()), (0, account.available));
    let of_task = EntryFilter {
        task: Some(settled.into()),
        reason: Some("settlement".into()),
        ..EntryFilter::default()
    };
    let entries = platform
        .admin
        .ledger_entries(&of_task)
        .await
        .unwrap()
        .entries;
    assert!(
        entries
            .iter()
            .any(|e| e.account == format!("task/{settled}/escrow"))
    );
    let position: u64 = entries[0].position.parse().unwrap();
    let before = EntryFilter {
        to: Some(position),
        ..of_task.clone()
    };
    assert!(
        platform
            .admin
            .ledger_entries(&before)
            .await
            .unwrap()
            .entries
            .is_empty()
    );
    let exactly = EntryFilter {
        from: Some(position),
        ..of_task.clone()
    };
    assert_eq!(
        platform
            .admin
            .ledger_entries(&exactly)
            .await
            .unwrap()
            .entries,
        entries
    );
    // Others see their own money alone.
    let own = requester
        .client
        .ledger_entries(&EntryFilter::default())
        .await
        .unwrap()
        .entries;
    assert!(
        own.iter()
            .all(|e| e.account.starts_with(&format!("account/{}/", requester.id)))
    );
    assert!(
        stranger
            .ledger_entries(&of_task)
            .await
            .unwrap()
            .entries
            .is_empty()
    );
    platform
        .refused(stranger.ledger_page(None), 403, "scope-missing")
        .await;

    let changes = platform
        .admin
        .points_changes(None, Some(settled), None)
        .await
        .unwrap()
        .changes;
    assert!(!changes.is_empty() && changes.iter().all(|c| c.reason == "result-accepted"));
    let earner = platform
        .admin
        .points(None, None)
        .await
        .unwrap()
        .accounts
        .remove(0);
    assert_eq!(
        (earner.account, earner.total),
        (changes[0].account.clone(), changes[0].delta.clone())
    );
    assert!(
        stranger
            .points_changes(None, None, None)
            .await
            .unwrap()
            .changes
            .is_empty()
    );
    let asked = stranger.points_changes(Some(&changes[0].account), None, None);
    platform.refused(asked, 403, "scope-missing").await;
}

#[tokio::test]
async fn projections_are_listed_rebuilt_and_survive_their_loss() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let first = single(&module).submit(&requester.client).await;
    let health = platform.admin.health().await.unwrap();
    assert_eq!(health.status, "ok");
    assert_eq!(health.projections.len(), 3);
    platform
        .refused(requester.client.projections(), 403, "scope-missing")
        .await;
    platform
        .refused(
            requester.client.rebuild_projection("work"),
            403,
            "scope-missing",
        )
        .await;
    platform
        .refused(
            platform.admin.rebuild_projection("play"),
            404,
            "unknown-projection",
        )
        .await;
    let rebuild = platform.admin.rebuild_projection("work").await.unwrap();
    let live = async |generation: &str| {
        for _ in 0..500 {
            let all = platform.admin.projections().await.unwrap().projections;
            if all
                .iter()
                .any(|p| p.generation == generation && p.state == "live" && p.lag == "0")
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!(
            "the rebuild does not end: {:?}",
            platform.admin.projections().await
        );
    };
    live(&rebuild.generation).await;
    let page = requester
        .client
        .tasks(&TaskFilter::default())
        .await
        .unwrap();
    assert_eq!(page.tasks[0].id, first.id);
    // The views hold nothing that the log does not.
    let key = requester.key.clone();
    let platform = platform
        .restart_with(async |dir| {
            for file in ["views.sqlite", "views.sqlite-wal", "views.sqlite-shm"] {
                let _ = std::fs::remove_file(dir.join(file));
            }
        })
        .await
        .unwrap();
    let page = platform
        .client(&key)
        .tasks(&TaskFilter::default())
        .await
        .unwrap();
    assert_eq!(page.tasks[0].id, first.id);
}

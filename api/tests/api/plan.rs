//! Quotes, why a task waits, and accounts' limits.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestPlatform, node::until, single};

#[tokio::test]
async fn a_quote_says_what_a_submission_would_lock_and_stores_nothing() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let definition = single(&module);
    let quote = requester.client.quote_task(&definition.0).await.unwrap();
    assert_eq!(
        (quote.nodes, quote.eligible_nodes, quote.starts_at),
        (0, 0, None)
    );
    let node = platform.node("n").await;
    node.appear().await;
    let quote = requester.client.quote_task(&definition.0).await.unwrap();
    assert_eq!(
        (quote.nodes, quote.eligible_nodes, quote.tasks_ahead),
        (1, 1, 0)
    );
    assert!(quote.refused.is_empty() && quote.nearest.is_empty());
    let needy = single(&module).with("qos", json!({"labels": {"region": "moon"}}));
    let none = requester.client.quote_task(&needy.0).await.unwrap();
    assert_eq!((none.eligible_nodes, none.refused[0].nodes), (0, 1));
    assert_eq!(none.refused[0].reason, "label");
    assert_eq!(none.nearest[0].reason, "label");
    assert!(none.nearest[0].help.contains("/qos/labels"));
    let told = serde_json::to_string(&none).unwrap();
    assert!(!told.contains(&node.id), "nobody's node is named");
    assert!(quote.affordable && quote.starts_at.is_some() && quote.finishes_by > quote.starts_at);
    let (fee, escrow): (u64, u64) = (
        quote.expected_fee.parse().unwrap(),
        quote.escrow.parse().unwrap(),
    );
    assert!(0 < fee && fee <= escrow);
    let size = requester.client.account().await.unwrap();
    let submitted = definition.submit(&requester.client).await;
    assert_eq!(submitted.escrow, quote.escrow);
    let after = requester.client.account().await.unwrap();
    let spent: u64 =
        size.available.parse::<u64>().unwrap() - after.available.parse::<u64>().unwrap();
    assert_eq!(spent, escrow, "the quote itself locked nothing");
    let incomplete = json!({"type": "inference"});
    let wrong = requester.client.quote_task(&incomplete);
    platform.refused(wrong, 422, "definition-invalid").await;
}

#[tokio::test]
async fn a_task_that_waits_says_what_for_and_what_would_help() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let needy = single(&module)
        .with("limits", json!({"memory_mib": 4_096}))
        .with("qos", json!({"labels": {"region": "moon"}}))
        .submit(&requester.client)
        .await;
    let why = requester.client.why_task(&needy.id).await.unwrap();
    assert_eq!(
        (why.state.as_str(), why.waits_for.as_str()),
        ("queued", "node")
    );
    assert_eq!((why.nodes, why.fitting), (1, 0));
    assert_eq!(why.refused[0].reason, "label");
    let reasons: Vec<&str> = why.nearest.iter().map(|r| r.reason.as_str()).collect();
    assert!(reasons.starts_with(&["label"]), "{reasons:?}");
    assert!(why.nearest.iter().all(|r| !r.help.is_empty()));
    let told = serde_json::to_string(&why).unwrap();
    assert!(!told.contains(&node.id), "nobody's node is named");

    let other = platform.account("other").await;
    platform
        .refused(other.client.why_task(&needy.id), 404, "unknown-task")
        .await;
    let fine = single(&module).submit(&requester.client).await;
    node.lease().await;
    let why = requester.client.why_task(&fine.id).await.unwrap();
    assert_eq!(why.waits_for, "runs");
}

#[tokio::test]
async fn replicas_wait_for_each_other_and_their_nodes_do_not_learn_of_it() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let sampling = json!([{"method": "sampling", "replicas": 2, "quorum": 2}]);
    let sampled = single(&module).with("verification", sampling);
    let quote = requester.client.quote_task(&sampled.0).await.unwrap();
    assert!(!quote.at_once);
    let task = sampled.submit(&requester.client).await;
    let node = platform.node("n").await;
    node.appear().await;
    platform.node("idle").await.appear().await;
    let running = until(&requester.client, &task.id, "running").await;
    let why = requester.client.why_task(&task.id).await.unwrap();
    assert_eq!(why.waits_for, "commitment");
    let first = running.assignments[0].id.clone();
    assert_eq!((why.awaits, why.at_once_from), (vec![first], None));
}

#[tokio::test]
async fn an_account_asks_for_so_many_quotes_and_waits_for_more() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let task = single(&module).submit(&requester.client).await;
    let why = format!("/v1/tasks/{}/why", task.id);
    let key = Some(requester.key.as_str());
    let definition = single(&module).0.to_string();
    let mut taken = 0;
    // One and the other count together.
    let (status, headers, body) = loop {
        let answer = match taken % 2 {
            0 => platform.raw(Method::GET, &why, key, "").await,
            _ => {
                let body = definition.clone();
                platform
                    .raw(Method::POST, "/v1/tasks:quote", key, body)
                    .await
            }
        };
        if answer.0 != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 1_000, "there is a limit");
    };
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "1");
    let problem: aevir_wire::Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, "too-many-quotes");
    assert!(taken >= 32, "{taken} were answered");
    let other = platform.account("other").await;
    platform
        .refused(other.client.why_task(&task.id), 404, "unknown-task")
        .await;
}

#[tokio::test]
async fn limits_are_an_administrators_to_set_and_hold_at_once() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let account = requester.client.account().await.unwrap().account;
    let mut limits = requester.client.limits(&account).await.unwrap();
    assert_eq!(limits.weight, 100);
    limits.tasks_max = 1;
    let own = requester.client.set_limits(&account, &limits);
    platform.refused(own, 403, "scope-missing").await;
    platform.admin.set_limits(&account, &limits).await.unwrap();
    assert_eq!(requester.client.limits(&account).await.unwrap(), limits);
    single(&module).submit(&requester.client).await;
    let definition = single(&module);
    let second = requester.client.submit_task(&definition.0, None);
    platform.refused(second, 409, "too-many-tasks").await;
    limits.weight = 0;
    platform
        .refused(
            platform.admin.set_limits(&account, &limits),
            422,
            "limits-invalid",
        )
        .await;
}

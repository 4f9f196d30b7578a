//! Submitting, listing, cancelling; idempotency; what bad definitions get.

use aevir_wire::{Client, TaskFilter};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestPlatform, single};

#[tokio::test]
async fn a_bad_definition_is_refused_where_it_is_wrong() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let rows: [(&str, Value, u16, &str, Option<&str>); 12] = [
        (
            "surprise",
            json!(1),
            422,
            "definition-invalid",
            Some("/surprise"),
        ),
        (
            "module",
            json!("00".repeat(32)),
            404,
            "unknown-module",
            None,
        ),
        (
            "type",
            json!("cooking"),
            422,
            "definition-invalid",
            Some("/type"),
        ),
        (
            "economics",
            json!({"budget": "10000", "pricing": {"mode": "fixed", "price": "10000"}}),
            422,
            "budget-too-small",
            None,
        ),
        (
            "economics",
            json!({"budget": "9000000000000", "pricing": {"mode": "fixed", "price": "2000000000"}}),
            402,
            "insufficient-balance",
            None,
        ),
        (
            "data",
            json!([{"name": "a", "from": {"content": {"id": "01J00000000000000000000000"}}}]),
            404,
            "unknown-content",
            None,
        ),
        (
            "data",
            json!([{"name": "a", "from": {"blob": "00".repeat(32)}}]),
            404,
            "unknown-blob",
            None,
        ),
        (
            "data",
            json!([{"name": "a b", "from": {"inline": ""}}]),
            422,
            "definition-invalid",
            Some("/data/0/name"),
        ),
        (
            "depends_on",
            json!([{"task": "01J00000000000000000000000"}]),
            404,
            "unknown-task",
            None,
        ),
        (
            "qos",
            json!({"deadline": "2001-01-01T00:00:00Z"}),
            422,
            "definition-invalid",
            Some("/qos/deadline"),
        ),
        (
            "qos",
            json!({"deadline": "soon"}),
            422,
            "definition-invalid",
            Some("/qos/deadline"),
        ),
        (
            "limits",
            json!({"memory_mib": 0}),
            422,
            "definition-invalid",
            Some("/limits/memory_mib"),
        ),
    ];
    for (field, value, status, code, pointer) in rows {
        let definition = single(&module).with(field, value);
        let submitted = requester.client.submit_task(&definition.0, None);
        let problem = platform.refused(submitted, status, code).await;
        assert_eq!(problem.pointer.as_deref(), pointer, "{field}: {problem:?}");
    }
    let key = Some(requester.key.as_str());
    let post = (Method::POST, "/v1/tasks");
    platform
        .refuse(post.clone(), key, "{\"type\":", (400, "json-invalid"))
        .await;
    platform
        .refuse(post.clone(), key, "[]", (422, "definition-invalid"))
        .await;
    platform
        .refuse(post, key, vec![b' '; 5_000_000], (413, "body-too-large"))
        .await;
    let check = requester
        .client
        .push_module("check", "check module")
        .await
        .unwrap();
    let definition = single(&check.digest).0;
    let submitted = requester.client.submit_task(&definition, None);
    platform.refused(submitted, 422, "wrong-world").await;
    let reader = aevir_wire::AddKey {
        label: "r".into(),
        scopes: vec!["read".into()],
    };
    let reader = platform.client(&requester.client.add_key(&reader).await.unwrap().key);
    platform
        .refused(
            reader.submit_task(&single(&module).0, None),
            403,
            "scope-missing",
        )
        .await;
}

#[tokio::test]
async fn unknown_fields_of_any_request_are_named() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let rows = [
        (
            Method::POST,
            "/v1/keys",
            r#"{"label":"x","scopes":["read"],"extra":1}"#,
            Some("/extra"),
        ),
        (
            Method::POST,
            "/v1/join-tokens",
            r#"{"ttl":5}"#,
            Some("/ttl"),
        ),
        (
            Method::POST,
            "/v1/contents",
            r#"{"kind":"dataset","name":"n","version":"1","licence":"x","files":[{"name":"a","digest":"x","size":"1","sise":"1"}]}"#,
            Some("/files/0/sise"),
        ),
        (
            Method::POST,
            "/v1/contents",
            r#"{"kind":"dataset","name":7}"#,
            Some("/name"),
        ),
    ];
    for (method, path, body, pointer) in rows {
        let problem = platform
            .refuse(
                (method, path),
                Some(&account.key),
                body,
                (422, "field-invalid"),
            )
            .await;
        assert_eq!(problem.pointer.as_deref(), pointer, "{problem:?}");
    }
    let get = |path| (Method::GET, path);
    let key = Some(account.key.as_str());
    platform
        .refuse(get("/v1/tasks?colour=red"), key, "", (400, "query-invalid"))
        .await;
    platform
        .refuse(get("/v1/tasks?limit=0"), key, "", (400, "query-invalid"))
        .await;
    platform
        .refuse(
            get("/v1/tasks?type=cooking"),
            key,
            "",
            (400, "query-invalid"),
        )
        .await;
    platform
        .refuse(get("/v1/tasks?after=x"), key, "", (400, "query-invalid"))
        .await;
    platform
        .refuse(get("/v1/nothing"), key, "", (404, "unknown-route"))
        .await;
    platform
        .refuse(
            (Method::DELETE, "/v1/account"),
            key,
            "",
            (405, "method-not-allowed"),
        )
        .await;
}

#[tokio::test]
async fn an_idempotency_key_makes_one_task_of_many_tries() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let definition = single(&module).0;
    let submit = |key: &'static str| requester.client.submit_task(&definition, Some(key));
    let first = submit("k1").await.unwrap();
    let before = platform.size();
    assert_eq!(submit("k1").await.unwrap().id, first.id);
    assert_eq!(platform.size(), before);
    assert_ne!(submit("k2").await.unwrap().id, first.id);
    let other = single(&module).with("labels", json!({"a": "b"})).0;
    let conflict = requester.client.submit_task(&other, Some("k1"));
    platform
        .refused(conflict, 422, "idempotency-conflict")
        .await;
    let bad = requester.client.submit_task(&definition, Some("no spaces"));
    platform.refused(bad, 400, "idempotency-key-invalid").await;
    // Another account's keys are its own.
    let neighbour = platform.account("neighbour").await;
    let push = neighbour.client.push_module("test", crate::support::MODULE);
    push.await.unwrap();
    let theirs = neighbour
        .client
        .submit_task(&definition, Some("k1"))
        .await
        .unwrap();
    assert_ne!(theirs.id, first.id);
    // The original outcome is found in the log as well, after a restart.
    let platform = platform.restart().await;
    let client = platform.client(&requester.key);
    let before = platform.size();
    assert_eq!(
        client
            .submit_task(&definition, Some("k1"))
            .await
            .unwrap()
            .id,
        first.id
    );
    assert_eq!(platform.size(), before);
}

#[tokio::test]
async fn tasks_are_listed_newest_first_in_pages() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let labels = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        let task = single(&module).with("labels", labels);
        ids.push(task.submit(&requester.client).await.id);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    ids.reverse();
    let list =
        |client: Client, filter: TaskFilter| async move { client.tasks(&filter).await.unwrap() };
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let filter = TaskFilter {
            limit: Some(3),
            after,
            ..TaskFilter::default()
        };
        let page = list(requester.client.clone(), filter).await;
        seen.extend(page.tasks.into_iter().map(|t| t.id));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (ids.clone(), 3));
    requester.client.cancel_task(&ids[0]).await.unwrap();
    let count = |filter: TaskFilter| {
        let client = requester.client.clone();
        async move { client.tasks(&filter).await.unwrap().tasks.len() }
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        count(TaskFilter {
            state: some("cancelled"),
            ..TaskFilter::default()
        })
        .await,
        1
    );
    assert_eq!(
        count(TaskFilter {
            label: some("parity=odd"),
            ..TaskFilter::default()
        })
        .await,
        3
    );
    assert_eq!(
        count(TaskFilter {
            kind: some("training"),
            ..TaskFilter::default()
        })
        .await,
        0
    );
    let stranger = platform.account("stranger").await;
    assert!(
        list(stranger.client, TaskFilter::default())
            .await
            .tasks
            .is_empty()
    );
    let all = TaskFilter {
        all_accounts: true,
        ..TaskFilter::default()
    };
    assert_eq!(list(platform.admin.clone(), all).await.tasks.len(), 7);
}

#[tokio::test]
async fn a_waiting_task_says_why_and_a_cancelled_one_gives_the_money_back() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let gpu = json!({"gpu": {}});
    let task = single(&module)
        .with("qos", gpu)
        .submit(&requester.client)
        .await;
    let waiting = || async { requester.client.task(&task.id).await.unwrap().waiting };
    assert_eq!(
        (waiting().await[0].reason.as_str(), waiting().await[0].nodes),
        ("offline", 1)
    );
    node.appear().await;
    assert_eq!(waiting().await[0].reason, "no-gpu");
    let before = requester.client.account().await.unwrap().available;
    let closed = requester.client.cancel_task(&task.id).await.unwrap();
    assert_eq!(
        (closed.state.as_str(), closed.fee.as_str()),
        ("cancelled", "0")
    );
    assert_eq!(closed.refund, task.escrow);
    let after: u64 = requester
        .client
        .account()
        .await
        .unwrap()
        .available
        .parse()
        .unwrap();
    assert_eq!(
        after,
        before.parse::<u64>().unwrap() + task.escrow.parse::<u64>().unwrap()
    );
    platform
        .refused(requester.client.cancel_task(&task.id), 409, "task-ended")
        .await;
    let view = requester.client.task(&task.id).await.unwrap();
    assert_eq!(view.detail.as_deref(), Some("cancelled by the requester"));
    assert_eq!(
        view.definition["data"][0]["from"]["blob"],
        aevir_wire::digest(b"0 1 2 3")
    );
    platform.check_replay().await;
}

#[tokio::test]
async fn a_task_without_nodes_expires_at_its_deadline() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(1_500);
    let millis = soon
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    let deadline = aevir_events::Timestamp(millis).to_string();
    let task = single(&module).with("qos", json!({"deadline": deadline}));
    let task = task.submit(&requester.client).await;
    let ended = crate::support::node::until(&requester.client, &task.id, "expired").await;
    assert_eq!(ended.settlement.unwrap().refund, task.escrow);
}

//! Another account's objects do not exist.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

#[tokio::test]
async fn another_accounts_objects_do_not_exist() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let stranger = platform.account("stranger").await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await.id;
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task, "settled").await;
    let key = Some(stranger.key.as_str());
    for (method, path) in [
        (Method::GET, format!("/v1/tasks/{task}")),
        (Method::GET, format!("/v1/tasks/{task}/result")),
        (Method::GET, format!("/v1/tasks/{task}/outputs/answer")),
        (Method::GET, format!("/v1/tasks/{task}/events")),
        (Method::GET, format!("/v1/tasks/{task}/log")),
        (Method::POST, format!("/v1/tasks/{task}/cancel")),
        (Method::GET, "/v1/tasks/nonsense".into()),
    ] {
        platform
            .refuse((method, &path), key, "", (404, "unknown-task"))
            .await;
    }
    let foreign_module = single(&module);
    let submitted = stranger.client.submit_task(&foreign_module.0, None);
    platform.refused(submitted, 404, "unknown-module").await;
    let push = stranger.client.push_module("test", crate::support::MODULE);
    push.await.unwrap();
    let dependent = single(&module).with("depends_on", json!([{"task": task}]));
    platform
        .refused(
            stranger.client.submit_task(&dependent.0, None),
            404,
            "unknown-task",
        )
        .await;
    let output = aevir_wire::digest(b"42");
    platform
        .refused(stranger.client.blob(&output), 404, "unknown-blob")
        .await;
    assert_eq!(
        requester.client.blob(&output).await.unwrap(),
        "42",
        "a result is its requester's"
    );
    // An auditor sees what everybody did, but does not act for anybody.
    assert_eq!(platform.admin.task(&task).await.unwrap().state, "settled");
    platform
        .refused(platform.admin.cancel_task(&task), 404, "unknown-task")
        .await;
    let result = platform.admin.task_result(&task);
    platform.refused(result, 404, "unknown-task").await;
    // A node's key is for the node's protocol.
    let filter = aevir_wire::TaskFilter::default();
    platform
        .refused(node.client.tasks(&filter), 403, "scope-missing")
        .await;
}

//! Judging uploads: what is known is not judged again, what is refused anyhow is refused first, and nobody has more than his part of it.

use aevir_wire::{ClientError, Subject, Suspend};
use reqwest::Method;

use crate::support::{Account, TestPlatform};

/// What a refused push is told.
async fn refused(account: &Account, wasm: &'static str) -> (String, String) {
    match account.client.push_module("m", wasm).await {
        Err(ClientError::Problem(problem)) => (problem.code, problem.detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_known_is_not_judged_again() {
    let platform = TestPlatform::start().await;
    let first = platform.account("first").await;
    let second = platform.account("second").await;
    let known = refused(&first, "endless module").await;
    assert_eq!(known.0, "module-too-complex");
    assert_eq!(refused(&first, "endless module").await, known);
    assert_eq!(
        refused(&second, "endless module").await,
        known,
        "whoever brings it"
    );
    assert_ne!(refused(&second, "endless module 2").await, known);
    // What was measured is measured again: another time the module may stay within the bound.
    let heavy = refused(&first, "heavy module").await;
    assert_eq!(heavy.0, "module-too-complex");
    assert_ne!(refused(&first, "heavy module").await, heavy);
    // What the server could not do it tries again.
    let not_judged = refused(&first, "unlucky module").await;
    assert_ne!(refused(&first, "unlucky module").await, not_judged);
    // What another account registered is known, and so is what an upload becomes.
    let program = first
        .client
        .push_module("p", "program module")
        .await
        .unwrap();
    let same = second
        .client
        .push_module("p", "program module")
        .await
        .unwrap();
    assert_eq!(
        (same.imports, same.compile_mib),
        (program.imports.clone(), 320)
    );
    let third = platform.account("third").await;
    let component = third.client.push_module("p", "task module").await.unwrap();
    assert_eq!(component.imports, program.imports);
}

#[tokio::test]
async fn what_is_refused_anyhow_is_not_judged() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let (_, one) = refused(&account, "endless module").await;
    platform
        .refused(
            account.client.push_module("", "task module"),
            422,
            "name-invalid",
        )
        .await;
    let subject = Subject::Account(account.id.clone());
    let reason = "under inquiry".into();
    platform
        .admin
        .suspend(&Suspend { subject, reason })
        .await
        .unwrap();
    platform
        .refused(
            account.client.push_module("m", "task module"),
            403,
            "account-suspended",
        )
        .await;
    let other = platform.account("b").await;
    let (_, two) = refused(&other, "endless module 2").await;
    assert_eq!(
        (one.as_str(), two.as_str()),
        ("refused after 0 others", "refused after 1 others")
    );
}

#[tokio::test]
async fn an_account_has_so_much_processor_time() {
    let platform = TestPlatform::start().await;
    let heavy = platform.account("heavy").await;
    let slow = heavy
        .client
        .push_module("slow", "task module, slow")
        .await
        .unwrap();
    let path = "/v1/modules?name=m";
    let (status, headers, body) = platform
        .raw(Method::POST, path, Some(&heavy.key), "task module 2")
        .await;
    assert_eq!(status, 429);
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("judging-quota") && body.contains("600 s of processor time"),
        "{body}"
    );
    // 100 s too many, of which 600 s an hour come back.
    let after_s: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((590..=601).contains(&after_s), "{after_s}");
    // What is known costs nothing, and others are not concerned.
    assert_eq!(
        heavy
            .client
            .push_module("again", "task module, slow")
            .await
            .unwrap(),
        slow
    );
    let light = platform.account("light").await;
    light
        .client
        .push_module("m", "task module 2")
        .await
        .unwrap();
    heavy
        .client
        .push_module("m", "task module 2")
        .await
        .unwrap();
    platform.check_replay().await;
}

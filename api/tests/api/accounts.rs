//! Accounts, keys, deposits, join tokens, points, policy.

use std::path::Path;

use aevir_wire::{AddKey, Deposit, IssueJoinToken, NodeFilter, OpenAccount};
use reqwest::Method;

use crate::support::{FUNDS, FakeNode, TestPlatform};

#[tokio::test]
async fn a_first_start_sets_the_platform_up_once() {
    let platform = TestPlatform::start().await;
    let operator = platform.admin.account().await.unwrap();
    assert_eq!(operator.name, "operator");
    let file = std::fs::metadata(platform.dir().join("admin.key")).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let before = platform.size();
    let platform = platform.restart().await;
    assert_eq!(platform.size(), before, "a second start adds nothing");
    assert_eq!(platform.admin.account().await.unwrap(), operator);
    assert_eq!(platform.admin.policy().await.unwrap().version, 1);
}

#[tokio::test]
async fn an_interrupted_first_start_is_finished_by_the_next() {
    // The key's file is there, but nothing was recorded: the key must be the one in the file.
    let platform = TestPlatform::start().await;
    let key = std::fs::read_to_string(platform.dir().join("admin.key")).unwrap();
    let unrecorded = async |dir: &Path| {
        for name in [
            "log.sqlite",
            "log.sqlite-wal",
            "log.sqlite-shm",
            "log/checkpoint",
        ] {
            let _ = std::fs::remove_file(dir.join(name));
        }
        let _ = std::fs::remove_dir_all(dir.join("log/tile"));
    };
    let platform = platform.restart_with(unrecorded).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(platform.dir().join("admin.key")).unwrap(),
        key
    );
    assert_eq!(platform.admin.account().await.unwrap().name, "operator");
}

#[tokio::test]
async fn deposits_are_booked_once() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    assert_eq!(account.client.account().await.unwrap().available, FUNDS);
    let deposit = |amount: &str, reference: &str| Deposit {
        amount: amount.into(),
        reference: reference.into(),
    };
    let again = deposit(FUNDS, "funds of a");
    let repeated = platform.admin.deposit(&account.id, &again).await.unwrap();
    assert_eq!(
        repeated.available, FUNDS,
        "a repeat answers the original outcome"
    );
    let other = serde_json::to_vec(&deposit("5", "funds of a")).unwrap();
    let key = std::fs::read_to_string(platform.dir().join("admin.key")).unwrap();
    let path = format!("/v1/accounts/{}/deposits", account.id);
    let (admin, put) = (Some(key.trim()), (Method::POST, path.as_str()));
    platform
        .refuse(put.clone(), admin, other, (409, "reference-used"))
        .await;
    for (amount, status, code) in [
        ("0", 422, "amount-not-positive"),
        ("-1", 422, "amount-not-positive"),
        ("1.5", 422, "field-invalid"),
        ("9223372036854775807", 422, "amount-too-large"),
    ] {
        let body = serde_json::to_vec(&deposit(amount, amount)).unwrap();
        platform
            .refuse(put.clone(), admin, body, (status, code))
            .await;
    }
    let gift = deposit("1", "x");
    let nobody = platform.admin.deposit("01J00000000000000000000000", &gift);
    platform.refused(nobody, 404, "unknown-account").await;
    let nobody = platform.admin.deposit("nobody", &gift);
    platform.refused(nobody, 404, "unknown-account").await;
    let self_service = account.client.deposit(&account.id, &gift);
    platform.refused(self_service, 403, "scope-missing").await;
}

#[tokio::test]
async fn keys_give_no_more_than_they_have_and_end_when_revoked() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let request = |scopes: &[&str]| AddKey {
        label: "ci".into(),
        scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
    };
    let added = account
        .client
        .add_key(&request(&["read", "tasks:write"]))
        .await
        .unwrap();
    let limited = platform.client(&added.key);
    assert_eq!(limited.account().await.unwrap().account, account.id);
    platform
        .refused(limited.add_key(&request(&["read"])), 403, "scope-missing")
        .await;
    for scopes in [&["admin"][..], &["node"], &["surprise"]] {
        let problem = platform
            .refused(
                account.client.add_key(&request(scopes)),
                422,
                "scope-invalid",
            )
            .await;
        assert_eq!(problem.pointer.as_deref(), Some("/scopes/0"));
    }
    platform
        .refused(account.client.add_key(&request(&[])), 422, "scopes-missing")
        .await;
    assert_eq!(account.client.keys(None).await.unwrap().keys.len(), 2);

    account.client.revoke_key(&added.id).await.unwrap();
    platform
        .refused(limited.account(), 401, "unauthenticated")
        .await;
    platform
        .refused(account.client.revoke_key(&added.id), 404, "unknown-key")
        .await;
    let foreign = platform.account("b").await;
    let own = &account.client.keys(None).await.unwrap().keys;
    let own = own.iter().find(|k| !k.revoked).unwrap();
    platform
        .refused(foreign.client.revoke_key(&own.id), 404, "unknown-key")
        .await;
}

#[tokio::test]
async fn only_a_valid_key_opens_a_door() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let get = (Method::GET, "/v1/account");
    platform
        .refuse(get.clone(), None, "", (401, "unauthenticated"))
        .await;
    platform
        .refuse(
            get.clone(),
            Some("aevk_wrong"),
            "",
            (401, "unauthenticated"),
        )
        .await;
    let (_, headers, _) = platform.raw(Method::GET, "/v1/account", None, "").await;
    assert_eq!(headers["www-authenticate"], "Bearer");
    for path in [
        "/v1/accounts",
        "/v1/ledger",
        "/v1/events",
        "/v1/log/head",
        "/v1/tasks?all=true",
    ] {
        platform
            .refuse(
                (Method::GET, path),
                Some(&account.key),
                "",
                (403, "scope-missing"),
            )
            .await;
    }
    let open = OpenAccount {
        name: "c".into(),
        scopes: None,
    };
    platform
        .refused(account.client.open_account(&open), 403, "scope-missing")
        .await;
    let ask = aevir_wire::Ask::default();
    platform
        .refused(account.client.lease(&ask), 403, "not-a-node")
        .await;
    for path in ["/health", "/ready", "/v1/version", "/openapi.json"] {
        let (status, ..) = platform.raw(Method::GET, path, None, "").await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_operator_sees_all_accounts_and_others_their_own_points() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let page = platform.admin.accounts(None).await.unwrap();
    let names: Vec<_> = page.accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["operator", "a"]);
    assert_eq!(page.next, None);
    let rest = platform
        .admin
        .accounts(Some(&page.accounts[0].account))
        .await
        .unwrap();
    assert_eq!(rest.accounts.len(), 1);
    let own = account.client.points(None, None).await.unwrap().accounts;
    assert_eq!(own.len(), 1);
    assert_eq!(
        (own[0].account.as_str(), own[0].total.as_str()),
        (account.id.as_str(), "0")
    );
    let ledger = platform.admin.ledger().await.unwrap();
    assert_eq!(ledger.sum, "0");
    assert_eq!(ledger.balances["external"], format!("-{FUNDS}"));
}

#[tokio::test]
async fn a_join_token_serves_one_node_for_its_time() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let request = |token: &str| aevir_wire::RegisterNode {
        token: token.into(),
        public_key: hex::encode(rand::random::<[u8; 32]>()),
        key_hash: aevir_wire::Secret::new_key().hash(),
        profile: crate::support::node::profile("n"),
    };
    let anyone = aevir_wire::Client::new(&platform.server.url(), None).unwrap();
    let token = owner
        .client
        .issue_join_token(&IssueJoinToken::default())
        .await
        .unwrap();
    anyone.register_node(&request(&token.token)).await.unwrap();
    let second = request(&token.token);
    platform
        .refused(anyone.register_node(&second), 403, "join-token-unknown")
        .await;
    let short = owner
        .client
        .issue_join_token(&IssueJoinToken { ttl_s: Some(1) })
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let late = request(&short.token);
    platform
        .refused(anyone.register_node(&late), 403, "join-token-expired")
        .await;
    for ttl_s in [0, u32::MAX] {
        let issue = IssueJoinToken { ttl_s: Some(ttl_s) };
        let refused = owner.client.issue_join_token(&issue);
        let problem = platform.refused(refused, 422, "field-invalid").await;
        assert_eq!(problem.pointer.as_deref(), Some("/ttl_s"));
    }
    let token = owner
        .client
        .issue_join_token(&IssueJoinToken::default())
        .await
        .unwrap();
    let mut bad = request(&token.token);
    bad.profile.slots = 0;
    platform
        .refused(anyone.register_node(&bad), 422, "node-profile-invalid")
        .await;
    bad.profile.slots = 1;
    bad.public_key = "zz".into();
    let problem = platform
        .refused(anyone.register_node(&bad), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/public_key"));
}

#[tokio::test]
async fn nodes_are_seen_by_their_owner_and_the_operator() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let stranger = platform.account("stranger").await;
    let node = FakeNode::join(&platform.server.url(), &owner.client, "n").await;
    assert_eq!(
        owner.client.node(&node.id).await.unwrap().availability,
        "offline"
    );
    node.appear().await;
    let seen = owner.client.node(&node.id).await.unwrap();
    assert_eq!(
        (seen.availability.as_str(), seen.profile.name.as_str()),
        ("online", "n")
    );
    platform.level().await;
    assert_eq!(
        platform
            .admin
            .nodes(&NodeFilter::default())
            .await
            .unwrap()
            .nodes,
        [seen]
    );
    assert!(
        stranger
            .client
            .nodes(&NodeFilter::default())
            .await
            .unwrap()
            .nodes
            .is_empty()
    );
    platform
        .refused(stranger.client.node(&node.id), 404, "unknown-node")
        .await;
    platform
        .refused(stranger.client.node("x"), 404, "unknown-node")
        .await;
    let keys = owner.client.keys(None).await.unwrap().keys;
    assert!(
        keys.iter()
            .any(|k| k.node.as_deref() == Some(node.id.as_str()))
    );
}

#[tokio::test]
async fn a_silent_node_goes_offline_and_comes_back() {
    let policy = |p: &mut aevir_platform::policy::Policy| p.offline_ms = 1_000;
    let platform = TestPlatform::builder().policy(policy).start().await;
    let node = platform.node("n").await;
    node.appear().await;
    let state = || async { node.owner.node(&node.id).await.unwrap().availability };
    assert_eq!(state().await, "online");
    let silent = async {
        while state().await != "offline" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), silent)
        .await
        .unwrap();
    // A long poll shows life for as long as it is open.
    let ask = aevir_wire::Ask {
        max: 1,
        wait_ms: 2_500,
        ..aevir_wire::Ask::default()
    };
    let poll = node.client.lease(&ask);
    let look = async {
        tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
        state().await
    };
    let (polled, seen) = tokio::join!(poll, look);
    assert!(polled.unwrap().leases.is_empty());
    assert_eq!(seen, "online");
}

#[tokio::test]
async fn a_policy_is_adopted_by_the_operator_alone() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let mut policy = account.client.policy().await.unwrap().policy;
    policy.attempt_fee = "2000".into();
    let adopted = platform.admin.adopt_policy(&policy).await.unwrap();
    assert_eq!((adopted.version, &adopted.policy), (2, &policy));
    platform
        .refused(account.client.adopt_policy(&policy), 403, "scope-missing")
        .await;
    policy.content_share_ppm = 2_000_000;
    platform
        .refused(platform.admin.adopt_policy(&policy), 422, "policy-invalid")
        .await;
    policy.attempt_fee = "two".into();
    let problem = platform
        .refused(platform.admin.adopt_policy(&policy), 422, "field-invalid")
        .await;
    assert_eq!(problem.pointer.as_deref(), Some("/attempt_fee"));
}

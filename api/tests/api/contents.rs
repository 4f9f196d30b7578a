//! Contents with a price, an access list and contributors.

use aevir_wire::{Access, Artifact, Client, Content, ContentTerms, Contributor, RegisterContent};
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

/// A dataset of one file with these bytes.
async fn request(client: &Client, bytes: &'static str) -> RegisterContent {
    let blob = client.put_blob(bytes.as_bytes()).await.unwrap();
    RegisterContent {
        kind: "dataset".into(),
        name: bytes.into(),
        version: "1".into(),
        files: vec![Artifact {
            name: "data.csv".into(),
            digest: blob.digest,
            size: blob.size,
        }],
        licence: "CC-BY-4.0".into(),
        weight: 1,
        price: "500000".into(),
        access: Access::Everybody,
        contributors: Vec::new(),
    }
}

async fn catalogue(client: &Client) -> Vec<Content> {
    client
        .contents(None, None, None, None)
        .await
        .unwrap()
        .contents
}

#[tokio::test]
async fn a_use_is_quoted_locked_and_paid() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let [owner, ann] = [
        platform.account("owner").await,
        platform.account("ann").await,
    ];
    let mut offered = request(&owner.client, "1,2,3").await;
    offered.contributors = vec![
        Contributor {
            account: ann.id.clone(),
            weight: 2,
        },
        Contributor {
            account: owner.id.clone(),
            weight: 1,
        },
    ];
    let content = owner.client.register_content(&offered).await.unwrap();
    assert_eq!(content.contributors, offered.contributors);
    let mut definition = single(&module);
    definition.0["data"] = json!([{"name": "set", "from": {"content": {"id": content.id}}}]);
    let before = |account: aevir_wire::Account| account.available.parse::<i64>().unwrap();
    let had = before(ann.client.account().await.unwrap());
    let plain = requester
        .client
        .quote_task(&single(&module).0)
        .await
        .unwrap();
    let quote = requester.client.quote_task(&definition.0).await.unwrap();
    assert_eq!(quote.prices[0].content, content.id);
    assert_eq!(quote.prices[0].price, "500000");
    let escrow: i64 = quote.escrow.parse().unwrap();
    assert!(escrow >= plain.escrow.parse::<i64>().unwrap() + 500_000);
    // What the quote says is what the submission takes: no use is paid more than that, whatever the budget leaves.
    definition.0["economics"]["contents_max"] = json!("499999");
    let submitting = requester.client.submit_task(&definition.0, None);
    platform.refused(submitting, 409, "contents-too-dear").await;
    assert_eq!(quote.contents_max.as_deref(), Some("500000"));
    assert_eq!(plain.contents_max, None);
    definition.0["economics"]["contents_max"] = json!(quote.contents_max);
    let node = platform.node("n").await;
    let task = definition.submit(&requester.client).await.id;
    node.work(&Outcome::of(json!(1))).await;
    let settled = until(&requester.client, &task, "settled").await;
    assert_eq!(
        (&settled.escrow, &settled.prices),
        (&quote.escrow, &quote.prices)
    );
    let settlement = settled.settlement.unwrap();
    let shares: Vec<_> = settlement
        .shares
        .iter()
        .filter(|share| share.role == "content")
        .collect();
    assert_eq!(shares.len(), 2);
    assert_eq!(shares[0].account.as_deref(), Some(ann.id.as_str()));
    let paid: i64 = shares[0].amount.parse().unwrap();
    assert!(paid > 333_333, "two thirds of the price, and of the pool");
    assert_eq!(before(ann.client.account().await.unwrap()), had + paid);
    platform.check_replay().await;
}

#[tokio::test]
async fn a_content_is_there_for_those_on_its_list() {
    let platform = TestPlatform::start().await;
    let (stranger, module) = platform.requester().await;
    let [owner, friend] = [
        platform.account("owner").await,
        platform.account("friend").await,
    ];
    let mut offered = request(&owner.client, "1,2,3").await;
    offered.access = Access::Accounts(vec![friend.id.clone()]);
    let content = owner.client.register_content(&offered).await.unwrap();
    assert_eq!(content.access, Some(offered.access.clone()));
    platform.level().await;
    assert_eq!(
        catalogue(&owner.client).await,
        std::slice::from_ref(&content)
    );
    // Who else is on the list is its owner's business.
    let seen = Content {
        access: None,
        ..content.clone()
    };
    assert_eq!(catalogue(&friend.client).await, std::slice::from_ref(&seen));
    assert_eq!(friend.client.content(&content.id).await.unwrap(), seen);
    assert!(catalogue(&stranger.client).await.is_empty());
    let mut definition = single(&module);
    definition.0["data"] = json!([{"name": "set", "from": {"content": {"id": content.id}}}]);
    for _ in 0..2 {
        platform
            .refused(stranger.client.content(&content.id), 404, "unknown-content")
            .await;
        platform
            .refused(
                stranger.client.submit_task(&definition.0, None),
                404,
                "unknown-content",
            )
            .await;
        platform
            .refused(
                stranger.client.quote_task(&definition.0),
                404,
                "unknown-content",
            )
            .await;
        // Not for the bytes either, which are nobody's but their uploader's and the nodes'.
        let digest = &content.files[0].digest;
        for client in [&stranger.client, &friend.client] {
            let bytes = client.blob(digest);
            platform.refused(bytes, 404, "unknown-blob").await;
        }
        let terms = ContentTerms {
            price: "1".into(),
            access: Access::Everybody,
        };
        for client in [&stranger.client, &friend.client] {
            let change = client.change_content_terms(&content.id, &terms);
            platform.refused(change, 404, "unknown-content").await;
        }
        // The second time nobody is on the list.
        let nobody = ContentTerms {
            price: "7".into(),
            access: Access::Accounts(Vec::new()),
        };
        owner
            .client
            .change_content_terms(&content.id, &nobody)
            .await
            .unwrap();
    }
    platform.level().await;
    assert!(catalogue(&friend.client).await.is_empty());
    let open = ContentTerms {
        price: "7".into(),
        access: Access::Everybody,
    };
    let opened = owner.client.change_content_terms(&content.id, &open);
    assert_eq!(opened.await.unwrap().price, "7");
    platform.level().await;
    assert_eq!(catalogue(&stranger.client).await[0].price, "7");
    stranger
        .client
        .submit_task(&definition.0, None)
        .await
        .unwrap();
    platform.check_replay().await;
}

#[tokio::test]
async fn licences_are_spdx_expressions_or_digests() {
    let platform = TestPlatform::start().await;
    let owner = platform.account("owner").await;
    let good = request(&owner.client, "1,2,3").await;
    let digest = format!("sha256:{}", good.files[0].digest);
    let licences = ["MIT OR Apache-2.0", "LicenseRef-house-rules", &digest];
    for (n, licence) in licences.into_iter().enumerate() {
        let mut request = good.clone();
        request.version = n.to_string();
        request.licence = licence.into();
        let content = owner.client.register_content(&request).await.unwrap();
        assert_eq!(content.licence, licence);
    }
    for licence in ["free for all", "MIT OR", "sha256:12", ""] {
        let mut request = good.clone();
        request.licence = licence.into();
        let refused = owner.client.register_content(&request);
        let problem = platform.refused(refused, 422, "field-invalid").await;
        assert_eq!(problem.pointer.as_deref(), Some("/licence"));
    }
    for (field, value) in [("price", json!("dear")), ("access", json!("friends"))] {
        let mut body = serde_json::to_value(&good).unwrap();
        body[field] = value;
        let problem = platform
            .refuse(
                (reqwest::Method::POST, "/v1/contents"),
                Some(&owner.key),
                body.to_string(),
                (422, "field-invalid"),
            )
            .await;
        assert_eq!(problem.pointer, Some(format!("/{field}")));
    }
}

#[tokio::test]
async fn a_copy_is_refused() {
    let platform = TestPlatform::start().await;
    let [first, second] = [
        platform.account("first").await,
        platform.account("second").await,
    ];
    let original = request(&first.client, "1,2,3").await;
    first.client.register_content(&original).await.unwrap();
    let copy = request(&second.client, "1,2,3").await;
    platform
        .refused(second.client.register_content(&copy), 409, "content-known")
        .await;
}

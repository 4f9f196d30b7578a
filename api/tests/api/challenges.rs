//! A node shows how fast its GPU is: what it computed, what it did not, and what came too late.

use std::time::Duration;

use aevir_wire::{
    Ask, Challenge, ChallengeOpenings, ChallengeRoot, ChangeProfile, GpuProfile, NodeCompute, Tree,
    Work,
};
use serde_json::Value;

use crate::support::{FakeNode, TestPlatform, node::profile};

/// A node that says it has a GPU of a class.
async fn claiming(platform: &TestPlatform, class: u8) -> FakeNode {
    let node = platform.node("n").await;
    claim(&node, class).await;
    node
}

async fn claim(node: &FakeNode, class: u8) {
    let mut profile = profile("n");
    profile.gpu = Some(GpuProfile {
        adapter: "a card".into(),
        class: "class-a".into(),
        memory_mib: 1_024,
        buffer_mib: None,
        features: Vec::new(),
        software: false,
        compute: Some(class),
    });
    let change = ChangeProfile { profile };
    node.client.change_profile(&change).await.unwrap();
}

/// What the node is asked, where it heard of one challenge last.
async fn asked(node: &FakeNode, heard: Option<&Challenge>) -> Option<Challenge> {
    let ask = Ask {
        challenge: heard.map(|challenge| challenge.id.clone()),
        ..Ask::default()
    };
    node.client.lease(&ask).await.unwrap().challenge
}

fn work(challenge: &Challenge) -> Work {
    Work {
        seed: hex::decode(&challenge.seed).unwrap().try_into().unwrap(),
        dispatches: challenge.dispatches,
        starts: challenge.starts,
    }
}

/// Sends the root over some values, and opens those that are drawn.
async fn answer(node: &FakeNode, challenge: &Challenge, values: &[u8]) -> Tree {
    let tree = Tree::of(values);
    let root = ChallengeRoot {
        root: hex::encode(tree.root()),
    };
    let drawn = node.client.challenge_root(&challenge.id, &root).await;
    let indices = drawn.unwrap().indices;
    let openings = indices.iter().map(|i| tree.open(values, *i).unwrap());
    let openings = ChallengeOpenings {
        openings: openings.collect(),
    };
    for _ in 0..2 {
        // The answer may have got lost.
        let opened = node.client.challenge_openings(&challenge.id, &openings);
        opened.await.unwrap();
    }
    tree
}

/// All values, on a few threads.
fn computed(work: Work) -> Vec<u8> {
    let values = work.values();
    let part = values / 4;
    std::thread::scope(|scope| {
        let parts = (0..4).map(|n| {
            let of_part = n * part..(n + 1) * part;
            let compute = move || of_part.flat_map(move |i| work.value(i, false).to_le_bytes());
            scope.spawn(move || compute().collect::<Vec<u8>>())
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

async fn shown(platform: &TestPlatform, node: &FakeNode) -> NodeCompute {
    let of_state = platform.admin.node(&node.id).await.unwrap().compute;
    platform.level().await;
    let list = platform.admin.nodes(&Default::default()).await.unwrap();
    let of_view = list.nodes.into_iter().find(|listed| listed.id == node.id);
    assert_eq!(of_state, of_view.unwrap().compute);
    of_state.unwrap()
}

async fn checks(platform: &TestPlatform) -> Vec<Value> {
    let entries = platform.entries(0).await.into_iter();
    entries
        .filter(|entry| entry["type"] == "node.compute_checked")
        .collect()
}

/// What the first check showed, once it is recorded.
async fn first_check(platform: &TestPlatform) -> Value {
    let recorded = async {
        loop {
            if let Some(check) = checks(platform).await.first() {
                return check["data"].clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, recorded)
        .await
        .expect("it is recorded")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_computed_counts() {
    let platform = TestPlatform::start().await;
    let node = claiming(&platform, 1).await;
    let before = shown(&platform, &node).await;
    assert_eq!(
        (before.counted, before.shown, before.checks),
        (Some(1), None, 0)
    );
    let challenge = asked(&node, None).await.unwrap();
    assert_eq!(
        asked(&node, None).await.as_ref(),
        Some(&challenge),
        "told again"
    );
    assert_eq!(asked(&node, Some(&challenge)).await, None, "heard");
    let values = tokio::task::spawn_blocking({
        let work = work(&challenge);
        move || computed(work)
    });
    answer(&node, &challenge, &values.await.unwrap()).await;
    let found = shown(&platform, &node).await;
    assert_eq!((found.checks, found.wrong), (1, false));
    assert!(found.shown_mflop_s.parse::<u64>().unwrap() > 0, "{found:?}");
    let recorded = checks(&platform).await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["data"]["outcome"], "shown");
    assert_eq!(recorded[0]["data"]["flops"], "2147483648");
    assert_eq!(recorded[0]["data"]["seed"], challenge.seed);
    // The next one comes at a time that nobody knows.
    assert_eq!(asked(&node, Some(&challenge)).await, None);
    // It was not of this class.
    claim(&node, 2).await;
    let next = asked(&node, Some(&challenge)).await.unwrap();
    assert_eq!((next.dispatches, next.starts), (4, 4));
}

#[tokio::test]
async fn who_did_not_compute_them_is_found() {
    let platform = TestPlatform::start().await;
    let node = claiming(&platform, 1).await;
    let challenge = asked(&node, None).await.unwrap();
    let nothing = vec![0; work(&challenge).values() as usize * 4];
    answer(&node, &challenge, &nothing).await;
    let found = shown(&platform, &node).await;
    assert_eq!((found.checks, found.wrong, found.counted), (1, true, None));
    assert!(found.slower_than_claimed);
    assert_eq!(checks(&platform).await[0]["data"]["outcome"], "wrong");
}

#[tokio::test]
async fn what_stands_under_another_root_is_wrong_and_a_root_is_not_replaced() {
    let platform = TestPlatform::start().await;
    let node = claiming(&platform, 1).await;
    let challenge = asked(&node, None).await.unwrap();
    let client = &node.client;
    let root = |byte: &str| ChallengeRoot {
        root: byte.repeat(32),
    };
    let openings = ChallengeOpenings {
        openings: Vec::new(),
    };
    let (unknown, id) = ("unknown-challenge", challenge.id.as_str());
    let early = client.challenge_openings(id, &openings);
    platform.refused(early, 404, unknown).await;
    let bad = root("z");
    let bad = client.challenge_root(id, &bad);
    platform.refused(bad, 422, "field-invalid").await;
    let (one, two) = (root("01"), root("02"));
    let drawn = client.challenge_root(id, &one).await;
    let again = client.challenge_root(id, &one).await;
    assert_eq!(drawn.unwrap(), again.unwrap());
    let other = client.challenge_root(id, &two);
    platform.refused(other, 409, "challenge-answered").await;
    let stranger = platform.node("a stranger").await;
    let foreign = stranger.client.challenge_root(id, &one);
    platform.refused(foreign, 404, unknown).await;
    client.challenge_openings(id, &openings).await.unwrap();
    assert!(shown(&platform, &node).await.wrong, "it opened nothing");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_shows_nothing() {
    let builder = TestPlatform::builder();
    let builder = builder.policy(|policy| policy.scheduling.compute.answer_ms = 1_000);
    let platform = builder.start().await;
    let node = claiming(&platform, 3).await;
    let challenge = asked(&node, None).await.unwrap();
    let entry = first_check(&platform).await;
    let root = ChallengeRoot {
        root: "01".repeat(32),
    };
    let late = node.client.challenge_root(&challenge.id, &root);
    platform.refused(late, 404, "unknown-challenge").await;
    assert_eq!(
        (&entry["outcome"], &entry["class"]),
        (&"silent".into(), &3.into())
    );
    let found = shown(&platform, &node).await;
    assert_eq!((found.counted, found.wrong), (Some(0), false));
}

/// Of the highest class, so that computing one of its values again takes a while.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_its_answer_is_looked_at_is_found_all_the_same() {
    let platform = TestPlatform::start().await;
    let node = claiming(&platform, 10).await;
    let challenge = asked(&node, None).await.unwrap();
    let nothing = vec![0; work(&challenge).values() as usize * 4];
    let tree = Tree::of(&nothing);
    let root = ChallengeRoot {
        root: hex::encode(tree.root()),
    };
    let drawn = node.client.challenge_root(&challenge.id, &root).await;
    let indices = drawn.unwrap().indices.into_iter();
    let openings = ChallengeOpenings {
        openings: indices.map(|i| tree.open(&nothing, i).unwrap()).collect(),
    };
    let taken = async {
        // The root is told until the openings are looked at.
        let root = || node.client.challenge_root(&challenge.id, &root);
        while root().await.is_ok() {}
    };
    let opening = node.client.challenge_openings(&challenge.id, &openings);
    tokio::select! {
        biased;
        _ = opening => {}
        () = taken => {}
    }
    assert_eq!(asked(&node, Some(&challenge)).await, None, "nothing more");
    let check = first_check(&platform).await;
    assert_eq!(check["outcome"], "wrong");
    assert_eq!(shown(&platform, &node).await.counted, None);
}

#[tokio::test]
async fn who_takes_the_gpu_away_while_it_is_asked_has_been_asked() {
    let builder = TestPlatform::builder();
    let builder = builder.policy(|policy| policy.scheduling.compute.answer_ms = 1_000);
    let platform = builder.start().await;
    let node = claiming(&platform, 9).await;
    let challenge = asked(&node, None).await.unwrap();
    let change = ChangeProfile {
        profile: aevir_wire::NodeProfile {
            gpu: None,
            ..profile("n")
        },
    };
    node.client.change_profile(&change).await.unwrap();
    let check = first_check(&platform).await;
    assert_eq!(check["outcome"], "silent");
    claim(&node, 9).await;
    assert_eq!(shown(&platform, &node).await.counted, Some(0));
    assert_eq!(asked(&node, Some(&challenge)).await, None, "it is not new");
}

#[tokio::test]
async fn nobody_is_asked_who_claims_nothing_or_where_the_policy_does_not_want_it() {
    let platform = TestPlatform::start().await;
    let node = claiming(&platform, 0).await;
    assert_eq!(asked(&node, None).await, None, "anything has class 0");
    let builder = TestPlatform::builder();
    let builder = builder.policy(|policy| policy.scheduling.compute.check_ms = 0);
    let platform = builder.start().await;
    let node = claiming(&platform, 3).await;
    assert_eq!(asked(&node, None).await, None);
    assert_eq!(shown(&platform, &node).await.counted, Some(3));
}

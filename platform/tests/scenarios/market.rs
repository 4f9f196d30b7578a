//! Accounts, keys, modules, contents and nodes: what is accepted and what is refused.

use aevir_platform::{
    amount::{Amount, Count},
    command::{
        AddKey, COMPILE_MIB_MIN, Command, ContentKind, OpenAccount, RegisterContent,
        RegisterModule, RegisterNode, Scope, World as ModuleWorld,
    },
    content::Access,
    digest::Digest,
    hexbytes::Hex,
    ids::{AccountId, ContentId, KeyId},
    policy::{PointsPolicy, Policy},
    report::{Artifact, BlobRef},
};
use serde_json::{Value, json};

use crate::world::{World, profile};

/// A dataset of a contributor of its own, with one file `data.csv`.
pub fn dataset(w: &mut World, name: &str, weight: u32) -> ContentId {
    let account = w.account(&format!("contributor of {name}"));
    let digest = Digest::of(name.as_bytes());
    let size = Count(name.len() as u64);
    w.ok(Command::RecordUpload {
        account,
        blob: BlobRef { digest, size },
    });
    w.ok(Command::RegisterContent(content(
        account, name, digest, weight,
    )));
    w.state.content_named(account, name, "1").unwrap()
}

pub fn content(owner: AccountId, name: &str, digest: Digest, weight: u32) -> RegisterContent {
    RegisterContent {
        owner,
        kind: ContentKind::Dataset,
        name: name.into(),
        version: "1".into(),
        files: vec![Artifact {
            name: "data.csv".into(),
            digest,
            size: Count(name.len() as u64),
        }],
        licence: "CC-BY-4.0".into(),
        weight,
        price: Amount::ZERO,
        access: Access::Everybody,
        contributors: Vec::new(),
    }
}

#[test]
fn keys_live_until_they_are_revoked() {
    let mut w = World::new();
    let account = w.account("a");
    let hash = Digest::of(b"secret");
    let add = AddKey {
        account,
        label: "ci".into(),
        hash,
        scopes: vec![Scope::Read],
    };
    w.ok(Command::AddKey(add.clone()));
    let (key, _) = w.state.live_key(hash).unwrap();
    assert_eq!(w.refused(Command::AddKey(add.clone())), "key-in-use");
    assert_eq!(
        w.refused(Command::AddKey(AddKey {
            scopes: vec![],
            ..add.clone()
        })),
        "scopes-missing"
    );
    // Nobody makes more of a key than the account has.
    for scope in [Scope::Admin, Scope::Audit, Scope::Node] {
        let more = AddKey {
            hash: Digest::of(b"another secret"),
            scopes: vec![Scope::Read, scope],
            ..add.clone()
        };
        assert_eq!(w.refused(Command::AddKey(more)), "scope-not-held");
    }
    assert_eq!(
        w.refused(Command::RevokeKey {
            account: w.requester,
            key
        }),
        "unknown-key"
    );
    w.ok(Command::RevokeKey { account, key });
    assert!(w.state.live_key(hash).is_none());
    assert_eq!(
        w.refused(Command::RevokeKey { account, key }),
        "unknown-key"
    );
    assert_eq!(w.refused(Command::AddKey(add)), "key-in-use");
    let nobody = AccountId(ulid::Ulid::from_parts(1, 1));
    let lost = AddKey {
        account: nobody,
        label: "x".into(),
        hash: Digest::of(b"y"),
        scopes: vec![Scope::Read],
    };
    // Who does not exist has no right to anything.
    assert_eq!(w.refused(Command::AddKey(lost)), "not-permitted");
    assert_eq!(
        w.refused(Command::RevokeKey {
            account,
            key: KeyId(ulid::Ulid::nil())
        }),
        "unknown-key"
    );
}

#[test]
fn names_are_short_and_printable() {
    let mut w = World::new();
    for name in ["", " padded", "tab\t", &"x".repeat(65)] {
        let open = OpenAccount {
            name: name.into(),
            key_hash: Digest::of(b"k"),
            scopes: vec![Scope::Read],
        };
        assert_eq!(
            w.refused(Command::OpenAccount(open)),
            "name-invalid",
            "{name:?}"
        );
    }
}

#[test]
fn a_join_token_lets_one_node_in_for_a_while() {
    let mut w = World::new();
    let account = w.account("owner");
    let (token, key) = (Digest::of(b"token"), Digest::of(b"key"));
    let register = |token_hash, public_key: u8, key_hash| {
        let public_key = Hex([public_key; 32]);
        Command::RegisterNode(RegisterNode {
            token_hash,
            public_key,
            key_hash,
            profile: profile("n"),
        })
    };
    assert_eq!(w.refused(register(token, 1, key)), "join-token-unknown");
    let issue = Command::IssueJoinToken {
        account,
        token_hash: token,
        expires: w.now.plus_ms(1_000),
    };
    w.ok(issue.clone());
    assert_eq!(w.refused(issue.clone()), "join-token-in-use");
    w.later(1_001);
    assert_eq!(w.refused(register(token, 1, key)), "join-token-expired");
    w.later(-1_001);
    w.ok(register(token, 1, key));
    assert_eq!(
        w.refused(register(token, 2, Digest::of(b"other"))),
        "join-token-unknown"
    );
    w.ok(issue);
    assert_eq!(
        w.refused(register(token, 1, Digest::of(b"other"))),
        "node-key-in-use"
    );
    assert_eq!(w.refused(register(token, 2, key)), "key-in-use");
    let (_, live) = w.state.live_key(key).unwrap();
    assert_eq!(
        (live.account, live.node),
        (account, w.state.nodes_of(account).next().map(|n| n.id))
    );
}

#[test]
fn contents_need_files_that_their_owner_uploaded() {
    let mut w = World::new();
    let owner = w.account("owner");
    let digest = Digest::of(b"x");
    let good = content(owner, "x", digest, 1);
    assert_eq!(
        w.refused(Command::RegisterContent(good.clone())),
        "unknown-blob"
    );
    w.ok(Command::RecordUpload {
        account: w.requester,
        blob: BlobRef {
            digest,
            size: Count(1),
        },
    });
    assert_eq!(
        w.refused(Command::RegisterContent(good.clone())),
        "unknown-blob",
        "it is somebody else's"
    );
    assert_eq!(
        w.refused(Command::RecordUpload {
            account: owner,
            blob: BlobRef {
                digest,
                size: Count(2)
            }
        }),
        "blob-size-mismatch"
    );
    w.ok(Command::RecordUpload {
        account: owner,
        blob: BlobRef {
            digest,
            size: Count(1),
        },
    });
    for bad in [
        RegisterContent {
            files: vec![],
            ..good.clone()
        },
        RegisterContent {
            weight: 0,
            ..good.clone()
        },
        RegisterContent {
            files: vec![good.files[0].clone(), good.files[0].clone()],
            ..good.clone()
        },
    ] {
        assert_eq!(w.refused(Command::RegisterContent(bad)), "content-invalid");
    }
    w.ok(Command::RegisterContent(good.clone()));
    assert_eq!(w.refused(Command::RegisterContent(good)), "content-exists");
}

#[test]
fn a_definition_is_refused_with_the_pointer_to_its_mistake() {
    let mut w = World::new();
    let sampling = |quorum, replicas, initial| json!({"verification": [{"method": "sampling", "quorum": quorum, "replicas": replicas, "initial": initial}]});
    let rows: Vec<(Value, &str)> = vec![
        (sampling(1, 2, 1), "/verification/0/quorum"),
        (sampling(3, 2, 2), "/verification/0/quorum"),
        (sampling(2, 3, 1), "/verification/0/initial"),
        (sampling(6, 10, 6), "/verification/0/replicas"),
        (
            json!({"verification": [{"method": "check"}]}),
            "/verification/0",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"type": 3}}]}),
            "/verification/0/schema/type",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"$ref": "#"}}]}),
            "/verification/0/schema/$ref",
        ),
        (
            json!({"verification": [{"method": "check", "bounds": [{"metric": "a", "at_least": "1e3"}]}]}),
            "/verification/0/bounds/0/at_least",
        ),
        (
            json!({"verification": [{"method": "check", "bounds": [{"metric": "a"}]}]}),
            "/verification/0/bounds/0/at_least",
        ),
        (
            json!({"data": [{"name": "a/b", "from": {"inline": ""}}]}),
            "/data/0/name",
        ),
        (
            json!({"data": [{"name": "a", "from": {"inline": ""}}, {"name": "a", "from": {"inline": ""}}]}),
            "/data/1/name",
        ),
        (
            json!({"data": [{"name": "a", "from": {"inline": "x".repeat(16_385)}}]}),
            "/data/0/from/inline",
        ),
        (json!({"params": "x".repeat(16_400)}), "/params"),
        (
            json!({"params": {"n": 9_007_199_254_740_992_u64}}),
            "/params",
        ),
        (json!({"params": {"n": 1e17}}), "/params"),
        (
            (0..70).fold(json!(1), |inner, _| json!({"params": inner})),
            "/params",
        ),
        (
            json!({"limits": {"runtime_s": 86_401}}),
            "/limits/runtime_s",
        ),
        (
            json!({"limits": {"fuel": "1000000000000001"}}),
            "/limits/fuel",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"pattern": "(\\pL|\\w){300}"}}]}),
            "/verification/0/schema",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"anyOf": [{"unevaluatedProperties": false}]}}]}),
            "/verification/0/schema/anyOf/0/unevaluatedProperties",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"dependencies": {"x": {"minimun": 1}}}}]}),
            "/verification/0/schema/dependencies",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"pattern": "[ab]*a[ab]{200}c"}}]}),
            "/verification/0/schema",
        ),
        (
            json!({"verification": [{"method": "check", "schema": {"allOf": vec![json!({"pattern": "x"}); 33]}}]}),
            "/verification/0/schema",
        ),
        (json!({"limits": {"fuel": "0"}}), "/limits/fuel"),
        (
            json!({"limits": {"memory_mib": 5_000}}),
            "/limits/memory_mib",
        ),
        (json!({"retry": {"max_attempts": 0}}), "/retry/max_attempts"),
        (
            json!({"qos": {"gpu": {"memory_mib": 0}}}),
            "/qos/gpu/memory_mib",
        ),
        (
            json!({"qos": {"gpu": {"buffer_mib": 4_096}}}),
            "/qos/gpu/buffer_mib",
        ),
        (
            json!({"qos": {"gpu": {"features": ["subgroups", "ray-query"]}}}),
            "/qos/gpu/features/1",
        ),
        (
            json!({"qos": {"gpu": {"features": ["subgroups", "subgroups"]}}}),
            "/qos/gpu/features/1",
        ),
        (
            json!({"privacy": {"publish": {"pointers": ["label"]}}}),
            "/privacy/publish/pointers/0",
        ),
        (
            json!({"model": {"target": {"name": "m", "version": "1", "outputs": [], "licence": "x"}}}),
            "/model/target/outputs",
        ),
        (
            json!({"economics": {"budget": "10", "pricing": {"mode": "fixed", "price": "-1"}}}),
            "/economics/pricing/price",
        ),
    ];
    for (overrides, pointer) in rows {
        let command = w.submission(overrides.clone());
        match w.submit(command) {
            Err(aevir_platform::rejection::Rejection::DefinitionInvalid {
                pointer: at, ..
            }) => {
                assert_eq!(at, pointer, "{overrides}");
            }
            other => panic!("{overrides}: {other:?}"),
        }
    }
}

#[test]
fn what_a_task_names_must_exist_for_its_requester() {
    let mut w = World::new();
    let ghost = ulid::Ulid::from_parts(1, 1).to_string();
    let content = json!({"data": [{"name": "a", "from": {"content": {"id": ghost}}}]});
    assert_eq!(w.refused(w.submission(content)), "unknown-content");
    let blob = json!({"data": [{"name": "a", "from": {"blob": Digest::of(b"q").to_string()}}]});
    assert_eq!(w.refused(w.submission(blob)), "unknown-blob");
    assert_eq!(
        w.refused(w.submission(json!({"depends_on": [{"task": ghost}]}))),
        "unknown-task"
    );
    assert_eq!(
        w.refused(w.submission(json!({"module": Digest::of(b"q").to_string()}))),
        "unknown-module"
    );
    let check = RegisterModule {
        owner: w.requester,
        name: "check".into(),
        blob: BlobRef {
            digest: Digest::of(b"check"),
            size: Count(5),
        },
        world: ModuleWorld::Check,
        imports: vec![],
        compile_mib: COMPILE_MIB_MIN,
        code_mib: 1,
    };
    w.ok(Command::RegisterModule(check.clone()));
    assert_eq!(
        w.refused(Command::RegisterModule(check.clone())),
        "module-exists"
    );
    let other = w.account("with the same bytes");
    w.ok(Command::RegisterModule(RegisterModule {
        owner: other,
        ..check
    }));
    assert_eq!(
        w.refused(w.submission(json!({"module": Digest::of(b"check").to_string()}))),
        "wrong-world"
    );
    let mine = w.task(json!({}));
    let other = w.account("other");
    let theirs = Box::new(w.definition(json!({})));
    let submit = Command::SubmitTask {
        requester: other,
        definition: theirs,
    };
    assert_eq!(w.refused(submit), "unknown-module");
    w.push_module(other);
    assert_eq!(
        w.refused(Command::CancelTask {
            requester: other,
            task: mine
        }),
        "unknown-task"
    );
    let definition = Box::new(w.definition(json!({"depends_on": [{"task": mine.to_string()}]})));
    assert_eq!(
        w.refused(Command::SubmitTask {
            requester: other,
            definition
        }),
        "unknown-task"
    );
}

#[test]
fn inline_inputs_become_blobs_and_stay_out_of_the_log() {
    let mut w = World::new();
    let text = "a private prompt";
    let task = w.task(json!({"data": [{"name": "prompt", "from": {"inline": text}}]}));
    let input = &w.state.tasks[&task].inputs[0];
    assert_eq!(
        (input.digest, input.size),
        (Digest::of(text.as_bytes()), Count(16))
    );
    assert!(w.state.may_read_blob(w.requester, input.digest));
    let shown = w.log.iter().any(|r| {
        aevir_events::Event::to_data(&r.event)
            .to_string()
            .contains(text)
    });
    assert!(!shown);
}

#[test]
fn a_policy_must_make_sense() {
    let mut w = World::new();
    for bad in [
        Policy {
            content_share_ppm: 900_000,
            platform_share_ppm: 200_000,
            ..Policy::default()
        },
        Policy {
            attempt_fee: Amount(-1),
            ..Policy::default()
        },
        Policy {
            lease_ms: 0,
            ..Policy::default()
        },
        // Whose points pass 64 bits in no market that has so much money.
        Policy {
            points: PointsPolicy {
                per_aev_of_platform_share: 1_000_001,
                ..Policy::default().points
            },
            ..Policy::default()
        },
    ] {
        assert_eq!(w.refused(Command::AdoptPolicy(bad)), "policy-invalid");
    }
    w.ok(Command::AdoptPolicy(Policy::default()));
    assert_eq!(w.state.policy().unwrap().0, 2);
}

//! Money, points, signatures and schemas: changes that keep every hash, sum and number consistent.

use serde_json::json;

use super::{World, assert_bad};

#[tokio::test]
async fn postings_that_still_sum_to_zero_are_recomputed() {
    let mut world = World::new();
    let settlement = |world: &World| {
        let of_reason = |entry: &aevir_events::Entry| {
            let envelope = entry.envelope().unwrap();
            envelope.label == "ledger.posted" && envelope.data["reason"] == "settlement"
        };
        world.entries.iter().position(of_reason).unwrap()
    };
    let at = settlement(&world);
    world.change(at, |entry| {
        let postings = entry["data"]["postings"].as_array_mut().unwrap();
        let last = postings.len() - 1;
        for (index, change) in [(1, 7), (last, -7)] {
            let amount: i64 = postings[index]["amount"].as_str().unwrap().parse().unwrap();
            postings[index]["amount"] = json!((amount + change).to_string());
        }
    });
    assert_bad(&world.audit_export().await, at, "/postings/");
}

#[tokio::test]
async fn altered_points_are_recomputed() {
    let mut world = World::new();
    let at = world.first("points.changed");
    world.change(at, |entry| {
        let delta: i64 = entry["data"]["delta"].as_str().unwrap().parse().unwrap();
        entry["data"]["delta"] = json!((delta + 1).to_string());
    });
    assert_bad(&world.audit_export().await, at, "/delta");
}

#[tokio::test]
async fn a_forged_signature_is_found_before_anything_later() {
    let mut world = World::new();
    let at = world.first("assignment.committed");
    world.change(at, |entry| {
        entry["data"]["signature"] = "ab".repeat(64).into()
    });
    // Something later is wrong as well: the first one counts.
    let later = world.first("points.changed");
    assert!(later > at);
    world.change(later, |entry| entry["data"]["delta"] = "123456".into());
    assert_bad(
        &world.audit_export().await,
        at,
        "not signed with its node's registered key",
    );
}

#[tokio::test]
async fn a_commitment_that_its_reveal_does_not_fit_is_found() {
    let mut world = World::new();
    let at = world.first("assignment.revealed");
    world.change(at, |entry| {
        entry["data"]["report"]["usage"]["fuel"] = "1".into()
    });
    assert_bad(
        &world.audit_export().await,
        at,
        "does not fit the commitment",
    );
}

#[tokio::test]
async fn a_command_in_somebody_elses_name_is_found() {
    let mut world = World::new();
    let at = world.first("assignment.started");
    world.change(at, |entry| {
        entry["actor"] = json!("node/01HF7YAT00ZZZZZZZZZZZZZZZZ")
    });
    assert_bad(&world.audit_export().await, at, "may not give this command");
}

#[tokio::test]
async fn a_schema_violation_is_found() {
    let mut world = World::new();
    let at = world.first("module.registered");
    world.change(at, |entry| entry["data"]["imports"] = json!("not a list"));
    let audit = world.audit_export().await;
    assert_bad(&audit, at, "module.registered");
}

#[tokio::test]
async fn an_unknown_event_or_version_is_found() {
    let mut world = World::new();
    let at = world.first("module.registered");
    world.change(at, |entry| entry["schema"] = json!(99));
    assert_bad(&world.audit_export().await, at, "99");
}

#[tokio::test]
async fn a_lease_of_another_node_is_found() {
    let mut world = World::new();
    let at = world.first("assignment.leased");
    let before = world.entries[at].envelope().unwrap().data["task"].clone();
    let requester_node = json!("01HF7YAT00ZZZZZZZZZZZZZZZZ");
    world.change(at, |entry| entry["data"]["node"] = requester_node);
    assert_bad(&world.audit_export().await, at, before.as_str().unwrap());
}

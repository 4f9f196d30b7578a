//! The steps that lift the data of superseded event versions to today's types, one function each.
//!
//! A new version of an event: give it the next number in the table of `event.rs`, write the step from the version
//! before here, run `cargo xtask schemas`. The golden corpus then proves that every entry ever written is still read.

use aevir_events::{UnknownEvent, Upcaster};
use serde_json::{Value, json};

use crate::command::COMPILE_MIB_UNMEASURED;

/// All steps.
pub(crate) const STEPS: [Upcaster; 14] = [
    Upcaster {
        label: "node.registered",
        from: 1,
        // Version 2 adds what the node says of its executors' confinement. Before, nodes did not say.
        lift: Ok,
    },
    Upcaster {
        label: "node.registered",
        from: 2,
        // Version 3 adds measured speeds and the GPU's largest buffer. Before, nothing was measured.
        lift: Ok,
    },
    Upcaster {
        label: "assignment.committed",
        from: 1,
        // Version 2 says for how long there was no leader. Before, that was the node's lateness.
        lift: Ok,
    },
    Upcaster {
        label: "assignment.failed",
        from: 1,
        // Version 2 adds the class `not-compiled`. Before, that was `limit` or `trap`.
        lift: Ok,
    },
    Upcaster {
        label: "assignment.lost",
        from: 1,
        // Version 2 adds the reason `revoked`.
        lift: Ok,
    },
    Upcaster {
        label: "policy.adopted",
        from: 1,
        lift: policy_of_old,
    },
    Upcaster {
        label: "task.created",
        from: 1,
        lift: task_with_nonce,
    },
    Upcaster {
        label: "assignment.leased",
        from: 1,
        // Version 2 says how the node was drawn. Before, draws could not be recomputed.
        lift: Ok,
    },
    Upcaster {
        label: "ledger.posted",
        from: 1,
        // Version 2 adds withdrawals and stake.
        lift: Ok,
    },
    Upcaster {
        label: "assignment.revealed",
        from: 1,
        // Version 2 discloses the key under which it was closed. Before, nothing was.
        lift: Ok,
    },
    Upcaster {
        label: "task.verified",
        from: 1,
        // Version 2 adds the reason `apart`. Before, results were equal bit by bit or refused.
        lift: Ok,
    },
    Upcaster {
        label: "task.settled",
        from: 1,
        // Version 2 says when the shares mature. Before, they did so in the same batch, with nothing to wait for.
        lift: Ok,
    },
    Upcaster {
        label: "content.registered",
        from: 1,
        // Version 2 adds price, access and contributors. Before, contents cost nothing, everybody used them, and their owner earned.
        lift: Ok,
    },
    Upcaster {
        label: "module.registered",
        from: 1,
        lift: module_unmeasured,
    },
];

/// The member of an object, where it is an object.
fn object<'a>(
    data: &'a mut Value,
    pointer: &str,
) -> Result<&'a mut serde_json::Map<String, Value>, UnknownEvent> {
    let found = data.pointer_mut(pointer).and_then(Value::as_object_mut);
    found.ok_or_else(|| UnknownEvent(format!("there is no object at `{pointer}`")))
}

/// Version 2 of `policy.adopted` adds the constants of placement, settlement, stake, rewards, verification and contents, and of how points fade. Written out, for the defaults of a later
/// day are not those of its time.
fn policy_of_old(mut data: Value) -> Result<Value, UnknownEvent> {
    let scheduling = json!({
        "epoch_ms": 3_600_000,
        "placements_max": 1_024,
        "storage_reserve_mib": 64,
        "score": {
            "reliability_weight": 6,
            "points_weight": 2,
            "idle_weight": 2,
            "points_half": "1000",
            "near_levels": 6,
            "cached_levels": 6,
            "cached_bytes_min": "1048576",
            "cached_blobs_max": 64,
            "in_time_levels": 12,
            "price_levels": 6,
        },
        "priority_max": 9,
        "ageing_ms": 60_000,
        "round_ms": 86_400_000,
        // A plan looked at all of them.
        "lines_max": u32::MAX,
        "account": {"weight": 100, "tasks_max": 10_000, "running_max": 10_000},
        "tail": {"after_ppm": 500_000, "faster_ppm": 250_000, "looks_max": 64},
        "returns": {"per_task": 3, "per_slot": 2},
        // No node was kept free.
        "reserve": {"after_ms": 300_000, "most": 0, "looks_max": 16, "nodes_max": 64, "idle_max_ms": 7_200_000},
        // However large inputs were, there was this time for them.
        "leases": {"fetch_ms": 900_000, "fetch_kib_s": u32::MAX, "slack_ms": 300_000, "progress_ms": 10_000},
        // What nodes said of their slots was taken for true.
        "unproven_slots": 256,
        "reliability_keep_ppm": 995_000,
        // All results counted, whatever they earned.
        "record_pay_min": "0",
        // What nodes said of their GPUs was taken for true.
        "compute": {"check_ms": 0, "retry_ms": 900_000, "answer_ms": 120_000, "per_day": 16},
    });
    let policy = object(&mut data, "/policy")?;
    policy.insert("scheduling".into(), scheduling);
    // What was verified was paid for at once.
    policy.insert("settlement".into(), json!({"window_ms": 0}));
    // There was no stake.
    policy.insert(
        "stake".into(),
        json!({"per_result_ppm": 0, "strikes_free": 1, "free_after": 0, "strike_ms": 604_800_000, "strikes_max": 0}),
    );
    // No sample was adaptive, so that nothing asked for these; and any quorum decided.
    policy.insert(
        "verification".into(),
        json!({"adaptive": {"cheat_saving_ppm": 800_000, "colluding_ppm": 100_000, "floor_ppm": 100_000, "trusted_ppm": 850_000, "vouched": false}, "staked_votes": 0, "reveals": "open", "review_ms": 86_400_000, "inspection_ms": 21_600_000, "verifiers_staked": true, "election_floor_ppm": 125_000}),
    );
    // Models paid nothing to what they were made of, and whoever had a file could register it.
    policy.insert(
        "contents".into(),
        json!({"royalty_ppm": 0, "generations": 0, "first_registrant": false}),
    );
    // There were no reward pools, and points did not fade and were earned for every accepted result alike.
    policy.insert(
        "rewards".into(),
        json!({"pool_ppm": 0, "claim_epochs": 168}),
    );
    let points = object(&mut data, "/policy/points")?;
    for field in ["unrepeated_ppm", "late_ppm", "keep_ppm"] {
        points.insert(field.into(), 1_000_000.into());
    }
    Ok(data)
}

/// Version 2 of `task.created` adds the nonce of draws. Before, nothing was drawn with one.
fn task_with_nonce(mut data: Value) -> Result<Value, UnknownEvent> {
    object(&mut data, "")?.insert("nonce".into(), "0".repeat(64).into());
    Ok(data)
}

/// Version 2 of `module.registered` adds the memory that compiling takes, and the compiled form's size. Before, nobody measured either, and nodes
/// gave so much at least.
fn module_unmeasured(mut data: Value) -> Result<Value, UnknownEvent> {
    let module = object(&mut data, "")?;
    module.insert("compile_mib".into(), COMPILE_MIB_UNMEASURED.into());
    module.insert("code_mib".into(), 0.into());
    Ok(data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        amount::Amount,
        policy::{SLOTS_MAX, SchedulingPolicy, SettlementPolicy},
    };

    #[test]
    fn a_policy_of_old_gets_what_held_in_its_time() {
        let lifted = policy_of_old(json!({"policy": {"points": {}}})).unwrap();
        let read: SchedulingPolicy =
            serde_json::from_value(lifted["policy"]["scheduling"].clone()).unwrap();
        let mut of_old = SchedulingPolicy {
            unproven_slots: SLOTS_MAX,
            lines_max: u32::MAX,
            record_pay_min: Amount::ZERO,
            ..SchedulingPolicy::default()
        };
        of_old.reserve.most = 0;
        of_old.compute.check_ms = 0;
        of_old.leases.fetch_kib_s = u32::MAX;
        assert_eq!(read, of_old);
        let read: SettlementPolicy =
            serde_json::from_value(lifted["policy"]["settlement"].clone()).unwrap();
        assert_eq!(read, SettlementPolicy::IMMEDIATE);
        assert!(policy_of_old(json!({"policy": 1})).is_err());
    }
}

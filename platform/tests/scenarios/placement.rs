//! Placement: turns, filters, ranks and draws. `World` holds every plan equal to the specification; here random markets make
//! that hard, and what must hold of every placement is told from the log alone.

use std::collections::{BTreeMap, BTreeSet};

use aevir_platform::{
    command::Command,
    ids::{AccountId, NodeId},
    policy::{AccountLimits, Policy, ReservePolicy},
    state::Node,
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    random_market::{Market, machine, step},
    sample::documents_agree,
    world::{World, profile},
};

/// Outputs that a node keeps: those of what it sealed, until it is opened or the task has ended.
fn sealed_mib(w: &World, node: NodeId) -> u64 {
    let open = w.state.tasks.values().filter(|t| t.ended_at.is_none());
    let kept = open.flat_map(|t| t.assignments.values().map(move |a| (t, a)));
    let kept = kept.filter(|(_, a)| a.node == node && a.state_name() == "committed");
    kept.map(|(t, _)| u64::from(t.definition.limits.output_mib))
        .sum()
}

/// Whether all runs of a node with a GPU were leased for the one that it has.
fn leased_with(w: &World, node: &Node, class: &str) -> bool {
    let mut runs = node.active.iter().filter_map(|id| w.state.assignment(*id));
    runs.all(|(_, run)| run.hardware.gpu().is_none_or(|of| of == class))
}

/// What must hold of every lease, told from the state alone.
pub fn check(w: &World) {
    for node in w.state.nodes.values() {
        let active = node.active.iter().filter_map(|id| w.state.task_of(*id));
        let qos = active.clone().map(|t| &t.definition.qos);
        let (gpu_memory, cores) = qos.fold((0, 0), |(memory, cores), qos| {
            let gpu = qos.gpu.as_ref().map_or(0, |gpu| u64::from(gpu.memory_mib));
            let own = u64::from(qos.cpu_cores.unwrap_or(1));
            (memory + gpu, cores + own)
        });
        assert_eq!(
            (node.taken.gpu_memory_mib, node.taken.cpu_cores),
            (gpu_memory, cores)
        );
        assert!(cores <= node.profile.cpu_cores.into());
        let of_gpu = node.profile.gpu.as_ref();
        // Runs go on that have begun on one which is gone.
        assert!(of_gpu.is_none_or(|gpu| gpu_memory <= gpu.memory_mib.into()));
        let begun = |id| matches!(w.state.assignment(id), Some((_, a)) if a.started_at.is_some());
        let leases = node.active.iter();
        let leases = leases.filter_map(|id| Some((*id, w.state.task_of(*id)?)));
        let (memory, memories, runs) = leases.fold((0, 0, 0), |(m, both, s), (id, task)| {
            let (l, gpu) = (&task.definition.limits, &task.definition.qos.gpu);
            let of_gpu = gpu.as_ref().map_or(0, |gpu| gpu.memory_mib);
            // Until a run begins, its module has memory to be compiled in.
            let compiling = if begun(id) { 0 } else { task.compile_mib };
            // One small input and the reserve come beside the outputs.
            (
                m + u64::from(l.memory_mib.max(compiling)),
                both + u64::from((l.memory_mib + of_gpu).max(compiling)),
                s + u64::from(l.output_mib) + 1 + 64,
            )
        });
        let storage = runs + sealed_mib(w, node.id);
        assert_eq!(
            (node.taken.memory_mib, node.taken.memories_mib),
            (memory, memories)
        );
        assert_eq!(
            (node.taken.storage_mib, node.sealed_mib),
            (storage, storage - runs)
        );
        assert!(memory <= node.profile.memory_mib.into());
        // A software GPU may have come while runs were under way that had another one.
        let is_one = of_gpu.is_some_and(|gpu| gpu.software && leased_with(w, node, &gpu.class));
        assert!(!is_one || memories <= node.profile.memory_mib.into());
        assert!(storage <= node.profile.storage_mib.into());
        assert!(node.active.len() <= node.profile.slots as usize);
    }
    for task in w.state.tasks.values() {
        let qos = &task.definition.qos;
        let mut owners = vec![task.requester];
        let replicas = task.assignments.values().filter(|a| a.is_replica());
        let classes: BTreeSet<_> = replicas.filter_map(|a| a.hardware.gpu()).collect();
        let sampled = task.definition.sampling().replicas > 1;
        assert!(!sampled || classes.len() <= 1, "one class: {classes:?}");
        for assignment in task.assignments.values() {
            let node = &w.state.nodes[&assignment.node];
            let label = |name: &String| node.profile.labels.get(name);
            assert!(
                qos.labels
                    .iter()
                    .all(|(name, value)| label(name) == Some(value))
            );
            assert!(
                qos.labels_any
                    .iter()
                    .all(|(name, values)| values.contains(label(name).unwrap()))
            );
            assert!(
                !qos.labels_not
                    .iter()
                    .any(|(name, values)| values.contains(label(name).unwrap()))
            );
            assert!(
                qos.cpu_cores
                    .is_none_or(|cores| node.profile.cpu_cores >= cores)
            );
            // The node's GPU may be another one by now.
            assert_eq!(assignment.hardware.gpu().is_some(), qos.gpu.is_some());
            if let (Some(need), Some(class)) = (&qos.gpu, assignment.hardware.gpu()) {
                assert!(need.classes.is_empty() || need.classes.iter().any(|c| c == class));
            }
            if let (Some(need), Some(gpu)) = (&qos.gpu, &node.profile.gpu) {
                assert!(gpu.memory_mib >= need.memory_mib);
            }
            assert_ne!(node.owner, task.requester, "nobody works for himself");
            if assignment.is_replica() {
                assert!(!owners.contains(&node.owner), "one owner, one replica");
                owners.push(node.owner);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn plans_are_what_the_specification_says(
        machines in prop::collection::vec(machine(), 1..14),
        steps in prop::collection::vec(step(), 1..120),
        near in 0u32..10,
        placements in 1u32..20,
        keep in prop_oneof![Just(1_000_000u32), 500_000u32..1_000_000],
        looks in 1u32..4,
        unproven in 1u32..5,
        lines in 1u32..5,
        reserve in (1_000u32..20_000, 0u32..3, 1u32..4, 1u32..5, 1_000u32..100_000),
    ) {
        let mut policy = Policy::default();
        policy.scheduling.score.near_levels = near;
        policy.scheduling.placements_max = placements;
        policy.scheduling.tail.looks_max = looks;
        policy.scheduling.unproven_slots = unproven;
        policy.scheduling.lines_max = lines;
        let (after_ms, most, looks_max, nodes_max, idle_max_ms) = reserve;
        policy.scheduling.reserve = ReservePolicy { after_ms, most, looks_max, nodes_max, idle_max_ms };
        policy.scheduling.leases.fetch_ms = 1_000;
        policy.scheduling.leases.slack_ms = 1_000;
        policy.scheduling.epoch_ms = 60_000;
        policy.scheduling.reliability_keep_ppm = keep;
        let mut market = Market::new(&machines, policy);
        for step in steps {
            market.take(step);
            check(&market.w);
        }
        crate::pace::check(&market.w);
        market.w.check_replay();
    }

    #[test]
    fn those_who_wait_share_the_nodes_by_their_weights(
        weights in prop::collection::vec(1u32..20, 2..5),
        runtimes in prop::collection::vec(1u32..50, 5),
    ) {
        let mut w = World::new();
        let owner = w.account("owner");
        w.node_of(owner, profile("only"));
        let mut requesters = Vec::new();
        for (i, weight) in weights.iter().enumerate() {
            let account = w.account(&format!("requester {i}"));
            w.deposit(account, 1_000_000_000);
            w.push_module(account);
            let limits = AccountLimits { weight: *weight, tasks_max: 1_000, running_max: 10 };
            w.ok(Command::SetLimits { account, limits });
            requesters.push(account);
            for _ in 0..60 {
                let limits = json!({"runtime_s": runtimes[i], "memory_mib": 64});
                let definition = Box::new(w.definition(json!({"limits": limits})));
                w.ok(Command::SubmitTask { requester: account, definition });
            }
        }
        let mut served: BTreeMap<AccountId, u64> = BTreeMap::new();
        for _ in 0..60 {
            let (task, assignment, _) = w.plan()[0];
            let task = &w.state.tasks[&task];
            let (requester, runtime_s) = (task.requester, task.definition.limits.runtime_s);
            *served.entry(requester).or_default() += u64::from(runtime_s);
            // It runs for all the time that it reserved.
            w.start(assignment);
            w.later(i64::from(runtime_s) * 1_000);
            let run = w.run(assignment, json!({}), &[]);
            w.commit(&run);
            w.reveal(&run);
        }
        // The bound of start-time fair queueing: shares by weight differ by one task of each at most.
        for (a, b) in requesters.iter().enumerate().flat_map(|a| requesters.iter().enumerate().map(move |b| (a, b))) {
            let share = |(i, r): (usize, &AccountId)| served.get(r).copied().unwrap_or(0) * 1_000 / u64::from(weights[i]);
            let task = |(i, _): (usize, &AccountId)| u64::from(runtimes[i]) * 1_000 / u64::from(weights[i]) + 1;
            prop_assert!(share(a) <= share(b) + task(a) + task(b), "{weights:?} {runtimes:?}: {served:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    /// `World` holds each plan equal to the specification, which looks at one node after the other.
    #[test]
    fn whole_fleets_of_one_owner_are_passed_over(
        speeds in prop::collection::vec((0u8..3, any::<bool>()), 80),
        tasks in prop::collection::vec((0usize..3, 1u32..4, any::<bool>(), 0u8..4), 30..60),
        placements in 1u32..40,
    ) {
        let mut policy = Policy::default();
        policy.scheduling.placements_max = placements;
        let mut w = World::with_policy(policy);
        let owners = ["forty", "thirty-eight", "two"].map(|name| w.account(name));
        for (n, (speed, is_far)) in speeds.iter().enumerate() {
            let mut profile = profile(&format!("node {n}"));
            profile.cpu_mfuel_s = Some(100 << speed);
            let region = if *is_far { "far" } else { "near" };
            profile.labels.insert("region".into(), region.into());
            let owner = owners[usize::from(n >= 40) + usize::from(n >= 78)];
            w.node_of(owner, profile);
        }
        for owner in [owners[0], owners[2]] {
            w.deposit(owner, 1_000_000_000);
            w.push_module(owner);
        }
        let requesters = [w.requester, owners[0], owners[2]];
        for (of, replicas, is_near, ends) in tasks {
            let sample = json!([{"method": "sampling", "quorum": replicas, "replicas": replicas}]);
            let mut terms = json!({});
            if replicas > 1 {
                terms["verification"] = sample;
            }
            if is_near {
                terms["qos"] = json!({"labels": {"region": "near"}});
            }
            let definition = Box::new(w.definition(terms));
            w.ok(Command::SubmitTask { requester: requesters[of], definition });
            let placed = w.plan();
            for (_, assignment, _) in placed.iter().take(ends.into()) {
                w.start(*assignment);
                let run = w.run(*assignment, json!({}), &[]);
                w.commit(&run);
            }
        }
        w.check_replay();
    }
}

proptest! {
    // Each case starts an interpreter.
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]
    #[test]
    fn the_documents_alone_explain_random_markets(
        machines in prop::collection::vec(machine(), 1..14),
        steps in prop::collection::vec(step(), 60..160),
        placements in 1u32..20,
        unproven in 1u32..5,
        lines in 1u32..5,
        reserve in (1_000u32..20_000, 0u32..3, 1u32..4, 1u32..5, 1_000u32..100_000),
    ) {
        let mut policy = Policy::default();
        policy.scheduling.placements_max = placements;
        policy.scheduling.unproven_slots = unproven;
        policy.scheduling.lines_max = lines;
        let (after_ms, most, looks_max, nodes_max, idle_max_ms) = reserve;
        policy.scheduling.reserve = ReservePolicy { after_ms, most, looks_max, nodes_max, idle_max_ms };
        policy.scheduling.leases.fetch_ms = 1_000;
        policy.scheduling.leases.slack_ms = 1_000;
        policy.scheduling.epoch_ms = 60_000;
        policy.scheduling.reliability_keep_ppm = 700_000;
        let mut market = Market::new(&machines, policy);
        for step in steps {
            market.take(step);
        }
        // The secret of the last epoch is told, too.
        market.w.later(60_000);
        market.w.ok(Command::Tick);
        documents_agree(&market.w, "market");
    }
}

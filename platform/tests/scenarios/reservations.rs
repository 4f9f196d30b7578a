//! Nodes that are kept free for tasks that small ones would keep out for ever.

use aevir_platform::{
    command::{Availability, Command, NodeProfile},
    event::Event,
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    schedule::{WaitsFor, kept_free_until, refusal, why},
};
use serde_json::{Value, json};

use crate::world::{World, immediate, profile};

/// What a small task reserves.
const SMALL_RUNTIME_MS: i64 = 60_000;
/// After so long a task may have a node kept free, by the policy that a platform begins with.
const AFTER_MS: i64 = 300_000;

fn hall(w: &mut World, name: &str, slots: u32) -> NodeId {
    let owner = w.account(name);
    let of = NodeProfile {
        slots,
        cpu_cores: slots,
        memory_mib: 1_000,
        labels: [("hall".to_owned(), "kept".to_owned())].into(),
        ..profile(name)
    };
    w.node_of(owner, of)
}

fn sized(memory_mib: u32, runtime_s: u32) -> Value {
    json!({
        "limits": {"memory_mib": memory_mib, "output_mib": 1, "runtime_s": runtime_s},
        "qos": {"labels": {"hall": "kept"}},
    })
}

fn sorted<const N: usize>(mut tasks: [TaskId; N]) -> [TaskId; N] {
    tasks.sort_unstable();
    tasks
}

fn small() -> Value {
    sized(256, 60)
}

fn large() -> Value {
    sized(900, 60)
}

fn of(w: &mut World, requester: AccountId, terms: Value) -> TaskId {
    let definition = Box::new(w.definition(terms));
    let events = w.ok(Command::SubmitTask {
        requester,
        definition,
    });
    let created = events.iter().find_map(|event| match event {
        Event::TaskCreated(created) => Some(created.task),
        _ => None,
    });
    created.unwrap()
}

fn requester(w: &mut World, name: &str) -> AccountId {
    let account = w.account(name);
    w.deposit(account, 1_000_000_000);
    w.push_module(account);
    account
}

/// A plan: the tasks that it placed, by their ids, and the nodes that it keeps free from then on.
fn planned(w: &mut World) -> (Vec<TaskId>, Vec<(TaskId, NodeId)>) {
    let (mut placed, mut reserved) = (Vec::new(), Vec::new());
    for event in w.ok(Command::Plan) {
        match event {
            Event::AssignmentLeased(lease) => placed.push(lease.task),
            Event::TaskReserved(e) => reserved.push((e.task, e.node)),
            _ => {}
        }
    }
    placed.sort_unstable();
    for task in &placed {
        let new: Vec<AssignmentId> = w.state.tasks[task].active().map(|run| run.id).collect();
        new.into_iter().for_each(|run| w.start(run));
    }
    (placed, reserved)
}

/// The first run of a task ends.
fn end(w: &mut World, task: TaskId) {
    let run = w.state.tasks[&task].active().next().unwrap().id;
    let run = w.run(run, json!({}), &[]);
    w.commit(&run);
    w.reveal(&run);
}

/// Two small runs on a node with two slots, and somebody else's task that needs nearly all of it and has waited for long.
fn waiting(w: &mut World) -> (NodeId, [TaskId; 2], TaskId) {
    let node = hall(w, "hall", 2);
    let smalls = sorted([w.task(small()), w.task(small())]);
    assert_eq!(planned(w).0, smalls);
    let grand = requester(w, "grand");
    let large = of(w, grand, large());
    w.later(AFTER_MS);
    (node, smalls, large)
}

/// A task that has waited for long behind two small runs, of which more than one must end, while the node has a slot for a third.
pub fn behind_small_runs(w: &mut World) -> TaskId {
    behind(w, 60)
}

/// The same behind runs that may take so long.
fn behind(w: &mut World, runtime_s: u32) -> TaskId {
    hall(w, "hall", 3);
    let other = requester(w, "another");
    let terms = || sized(256, runtime_s);
    let smalls = sorted([of(w, other, terms()), of(w, other, terms())]);
    assert_eq!(planned(w).0, smalls);
    let task = w.task(large());
    w.later(AFTER_MS);
    task
}

/// For the log with everything in it.
pub fn kept_free(w: &mut World) {
    let (node, [first, second], large) = waiting(w);
    let third = w.task(small());
    end(w, first);
    assert_eq!(planned(w), (vec![third], vec![(large, node)]));
    end(w, second);
    end(w, third);
    assert_eq!(planned(w).0, [large]);
    end(w, large);
}

#[test]
fn a_large_task_gets_its_turn_however_many_small_ones_there_are() {
    for (most, is_served) in [(16, true), (0, false)] {
        let mut policy = immediate();
        policy.scheduling.reserve.most = most;
        let mut w = World::with_policy(policy);
        let (_, smalls, large) = waiting(&mut w);
        let mut running = smalls.to_vec();
        for _ in 0..20 {
            // There is always one more small task than ends, of an account that has used less.
            let other = requester(&mut w, "another");
            of(&mut w, other, small());
            end(&mut w, running.remove(0));
            w.later(1_000);
            running.extend(planned(&mut w).0);
            if running.contains(&large) || running.is_empty() {
                break;
            }
        }
        let placed = w.state.tasks[&large].active().next().is_some();
        assert_eq!(placed, is_served, "{most} nodes kept free at most");
        w.check_replay();
    }
}

#[test]
fn a_node_is_kept_free_until_its_task_is_placed_and_says_so() {
    let mut w = World::new();
    let (node, [first, second], large) = waiting(&mut w);
    let third = w.task(small());
    end(&mut w, first);
    assert_eq!(planned(&mut w), (vec![third], vec![(large, node)]));
    assert_eq!(w.state.tasks[&large].reserved, Some(node));
    // Its owner sees until when at the latest: the end of the run that was given to it last.
    let until = |w: &World| kept_free_until(&w.state, &w.state.nodes[&node], w.now);
    let began = |w: &World, task: TaskId| w.state.tasks[&task].active().next().unwrap().leased_at;
    let last = began(&w, third).plus_ms(SMALL_RUNTIME_MS);
    assert_eq!(until(&w), Some(last));
    // It stays so, and is told once.
    end(&mut w, second);
    assert_eq!(until(&w), Some(last), "one run is in the way");
    let fourth = w.task(small());
    assert_eq!(planned(&mut w), (vec![], vec![]));
    let (of_large, of_fourth) = (&w.state.tasks[&large], &w.state.tasks[&fourth]);
    assert_eq!(why(&w.state, of_large, w.now).waits_for, WaitsFor::Room);
    let refused = refusal(&w.state, of_fourth, &w.state.nodes[&node], w.now);
    assert_eq!(refused.map(|r| r.code()), Some("reserved"));
    let told = why(&w.state, of_fourth, w.now).nearest.unwrap();
    assert!(told[0].help.contains("kept free"), "{told:?}");
    end(&mut w, third);
    assert_eq!(until(&w), Some(w.now), "its task comes with the next plan");
    assert_eq!(planned(&mut w).0, [large]);
    assert_eq!(w.state.tasks[&large].reserved, None);
    assert_eq!(until(&w), None);
    end(&mut w, large);
    assert_eq!(planned(&mut w).0, [fourth]);
    w.check_replay();
    crate::sample::documents_agree(&w, "reserved");
}

#[test]
fn nothing_is_kept_free_before_its_time_or_where_one_run_less_is_enough() {
    let mut w = World::new();
    let (_, [first, _], _) = waiting(&mut w);
    w.later(-1);
    end(&mut w, first);
    // Alone beside one small run.
    assert_eq!(planned(&mut w), (vec![], vec![]));
    let third = w.task(small());
    assert_eq!(
        planned(&mut w),
        (vec![third], vec![]),
        "a millisecond early"
    );
    let mut w = World::new();
    let (node, [first, second], large) = waiting(&mut w);
    end(&mut w, first);
    assert_eq!(planned(&mut w), (vec![], vec![]), "one run less is enough");
    end(&mut w, second);
    assert_eq!(planned(&mut w).0, [large]);
    assert_eq!(w.state.nodes[&node].active.len(), 1);
}

#[test]
fn what_can_take_its_task_no_more_is_everybodys_again() {
    let mut w = World::new();
    let (node, [first, second], large) = waiting(&mut w);
    let third = w.task(small());
    end(&mut w, first);
    assert_eq!(planned(&mut w).1, [(large, node)]);
    end(&mut w, second);
    let fourth = w.task(small());
    // A cap of its operator's leaves no room for it.
    let mut terms = w.state.nodes[&node].terms.clone();
    terms.caps.memory_mib = Some(800);
    let terms = Box::new(terms);
    w.ok(Command::ChangeTerms { node, terms });
    assert_eq!(planned(&mut w).0, [fourth]);
    // Another one is kept free instead, and this one no more.
    let other = hall(&mut w, "other", 2);
    let more = [w.task(small()), w.task(small()), w.task(small())];
    let (placed, reserved) = planned(&mut w);
    assert_eq!((placed, reserved), (vec![large], vec![]), "it is idle");
    let _ = (other, more, third);
    w.check_replay();
}

#[test]
fn a_cancelled_task_leaves_its_node() {
    let mut w = World::new();
    let (node, [first, _], large) = waiting(&mut w);
    let third = w.task(small());
    end(&mut w, first);
    assert_eq!(planned(&mut w).1, [(large, node)]);
    end(&mut w, third);
    let fourth = w.task(small());
    assert_eq!(planned(&mut w).0, []);
    let requester = w.state.tasks[&large].requester;
    w.ok(Command::CancelTask {
        requester,
        task: large,
    });
    assert_eq!(planned(&mut w).0, [fourth]);
    w.check_replay();
}

#[test]
fn a_node_that_is_away_is_replaced_by_another() {
    let mut w = World::new();
    let (node, [first, _], large) = waiting(&mut w);
    let third = w.task(small());
    end(&mut w, first);
    assert_eq!(planned(&mut w), (vec![third], vec![(large, node)]));
    let availability = Availability::Offline;
    w.ok(Command::SetAvailability { node, availability });
    let other = hall(&mut w, "other", 3);
    let more = sorted([w.task(small()), w.task(small()), w.task(small())]);
    // The large one is older, and there is room.
    assert_eq!(planned(&mut w).0, [large]);
    end(&mut w, large);
    assert_eq!(planned(&mut w).0, more);
    let grand = requester(&mut w, "as grand");
    let late = of(&mut w, grand, self::large());
    w.later(AFTER_MS);
    end(&mut w, more[0]);
    assert_eq!(planned(&mut w), (vec![], vec![(late, other)]));
    w.check_replay();
}

#[test]
fn the_node_whose_runs_end_first_is_kept_and_one_for_each_requester() {
    let mut w = World::new();
    let slow = hall(&mut w, "slow", 2);
    let filler = requester(&mut w, "filler");
    let of_slow = || sized(256, 600);
    let of_slow = sorted([of(&mut w, filler, of_slow()), of(&mut w, filler, of_slow())]);
    assert_eq!(planned(&mut w).0, of_slow);
    let quick = hall(&mut w, "quick", 2);
    let of_quick = sorted([w.task(sized(256, 500)), w.task(sized(256, 400))]);
    assert_eq!(planned(&mut w).0, of_quick);
    let mine = w.task(large());
    w.later(1);
    w.task(large());
    let other = requester(&mut w, "another");
    let theirs = of(&mut w, other, large());
    w.later(AFTER_MS);
    // A free slot somewhere, for plans to be made at all.
    let small_too = hall(&mut w, "small", 1);
    let availability = Availability::Online;
    w.ok(Command::SetAvailability {
        node: small_too,
        availability,
    });
    let mut terms = w.state.nodes[&small_too].terms.clone();
    terms.caps.memory_mib = Some(100);
    let terms = Box::new(terms);
    w.ok(Command::ChangeTerms {
        node: small_too,
        terms,
    });
    let (placed, reserved) = planned(&mut w);
    // Who has used less comes first, and gets the node that is free first; nobody gets two.
    assert_eq!(placed, []);
    assert_eq!(reserved, [(theirs, quick), (mine, slow)]);
    w.check_replay();
}

#[test]
fn there_are_at_most_so_many() {
    let mut policy = immediate();
    policy.scheduling.reserve.most = 1;
    let mut w = World::with_policy(policy);
    let (node, [first, second], large) = waiting(&mut w);
    let other = requester(&mut w, "another");
    let theirs = of(&mut w, other, self::large());
    w.later(AFTER_MS);
    let third = w.task(small());
    end(&mut w, first);
    let (placed, reserved) = planned(&mut w);
    assert_eq!(
        (placed, reserved),
        (vec![third], vec![(large, node)]),
        "of those who have used as little the first"
    );
    end(&mut w, second);
    end(&mut w, third);
    assert_eq!(planned(&mut w).0, [large]);
    assert_eq!(w.state.tasks[&theirs].reserved, None);
}

/// The node has a slot and room for one more.
fn refused_as(w: &World, task: TaskId) -> Option<&'static str> {
    let node = w.state.nodes.values().find(|n| n.profile.name == "hall");
    let refused = refusal(&w.state, &w.state.tasks[&task], node.unwrap(), w.now);
    refused.map(|reason| reason.code())
}

/// A node with two runs of two requesters that may take so long, kept free for a task of the first, whose requester has another one that
/// waits; and one of a third.
fn in_the_way(own_s: u32, other_s: u32) -> (World, [TaskId; 2]) {
    let mut w = World::new();
    hall(&mut w, "hall", 3);
    let other = requester(&mut w, "another");
    let own = w.task(sized(256, own_s));
    let smalls = sorted([own, of(&mut w, other, sized(256, other_s))]);
    assert_eq!(planned(&mut w).0, smalls);
    let large = w.task(large());
    w.later(AFTER_MS);
    let kept = planned(&mut w).1;
    assert_eq!(kept.first().map(|(task, _)| *task), Some(large));
    let third = requester(&mut w, "a third");
    let waiting = [w.task(small()), of(&mut w, third, small())];
    (w, waiting)
}

#[test]
fn who_is_in_his_own_way_keeps_himself_out_and_nobody_else() {
    let (mut w, [own, strangers]) = in_the_way(700, 600);
    assert_eq!(refused_as(&w, own), Some("reserved"));
    assert_eq!(refused_as(&w, strangers), None);
    assert_eq!(planned(&mut w).0, [strangers]);
    w.check_replay();
    crate::sample::documents_agree(&w, "in-his-own-way");
    // Where somebody else's run is what it waits for at last, all wait.
    let (mut w, [own, strangers]) = in_the_way(600, 700);
    assert_eq!(refused_as(&w, own), Some("reserved"));
    assert_eq!(refused_as(&w, strangers), Some("reserved"));
    assert_eq!(planned(&mut w).0, []);
    w.check_replay();
    crate::sample::documents_agree(&w, "in-others-way");
}

#[test]
fn what_ends_for_certain_before_the_room_is_there_takes_a_kept_node() {
    // Two runs of an hour, begun five minutes ago: there is room in 55 minutes. A run may fetch for 15 minutes before its time, and upload
    // for 5 after it.
    let most_s = 55 * 60 - 15 * 60 - 5 * 60;
    let mut w = World::new();
    let kept_for = behind(&mut w, 3_600);
    let (placed, reserved) = planned(&mut w);
    assert_eq!((placed, reserved.len()), (vec![], 1));
    let other = requester(&mut w, "a stranger");
    let too_long = of(&mut w, other, sized(64, most_s + 1));
    assert_eq!(refused_as(&w, too_long), Some("reserved"));
    assert_eq!(planned(&mut w).0, []);
    let ends = of(&mut w, other, sized(64, most_s));
    assert_eq!(refused_as(&w, ends), None);
    assert_eq!(planned(&mut w).0, [ends]);
    // It does not put the task off for which the node is kept free: that has room as soon as it would have had.
    let room_at = w.state.tasks[&ends].queued_at.unwrap().plus_ms(55 * 60_000);
    end(&mut w, ends);
    w.now = room_at;
    w.ok(Command::Tick);
    let runs: Vec<TaskId> = w.state.tasks.values().map(|t| t.id).collect();
    for task in runs {
        if w.state.tasks[&task].active().next().is_some() {
            end(&mut w, task);
        }
    }
    assert_eq!(planned(&mut w).0, [kept_for]);
    w.check_replay();
    crate::sample::documents_agree(&w, "backfilled");
}

#[test]
fn no_node_stands_idle_for_longer_than_the_policy_says() {
    // Two hours, after five minutes of waiting.
    for (runtime_s, is_kept) in [(7_500, true), (7_501, false)] {
        let mut w = World::new();
        let task = behind(&mut w, runtime_s);
        planned(&mut w);
        let kept = w.state.tasks[&task].reserved.is_some();
        assert_eq!(kept, is_kept, "{runtime_s} s");
        crate::sample::documents_agree(&w, "idle-for-long");
    }
}

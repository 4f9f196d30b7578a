//! Many callers at once, followers, restarts, and random histories.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use proptest::{prelude::*, strategy::ValueTree as _};

use super::{all_entries, balance, check_replay, positions, spawn, start, start_with};
use crate::{
    LIVE_EVENTS, Options, Receipt, Recorded, Status, SubmitError, replay,
    toy::{Balances, Bank, Happened, Order, Store, deposit, keyed, on_both, request, transfer},
};

on_both! {
    async fn concurrent_callers_each_get_their_own_answer(store: Store) {
        let bank = start_with(store.open().await, Options::default()).await.unwrap();
        let callers = (0..64).map(|caller| {
            let bank = bank.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for n in 0..20u64 {
                    let account = format!("{caller}");
                    let order = if n % 4 == 3 { transfer(&account, "pot", 1) } else { deposit(&account, 1) };
                    let request = if n % 2 == 0 { request(order) } else { keyed(&format!("{caller}/{n}"), order) };
                    let receipt = bank.submit(request).await.unwrap();
                    assert!(receipt.events.iter().all(|e| match &e.event {
                        Happened::Deposited { to, .. } => *to == account || to == "pot",
                        Happened::Withdrawn { from, .. } => *from == account,
                        _ => false,
                    }));
                    // Its own writes are seen by the next read.
                    bank.read(|state, size| {
                        assert!(size >= receipt.head);
                        let transfers = (n + 1) / 4;
                        assert_eq!(state.accounts[&account], n + 1 - 2 * transfers);
                    });
                    receipts.push(receipt);
                }
                receipts
            })
        });
        let receipts: Vec<Receipt<Happened>> =
            futures::future::join_all(callers).await.into_iter().flat_map(Result::unwrap).collect();
        let mut seen: Vec<u64> = receipts.iter().flat_map(positions).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..64 * 25).collect::<Vec<u64>>(), "dense, and nothing twice");
        assert_eq!(balance(&bank, "pot"), 64 * 5);
        check_replay(&bank, &store).await;
        // An audit of the bare bytes comes to the same end.
        let replayed = replay::<Bank>(all_entries(store.open().await.as_ref()).await).unwrap();
        assert_eq!(replayed.root, bank.head().root);
    }

    async fn a_restart_goes_on_where_the_log_ends(store: Store) {
        let mut total = 0;
        for round in 0..3u64 {
            let bank = start(store.open().await).await;
            assert_eq!((bank.head().size, balance(&bank, "a")), (total, total));
            for _ in 0..=round {
                let receipt = bank.submit(request(deposit("a", 1))).await.unwrap();
                assert_eq!((positions(&receipt), receipt.events[0].revision), (vec![total], total));
                total += 1;
            }
            // No shutdown: the writer ends with its last handle.
        }
        let bank = start(store.open().await).await;
        assert_eq!(check_replay(&bank, &store).await.total(), total);
    }

    async fn followers_see_every_event_once_and_in_order(store: Store) {
        let bank = start(store.open().await).await;
        bank.submit(request(Order::Many { to: "a".to_owned(), count: 700 })).await.unwrap();
        let total = 700 + 2_000 + LIVE_EVENTS as u64 + 1;
        let follow = |from: u64, pause: Option<Duration>| {
            let mut events = bank.subscribe(from);
            tokio::spawn(async move {
                let (mut state, mut next) = (Balances::default(), from);
                while next < total {
                    let event: Arc<Recorded<Happened>> = events.next().await.unwrap().unwrap();
                    assert_eq!(event.position, next);
                    next += 1;
                    if from == 0 {
                        <Bank as crate::Machine>::evolve(&mut state, &event).unwrap();
                    }
                    if let Some(pause) = pause.filter(|_| next % 500 == 0) {
                        tokio::time::sleep(pause).await;
                    }
                }
                state
            })
        };
        let slow = Some(Duration::from_millis(20));
        let followers = [follow(0, None), follow(0, slow), follow(650, None), follow(1_500, slow)];
        let callers: Vec<_> = (0..2_000).map(|_| deposit("b", 1)).collect();
        let answers = futures::future::join_all(callers.into_iter().map(|order| bank.submit(request(order)))).await;
        assert!(answers.iter().all(Result::is_ok));
        // More than the live ring holds, at one stroke: everybody falls behind.
        bank.submit(request(Order::Many { to: "c".to_owned(), count: LIVE_EVENTS + 1 })).await.unwrap();
        let live = check_replay(&bank, &store).await;
        for (follower, whole) in followers.into_iter().zip([true, true, false, false]) {
            let state = follower.await.unwrap();
            assert!(!whole || state == live);
        }
    }

    async fn a_follower_ends_with_the_writer_and_misses_nothing(store: Store) {
        let bank = start(store.open().await).await;
        let events = bank.subscribe(0);
        let late = bank.subscribe(2);
        let callers: Vec<_> = (0..50).map(|_| spawn(&bank, request(deposit("a", 1)))).collect();
        for answer in callers {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(bank.shutdown().await, Status::Stopped);
        let seen: Vec<u64> = events.map(|event| event.unwrap().position).collect().await;
        assert_eq!(seen, (0..50).collect::<Vec<u64>>());
        assert_eq!(late.count().await, 48);
        // Even one that comes after the end.
        assert_eq!(bank.subscribe(45).count().await, 5);
        assert_eq!(bank.entries(48, 100).await.unwrap().len(), 2);
    }
}

/// What a random history may contain: few accounts and keys, so that they collide.
fn any_step() -> impl Strategy<Value = (Option<u8>, Order)> {
    let account = || (0u8..4).prop_map(|n| format!("{n}"));
    let order = prop_oneof![
        (account(), 0u64..9).prop_map(|(to, cents)| Order::Deposit { to, cents }),
        (account(), account(), 0u64..9).prop_map(|(from, to, cents)| Order::Transfer {
            from,
            to,
            cents
        }),
        Just(Order::DrawTicket),
        Just(Order::Nothing),
        Just(Order::Panic),
        account().prop_map(|to| Order::Poison { to, cents: 3 }),
    ];
    (prop::option::weighted(0.4, 0u8..6), order)
}

/// The bank in the plainest form, to compare with.
#[derive(Default)]
struct Model {
    accounts: BTreeMap<String, u64>,
    keys: BTreeMap<u8, String>,
}

impl Model {
    /// Whether the step succeeds, and whether as a repetition.
    fn step(&mut self, key: Option<u8>, order: &Order) -> Result<bool, &'static str> {
        if let Some(original) = key.and_then(|key| self.keys.get(&key)) {
            return if *original == format!("{order:?}") {
                Ok(true)
            } else {
                Err("conflict")
            };
        }
        match order {
            Order::Deposit { to, cents } => *self.accounts.entry(to.clone()).or_default() += cents,
            Order::Transfer { from, to, cents } => {
                if self.accounts.get(from).copied().unwrap_or(0) < *cents {
                    return Err("rejected");
                }
                *self.accounts.entry(from.clone()).or_default() -= cents;
                *self.accounts.entry(to.clone()).or_default() += cents;
            }
            Order::DrawTicket | Order::Nothing => {}
            _ => return Err("internal"),
        }
        if let Some(key) = key {
            self.keys.insert(key, format!("{order:?}"));
        }
        Ok(false)
    }
}

async fn check_history(steps: &[(Option<u8>, Order)], together: usize, store: &Store) {
    let mut model = Model::default();
    let mut bank = start(store.open().await).await;
    for steps in steps.chunks(together) {
        let requests = steps.iter().map(|(key, order)| match key {
            Some(key) => keyed(&key.to_string(), order.clone()),
            None => request(order.clone()),
        });
        let answers = futures::future::join_all(requests.map(|request| bank.submit(request))).await;
        for ((key, order), answer) in steps.iter().zip(answers) {
            let answer = match answer {
                Ok(receipt) => Ok(receipt.replayed),
                Err(SubmitError::Rejected(_)) => Err("rejected"),
                Err(SubmitError::Conflict) => Err("conflict"),
                Err(SubmitError::Internal(_)) => Err("internal"),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(answer, model.step(*key, order), "{key:?} {order:?}");
        }
        if steps.len() < together {
            bank = start(store.open().await).await;
        }
    }
    assert_eq!(check_replay(&bank, store).await.accounts, model.accounts);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_what_the_model_says(
        steps in prop::collection::vec(any_step(), 0..60),
        together in 1usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check_history(&steps, together, &Store::sqlite()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_history_on_postgres_is_what_the_model_says() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let steps = prop::collection::vec(any_step(), 200)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    check_history(&steps, 17, &Store::postgres().await).await;
}

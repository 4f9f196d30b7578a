//! A log that refuses, loses requests and answers, and goes away.

use std::{sync::Arc, time::Duration};

use super::{Submitted, balance, check_replay, positions, spawn, start, start_with, until};
use crate::{
    Log, Options, Status, SubmitError,
    testing::{AppendFault, FaultyLog},
    toy::{Order, Store, deposit, keyed, on_both, reproducible, request, transfer},
};

fn unavailable(answer: &Submitted) -> bool {
    matches!(answer, Err(SubmitError::Unavailable))
}

on_both! {
    async fn a_failed_append_takes_everything_decided_on_it_along(store: Store) {
        for fault in [AppendFault::Refused, AppendFault::LostRequest, AppendFault::Panic] {
            let log = FaultyLog::new(store.open().await);
            let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
            let before = bank.head();
            log.hold_appends(true);
            log.fail_append(fault);
            let deposit_in_flight = spawn(&bank, keyed("d", deposit("fault", 5)));
            until("the first batch is in flight", || log.appends() == 1).await;
            let decided_on_it = spawn(&bank, request(transfer("fault", "b", 5)));
            let rejected_on_it = spawn(&bank, request(transfer("fault", "b", 5)));
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!decided_on_it.is_finished() && !rejected_on_it.is_finished(), "no answer before the commit");
            log.hold_appends(false);
            for answer in [deposit_in_flight, decided_on_it, rejected_on_it] {
                assert!(unavailable(&answer.await.unwrap()), "{fault:?}");
            }
            assert_eq!((bank.head(), balance(&bank, "fault")), (before, 0));
            // As if it had never been: the same key may be used, and positions go on without a gap.
            let receipt = bank.submit(keyed("d", deposit("fault", 5))).await.unwrap();
            assert_eq!((positions(&receipt), receipt.replayed), (vec![before.size], false));
            bank.submit(request(transfer("fault", "b", 5))).await.unwrap();
            check_replay(&bank, &store).await;
            bank.shutdown().await;
            // The next round's key is new to the log.
            store.tamper("DELETE FROM commands", &[]).await;
        }
    }

    async fn a_lost_answer_is_found_out(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
        log.fail_append(AppendFault::LostAnswer);
        let receipt = bank.submit(keyed("k", deposit("a", 5))).await.unwrap();
        assert_eq!((positions(&receipt), receipt.replayed), (vec![0], false));
        assert!(bank.submit(keyed("k", deposit("a", 5))).await.unwrap().replayed);
        // A command without events, too.
        log.fail_append(AppendFault::LostAnswer);
        assert!(!bank.submit(keyed("n", Order::Nothing)).await.unwrap().replayed);
        assert_eq!((balance(&bank, "a"), bank.status()), (5, Status::Leading));
        check_replay(&bank, &store).await;
    }

    async fn a_command_without_events_is_done_only_if_it_is_stored(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
        bank.submit(request(deposit("a", 5))).await.unwrap();
        // The head looks the same whether it is stored or not.
        log.fail_append(AppendFault::LostRequest);
        assert!(unavailable(&bank.submit(keyed("n", Order::Nothing)).await));
        assert!(!bank.submit(keyed("n", Order::Nothing)).await.unwrap().replayed, "the first one left no trace");
        log.fail_append(AppendFault::LostAnswer);
        assert!(!bank.submit(keyed("m", Order::Nothing)).await.unwrap().replayed);
        for key in ["n", "m"] {
            assert!(bank.submit(keyed(key, Order::Nothing)).await.unwrap().replayed, "{key}");
        }
        check_replay(&bank, &store).await;
    }

    async fn during_an_outage_nobody_waits(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
        bank.submit(request(deposit("a", 5))).await.unwrap();
        log.fail_append(AppendFault::Outage);
        assert!(unavailable(&bank.submit(request(deposit("a", 1))).await));
        assert!(unavailable(&bank.submit(request(transfer("nobody", "a", 1))).await), "no rejection either");
        until("it says so", || bank.status() == Status::Recovering).await;
        assert_eq!(balance(&bank, "a"), 5, "reading goes on");
        log.set_reachable(true);
        until("it leads again", || bank.status() == Status::Leading).await;
        assert_eq!(positions(&bank.submit(request(deposit("a", 1))).await.unwrap()), [1]);
        check_replay(&bank, &store).await;
    }

    async fn an_outcome_that_stays_unknown_is_called_so(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let options = Options { resolve_patience: Duration::ZERO, ..reproducible() };
        let bank = start_with(Arc::clone(&log) as Arc<dyn Log>, options).await.unwrap();
        log.fail_append(AppendFault::LostAnswerThenOutage);
        assert!(matches!(bank.submit(keyed("k", deposit("a", 5))).await, Err(SubmitError::Unknown)));
        assert_eq!(balance(&bank, "a"), 0);
        log.set_reachable(true);
        until("it is found out", || bank.head().size == 1).await;
        assert!(bank.submit(keyed("k", deposit("a", 5))).await.unwrap().replayed);
        assert_eq!(balance(&bank, "a"), 5);
        check_replay(&bank, &store).await;
    }

    async fn a_repeated_key_in_flight_shares_the_fate_of_the_first(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
        for lost in [true, false] {
            let appends = log.appends();
            log.hold_appends(true);
            if lost {
                log.fail_append(AppendFault::Refused);
            }
            let first = spawn(&bank, keyed("k", deposit("a", 5)));
            until("the first batch is in flight", || log.appends() == appends + 1).await;
            let same = spawn(&bank, keyed("k", deposit("a", 5)));
            let different = spawn(&bank, keyed("k", deposit("a", 6)));
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!same.is_finished() && !different.is_finished());
            log.hold_appends(false);
            let (first, same, different) = (first.await.unwrap(), same.await.unwrap(), different.await.unwrap());
            if lost {
                assert!(unavailable(&first) && unavailable(&same) && unavailable(&different));
            } else {
                let (first, same) = (first.unwrap(), same.unwrap());
                assert_eq!((first.replayed, same.replayed, &same.events), (false, true, &first.events));
                assert!(matches!(different, Err(SubmitError::Conflict)));
            }
        }
        assert_eq!(check_replay(&bank, &store).await.total(), 5);
    }

    async fn a_full_queue_says_so_at_once(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let options = Options { queue_commands: 4, batch_commands: 2, ..reproducible() };
        let bank = start_with(Arc::clone(&log) as Arc<dyn Log>, options).await.unwrap();
        log.hold_appends(true);
        let first = spawn(&bank, request(deposit("a", 1)));
        until("the first batch is in flight", || log.appends() == 1).await;
        // Two in the open batch, up to two taken out of the queue, four in it.
        let callers: Vec<_> = (0..50).map(|_| spawn(&bank, request(deposit("a", 1)))).collect();
        until("all but those that fit are turned away", || callers.iter().filter(|c| c.is_finished()).count() >= 42).await;
        log.hold_appends(false);
        let mut accepted = u64::from(first.await.unwrap().is_ok());
        for answer in callers {
            match answer.await.unwrap() {
                Ok(_) => accepted += 1,
                Err(SubmitError::Busy) => {}
                Err(other) => panic!("{other}"),
            }
        }
        // At the least the one in flight and a queue full of others.
        assert!(accepted >= 5, "what fits is done, {accepted}");
        assert_eq!(check_replay(&bank, &store).await.total(), accepted);
    }

    async fn a_full_batch_that_waits_goes_with_the_one_before(store: Store) {
        for fault in [Some(AppendFault::Refused), None] {
            let log = FaultyLog::new(store.open().await);
            let options = Options { batch_commands: 2, ..reproducible() };
            let bank = start_with(Arc::clone(&log) as Arc<dyn Log>, options).await.unwrap();
            let before = bank.head().size;
            log.hold_appends(true);
            if let Some(fault) = fault {
                log.fail_append(fault);
            }
            let in_flight = spawn(&bank, request(deposit("a", 1)));
            until("the first batch is in flight", || log.appends() == 1).await;
            let full: Vec<_> = ["x", "y"].map(|key| spawn(&bank, keyed(key, deposit("a", 1)))).into();
            until("the next one is full and made ready", || log.prepared() == 1).await;
            let later = spawn(&bank, request(deposit("a", 1)));
            log.hold_appends(false);
            let landed = in_flight.await.unwrap().is_ok();
            assert_eq!(landed, fault.is_none());
            for answer in full {
                assert_eq!(answer.await.unwrap().is_ok(), landed);
            }
            later.await.unwrap().unwrap();
            // Done once, whether the first try was or not.
            for key in ["x", "y"] {
                let again = bank.submit(keyed(key, deposit("a", 1))).await.unwrap();
                assert_eq!(again.replayed, landed, "{key}");
            }
            let after = before + if landed { 4 } else { 3 };
            assert_eq!(bank.head().size, after);
            check_replay(&bank, &store).await;
            bank.shutdown().await;
            store.tamper("DELETE FROM commands", &[]).await;
        }
    }

    async fn a_stopped_log_does_not_hold_up_the_end(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let bank = start(Arc::clone(&log) as Arc<dyn Log>).await;
        log.fail_append(AppendFault::Outage);
        assert!(unavailable(&bank.submit(request(deposit("a", 1))).await));
        let ended = tokio::time::timeout(Duration::from_secs(5), bank.shutdown()).await.unwrap();
        assert!(matches!(ended, Status::Failed(_)));
        assert!(matches!(bank.submit(request(deposit("a", 1))).await, Err(SubmitError::Stopped)));
    }
}

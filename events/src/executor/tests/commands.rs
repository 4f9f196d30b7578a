//! What a single caller is promised.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{balance, check_replay, positions, spawn, start, start_with, until};
use crate::{
    EntryError, Options, Request, Status, SubmitError, Timestamp,
    toy::{Order, Refused, Store, deposit, keyed, on_both, reproducible, request, transfer},
};

on_both! {
    async fn a_command_is_durable_and_visible_when_answered(store: Store) {
        let bank = start(store.open().await).await;
        let receipt = bank.submit(request(deposit("a", 5))).await.unwrap();
        assert_eq!((positions(&receipt), receipt.head, receipt.replayed), (vec![0], 1, false));
        let receipt = bank.submit(request(transfer("a", "b", 2))).await.unwrap();
        assert_eq!((positions(&receipt), receipt.head), (vec![1, 2], 3));
        assert_eq!((balance(&bank, "a"), balance(&bank, "b")), (3, 2));
        let event = &receipt.events[0];
        assert_eq!((event.stream.as_str(), event.revision, event.actor.as_str()), ("account/a", 1, "account/test"));
        assert_eq!(event.cause.len(), 26, "a command without a key gets a ULID");
        assert_eq!(receipt.events[0].cause, receipt.events[1].cause);
        assert_ne!(receipt.events[0].id, receipt.events[1].id);
        assert_eq!(bank.head().size, 3);
        check_replay(&bank, &store).await;
    }

    async fn a_rejection_changes_nothing_and_spares_its_neighbours(store: Store) {
        let bank = start(store.open().await).await;
        let orders = [deposit("a", 5), transfer("a", "b", 6), transfer("a", "b", 5), transfer("a", "b", 1)];
        let answers = futures::future::join_all(orders.map(|order| bank.submit(request(order)))).await;
        assert_eq!(positions(answers[0].as_ref().unwrap()), [0]);
        let refused = |balance| Refused::Balance { from: "a".to_owned(), balance };
        assert!(matches!(&answers[1], Err(SubmitError::Rejected(r)) if *r == refused(5)));
        assert_eq!(positions(answers[2].as_ref().unwrap()), [1, 2]);
        assert!(matches!(&answers[3], Err(SubmitError::Rejected(r)) if *r == refused(0)));
        // Alone in its batch, too.
        assert!(matches!(bank.submit(request(transfer("x", "b", 1))).await, Err(SubmitError::Rejected(_))));
        assert_eq!(bank.head().size, 3);
        check_replay(&bank, &store).await;
    }

    async fn a_key_makes_a_command_happen_once(store: Store) {
        let bank = start(store.open().await).await;
        let first = bank.submit(keyed("k", deposit("a", 5))).await.unwrap();
        assert_eq!(first.events[0].cause, "k");
        let again = bank.submit(keyed("k", deposit("a", 5))).await.unwrap();
        assert!(again.replayed && !first.replayed);
        assert_eq!((&again.events, again.head), (&first.events, first.head));
        assert!(matches!(bank.submit(keyed("k", deposit("a", 6))).await, Err(SubmitError::Conflict)));
        // Another actor's keys are its own.
        let other = Request { actor: "account/other".to_owned(), ..keyed("k", deposit("a", 6)) };
        assert!(!bank.submit(other).await.unwrap().replayed);
        // A rejection is no outcome to remember: the same key may succeed later.
        assert!(matches!(bank.submit(keyed("t", transfer("b", "a", 1))).await, Err(SubmitError::Rejected(_))));
        bank.submit(request(deposit("b", 1))).await.unwrap();
        assert!(!bank.submit(keyed("t", transfer("b", "a", 1))).await.unwrap().replayed);
        bank.shutdown().await;
        // The next leader knows them all.
        let bank = start(store.open().await).await;
        let again = bank.submit(keyed("k", deposit("a", 5))).await.unwrap();
        assert_eq!((again.replayed, &again.events), (true, &first.events));
        assert_eq!(balance(&bank, "a"), 12);
        check_replay(&bank, &store).await;
    }

    async fn nothing_to_do_is_an_outcome(store: Store) {
        let bank = start(store.open().await).await;
        bank.submit(request(deposit("a", 5))).await.unwrap();
        for replayed in [false, true] {
            let receipt = bank.submit(keyed("k", Order::Nothing)).await.unwrap();
            assert_eq!((receipt.events.len(), receipt.head, receipt.replayed), (0, 1, replayed));
        }
        assert!(bank.submit(request(Order::Nothing)).await.unwrap().events.is_empty());
        assert!(matches!(bank.submit(keyed("k", deposit("a", 1))).await, Err(SubmitError::Conflict)));
        assert_eq!(bank.head().size, 1);
    }

    async fn what_does_not_fit_fails_alone(store: Store) {
        let bank = start(store.open().await).await;
        let orders = [
            deposit("a", 1),
            Order::Note { bytes: 65_535 },
            Order::Unsafe,
            Order::Many { to: "m".to_owned(), count: 10_001 },
            deposit("a", 1),
        ];
        let answers = futures::future::join_all(orders.map(|order| bank.submit(request(order)))).await;
        assert!(matches!(answers[1], Err(SubmitError::Unwritable(EntryError::TooLarge { bytes: 65_536.. }))));
        assert!(matches!(answers[2], Err(SubmitError::Unwritable(EntryError::UnsafeInteger(_)))));
        assert!(matches!(answers[3], Err(SubmitError::Unwritable(EntryError::TooMany { events: 10_001 }))));
        assert!(answers[0].is_ok() && answers[4].is_ok());
        let most = bank.submit(request(Order::Many { to: "m".to_owned(), count: 10_000 })).await.unwrap();
        assert_eq!(most.head, 10_002);
        check_replay(&bank, &store).await;
    }

    async fn a_panic_in_decide_is_its_callers_alone(store: Store) {
        let bank = start(store.open().await).await;
        let orders = [deposit("a", 1), Order::Panic, deposit("a", 1)];
        let answers = futures::future::join_all(orders.map(|order| bank.submit(request(order)))).await;
        assert!(matches!(&answers[1], Err(SubmitError::Internal(text)) if text.contains("was to panic")));
        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert_eq!((check_replay(&bank, &store).await.total(), bank.status()), (2, Status::Leading));
    }

    async fn an_event_that_the_state_refuses_is_never_written(store: Store) {
        let bank = start(store.open().await).await;
        let poison = Order::Poison { to: "a".to_owned(), cents: 100 };
        let orders = [deposit("a", 1), poison, deposit("a", 1), transfer("a", "b", 100)];
        let answers = futures::future::join_all(orders.map(|order| bank.submit(request(order)))).await;
        assert!(matches!(answers[1], Err(SubmitError::Internal(_))));
        assert!(answers[0].is_ok() && answers[2].is_ok());
        // The half of the poisoned decision that was folded is gone.
        assert!(matches!(&answers[3], Err(SubmitError::Rejected(Refused::Balance { balance: 2, .. }))));
        assert_eq!(check_replay(&bank, &store).await.total(), 2);
    }

    async fn time_never_goes_back(store: Store) {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let options = Options {
            clock: Arc::new(move || Timestamp(clock.fetch_sub(1_000, Ordering::Relaxed))),
            ..reproducible()
        };
        let bank = start_with(store.open().await, options).await.unwrap();
        let mut last = Timestamp(0);
        for _ in 0..5 {
            let receipt = bank.submit(request(deposit("a", 1))).await.unwrap();
            assert!(receipt.events[0].time >= last);
            last = receipt.events[0].time;
        }
        check_replay(&bank, &store).await;
    }

    async fn shutting_down_finishes_what_is_queued(store: Store) {
        let bank = start(store.open().await).await;
        let queued: Vec<_> = (0..200).map(|_| spawn(&bank, request(deposit("a", 1)))).collect();
        until("something is committed", || bank.head().size > 0).await;
        assert_eq!(bank.shutdown().await, Status::Stopped);
        let mut done = 0;
        for answer in queued {
            match answer.await.unwrap() {
                Ok(_) => done += 1,
                Err(SubmitError::Stopped) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(balance(&bank, "a"), done);
        assert!(matches!(bank.submit(request(deposit("a", 1))).await, Err(SubmitError::Stopped)));
        check_replay(&bank, &store).await;
    }
}

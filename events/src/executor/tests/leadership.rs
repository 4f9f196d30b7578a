//! Two executors on one log: only one can write, and the other one knows.

use std::sync::Arc;

use super::{balance, check_replay, positions, spawn, start, until};
use crate::{
    Log, Status, SubmitError,
    testing::{AppendFault, FaultyLog},
    toy::{Store, deposit, keyed, on_both, request, transfer},
};

on_both! {
    async fn the_second_leader_deposes_the_first(store: Store) {
        let first = start(store.open().await).await;
        first.submit(request(deposit("a", 5))).await.unwrap();
        let second = start(store.open().await).await;
        assert_eq!(balance(&second, "a"), 5);
        second.submit(request(deposit("a", 1))).await.unwrap();
        assert!(matches!(first.submit(request(deposit("a", 1))).await, Err(SubmitError::NotLeader)));
        assert_eq!(first.ended().await, Status::Deposed);
        assert!(matches!(first.submit(request(deposit("a", 1))).await, Err(SubmitError::NotLeader)));
        assert_eq!(positions(&second.submit(request(deposit("a", 1))).await.unwrap()), [2]);
        assert_eq!((balance(&first, "a"), balance(&second, "a")), (5, 7));
        check_replay(&second, &store).await;
    }

    async fn a_deposed_leader_gives_no_rejections(store: Store) {
        let first = start(store.open().await).await;
        let second = start(store.open().await).await;
        second.submit(request(deposit("a", 5))).await.unwrap();
        // By the first one's knowledge `a` is empty, which is no longer true.
        assert!(matches!(first.submit(request(transfer("a", "b", 5))).await, Err(SubmitError::NotLeader)));
    }

    async fn a_deposed_leader_owns_up_to_what_it_committed(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let first = start(Arc::clone(&log) as Arc<dyn Log>).await;
        log.fail_append(AppendFault::LostAnswerThenOutage);
        let lost = spawn(&first, keyed("k", deposit("a", 5)));
        until("the answer is lost", || first.status() == Status::Recovering).await;
        let second = start(store.open().await).await;
        second.submit(request(deposit("a", 1))).await.unwrap();
        log.set_reachable(true);
        let receipt = lost.await.unwrap().unwrap();
        assert_eq!((positions(&receipt), receipt.replayed), (vec![0], false));
        assert_eq!(first.ended().await, Status::Deposed);
        assert_eq!((balance(&first, "a"), balance(&second, "a")), (5, 6));
        check_replay(&second, &store).await;
    }

    async fn an_append_on_its_way_is_fenced_by_the_next_leader(store: Store) {
        let log = FaultyLog::new(store.open().await);
        let first = start(Arc::clone(&log) as Arc<dyn Log>).await;
        log.hold_appends(true);
        let held = spawn(&first, request(deposit("a", 5)));
        until("the append is on its way", || log.appends() == 1).await;
        let second = start(store.open().await).await;
        log.hold_appends(false);
        assert!(matches!(held.await.unwrap(), Err(SubmitError::NotLeader)));
        assert_eq!(second.head().size, 0);
        second.submit(request(deposit("b", 1))).await.unwrap();
        check_replay(&second, &store).await;
    }

    async fn leadership_passes_under_load_without_loss(store: Store) {
        let mut leaders = vec![start(store.open().await).await];
        let mut acknowledged = 0;
        for round in 0..4 {
            let bank = leaders[round].clone();
            let callers: Vec<_> = (0..40).map(|_| spawn(&bank, request(deposit("a", 1)))).collect();
            let next = start(store.open().await).await;
            for answer in callers {
                match answer.await.unwrap() {
                    Ok(_) => acknowledged += 1,
                    Err(SubmitError::NotLeader) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            leaders.push(next);
        }
        // The last leader started before the callers of the one before it were answered; none wrote after that.
        assert_eq!(balance(&leaders[4], "a"), acknowledged);
        check_replay(&leaders[4], &store).await;
    }
}

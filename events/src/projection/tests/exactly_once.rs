//! Every event counts once, whatever is cut off and however many fold; and what can't be folded stops the fold.

use rand::RngExt as _;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

use super::*;

on_both_stores! {
    async fn the_tables_follow_the_log(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 400).await;
        let projections = start(&place, bank.clone(), accounts(1), 64).await;
        equal(&bank, &mut level(&projections, size).await).await;
        let size = trade(&bank, 50).await;
        equal(&bank, &mut level(&projections, size).await).await;
        projections.shutdown().await;
    }

    async fn killed_anywhere_every_event_counts_once(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 600).await;
        let mut kills = 0;
        loop {
            let projections = start(&place, bank.clone(), accounts(1), 7).await;
            let micros = rand::rng().random_range(0..60_000);
            let done = projections.reach("bank", size, Duration::from_micros(micros)).await;
            // Told to stop, a runner is dropped wherever it is, in the middle of a transaction too.
            projections.shutdown().await;
            if done || kills > 2_000 {
                break;
            }
            kills += 1;
        }
        let projections = start(&place, bank.clone(), accounts(1), 7).await;
        equal(&bank, &mut level(&projections, size).await).await;
        projections.shutdown().await;
    }

    async fn two_folders_at_once_count_nothing_twice(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        trade(&bank, 200).await;
        let first = start(&place, bank.clone(), accounts(1), 3).await;
        let second = start(&place, bank.clone(), accounts(1), 5).await;
        let size = trade(&bank, 200).await;
        equal(&bank, &mut level(&first, size).await).await;
        equal(&bank, &mut level(&second, size).await).await;
        // Whichever folds, the other takes over when it dies.
        first.shutdown().await;
        let size = trade(&bank, 30).await;
        equal(&bank, &mut level(&second, size).await).await;
        let third = start(&place, bank.clone(), accounts(1), 5).await;
        second.shutdown().await;
        let size = trade(&bank, 30).await;
        equal(&bank, &mut level(&third, size).await).await;
        third.shutdown().await;
    }

    async fn folders_that_ignore_the_fence_are_stopped_by_the_position(place: Place) {
        use crate::projection::{generation, fold::{Applied, apply}};
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 100).await;
        let projections = start(&place, cut(&bank, 10), accounts(1), 4).await;
        level(&projections, 10).await;
        projections.shutdown().await;
        let store = place.open().await;
        let mut tx = store.begin().await.unwrap();
        let found = generation::load(&mut tx, "bank").await.unwrap().remove(0);
        tx.rollback().await.unwrap();
        let events = Source::<Happened>::page(&bank, 10, 40).await.unwrap().events;
        let mut folders = Vec::new();
        for _ in 0..6 {
            let (store, mut generation, events) = (place.open().await, found.clone(), events.clone());
            folders.push(tokio::spawn(async move {
                let applied = apply(&store, &accounts(1), &mut generation, &events).await.unwrap();
                (applied, generation.position)
            }));
        }
        let mut won = 0;
        for folder in folders {
            match folder.await.unwrap() {
                (Applied::Done, position) => {
                    assert_eq!(position, 50);
                    won += 1;
                }
                (Applied::Lost, position) => assert_eq!(position, 10),
                (Applied::Refused { reason, .. }, _) => panic!("{reason}"),
            }
        }
        assert_eq!(won, 1);
        let projections = start(&place, bank.clone(), accounts(1), 4).await;
        equal(&bank, &mut level(&projections, size).await).await;
        projections.shutdown().await;
    }

    async fn what_cannot_be_folded_stops_it_with_position_and_reason(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 60).await;
        let projections = start(&place, cut(&bank, 20), accounts(1), 8).await;
        level(&projections, 20).await;
        projections.shutdown().await;
        for (kind, says) in [(Poison::Refuse, "like it"), (Poison::Panic, "it hurts"), (Poison::Row, "refuses its rows")] {
            let poisoned = Accounts { poison: Some((33, kind)), ..accounts(1) };
            let projections = start(&place, bank.clone(), poisoned, 64).await;
            let failed = |all: &[ProjectionStatus]| all[0].failed.as_ref().is_some_and(|(_, why)| why.contains(says));
            let statuses = until(&projections, "it stops", failed).await;
            assert_eq!(statuses[0].failed.as_ref().unwrap().0, 33, "{kind:?}");
            assert_eq!(statuses[0].position, 33, "all before it are folded");
            // What it has is right, is served, and does not move.
            equal(&bank, &mut projections.snapshot("bank").await.unwrap()).await;
            assert!(!projections.reach("bank", 34, Duration::from_millis(200)).await);
            projections.shutdown().await;
        }
        // With code that can, it goes on from there.
        let projections = start(&place, bank.clone(), accounts(1), 64).await;
        equal(&bank, &mut level(&projections, size).await).await;
        assert_eq!(projections.statuses().await.unwrap()[0].failed, None);
        projections.shutdown().await;
    }

    async fn an_entry_that_its_leaf_does_not_fit_is_never_folded(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        trade(&bank, 60).await;
        let file = SqliteConnectOptions::new().filename(dir.path().join("log.sqlite"));
        let pool = SqlitePool::connect_with(file).await.unwrap();
        // Readable still, and not what was signed.
        sqlx::query(
            r#"UPDATE events SET entry = CAST(replace(CAST(entry AS TEXT), '"schema":1', '"schema": 1') AS BLOB) WHERE position = 21"#,
        )
        .execute(&pool)
        .await
        .unwrap();
        let projections = start(&place, bank.clone(), accounts(1), 16).await;
        let failed = |all: &[ProjectionStatus]| all.iter().any(|s| s.failed.is_some());
        let statuses = until(&projections, "it stops", failed).await;
        let (position, reason) = statuses[0].failed.clone().unwrap();
        assert_eq!(position, 21);
        assert!(reason.contains("leaf hash"), "{reason}");
        projections.shutdown().await;
    }

    async fn a_hole_in_the_log_is_never_skipped(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 60).await;
        let source = Cut { hole: Some(25), ..cut(&bank, size) };
        let projections = start(&place, source, accounts(1), 16).await;
        let failed = |all: &[ProjectionStatus]| all.iter().any(|s| s.failed.is_some());
        let statuses = until(&projections, "it stops", failed).await;
        let (position, reason) = statuses[0].failed.clone().unwrap();
        assert_eq!(position, 25);
        assert!(reason.contains("position 26 where 25 is due"), "{reason}");
        // It has never been level, so it is not served.
        let refused = projections.snapshot("bank").await.unwrap_err().to_string();
        assert!(refused.contains("25 of") && refused.contains("stopped at position 25"), "{refused}");
        projections.shutdown().await;
    }
}

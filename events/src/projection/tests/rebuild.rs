//! Generations: built beside the live one, swapped whole, dropped; and what makes a new one.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::projection::{GenerationState, ReadError, generation};

fn live(statuses: &[ProjectionStatus]) -> Option<&ProjectionStatus> {
    statuses.iter().find(|s| s.state == GenerationState::Live)
}

on_both_stores! {
    async fn a_rebuild_beside_writes_swaps_whole_for_its_readers(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 300).await;
        let projections = Arc::new(start(&place, bank.clone(), accounts(1), 16).await);
        level(&projections, size).await;
        let first = live(&projections.statuses().await.unwrap()).unwrap().generation;
        let done = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn({
            let (bank, done) = (bank.clone(), Arc::clone(&done));
            async move {
                while !done.load(Ordering::SeqCst) {
                    trade(&bank, 5).await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
        let reader = tokio::spawn({
            let (bank, projections, done) = (bank.clone(), Arc::clone(&projections), Arc::clone(&done));
            async move {
                let mut position = 0;
                while !done.load(Ordering::SeqCst) {
                    let mut snapshot = projections.snapshot("bank").await.unwrap();
                    assert!(snapshot.position() >= position, "it never goes back");
                    position = snapshot.position();
                    equal(&bank, &mut snapshot).await;
                }
            }
        });
        for _ in 0..3 {
            let next = projections.rebuild("bank").await.unwrap();
            until(&projections, "the next one is live", |all| live(all).is_some_and(|s| s.generation == next)).await;
        }
        done.store(true, Ordering::SeqCst);
        writer.await.unwrap();
        reader.await.unwrap();
        // The old ones' tables go, and the SQL view shows the live one.
        let last = until(&projections, "old tables are dropped", |all| all.len() == 1).await;
        assert!(last[0].generation > first);
        let mut tx = place.open().await.read().await.unwrap();
        let gone = tx.fetch(&format!("SELECT 1 FROM bank_accounts_g{first}"), &[]).await;
        assert!(gone.unwrap_err().to_string().contains("bank_accounts_g"));
        drop(tx);
        let mut tx = place.open().await.read().await.unwrap();
        assert!(!tx.fetch("SELECT account, cents FROM bank_accounts", &[]).await.unwrap().is_empty());
        projections.shutdown().await;
    }

    async fn another_version_is_rebuilt_while_the_old_one_is_served(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 100).await;
        let projections = start(&place, bank.clone(), accounts(1), 16).await;
        level(&projections, size).await;
        projections.shutdown().await;
        // The new version stops half-way: what readers see is the old one, where it was.
        let stuck = Accounts { poison: Some((50, Poison::Refuse)), ..accounts(2) };
        let projections = start(&place, bank.clone(), stuck, 16).await;
        let failed = |all: &[ProjectionStatus]| all.iter().any(|s| s.failed.is_some());
        until(&projections, "the new one stops", failed).await;
        let mut snapshot = projections.snapshot("bank").await.unwrap();
        assert_eq!(snapshot.position(), size);
        equal(&bank, &mut snapshot).await;
        drop(snapshot);
        projections.shutdown().await;
        // Mended, it goes on from where it stood, and takes over.
        let mended = Arc::new(accounts(2));
        let all: Vec<Arc<dyn Projection<Happened>>> = vec![mended.clone()];
        let projections = Projections::start(place.open().await, Arc::new(bank.clone()), all, &quick(16)).unwrap();
        let version = |all: &[ProjectionStatus]| live(all).is_some_and(|s| s.version == 2);
        until(&projections, "version 2 is live", version).await;
        equal(&bank, &mut level(&projections, size).await).await;
        assert_eq!(u64::from(mended.batches.load(Ordering::SeqCst)), size - 50, "nothing was folded again");
        projections.shutdown().await;
        // An older server leaves the newer tables alone, and serves them.
        let projections = start(&place, bank.clone(), accounts(1), 16).await;
        let trouble = |all: &[ProjectionStatus]| live(all).is_some_and(|s| s.trouble.is_some());
        let statuses = until(&projections, "it says so", trouble).await;
        let others = statuses.iter().filter(|s| s.state != GenerationState::Live);
        assert!(others.clone().all(|s| s.state == GenerationState::Retired), "{statuses:?}");
        projections.snapshot("bank").await.unwrap();
        // Nor does an operator's wish put what it folds in their place.
        let refused = projections.rebuild("bank").await.unwrap_err();
        assert!(matches!(refused, ReadError::Newer { newer: 2, own: 1, .. }), "{refused:?}");
        let statuses = projections.statuses().await.unwrap();
        assert!(statuses.iter().all(|s| s.state != GenerationState::Building), "{statuses:?}");
        projections.shutdown().await;
    }

    async fn an_older_generation_is_not_swapped_in_for_a_newer_one(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 50).await;
        let projections = start(&place, bank.clone(), accounts(2), 16).await;
        level(&projections, size).await;
        projections.shutdown().await;
        // As an older server left it that began before the newer one was there.
        let store = place.open().await;
        let mut tx = store.begin().await.unwrap();
        let number = generation::serialise(&mut tx).await.unwrap();
        generation::create(&mut tx, store.dialect(), "bank", (1, "old"), TABLES, number).await.unwrap();
        let sql = "UPDATE projections SET position = $1 WHERE generation = $2";
        tx.execute(sql, &[generation::signed(size), generation::signed(number)]).await.unwrap();
        let all = generation::load(&mut tx, "bank").await.unwrap();
        let old = all.iter().find(|g| g.number == number).unwrap();
        assert!(!generation::swap(&mut tx, "bank", old).await.unwrap());
        let all = generation::load(&mut tx, "bank").await.unwrap();
        let live = all.iter().find(|g| g.state == GenerationState::Live).unwrap();
        assert_eq!(live.version, 2);
    }

    async fn other_columns_are_not_served_through_old_tables(place: Place) {
        const OTHER: &[Table] = &[Table {
            name: "bank_accounts",
            about: "Other.",
            columns: &[Column::text("name", "Its name.")],
            key: 1,
            indexes: &[],
        }];
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 30).await;
        let projections = start(&place, bank.clone(), Accounts { tables: OTHER, poison: Some((0, Poison::Refuse)), ..accounts(1) }, 16).await;
        until(&projections, "it stops", |all| all.iter().any(|s| s.failed.is_some())).await;
        projections.shutdown().await;
        let projections = start(&place, bank.clone(), accounts(1), 16).await;
        equal(&bank, &mut level(&projections, size).await).await;
        projections.shutdown().await;
        let projections = start(&place, bank.clone(), Accounts { tables: OTHER, poison: Some((0, Poison::Refuse)), ..accounts(2) }, 16).await;
        until(&projections, "it stops", |all| all.iter().any(|s| s.failed.is_some())).await;
        assert!(projections.snapshot("bank").await.is_err());
        projections.shutdown().await;
    }

    async fn another_log_behind_the_tables_is_noticed(place: Place) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = bank(one.path()).await;
        let size = trade(&first, 90).await;
        let projections = start(&place, first.clone(), accounts(1), 16).await;
        level(&projections, size).await;
        projections.shutdown().await;
        // A restored, shorter log of the same history.
        let projections = start(&place, cut(&first, 40), accounts(1), 16).await;
        let shorter = |all: &[ProjectionStatus]| live(all).is_some_and(|s| s.position == 40);
        until(&projections, "it is built anew", shorter).await;
        equal(&first, &mut projections.snapshot("bank").await.unwrap()).await;
        projections.shutdown().await;
        // A log that went another way, and is longer: only the last event tells.
        let second = bank(two.path()).await;
        order(&second, deposit("other", 5)).await;
        let size = trade(&second, 120).await;
        assert!(size > 40);
        let projections = start(&place, second.clone(), accounts(1), 16).await;
        equal(&second, &mut level(&projections, size).await).await;
        projections.shutdown().await;
    }

    async fn an_interrupted_rebuild_goes_on(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 120).await;
        let projections = start(&place, cut(&bank, 60), accounts(1), 16).await;
        level(&projections, 60).await;
        let next = projections.rebuild("bank").await.unwrap();
        assert_eq!(projections.rebuild("bank").await.unwrap(), next, "one at a time");
        projections.shutdown().await;
        let projections = start(&place, bank.clone(), accounts(1), 16).await;
        until(&projections, "the rebuild ends", |all| live(all).is_some_and(|s| s.generation == next)).await;
        equal(&bank, &mut level(&projections, size).await).await;
        assert!(matches!(projections.rebuild("nothing").await, Err(crate::projection::ReadError::Unknown(_))));
        projections.shutdown().await;
    }

    async fn servers_that_start_at_once_make_one_generation(place: Place) {
        let dir = tempfile::tempdir().unwrap();
        let bank = bank(dir.path()).await;
        let size = trade(&bank, 40).await;
        let starts = (0..5).map(|_| start(&place, bank.clone(), accounts(1), 4));
        let all = futures::future::join_all(starts).await;
        for projections in &all {
            equal(&bank, &mut level(projections, size).await).await;
        }
        let mut tx = place.open().await.begin().await.unwrap();
        assert_eq!(generation::load(&mut tx, "bank").await.unwrap().len(), 1);
        tx.rollback().await.unwrap();
        for projections in all {
            projections.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_query_on_the_old_tables_holds_up_the_swap_and_not_the_folding() {
    let place = Place::Postgres(PrivatePostgres::start().await);
    let dir = tempfile::tempdir().unwrap();
    let bank = bank(dir.path()).await;
    let size = trade(&bank, 50).await;
    let projections = start(&place, bank.clone(), accounts(1), 16).await;
    level(&projections, size).await;
    // An operator's query on the SQL view, in a transaction that stays open.
    let mut query = place.open().await.read().await.unwrap();
    query
        .fetch("SELECT account FROM bank_accounts", &[])
        .await
        .unwrap();
    let next = projections.rebuild("bank").await.unwrap();
    let held_up = |all: &[ProjectionStatus]| {
        let trouble = live(all).and_then(|s| s.trouble.as_deref());
        trouble.is_some_and(|why| why.contains("waits for queries"))
    };
    until(&projections, "the swap is held up", held_up).await;
    for _ in 0..5 {
        let size = trade(&bank, 10).await;
        let statuses = until(&projections, "both follow", |all| {
            all.iter().all(|s| s.position == size)
        })
        .await;
        assert!(held_up(&statuses), "{statuses:?}");
        equal(&bank, &mut level(&projections, size).await).await;
    }
    drop(query);
    let swapped = |all: &[ProjectionStatus]| {
        live(all).is_some_and(|s| s.generation == next && s.trouble.is_none())
    };
    until(&projections, "it is swapped", swapped).await;
    projections.shutdown().await;
}

//! A log that somebody has changed: found at the start and in an audit, with the position.

use super::{start, start_with};
use crate::{
    Damage, Entry, Flaw, ReplayError, StartError, SubmitError, merkle, replay, replay_log,
    toy::{Bank, Store, deposit, on_both, reproducible, request, transfer},
};

/// A log of eight entries.
async fn honest(store: &Store) -> Vec<Entry> {
    let log = store.open().await;
    let bank = start(std::sync::Arc::clone(&log)).await;
    for n in 0..4 {
        bank.submit(request(deposit("a", 5 + n))).await.unwrap();
    }
    bank.submit(request(transfer("a", "b", 3))).await.unwrap();
    bank.submit(request(transfer("b", "a", 2))).await.unwrap();
    bank.shutdown().await;
    super::all_entries(log.as_ref()).await
}

/// What a start and an audit say, which must be the same.
async fn damage(store: &Store) -> Damage {
    let at_start = match start_with(store.open().await, reproducible()).await {
        Err(StartError::Damage(damage)) => damage,
        other => panic!("the damage is not found at the start: {other:?}"),
    };
    if at_start.flaw != Flaw::BeyondHead {
        match replay_log::<Bank>(store.open().await.as_ref()).await {
            Err(ReplayError::Damage(damage)) => assert_eq!(damage, at_start),
            other => panic!("the damage is not found by an audit: {other:?}"),
        }
    }
    at_start
}

on_both! {
    async fn a_flipped_byte_is_found(store: Store) {
        let mut entry = honest(&store).await[3].clone();
        let last = entry.0.len() - 10;
        entry.0[last] ^= 1;
        store.tamper("UPDATE events SET entry = $1 WHERE position = 3", &[entry.0]).await;
        let damage = damage(&store).await;
        assert_eq!(damage.position, 3);
        assert!(matches!(damage.flaw, Flaw::Leaf { .. }), "{damage}");
    }

    async fn a_rewritten_entry_with_its_leaf_is_found_by_the_root(store: Store) {
        let entries = honest(&store).await;
        let mut envelope = entries[3].envelope().unwrap();
        envelope.data["cents"] = "800".into();
        let forged = envelope.to_entry().unwrap();
        let leaf = merkle::leaf_hash(&forged.0).0.to_vec();
        store.tamper("UPDATE events SET entry = $1, leaf = $2 WHERE position = 3", &[forged.0, leaf]).await;
        let damage = damage(&store).await;
        assert_eq!(damage.position, 8);
        assert!(matches!(damage.flaw, Flaw::Root { .. }), "{damage}");
    }

    async fn a_missing_row_is_found(store: Store) {
        honest(&store).await;
        store.tamper("DELETE FROM events WHERE position = 2", &[]).await;
        assert_eq!(damage(&store).await, Damage { position: 2, flaw: Flaw::Gap(3) });
    }

    async fn missing_last_rows_are_found(store: Store) {
        honest(&store).await;
        store.tamper("DELETE FROM events WHERE position >= 6", &[]).await;
        assert_eq!(damage(&store).await, Damage { position: 6, flaw: Flaw::Missing });
    }

    async fn swapped_rows_are_found(store: Store) {
        honest(&store).await;
        store.tamper("UPDATE events SET position = 100 WHERE position = 3", &[]).await;
        store.tamper("UPDATE events SET position = 3 WHERE position = 4", &[]).await;
        store.tamper("UPDATE events SET position = 4 WHERE position = 100", &[]).await;
        assert_eq!(damage(&store).await, Damage { position: 3, flaw: Flaw::Position(4) });
    }

    async fn a_changed_head_is_found(store: Store) {
        let entries = honest(&store).await;
        let leaf = entries[0].leaf().0.to_vec();
        store.tamper("UPDATE log_head SET root = $1", &[leaf]).await;
        let damage = damage(&store).await;
        assert_eq!(damage.position, 8);
        assert!(matches!(damage.flaw, Flaw::Root { .. }), "{damage}");
    }

    async fn a_head_set_back_is_found(store: Store) {
        let entries = honest(&store).await;
        let mut frontier = merkle::Frontier::default();
        entries[..6].iter().for_each(|entry| frontier.push(entry.leaf()));
        let (root, frontier) = (frontier.root().0.to_vec(), frontier.to_bytes());
        store.tamper("UPDATE log_head SET size = 6, root = $1, frontier = $2", &[root, frontier]).await;
        assert_eq!(damage(&store).await, Damage { position: 6, flaw: Flaw::BeyondHead });
    }

    async fn a_running_executor_stops_at_damage_when_it_rebuilds(store: Store) {
        let log = crate::testing::FaultyLog::new(store.open().await);
        let bank = start(std::sync::Arc::clone(&log) as std::sync::Arc<dyn crate::Log>).await;
        bank.submit(request(deposit("a", 5))).await.unwrap();
        bank.submit(request(deposit("a", 5))).await.unwrap();
        store.tamper("DELETE FROM events WHERE position = 0", &[]).await;
        log.fail_append(crate::testing::AppendFault::Refused);
        assert!(matches!(bank.submit(request(deposit("a", 5))).await, Err(SubmitError::Unavailable)));
        match bank.ended().await {
            crate::Status::Failed(reason) => assert!(reason.contains("position 0"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(bank.submit(request(deposit("a", 5))).await, Err(SubmitError::Stopped)));
    }
}

/// An exported log has no leaf column; position, revision, form and the state's rules tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_an_export_is_found() {
    let entries = honest(&Store::sqlite()).await;
    let flaw = |change: fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        replay::<Bank>(entries).unwrap_err()
    };
    assert!(replay::<Bank>(entries.clone()).is_ok());
    let dropped = flaw(|entries| drop(entries.remove(2)));
    assert_eq!(
        dropped,
        Damage {
            position: 2,
            flaw: Flaw::Position(3)
        }
    );
    let swapped = flaw(|entries| entries.swap(4, 5));
    assert_eq!(
        swapped,
        Damage {
            position: 4,
            flaw: Flaw::Position(5)
        }
    );
    let doubled = flaw(|entries| entries.insert(1, entries[0].clone()));
    assert_eq!(
        doubled,
        Damage {
            position: 1,
            flaw: Flaw::Position(0)
        }
    );
    let spaced = flaw(|entries| entries[3].0.insert(1, b' '));
    assert!(matches!(
        spaced,
        Damage {
            position: 3,
            flaw: Flaw::Entry(crate::EntryError::NotCanonical)
        }
    ));
    let cut = flaw(|entries| entries[7].0.truncate(50));
    assert!(matches!(
        cut,
        Damage {
            position: 7,
            flaw: Flaw::Entry(crate::EntryError::Malformed(_))
        }
    ));
    let earlier = flaw(|entries| {
        let mut envelope = entries[5].envelope().unwrap();
        envelope.time = crate::Timestamp(0);
        entries[5] = envelope.to_entry().unwrap();
    });
    assert!(matches!(
        earlier,
        Damage {
            position: 5,
            flaw: Flaw::Time { .. }
        }
    ));
    let overdrawn = flaw(|entries| {
        let mut envelope = entries[4].envelope().unwrap();
        envelope.data["cents"] = "999".into();
        entries[4] = envelope.to_entry().unwrap();
    });
    assert!(matches!(
        overdrawn,
        Damage {
            position: 4,
            flaw: Flaw::State(_)
        }
    ));
}

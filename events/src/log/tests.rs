//! The contract of [`crate::Log`] on both databases, below the executor.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use ulid::Ulid;

use super::{Batch, CommandRow, LogError, LogHead, NewEvent};
use crate::{
    Hash, Timestamp,
    entry::Entry,
    merkle::{Frontier, leaf_hash},
    toy::{Store, on_both},
};

/// `count` events that follow `head`, all of one new stream.
fn batch(head: &LogHead, count: u64, commands: Vec<CommandRow>) -> Arc<Batch> {
    let base = head.size();
    let mut frontier = head.frontier.clone();
    let events: Vec<NewEvent> = (base..base + count)
        .map(|position| {
            let entry = Entry(format!("entry {position} of epoch {}", head.epoch).into_bytes());
            let leaf = entry.leaf();
            frontier.push(leaf);
            NewEvent {
                position,
                stream_id: base,
                stream: format!("stream/{base}"),
                revision: position - base,
                id: Ulid::from_parts(position, 1),
                type_id: 0,
                label: "thing.happened",
                schema: 1,
                time: Timestamp(position as i64),
                entry,
                leaf,
            }
        })
        .collect();
    Arc::new(Batch {
        epoch: head.epoch,
        base,
        events,
        commands,
        root: frontier.root(),
        frontier,
    })
}

fn command(name: &str, position: u64, events: u32) -> CommandRow {
    CommandRow {
        id: Hash::of(name.as_bytes()),
        payload: Hash::of(b"payload"),
        position,
        events,
    }
}

on_both! {
    async fn a_new_log_is_empty(store: Store) {
        let log = store.open().await;
        let head = log.head().await.unwrap();
        assert_eq!((head.epoch, head.leader, head.size()), (0, None, 0));
        assert_eq!(head.root, Frontier::default().root());
        assert_eq!(log.read(0, 10).await.unwrap(), []);
        assert_eq!(log.find_commands(&[Hash::of(b"x")]).await.unwrap(), []);
    }

    async fn what_is_appended_is_read_back(store: Store) {
        let log = store.open().await;
        let head = log.claim(Ulid::from_parts(1, 1)).await.unwrap();
        assert_eq!((head.epoch, head.leader), (1, Some(Ulid::from_parts(1, 1))));
        let first = batch(&head, 700, vec![command("a", 0, 2), command("b", 2, 0)]);
        log.append(Arc::clone(&first)).await.unwrap();
        let head = log.head().await.unwrap();
        assert_eq!((head.size(), head.root, &head.frontier), (700, first.root, &first.frontier));
        let second = batch(&head, 3, vec![]);
        log.append(second).await.unwrap();

        // As another process sees it.
        let log = store.open().await;
        let rows = log.read(698, 4).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.position).collect::<Vec<_>>(), [698, 699, 700, 701]);
        assert_eq!(rows[0].entry, first.events[698].entry);
        assert_eq!(rows[0].leaf, leaf_hash(rows[0].entry.as_ref()));
        assert_eq!(log.read(703, 4).await.unwrap(), []);
        let mut ids: Vec<Hash> = (0..2_000u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
        ids.insert(600, Hash::of(b"a"));
        ids.push(Hash::of(b"b"));
        let mut found = log.find_commands(&ids).await.unwrap();
        found.sort_by_key(|row| row.position);
        assert_eq!(found, [command("a", 0, 2), command("b", 2, 0)]);
    }

    async fn only_what_is_appended_counts_whatever_was_prepared(store: Store) {
        let log = store.open().await;
        let head = log.claim(Ulid::nil()).await.unwrap();
        let given_up = batch(&head, 3, vec![command("a", 0, 3)]);
        log.prepare(&given_up);
        let first = batch(&head, 2, vec![command("b", 0, 2)]);
        log.append(Arc::clone(&first)).await.unwrap();
        let second = batch(&log.head().await.unwrap(), 2, vec![]);
        log.prepare(&second);
        log.append(Arc::clone(&second)).await.unwrap();
        let rows = log.read(0, 9).await.unwrap();
        let appended = first.events.iter().chain(&second.events);
        assert!(rows.iter().map(|row| &row.entry).eq(appended.map(|event| &event.entry)));
        assert_eq!(log.find_commands(&[command("a", 0, 3).id]).await.unwrap(), []);
    }

    async fn of_two_appends_on_one_head_one_succeeds(store: Store) {
        let head = store.open().await.claim(Ulid::nil()).await.unwrap();
        let mut contenders = Vec::new();
        for n in 0..8 {
            let (log, batch) = (store.open().await, batch(&head, 5, vec![command(&n.to_string(), 0, 5)]));
            contenders.push(tokio::spawn(async move { log.append(batch).await }));
        }
        let mut won = 0;
        for contender in contenders {
            match contender.await.unwrap() {
                Ok(()) => won += 1,
                Err(LogError::Fenced) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        let log = store.open().await;
        assert_eq!((won, log.head().await.unwrap().size(), log.read(0, 99).await.unwrap().len()), (1, 5, 5));
        let ids: Vec<Hash> = (0..8).map(|n| command(&n.to_string(), 0, 5).id).collect();
        assert_eq!(log.find_commands(&ids).await.unwrap().len(), 1, "the losers left nothing");
    }

    async fn an_earlier_epoch_can_append_nothing(store: Store) {
        let (first, second) = (store.open().await, store.open().await);
        let (one, two) = (Ulid::from_parts(1, 1), Ulid::from_parts(2, 2));
        let old = first.claim(one).await.unwrap();
        let new = second.claim(two).await.unwrap();
        assert_eq!(new.epoch, old.epoch + 1);
        assert!(matches!(first.append(batch(&old, 1, vec![])).await, Err(LogError::Fenced)));
        assert!(matches!(first.reclaim(one).await, Err(LogError::Fenced)));
        assert_eq!(second.head().await.unwrap(), new, "a failed reclaim changes nothing");
        let newer = second.reclaim(two).await.unwrap();
        assert_eq!((newer.epoch, newer.leader), (new.epoch + 1, Some(two)));
        // Not even the leader's own, sent before it reclaimed.
        assert!(matches!(second.append(batch(&new, 1, vec![])).await, Err(LogError::Fenced)));
        second.append(batch(&newer, 1, vec![])).await.unwrap();
    }

    async fn a_batch_is_stored_whole_or_not_at_all(store: Store) {
        let log = store.open().await;
        let head = log.claim(Ulid::nil()).await.unwrap();
        log.append(batch(&head, 1, vec![command("a", 0, 1)])).await.unwrap();
        let head = log.head().await.unwrap();
        // Its last row violates the table's key.
        let refused = log.append(batch(&head, 3, vec![command("b", 1, 3), command("a", 1, 3)])).await;
        assert!(matches!(refused, Err(LogError::Unavailable(_))), "{refused:?}");
        assert_eq!(log.head().await.unwrap(), head);
        assert_eq!(log.read(0, 9).await.unwrap().len(), 1);
        assert_eq!(log.find_commands(&[command("b", 1, 3).id]).await.unwrap(), []);
        log.append(batch(&head, 3, vec![command("b", 1, 3)])).await.unwrap();
    }

    async fn a_damaged_head_is_called_so(store: Store) {
        let log = store.open().await;
        let head = log.claim(Ulid::nil()).await.unwrap();
        log.append(batch(&head, 3, vec![])).await.unwrap();
        store.tamper("UPDATE log_head SET size = 4", &[]).await;
        assert!(matches!(log.head().await, Err(LogError::Corrupt { position: 4, .. })));
        store.tamper("UPDATE log_head SET size = 3, root = $1", &[vec![0; 31]]).await;
        assert!(matches!(log.claim(Ulid::nil()).await, Err(LogError::Corrupt { position: 3, .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_an_unknown_outcome_and_the_next_one_works() {
    let store = Store::postgres().await;
    let log = store.open().await;
    let head = log.claim(Ulid::nil()).await.unwrap();
    store.cut_connections().await;
    let append = log.append(batch(&head, 1, vec![])).await;
    assert!(matches!(append, Err(LogError::Unknown(_))), "{append:?}");
    let head = log.reclaim(Ulid::nil()).await.unwrap();
    assert_eq!(head.size(), 0);
    log.append(batch(&head, 1, vec![])).await.unwrap();
    // A connection that rested is tried out first, so that a restart of an idle server goes unnoticed.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    store.cut_connections().await;
    let head = log.head().await.unwrap();
    log.append(batch(&head, 1, vec![])).await.unwrap();
}

/// The server dies while the statement waits for the head's row lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_cut_in_the_middle_leaves_nothing() {
    let store = Store::postgres().await;
    let log = store.open().await;
    let head = log.claim(Ulid::nil()).await.unwrap();
    let mut other = PgConnection::connect(&store.name()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM log_head FOR UPDATE")
        .execute(&mut *lock)
        .await
        .unwrap();
    let appending = tokio::spawn({
        let (log, batch) = (Arc::clone(&log), batch(&head, 1, vec![]));
        async move { log.append(batch).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!appending.is_finished(), "it waits for the lock");
    store.cut_connections().await;
    assert!(matches!(
        appending.await.unwrap(),
        Err(LogError::Unknown(_))
    ));
    lock.rollback().await.unwrap();
    assert_eq!(log.reclaim(Ulid::nil()).await.unwrap().size(), 0);
}

//! A snapshot and the entries after it are the whole log; a snapshot that is not what it must be changes nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use ulid::Ulid;

use super::{SnapshotError, StoredSnapshot, restore};
use crate::{
    Entry, Executor, Handle, Hash, Head, Log, Options, Replay, Timestamp, merkle, replay,
    replay_log, state_hash,
    testing::Author,
    toy::{Bank, Order, Store, deposit, on_both, reproducible, request, transfer},
};

/// Writes a log of at least `count` entries, all at once.
async fn write(log: &dyn Log, seed: u64, count: usize) -> Vec<Entry> {
    let mut author = Author::<Bank>::new(seed);
    for n in 0.. {
        if author.waiting() >= count {
            break;
        }
        let to = format!("{}", n % 7);
        let command = match n % 4 {
            0 | 1 => deposit(&to, 5),
            2 => transfer("1", &to, 3),
            _ => Order::DrawTicket,
        };
        let _ = author.submit("account/test", Timestamp(n), &command);
    }
    let epoch = log.claim(Ulid::nil()).await.unwrap().epoch;
    let batch = author.take(epoch);
    let entries = batch.events.iter().map(|row| row.entry.clone()).collect();
    log.append(Arc::new(batch)).await.unwrap();
    entries
}

/// The fold of the first `size` entries.
fn folded(entries: &[Entry], size: u64) -> Replay<Bank> {
    let mut replay = Replay::default();
    for entry in &entries[..size as usize] {
        replay.push(entry).unwrap();
    }
    replay
}

fn snapshot(replay: &Replay<Bank>) -> StoredSnapshot {
    StoredSnapshot::of::<Bank>(&replay.state, &replay.tail)
        .unwrap()
        .unwrap()
}

async fn head(log: &dyn Log) -> Head {
    log.head().await.unwrap().head()
}

/// Restores, checks that the result is the truth, and says which snapshot it was made from.
async fn restored_from(log: &dyn Log, entries: &[Entry]) -> u64 {
    let head = head(log).await;
    let restored = restore::<Bank>(log, head).await.unwrap();
    let truth = folded(entries, head.size);
    assert_eq!(restored.replay.state, truth.state);
    assert_eq!(restored.replay.tail, truth.tail);
    assert_eq!(restored.replay.root(), head.root);
    restored.snapshot
}

on_both! {
    async fn a_snapshot_and_the_entries_after_it_are_the_whole_log(store: Store) {
        let log = store.open().await;
        let entries = write(log.as_ref(), 1, 400).await;
        assert_eq!(restored_from(log.as_ref(), &entries).await, 0);
        let size = entries.len() as u64;
        for cut in [1, 2, 57, 128, 255, 256, 399, size] {
            log.keep_snapshot(&snapshot(&folded(&entries, cut))).await.unwrap();
            assert_eq!(restored_from(log.as_ref(), &entries).await, cut);
        }
        assert_eq!(log.snapshot(u64::MAX >> 1).await.unwrap().unwrap().size, size);
        assert_eq!(log.snapshot(size - 1).await.unwrap().unwrap().size, 399);
        assert_eq!(log.snapshot(398).await.unwrap(), None, "two are kept");
    }

    async fn what_does_not_fit_is_passed_over(store: Store) {
        let log = store.open().await;
        let entries = write(log.as_ref(), 1, 100).await;
        let good = snapshot(&folded(&entries, 40));
        log.keep_snapshot(&good).await.unwrap();
        let other = Store::sqlite();
        let others = write(other.open().await.as_ref(), 2, 100).await;
        let forged = |change: fn(&mut StoredSnapshot)| {
            let mut forged = snapshot(&folded(&entries, 60));
            change(&mut forged);
            forged
        };
        for (what, bad) in [
            ("another log's", snapshot(&folded(&others, 60))),
            ("another version's", forged(|s| {
                s.version = Hash::of(b"other");
                s.checksum = s.computed_checksum();
            })),
            ("one with another's root", forged(|s| {
                s.root = Hash::of(b"other");
                s.checksum = s.computed_checksum();
            })),
            ("one with another's size", forged(|s| {
                s.size = 61;
                s.checksum = s.computed_checksum();
            })),
            ("one with a wrong checksum", forged(|s| s.checksum = Hash::of(b"other"))),
            ("an empty one", forged(|s| {
                s.state.clear();
                s.checksum = s.computed_checksum();
            })),
        ] {
            log.keep_snapshot(&bad).await.unwrap();
            assert_eq!(restored_from(log.as_ref(), &entries).await, 40, "{what}");
            store.tamper("DELETE FROM snapshots WHERE size > 40", &[]).await;
        }
        store.tamper("UPDATE snapshots SET root = $1", &[vec![1, 2, 3]]).await;
        assert_eq!(restored_from(log.as_ref(), &entries).await, 0, "a row that is no snapshot at all");
    }

    async fn one_that_is_newer_than_a_restored_backup_is_not_used(store: Store) {
        let log = store.open().await;
        let entries = write(log.as_ref(), 1, 100).await;
        log.keep_snapshot(&snapshot(&folded(&entries, 30))).await.unwrap();
        log.keep_snapshot(&snapshot(&folded(&entries, 90))).await.unwrap();
        let frontier = folded(&entries, 50).tail.frontier().clone();
        let (root, bytes) = (frontier.root().0.to_vec(), frontier.to_bytes());
        store.tamper("UPDATE log_head SET size = 50, root = $1, frontier = $2", &[root, bytes]).await;
        store.tamper("DELETE FROM events WHERE position >= 50", &[]).await;
        assert_eq!(restored_from(log.as_ref(), &entries).await, 30);
        // The next one that is taken is the newest again.
        log.keep_snapshot(&snapshot(&folded(&entries, 50))).await.unwrap();
        assert_eq!(log.snapshot(1 << 40).await.unwrap().unwrap().size, 50);
    }

    async fn damage_after_a_snapshot_is_found_at_its_position(store: Store) {
        let log = store.open().await;
        let entries = write(log.as_ref(), 1, 100).await;
        log.keep_snapshot(&snapshot(&folded(&entries, 30))).await.unwrap();
        store.tamper("DELETE FROM events WHERE position = 70", &[]).await;
        let failed = restore::<Bank>(log.as_ref(), head(log.as_ref()).await).await;
        match failed {
            Err(crate::ReplayError::Damage(damage)) => assert_eq!(damage.position, 70),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("the damage is not found"),
        }
    }

    async fn they_are_taken_while_the_log_grows_and_at_the_end(store: Store) {
        let log = store.open().await;
        let options = || Options { snapshot_events: 20, ..reproducible() };
        let bank: Handle<Bank> = Executor::start(Arc::clone(&log), options()).await.unwrap();
        for n in 0..50 {
            bank.submit(request(deposit("a", n))).await.unwrap();
        }
        let mut tries = 0;
        while log.snapshot(50).await.unwrap().is_none() {
            tries += 1;
            assert!(tries < 2_000, "none was taken in the background");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // However the last one in the background came out, the end is at most so far from it.
        bank.shutdown().await;
        let newest = log.snapshot(50).await.unwrap().unwrap();
        assert!(newest.size > 30, "{}", newest.size);
        let live = bank.read(|state, _| state.clone());

        let again: Handle<Bank> = Executor::start(store.open().await, options()).await.unwrap();
        assert_eq!(again.read(|state, size| (state.clone(), size)), (live, 50));
        again.submit(request(deposit("b", 1))).await.unwrap();
        let truth = replay_log::<Bank>(log.as_ref()).await.unwrap();
        assert_eq!(again.read(|state, _| state_hash(state).unwrap()), state_hash(&truth.state).unwrap());
    }

    async fn after_a_lost_commit_the_state_is_made_from_one(store: Store) {
        let log = crate::testing::FaultyLog::new(store.open().await);
        let dynamic = Arc::clone(&log) as Arc<dyn Log>;
        let entries = write(dynamic.as_ref(), 1, 100).await;
        log.keep_snapshot(&snapshot(&folded(&entries, 80))).await.unwrap();
        let bank: Handle<Bank> = Executor::start(Arc::clone(&dynamic), reproducible()).await.unwrap();
        // A replay from the beginning would stop here.
        store.tamper("DELETE FROM events WHERE position = 10", &[]).await;
        log.fail_append(crate::testing::AppendFault::Refused);
        assert!(bank.submit(request(deposit("a", 5))).await.is_err());
        let receipt = bank.submit(request(deposit("a", 5))).await.unwrap();
        assert_eq!(receipt.events[0].position, entries.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_hold_the_same_bytes() {
    let mut written = Vec::new();
    for store in [Store::sqlite(), Store::postgres().await] {
        let log = store.open().await;
        let options = Options {
            snapshot_events: 10,
            ..reproducible()
        };
        let bank: Handle<Bank> = Executor::start(Arc::clone(&log), options).await.unwrap();
        for n in 0..9 {
            bank.submit(request(deposit(&format!("{n}"), n)))
                .await
                .unwrap();
        }
        bank.submit(request(Order::DrawTicket)).await.unwrap();
        bank.submit(request(transfer("8", "1", 3))).await.unwrap();
        bank.shutdown().await;
        let truth = replay_log::<Bank>(log.as_ref()).await.unwrap();
        let last = snapshot(&folded(&entries_of(log.as_ref()).await, truth.size));
        log.keep_snapshot(&last).await.unwrap();
        let read = log.snapshot(truth.size).await.unwrap().unwrap();
        assert_eq!(read, last);
        written.push(read);
    }
    assert_eq!(written[0], written[1]);
}

async fn entries_of(log: &dyn Log) -> Vec<Entry> {
    let rows = log.read(0, 10_000).await.unwrap();
    rows.into_iter().map(|row| row.entry).collect()
}

/// The first `count` entries of a log that is in no database.
fn entries(count: usize) -> Vec<Entry> {
    let mut author = Author::<Bank>::new(3);
    for n in 0..count as u64 {
        let to = format!("{}", n % 5);
        author
            .submit("account/test", Timestamp(n as i64), &deposit(&to, n))
            .unwrap();
    }
    let rows = author.take(0).events;
    rows.into_iter().map(|row| row.entry).collect()
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let good = snapshot(&folded(&entries(20), 20));
    assert!(good.read::<Bank>().is_ok());
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..good.state.len() * 8 {
        let bad = StoredSnapshot {
            state: flipped(&good.state, bit),
            ..good.clone()
        };
        assert!(matches!(bad.read::<Bank>(), Err(SnapshotError::Checksum)));
    }
    for bit in 0..256 {
        let hash = |hash: Hash| Hash::from_slice(&flipped(&hash.0, bit)).unwrap();
        for bad in [
            StoredSnapshot {
                version: hash(good.version),
                ..good.clone()
            },
            StoredSnapshot {
                root: hash(good.root),
                ..good.clone()
            },
            StoredSnapshot {
                checksum: hash(good.checksum),
                ..good.clone()
            },
            StoredSnapshot {
                size: good.size ^ (1 << (bit % 64)),
                ..good.clone()
            },
            StoredSnapshot {
                time: Timestamp(good.time.0 ^ (1 << (bit % 64))),
                ..good.clone()
            },
        ] {
            assert!(bad.read::<Bank>().is_err());
        }
    }
}

#[test]
fn a_snapshot_that_expands_to_something_else_is_refused() {
    let good = snapshot(&folded(&entries(20), 20));
    let json = String::from_utf8(zstd::decode_all(&good.state[..]).unwrap()).unwrap();
    for (from, to) in [
        ("\n", " "),
        ("\"size\":20", "\"size\":21"),
        ("\"frontier\":\"", "\"frontier\":\"00"),
        ("\"events\":20", "\"events\":-1"),
        ("\"streams\"", "\"stream\""),
    ] {
        let other = json.replacen(from, to, 1);
        assert_ne!(other, json);
        let mut bad = StoredSnapshot {
            state: zstd::encode_all(other.as_bytes(), 1).unwrap(),
            ..good.clone()
        };
        bad.checksum = bad.computed_checksum();
        assert!(bad.read::<Bank>().is_err(), "{to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn written_and_read_back_it_goes_on_as_if_nothing_had_been(count in 1usize..80, cut in any::<prop::sample::Index>()) {
        let entries = entries(count);
        let cut = cut.index(count + 1) as u64;
        let stored = snapshot(&folded(&entries, cut));
        let mut replayed = stored.read::<Bank>().unwrap();
        for entry in &entries[cut as usize..] {
            replayed.push(entry).unwrap();
        }
        let whole = replay::<Bank>(entries.iter().cloned()).unwrap();
        prop_assert_eq!(&replayed.state, &whole.state);
        prop_assert_eq!(replayed.root(), whole.root);
        prop_assert_eq!(merkle::Frontier::from_bytes(whole.size, &replayed.tail.frontier().to_bytes()).unwrap().root(), whole.root);
        prop_assert_eq!(snapshot(&replayed), snapshot(&folded(&entries, count as u64)));
    }
}

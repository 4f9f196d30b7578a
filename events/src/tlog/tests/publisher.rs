//! Publishing: in any steps, after any crash, by several at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use ulid::Ulid;

use super::{LEADER, World, built};
use crate::{
    LogError,
    tlog::{
        Checkpoint, CheckpointRow, CheckpointTable, PublishError, Publisher, PublisherState,
        TileSource as _, TileStore as _,
    },
    toy::{Store, on_both},
};

on_both! {
    async fn a_log_is_published_in_any_steps(store: Store) {
        let world = World::new(store);
        let mut publisher = Publisher::open(world.config().await).await.unwrap();
        world.grow(0).await;
        for size in [0, 1, 2, 255, 256, 257, 700, 700, 1_200] {
            world.grow(size).await;
            assert_eq!(publisher.publish(LEADER).await.unwrap().size, size);
            world.is_published(size).await;
            // A fresh process reads from the tiles what this one knows.
            assert_eq!(world.publish().await.unwrap().size, size);
        }
        // One checkpoint a size, and no partial tiles where there are full ones.
        assert_eq!(world.tiles.history().len(), 8);
        let tiles = world.tiles.tiles();
        let stale = tiles.keys().find(|path| !path.is_full() && tiles.contains_key(&path.full()));
        assert_eq!(stale, None);
        let (_, table) = world.open().await;
        let newest = table.latest_checkpoint().await.unwrap().unwrap();
        assert_eq!(newest.note, world.tiles.history()[7]);
    }

    async fn recorded_checkpoints_only_grow_and_only_the_leader_records(store: Store) {
        let world = World::new(store);
        world.grow(10).await;
        let (_, table) = world.open().await;
        let row = |size| CheckpointRow {
            size,
            root: crate::Hash::of(b"root"),
            note: format!("note {size}"),
            time: crate::Timestamp(5),
        };
        assert_eq!(table.latest_checkpoint().await.unwrap(), None);
        assert!(table.record_checkpoint(LEADER, &row(5)).await.unwrap());
        assert!(!table.record_checkpoint(LEADER, &row(5)).await.unwrap());
        assert!(!table.record_checkpoint(LEADER, &row(4)).await.unwrap());
        assert!(!table.record_checkpoint(LEADER, &row(11)).await.unwrap(), "beyond the head");
        assert!(!table.record_checkpoint(Ulid(2), &row(6)).await.unwrap(), "not the leader");
        assert!(table.record_checkpoint(LEADER, &row(6)).await.unwrap());
        assert_eq!(table.latest_checkpoint().await.unwrap(), Some(row(6)));
    }

    async fn of_two_leaders_the_old_one_publishes_nothing(store: Store) {
        let world = World::new(store);
        world.grow(10).await;
        let mut old = Publisher::open(world.config().await).await.unwrap();
        let first = old.publish(LEADER).await.unwrap();
        world.grow(20).await;
        let (log, _) = world.open().await;
        let successor = Ulid(2);
        log.claim(successor).await.unwrap();
        let mut new = Publisher::open(world.config().await).await.unwrap();
        assert_eq!(new.publish(successor).await.unwrap().size, 20);
        assert!(matches!(old.publish(LEADER).await, Err(PublishError::Deposed)));
        // An old checkpoint that was on its way to the store does not stay there.
        assert_eq!(old.show(first).await.unwrap().size, 20);
        world.is_published(20).await;
        let shown = world.tiles.history();
        let sizes = shown.iter().map(|note| Checkpoint::open(note.as_bytes(), world.key.verifier()).unwrap().size);
        assert!(sizes.is_sorted(), "what is shown never goes back");
    }

    async fn publishers_at_once_never_contradict_each_other(store: Store) {
        let world = Arc::new(World::new(store));
        world.grow(1).await;
        let growing = async {
            for size in (1..=400).step_by(21) {
                world.grow(size).await;
            }
        };
        let publishing = (0..3).map(|_| {
            let world = Arc::clone(&world);
            async move {
                let mut publisher = Publisher::open(world.config().await).await.unwrap();
                for _ in 0..30 {
                    match publisher.publish(LEADER).await {
                        Ok(_) | Err(PublishError::Overtaken) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        });
        futures::join!(growing, futures::future::join_all(publishing));
        world.publish().await.unwrap();
        world.is_published(400).await;
        for note in world.tiles.history() {
            let shown = Checkpoint::open(note.as_bytes(), world.key.verifier()).unwrap();
            assert_eq!(shown.root, built("main", shown.size).0.root());
        }
    }
}

/// A table that fails at the first so many uses of `record`, before or after it has taken effect.
struct FailingTable {
    inner: Arc<dyn CheckpointTable>,
    failures_left: AtomicUsize,
    after: bool,
}

#[async_trait]
impl CheckpointTable for FailingTable {
    async fn latest_checkpoint(&self) -> Result<Option<CheckpointRow>, LogError> {
        self.inner.latest_checkpoint().await
    }

    async fn record_checkpoint(&self, leader: Ulid, row: &CheckpointRow) -> Result<bool, LogError> {
        let fails = self.failures_left.load(Ordering::SeqCst) > 0;
        if fails {
            self.failures_left.fetch_sub(1, Ordering::SeqCst);
        }
        if !fails || self.after {
            let recorded = self.inner.record_checkpoint(leader, row).await?;
            if !fails {
                return Ok(recorded);
            }
        }
        Err(LogError::from(sqlx::Error::PoolTimedOut))
    }
}

#[tokio::test]
async fn a_crash_at_any_write_is_repaired_by_the_next_start() {
    let mut crashes = 0;
    loop {
        let world = World::sqlite();
        world.grow(300).await;
        world.publish().await.unwrap();
        world.grow(1_100).await;
        world.tiles.crash_after(crashes);
        let published = world.publish().await;
        if !world.tiles.heal() {
            // Every write has been a place to crash at once.
            assert_eq!(published.unwrap().size, 1_100);
            break;
        }
        // Only tidying up may fail unnoticed.
        if let Err(error) = published {
            assert!(
                matches!(error, PublishError::StoreUnavailable(_)),
                "{error:?}"
            );
        }
        world.grow(1_100 + 40 * (crashes as u64 % 2)).await;
        let size = world.publish().await.unwrap().size;
        world.is_published(size).await;
        crashes += 1;
    }
    // 3 full bundles and tiles, the partial ones, the checkpoint, and what is tidied up.
    assert!(crashes >= 10, "{crashes}");
}

#[tokio::test]
async fn a_failure_at_the_record_is_repaired() {
    for after in [false, true] {
        let world = World::sqlite();
        world.grow(300).await;
        let mut config = world.config().await;
        config.checkpoints = Arc::new(FailingTable {
            inner: config.checkpoints,
            failures_left: AtomicUsize::new(1),
            after,
        });
        let mut publisher = Publisher::open(config).await.unwrap();
        let failed = publisher.publish(LEADER).await;
        assert!(
            matches!(failed, Err(PublishError::LogUnavailable(_))),
            "{failed:?}"
        );
        assert_eq!(world.tiles.history().len(), 0);
        // Recorded or not, and also when the log has grown meanwhile.
        assert_eq!(world.publish().await.unwrap().size, 300);
        world.grow(301).await;
        assert_eq!(publisher.publish(LEADER).await.unwrap().size, 301);
        world.is_published(301).await;
    }
}

#[tokio::test]
async fn what_was_signed_binds_even_where_the_store_has_forgotten_it() {
    let world = World::sqlite();
    world.grow(300).await;
    let mut config = world.config().await;
    config.checkpoints = Arc::new(FailingTable {
        inner: config.checkpoints,
        failures_left: AtomicUsize::new(1),
        after: true,
    });
    let mut publisher = Publisher::open(config).await.unwrap();
    publisher.publish(LEADER).await.unwrap_err();
    // Signed and recorded at 300, shown nowhere; then the history changes.
    let sql = "UPDATE events SET entry = $1 WHERE position = 5";
    world.store.tamper(sql, &[b"another entry".to_vec()]).await;
    let error = world.publish().await.unwrap_err();
    assert!(
        matches!(error, PublishError::Forked { size: 300, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_checkpoint_that_was_put_back_is_repaired_though_the_log_rests() {
    let world = World::sqlite();
    world.grow(3).await;
    let first = world.publish().await.unwrap();
    world.grow(10).await;
    let publisher = Publisher::open(world.config().await).await.unwrap();
    let handle = publisher.start().await.unwrap();
    handle.publish_now(10).await.unwrap();
    // Another one wrote after this one, and died before it looked again.
    world.tiles.put_checkpoint(first.note()).await.unwrap();
    for _ in 0..60 {
        let note = world.tiles.checkpoint().await.unwrap().unwrap();
        if Checkpoint::open(&note, world.key.verifier()).unwrap().size == 10 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    world.is_published(10).await;
    handle.shutdown().await;
}

#[tokio::test]
async fn a_publisher_at_work_follows_the_log_and_ends_with_a_last_checkpoint() {
    let world = World::sqlite();
    world.grow(3).await;
    let publisher = Publisher::open(world.config().await).await.unwrap();
    let handle = publisher.start().await.unwrap();
    assert_eq!(handle.publish_now(1).await.unwrap().size, 3);
    world.tiles.crash_after(0);
    world.grow(10).await;
    let handle_2 = handle.clone();
    let waiting = tokio::spawn(async move { handle_2.publish_now(10).await });
    while !matches!(handle.status().state, PublisherState::Failing(_)) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.tiles.heal();
    assert_eq!(waiting.await.unwrap().unwrap().size, 10);
    let proof = handle.reader().inclusion_proof(4, 10, 10).await.unwrap();
    assert_eq!(proof.len(), 4);
    world.grow(12).await;
    handle.shutdown().await;
    assert_eq!(handle.status().state, PublisherState::Ended);
    world.is_published(12).await;
    assert!(handle.publish_now(13).await.is_err());
}

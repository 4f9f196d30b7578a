//! What must never be signed over: shrunken, rewritten and foreign logs, damaged tiles, other keys.

use std::sync::Arc;

use super::{World, key};
use crate::{
    tlog::{PublishError, Publisher, PublisherState, TilePath},
    toy::Store,
};

/// A log that was published with `size` entries, and another database on the same place.
async fn elsewhere(size: u64, history: &'static str) -> (World, World) {
    let world = World::sqlite();
    world.grow(size).await;
    world.publish().await.unwrap();
    let other = World {
        store: Store::sqlite(),
        tiles: Arc::clone(&world.tiles),
        key: Arc::clone(&world.key),
        history,
    };
    (world, other)
}

/// Opening refuses, for good and with the remedy, and neither tiles nor checkpoint change.
async fn refused(world: &World, said: &str) {
    let before = (world.tiles.tiles(), world.tiles.history());
    let error = Publisher::open(world.config().await).await.unwrap_err();
    assert!(error.is_final(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(said), "`{text}` says `{said}`");
    assert!(
        text.contains("restore") || text.contains("start with"),
        "{text}"
    );
    assert!((world.tiles.tiles(), world.tiles.history()) == before);
}

#[tokio::test]
async fn a_restored_old_backup_is_refused() {
    let (_world, backup) = elsewhere(700, "main").await;
    backup.grow(600).await;
    refused(&backup, "600 entries, but 700 were published").await;
    // Nor when it has caught up in number with other entries.
    let gone_on = World {
        history: "main after the backup",
        ..backup
    };
    gone_on.grow(800).await;
    refused(&gone_on, "do not continue what was published").await;
}

#[tokio::test]
async fn an_empty_database_on_a_published_log_is_refused() {
    let (_world, empty) = elsewhere(5, "main").await;
    refused(&empty, "0 entries, but 5 were published").await;
}

#[tokio::test]
async fn a_fork_of_the_same_size_is_refused() {
    let (_world, fork) = elsewhere(300, "fork").await;
    fork.grow(300).await;
    refused(&fork, "do not continue").await;
}

#[tokio::test]
async fn the_same_entries_in_another_database_are_the_same_log() {
    let (_world, copy) = elsewhere(300, "main").await;
    copy.grow(400).await;
    assert_eq!(copy.publish().await.unwrap().size, 400);
    copy.is_published(400).await;
}

#[tokio::test]
async fn another_key_or_origin_is_refused() {
    let (world, _) = elsewhere(10, "main").await;
    let swapped = World {
        key: key(2),
        ..world
    };
    refused(&swapped, "not signed by the log's key").await;
    let renamed = crate::tlog::LogKey::generate("example.org/other", [1; 32]).unwrap();
    let renamed = World {
        key: Arc::new(renamed),
        ..swapped
    };
    refused(&renamed, "published as another log").await;
    // The database remembers the key too, where the place is new.
    let moved = World {
        tiles: Arc::default(),
        ..renamed
    };
    refused(&moved, "published as another log").await;
}

#[tokio::test]
async fn a_rewritten_database_is_refused() {
    let world = World::sqlite();
    world.grow(50).await;
    world.publish().await.unwrap();
    world.grow(60).await;
    let sql = "UPDATE events SET entry = $1 WHERE position = 55";
    world.store.tamper(sql, &[b"another entry".to_vec()]).await;
    refused(&world, "do not continue").await;
}

#[tokio::test]
async fn a_missing_entry_is_refused() {
    let world = World::sqlite();
    world.grow(60).await;
    world
        .store
        .tamper("DELETE FROM events WHERE position = 55", &[])
        .await;
    let error = Publisher::open(world.config().await).await.unwrap_err();
    assert!(
        matches!(error, PublishError::Log { position: 55, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn damaged_tiles_are_refused_and_rebuilt_once_they_are_gone() {
    let world = World::sqlite();
    world.grow(300).await;
    world.publish().await.unwrap();
    let edge = TilePath::hashes(0, 1, 44).unwrap();
    let mut bytes = world.tiles.tiles()[&edge].clone();
    bytes[40] ^= 1;
    world.tiles.tamper(edge, Some(bytes));
    refused(&world, "damaged").await;
    world.tiles.tamper(edge, None);
    refused(&world, "missing").await;
    let anew = World {
        tiles: Arc::default(),
        ..world
    };
    assert_eq!(anew.publish().await.unwrap().size, 300);
    anew.is_published(300).await;
}

#[tokio::test]
async fn a_running_publisher_stops_for_good_and_says_so() {
    let world = World::sqlite();
    world.grow(100).await;
    let publisher = Publisher::open(world.config().await).await.unwrap();
    let handle = publisher.start().await.unwrap();
    assert_eq!(handle.publish_now(100).await.unwrap().size, 100);
    world
        .store
        .tamper("UPDATE log_head SET root = $1", &[vec![0; 32]])
        .await;
    let error = handle.publish_now(101).await.unwrap_err();
    let PublisherState::Refused(reason) = handle.status().state else {
        panic!("{:?}", handle.status());
    };
    assert!(error.to_string().contains(&reason), "{error}");
    assert_eq!(handle.status().latest.unwrap().size, 100);
    // What was published stays available.
    assert_eq!(handle.publish_now(99).await.unwrap().size, 100);
    handle.shutdown().await;
    assert_eq!(world.tiles.history().len(), 1);
}

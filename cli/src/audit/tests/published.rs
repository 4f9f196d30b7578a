//! The published log: tiles of hashes, bundles of entries, the checkpoint.

use std::{fs, path::PathBuf};

use super::{AuditArgs, World, assert_bad, assert_clean, examine, rewrite};

async fn audit(world: &World, tiles: PathBuf) -> super::Audit {
    let args = AuditArgs {
        file: Some(world.export()),
        log_key: world.vkey(),
        tiles: Some(tiles),
        ..AuditArgs::default()
    };
    examine(args).await.unwrap()
}

#[tokio::test]
async fn a_changed_hash_tile_is_found_to_the_hash() {
    let world = World::new();
    let tiles = world.publish();
    rewrite(&tiles.join("tile/0/001"), |mut bytes| {
        bytes[32 * 7 + 3] ^= 1;
        bytes
    });
    assert_bad(&audit(&world, tiles).await, 256 + 7, "another hash here");
}

#[tokio::test]
async fn a_changed_tile_above_is_found() {
    let world = World::new();
    let tiles = world.publish();
    let above = fs::read_dir(tiles.join("tile/1/000.p"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    rewrite(&above, |mut bytes| {
        bytes[32 + 1] ^= 1;
        bytes
    });
    assert_bad(&audit(&world, tiles).await, 256, "another hash here");
}

#[tokio::test]
async fn a_changed_bundle_is_found_to_the_entry() {
    let world = World::new();
    let tiles = world.publish();
    rewrite(&tiles.join("tile/entries/002"), |mut bytes| {
        let first = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        bytes[2 + first + 2 + 20] ^= 1;
        bytes
    });
    assert_bad(&audit(&world, tiles).await, 512 + 1, "another entry here");
}

#[tokio::test]
async fn full_tiles_stand_in_for_partial_ones_that_are_gone() {
    let world = World::new();
    let tiles = world.publish();
    let (mut bundles, mut hashes) = (0, 0);
    for level in ["entries", "0", "1"] {
        for folder in fs::read_dir(tiles.join("tile").join(level)).unwrap() {
            let partial = folder.unwrap().path();
            if partial.extension().is_none_or(|e| e != "p") {
                continue;
            }
            let file = fs::read_dir(&partial).unwrap().next().unwrap().unwrap();
            let width: usize = file.file_name().to_str().unwrap().parse().unwrap();
            let mut bytes = fs::read(file.path()).unwrap();
            // As if the log had grown since its checkpoint was read.
            if level == "entries" {
                bytes.extend([0, 0].repeat(256 - width));
                bundles += 1;
            } else {
                bytes.extend([7; 32].repeat(256 - width));
                hashes += 1;
            }
            fs::write(partial.with_extension(""), bytes).unwrap();
            fs::remove_dir_all(&partial).unwrap();
        }
    }
    assert!(bundles == 1 && hashes == 2);
    assert_clean(&audit(&world, tiles.clone()).await);
    let bundle = fs::read_dir(tiles.join("tile/entries")).unwrap();
    let newest = bundle.map(|e| e.unwrap().path()).max().unwrap();
    rewrite(&newest, |mut bytes| {
        bytes[2 + 20] ^= 1;
        bytes
    });
    let number: usize = newest
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_bad(
        &audit(&world, tiles).await,
        number * 256,
        "another entry here",
    );
}

#[tokio::test]
async fn a_missing_tile_is_found() {
    let world = World::new();
    let tiles = world.publish();
    fs::remove_file(tiles.join("tile/0/003")).unwrap();
    assert_bad(&audit(&world, tiles).await, 768, "is missing");
}

#[tokio::test]
async fn a_published_log_that_is_longer_than_the_entries_is_found() {
    let mut world = World::new();
    let tiles = world.publish();
    let cut = world.first("task.created");
    world.entries.truncate(cut);
    assert_bad(
        &audit(&world, tiles).await,
        cut,
        "the published checkpoint covers",
    );
}

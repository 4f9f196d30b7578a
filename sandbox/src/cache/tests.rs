//! The store: what is kept is found, what is damaged is not, and what is old makes room.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::inspect::World;

const KEY: &str = "aa-bb";

fn info() -> ModuleInfo {
    ModuleInfo {
        world: World::Task,
        imports: vec!["aevir:task/context@1.0.0".into()],
        exports: vec!["run".into()],
        size: 3,
        instances: 1,
        memory_bytes: 0,
        table_elements: 0,
    }
}

fn keep(store: &ArtefactStore, key: &str, bytes: &[u8]) -> Artefact {
    let mut file = store.begin().unwrap();
    file.write_all(bytes).unwrap();
    store.keep(key, info(), file).unwrap()
}

fn set_used(store: &ArtefactStore, key: &str, seconds: u64) {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::open(store.entry_path(key)).unwrap();
    file.set_modified(at).unwrap();
}

#[test]
fn what_is_kept_is_found_again_also_by_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    assert!(store.get_known(KEY).is_none());
    let kept = keep(&store, KEY, b"code");
    assert_eq!(store.get_known(KEY).unwrap().id, kept.id);
    let other = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    assert!(other.get_known(KEY).is_none(), "it was not verified yet");
    let found = other.verify(KEY).unwrap();
    assert_eq!((&found.path, &found.info), (&kept.path, &kept.info));
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    let code = keep(&store, KEY, b"some code").path;
    for file in [code, store.entry_path(KEY)] {
        keep(&store, KEY, b"some code");
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            keep(&store, KEY, b"some code");
            fs::write(&file, bad).unwrap();
            let other = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
            assert!(other.verify(KEY).is_none(), "{file:?} changed at {at}");
            assert!(other.verify(KEY).is_none(), "and it stays away");
            keep(&store, KEY, b"some code");
            fs::write(&file, &good[..at]).unwrap();
            let other = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
            assert!(other.verify(KEY).is_none(), "{file:?} cut at {at}");
        }
    }
}

#[test]
fn a_change_is_noticed_without_reading_and_one_modules_code_is_not_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    let first = keep(&store, KEY, b"code");
    fs::write(&first.path, b"c0de").unwrap();
    File::open(&first.path)
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(5))
        .unwrap();
    assert!(store.get_known(KEY).is_none());
    let again = keep(&store, KEY, b"code");
    assert_ne!(
        first.id, again.id,
        "a child must not use what it loaded before"
    );
    keep(&store, "other", b"other code");
    fs::copy(store.entry_path("other"), store.entry_path(KEY)).unwrap();
    assert!(store.verify(KEY).is_none());
}

#[test]
fn the_oldest_go_when_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), 9_000).unwrap();
    for (n, key) in ["one", "two", "three"].into_iter().enumerate() {
        keep(&store, key, &[n as u8; 2_000]);
        set_used(&store, key, n as u64);
    }
    set_used(&store, "one", 10);
    keep(&store, "four", &[9; 3_000]);
    let there = |key| store.verify(key).is_some();
    assert!(there("one") && there("four"), "the newest stay");
    assert!(!there("two"), "the one that was used longest ago went");
}

#[test]
fn what_is_being_written_counts_once_and_what_never_fits_drives_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), 5_000).unwrap();
    keep(&store, "one", &[1; 1_000]);
    keep(&store, "two", &[2; 2_500]);
    assert!(store.verify("one").is_some(), "there was room for both");
    let mut file = store.begin().unwrap();
    file.write_all(&[3; 5_001]).unwrap();
    let refused = store.keep("three", info(), file).unwrap_err();
    assert!(refused.to_string().contains("5001 bytes"), "{refused}");
    assert!(store.verify("one").is_some() && store.verify("two").is_some());
}

#[test]
fn what_a_crash_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    let kept = keep(&store, KEY, b"code");
    let left = folder.path().join(".tmpabc");
    let long_ago = SystemTime::now() - 2 * ABANDONED_AGE;
    for path in [&left, &kept.path] {
        if path == &left {
            fs::write(path, b"half").unwrap();
        }
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    assert!(!left.exists());
    assert!(store.verify(KEY).is_some());
}

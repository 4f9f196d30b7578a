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
    store.keep((key, "a"), info(), file).unwrap()
}

fn keep_of(store: &ArtefactStore, owner: &str, key: &str, bytes: usize) {
    let mut file = store.begin().unwrap();
    file.write_all(key.as_bytes()).unwrap();
    file.write_all(&vec![0; bytes - key.len()]).unwrap();
    store.keep((key, owner), info(), file).unwrap();
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
fn what_two_verify_at_once_is_one_and_stays_while_either_has_it() {
    let folder = tempfile::tempdir().unwrap();
    keep(
        &ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap(),
        KEY,
        b"code",
    );
    let store = ArtefactStore::open(folder.path(), CACHE_BYTES_MAX).unwrap();
    let (one, other) = (store.verify(KEY).unwrap(), store.verify(KEY).unwrap());
    assert_eq!(one.id, other.id);
    drop(other);
    store.set_bound(0).unwrap();
    assert!(store.get_known(KEY).is_some(), "it is about to be loaded");
    drop(one);
    store.set_bound(0).unwrap();
    assert!(store.get_known(KEY).is_none());
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
fn whoever_has_most_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), 30_000).unwrap();
    keep_of(&store, "b", "small", 2_000);
    set_used(&store, "small", 0);
    let there = |key: &str| store.entry_path(key).exists();
    for n in 0..20 {
        keep_of(&store, "a", &format!("many-{n}"), 3_000);
        set_used(&store, &format!("many-{n}"), n + 1);
    }
    assert!(
        there("small"),
        "the oldest of all, and not of whoever has most"
    );
    assert!(!there("many-0") && there("many-19"));
    assert!(store.bytes_held() <= 30_000);
    // Who comes now and has less gets room of who has more.
    keep_of(&store, "c", "new", 9_000);
    assert!(there("small") && there("new") && there("many-19"));
    // Nobody knows whose they are after a restart: those that are used again have somebody.
    let store = ArtefactStore::open(folder.path(), 30_000).unwrap();
    store.claim("small", "b");
    keep_of(&store, "d", "newer", 9_000);
    assert!(there("small") && there("newer"));
}

#[test]
fn a_lower_bound_holds_at_once_but_for_what_is_about_to_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtefactStore::open(folder.path(), 30_000).unwrap();
    let in_use = keep(&store, "loaded", &[1; 5_000]);
    keep_of(&store, "b", "idle", 5_000);
    let there = |key: &str| store.entry_path(key).exists();
    assert!(store.set_bound(1_000).unwrap() > 5_000);
    assert!(there("loaded") && !there("idle"));
    drop(in_use);
    assert_eq!(store.set_bound(1_000).unwrap(), 0);
    assert!(!there("loaded"));
    assert_eq!(store.set_bound(u64::MAX).unwrap(), 0);
    keep(&store, "again", &[1; 20_000]);
    assert!(there("again"), "it is not above what it was opened with");
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
    let refused = store.keep(("three", "a"), info(), file).unwrap_err();
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

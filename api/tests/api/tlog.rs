//! The published log: its files, proofs and receipts, and what a server refuses to publish.

use std::{path::Path, process::Command, sync::Arc};

use aevir_api::{
    StartError,
    objects::{FileTiles, S3Tiles},
};
use aevir_events::{
    Hash,
    merkle::leaf_hash,
    tlog::{
        Checkpoint, PublishError, Tile, TileBuilder, TilePath, TileStore, TileStoreError,
        TlogProof, VerifierKey, verify_consistency, verify_inclusion,
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    objects::S3Server,
    support::{
        ORIGIN, TestPlatform,
        node::{Outcome, until},
        single,
    },
};

/// The log's entries, byte for byte.
async fn entries(platform: &TestPlatform) -> Vec<Vec<u8>> {
    let mut lines = platform.admin.events(0, None, false).await.unwrap();
    let mut entries = Vec::new();
    while let Some(line) = lines.next_line().await {
        entries.push(line.unwrap());
    }
    entries
}

async fn pinned(platform: &TestPlatform) -> VerifierKey {
    let key = platform.client("nobody's").log_key().await.unwrap();
    assert_eq!(key.origin, ORIGIN);
    key.key.parse().unwrap()
}

/// A checkpoint of everything that the log has now.
async fn checkpoint(platform: &TestPlatform) -> Checkpoint {
    let shown = platform
        .admin
        .log_checkpoint(Some(platform.size()))
        .await
        .unwrap();
    Checkpoint::open(shown.note.as_bytes(), &pinned(platform).await).unwrap()
}

/// Settles one task; answers its id.
async fn settled(platform: &TestPlatform) -> String {
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await.id;
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task, "settled").await;
    task
}

/// The whole published log is there, and is what follows from the entries.
async fn is_published(platform: &TestPlatform) {
    let checkpoint = checkpoint(platform).await;
    let (mut builder, mut tiles) = (TileBuilder::default(), Vec::<Tile>::new());
    for entry in &entries(platform).await[..checkpoint.size as usize] {
        builder.push(entry, &mut tiles);
    }
    assert_eq!(builder.root(), checkpoint.root);
    tiles.extend(builder.partials());
    assert!(tiles.len() >= 2, "entries and hashes: {tiles:?}");
    for tile in tiles {
        let served = platform
            .admin
            .published(&tile.path.to_string())
            .await
            .unwrap();
        assert_eq!(served.unwrap(), tile.bytes, "{}", tile.path);
    }
}

/// What every store of tiles must do.
async fn check_store(store: &dyn TileStore) {
    let partial = TilePath::hashes(0, 1_234_067, 3).unwrap();
    assert_eq!(store.checkpoint().await.unwrap(), None);
    assert_eq!(store.tile(partial).await.unwrap(), None);
    store.remove_partials(partial.full()).await.unwrap();
    for path in [
        partial,
        TilePath::hashes(0, 1_234_067, 4).unwrap(),
        partial.full(),
    ] {
        for _ in 0..2 {
            store.put_tile(path, b"the same".to_vec()).await.unwrap();
        }
        let other = store.put_tile(path, b"another".to_vec()).await;
        assert!(
            matches!(other, Err(TileStoreError::Conflict { .. })),
            "{other:?}"
        );
        assert_eq!(store.tile(path).await.unwrap().unwrap(), b"the same");
    }
    store.remove_partials(partial.full()).await.unwrap();
    assert_eq!(store.tile(partial).await.unwrap(), None);
    assert!(store.tile(partial.full()).await.unwrap().is_some());
    for note in ["first", "second"] {
        store.put_checkpoint(note).await.unwrap();
        assert_eq!(store.checkpoint().await.unwrap().unwrap(), note.as_bytes());
    }
}

#[tokio::test]
async fn files_and_buckets_keep_tiles() {
    let dir = tempfile::tempdir().unwrap();
    check_store(&FileTiles::open(dir.path()).await.unwrap()).await;
    // What a crash left behind goes at the next start.
    std::fs::write(dir.path().join("tmp/left"), "x").unwrap();
    FileTiles::open(dir.path()).await.unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
    let server = S3Server::start().await;
    check_store(&S3Tiles::new(&server.config).unwrap()).await;
    let mut wrong = server.config.clone();
    wrong.secret_key = "wrong".into();
    let refused = S3Tiles::new(&wrong).unwrap();
    assert!(refused.put_checkpoint("x").await.is_err());
}

#[tokio::test]
async fn a_log_is_published_as_files() {
    let platform = TestPlatform::start().await;
    settled(&platform).await;
    // Past the first full tile.
    for n in 0..270 {
        platform.poor_account(&format!("account {n}")).await;
    }
    is_published(&platform).await;
    let full = platform.dir().join("log/tile/0/000");
    assert_eq!(std::fs::metadata(&full).unwrap().len(), 256 * 32);
    assert!(
        !full.with_extension("p").exists(),
        "partial tiles go once they are full"
    );
    let platform = platform.restart().await;
    is_published(&platform).await;
    judge(&platform.dir().join("log"), true);
    let mut tile = std::fs::read(&full).unwrap();
    tile[100] ^= 1;
    std::fs::write(&full, tile).unwrap();
    judge(&platform.dir().join("log"), false);
}

/// What an independent program says to the published files.
fn judge(log: &Path, consistent: bool) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit/tiles.py");
    let judged = Command::new("python3").arg(script).arg(log).output();
    let judged = judged.expect("python3 is missing: install it");
    assert_eq!(judged.status.success(), consistent, "{judged:?}");
}

#[tokio::test]
async fn a_log_is_published_in_a_bucket() {
    let server = S3Server::start().await;
    let tiles = Arc::new(S3Tiles::new(&server.config).unwrap());
    let platform = TestPlatform::builder().tiles(tiles).start().await;
    for n in 0..270 {
        platform.poor_account(&format!("account {n}")).await;
    }
    is_published(&platform).await;
    let stale = platform.admin.published("tile/0/000.p/20").await.unwrap();
    assert_eq!(stale, None);
    let platform = platform.restart().await;
    settled(&platform).await;
    is_published(&platform).await;
}

#[tokio::test]
async fn the_published_log_is_served_with_the_right_headers_and_rights() {
    let platform = TestPlatform::start().await;
    let (requester, _) = platform.requester().await;
    let size = checkpoint(&platform).await.size;
    let get = async |path: &str, key: Option<&str>| {
        let (status, headers, _) = platform.raw(Method::GET, path, key, "").await;
        let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
        (status.as_u16(), text("content-type"), text("cache-control"))
    };
    let text = |text: &str| Some(text.to_owned());
    let found = get("/log/checkpoint", None).await;
    assert_eq!(
        found,
        (200, text("text/plain; charset=utf-8"), text("no-cache"))
    );
    let for_ever = text("public, max-age=31536000, immutable");
    let found = get(&format!("/log/tile/0/000.p/{size}"), None).await;
    assert_eq!(found, (200, text("application/octet-stream"), for_ever));
    let entries = format!("/log/tile/entries/000.p/{size}");
    // However the path is spelt.
    for entries in [
        entries.clone(),
        format!("/log/tile/entries%2F000.p/{size}"),
        format!("/log/tile/%65ntries/000.p/{size}"),
        format!("/log/tile/entries%2f000%2ep%2f{size}"),
        format!("/log/tile/%65%6e%74%72%69%65%73%2f000.p/{size}"),
    ] {
        assert_eq!(get(&entries, None).await.0, 401, "{entries}");
        assert_eq!(
            get(&entries, Some(&requester.key)).await.0,
            403,
            "{entries}"
        );
    }
    let admin = std::fs::read_to_string(platform.dir().join("admin.key")).unwrap();
    let found = get(&entries, Some(admin.trim())).await;
    let private = text("private, max-age=31536000, immutable");
    assert_eq!(found, (200, text("application/octet-stream"), private));
    for path in [
        format!("0/000.p/{}", size + 1),
        "0/000".into(),
        "0/001.p/1".into(),
        "1/000.p/1".into(),
        "0/000.p/0".into(),
        "00/000.p/1".into(),
        "0/0.p/1".into(),
        "0/000.p/01".into(),
        "..%2f..%2flog.sqlite".into(),
        "0/..%2f..%2f..%2fadmin.key".into(),
        "64/000".into(),
        "data/000".into(),
    ] {
        let route = (Method::GET, &*format!("/log/tile/{path}"));
        platform
            .refuse(route, None, "", (404, "unknown-tile"))
            .await;
    }
    let route = (Method::GET, "/log/tile/entries/..%2f..%2fadmin.key");
    platform
        .refuse(route, Some(admin.trim()), "", (404, "unknown-tile"))
        .await;

    let open = TestPlatform::builder().public().start().await;
    let size = checkpoint(&open).await.size;
    let path = format!("/log/tile/entries/000.p/{size}");
    let (status, headers, _) = open.raw(Method::GET, &path, None, "").await;
    assert_eq!(status, 200);
    assert_eq!(
        headers["cache-control"],
        "public, max-age=31536000, immutable"
    );
    assert!(open.client("nobody's").log_key().await.unwrap().public);
}

/// The store shows a checkpoint before its publisher says so, and one that another server's publisher wrote.
#[tokio::test]
async fn whoever_sees_a_checkpoint_gets_the_tiles_that_it_names() {
    let (platform, longer) = (TestPlatform::start().await, TestPlatform::start().await);
    let admin = std::fs::read_to_string(platform.dir().join("admin.key")).unwrap();
    let size = checkpoint(&platform).await.size;
    while checkpoint(&longer).await.size <= size {
        longer.requester().await;
    }
    let shown = checkpoint(&longer).await.size;
    let path = TilePath::entries(0, u16::try_from(shown).unwrap()).unwrap();
    let (path, route) = (path.to_string(), format!("/log/{path}"));
    let bring = |file: &str| {
        let [from, to] = [&longer, &platform].map(|of| of.dir().join("log").join(file));
        std::fs::copy(from, to).unwrap();
    };
    bring(&path);
    let unknown = (404, "unknown-tile");
    let asked = (Method::GET, &*route);
    platform
        .refuse(asked, Some(admin.trim()), "", unknown)
        .await;
    bring("checkpoint");
    let served = platform.admin.published(&path).await.unwrap();
    let written = std::fs::read(platform.dir().join("log").join(&path));
    assert_eq!(served.unwrap(), written.unwrap());
}

#[tokio::test]
async fn proofs_are_given_for_every_entry_and_earlier_size() {
    let platform = TestPlatform::start().await;
    let early = checkpoint(&platform).await;
    settled(&platform).await;
    let entries = entries(&platform).await;
    let hashes = |texts: &[String]| -> Vec<Hash> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let now = checkpoint(&platform).await;
    for (index, entry) in (0u64..).zip(&entries).take(now.size as usize) {
        let proof = platform.admin.log_inclusion(index, None).await.unwrap();
        let shown = proof.checkpoint.note.as_bytes();
        let shown = Checkpoint::open(shown, &pinned(&platform).await).unwrap();
        assert_eq!(proof.size, shown.size.to_string());
        let path = hashes(&proof.hashes);
        verify_inclusion(index, shown.size, leaf_hash(entry), &path, shown.root).unwrap();
    }
    let proof = platform
        .admin
        .log_inclusion(0, Some(early.size))
        .await
        .unwrap();
    let (path, leaf) = (hashes(&proof.hashes), leaf_hash(&entries[0]));
    verify_inclusion(0, early.size, leaf, &path, early.root).unwrap();
    let proof = platform
        .admin
        .log_consistency(early.size, now.size)
        .await
        .unwrap();
    let path = hashes(&proof.hashes);
    verify_consistency((early.size, early.root), (now.size, now.root), &path).unwrap();
    assert_eq!(proof.from_root, early.root.to_string());
    assert_eq!(proof.to_root, now.root.to_string());

    let beyond = 1_000_000;
    let admin = &platform.admin;
    platform
        .refused(admin.log_inclusion(beyond, None), 422, "not-in-log")
        .await;
    platform
        .refused(admin.log_inclusion(5, Some(5)), 422, "not-in-log")
        .await;
    platform
        .refused(admin.log_consistency(2, 1), 422, "not-in-log")
        .await;
    platform
        .refused(admin.log_consistency(1, beyond), 422, "not-in-log")
        .await;
    platform
        .refused(admin.log_checkpoint(Some(beyond)), 422, "not-in-log")
        .await;
}

#[tokio::test]
async fn a_settlement_has_a_receipt_for_all_whom_it_concerns() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let stranger = platform.account("stranger").await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await.id;
    let early = requester.client.task_receipt(&task);
    platform.refused(early, 409, "receipt-not-ready").await;
    node.work(&Outcome::of(json!(1))).await;
    let ended = until(&requester.client, &task, "settled").await;
    assert_eq!(ended.receipt, Some(format!("/v1/tasks/{task}/receipt")));

    let key = pinned(&platform).await;
    for client in [&requester.client, &node.owner, &platform.admin] {
        let receipt = client.task_receipt(&task).await.unwrap();
        let proof: TlogProof = receipt.proof.parse().unwrap();
        proof.verify(receipt.entry.as_bytes(), &key).unwrap();
        let entry: Value = serde_json::from_str(&receipt.entry).unwrap();
        assert_eq!(entry["type"], "task.settled");
        assert_eq!(entry["stream"], format!("task/{task}"));
        assert_eq!(entry["position"], proof.index.to_string());
        assert_eq!(entry["data"]["fee"], ended.settlement.as_ref().unwrap().fee);
    }
    let foreign = stranger.client.task_receipt(&task);
    platform.refused(foreign, 404, "unknown-task").await;

    // A task that ends otherwise has one too.
    let task = single(&module).submit(&requester.client).await.id;
    requester.client.cancel_task(&task).await.unwrap();
    let receipt = requester.client.task_receipt(&task).await.unwrap();
    let proof: TlogProof = receipt.proof.parse().unwrap();
    proof.verify(receipt.entry.as_bytes(), &key).unwrap();
    assert!(receipt.entry.contains("task.closed"));
    let unpaid = stranger.client.task_receipt(&task);
    platform.refused(unpaid, 404, "unknown-task").await;
}

/// Copies the SQLite log with its side files.
fn copy_log(from: &Path, to: &Path) {
    for name in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_on_a_restored_old_backup_does_not_start() {
    let backup = tempfile::tempdir().unwrap();
    let platform = TestPlatform::start().await;
    platform.poor_account("before").await;
    let saved = platform
        .restart_with(async |dir| copy_log(dir, backup.path()))
        .await;
    let platform = saved.unwrap();
    platform.poor_account("after").await;
    let size = checkpoint(&platform).await.size;
    let refused = platform
        .restart_with(async |dir| copy_log(backup.path(), dir))
        .await;
    let Err(StartError::Publish(PublishError::Shrunken { published, log })) = refused else {
        panic!("the server has started on a stale log");
    };
    assert!(published == size && log < size, "{published} {log}");
}

#[tokio::test]
async fn a_server_that_can_t_publish_says_so() {
    let platform = TestPlatform::start().await;
    checkpoint(&platform).await;
    let health = async || -> Value {
        let (_, _, body) = platform.raw(Method::GET, "/health", None, "").await;
        let mut health: Value = serde_json::from_slice(&body).unwrap();
        // Says nothing of publishing.
        health
            .as_object_mut()
            .unwrap()
            .remove("projections")
            .unwrap();
        health
    };
    assert_eq!(
        health().await,
        json!({"status": "ok", "publishing": "publishing"})
    );
    let file = platform.dir().join("log/checkpoint");
    let note = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, note.replacen('\n', "\n1", 1)).unwrap();
    // The log goes on, but nothing of it is signed any more.
    platform.poor_account("one more").await;
    let refused = platform.admin.log_checkpoint(Some(platform.size()));
    platform.refused(refused, 503, "not-published").await;
    assert_eq!(
        health().await,
        json!({"status": "degraded", "publishing": "refused"})
    );
    let head = platform.admin.log_head(false).await.unwrap();
    assert!(
        head.publishing
            .detail
            .unwrap()
            .contains("start with the key file")
    );
}

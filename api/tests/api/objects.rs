//! The object stores: files, and S3 against a real server in a program of its own.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use aevir_api::objects::{
    ByteStream, FileStore, ObjectStore, PutError, S3Config, S3Store, once, read_all,
};
use aevir_platform::digest::Digest;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

/// Larger than one part of a multipart upload, and no multiple of it.
const LARGE: usize = 40 * 1024 * 1024 + 17;

fn bytes(size: usize) -> Bytes {
    (0..size)
        .map(|n| (n * 7 + n / 251) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// In pieces as they come from a connection.
fn pieces(bytes: &Bytes) -> ByteStream {
    let bytes = bytes.clone();
    let starts = (0..bytes.len()).step_by(65_537);
    let pieces = starts.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + 65_537))));
    futures::stream::iter(pieces.collect::<Vec<_>>()).boxed()
}

async fn whole(
    store: &dyn ObjectStore,
    digest: Digest,
    range: Option<std::ops::Range<u64>>,
) -> Vec<u8> {
    let object = store.get(digest, range).await.unwrap().unwrap();
    object.bytes.try_collect::<Vec<_>>().await.unwrap().concat()
}

/// What every store must do.
async fn check(store: &dyn ObjectStore) {
    for size in [0, 1, 100_000, LARGE] {
        let bytes = bytes(size);
        let digest = Digest::of(&bytes);
        assert_eq!(store.size(digest).await.unwrap(), None);
        assert!(store.get(digest, None).await.unwrap().is_none());
        for _ in 0..2 {
            let stored = store
                .put(digest, size as u64, pieces(&bytes))
                .await
                .unwrap();
            assert_eq!(stored, size as u64);
        }
        assert_eq!(store.size(digest).await.unwrap(), Some(size as u64));
        assert_eq!(whole(store, digest, None).await, bytes);
        if size > 10 {
            let (from, to) = (size as u64 / 3, size as u64 - 1);
            let part = whole(store, digest, Some(from..to)).await;
            assert_eq!(part, bytes[from as usize..to as usize]);
        }
        store.delete(digest).await.unwrap();
        store.delete(digest).await.unwrap();
        assert_eq!(store.size(digest).await.unwrap(), None);
    }
    for size in [1_000, LARGE] {
        let bytes = bytes(size);
        let other = Digest::of(b"other");
        let wrong = store.put(other, u64::MAX, pieces(&bytes)).await;
        assert!(matches!(wrong, Err(PutError::Digest { found }) if found == Digest::of(&bytes)));
        assert_eq!(store.size(other).await.unwrap(), None);
        let digest = Digest::of(&bytes);
        let large = store.put(digest, size as u64 - 1, pieces(&bytes)).await;
        assert!(matches!(large, Err(PutError::TooLarge { .. })));
        let torn = futures::stream::iter([Ok(bytes.clone()), Err(std::io::Error::other("torn"))]);
        let torn = store.put(digest, u64::MAX, torn.boxed()).await;
        assert!(matches!(torn, Err(PutError::Source(_))));
        assert_eq!(store.size(digest).await.unwrap(), None);
    }
    let small = Bytes::from_static(b"small");
    store
        .put(Digest::of(&small), 5, once(small.clone()))
        .await
        .unwrap();
    assert_eq!(
        read_all(store, Digest::of(&small), 5).await.unwrap(),
        Some(small.clone())
    );
    assert!(read_all(store, Digest::of(&small), 4).await.is_err());
}

#[tokio::test]
async fn files_hold_objects() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path()).await.unwrap();
    check(&store).await;
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
    // What a crash left behind goes at the next start; what was stored stays.
    std::fs::write(dir.path().join("tmp/left"), "x").unwrap();
    let again = FileStore::open(dir.path()).await.unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("tmp")).unwrap().count(),
        0
    );
    assert_eq!(again.size(Digest::of(b"small")).await.unwrap(), Some(5));
}

#[tokio::test]
async fn s3_holds_objects() {
    let server = S3Server::start().await;
    let store = S3Store::new(&server.config).unwrap();
    check(&store).await;
    let mut wrong = server.config.clone();
    wrong.secret_key = "wrong".into();
    let store = S3Store::new(&wrong).unwrap();
    assert!(
        store.size(Digest::of(b"small")).await.is_err(),
        "a refusal is no absence"
    );
}

/// `s3s-fs` on a free port with an empty bucket.
pub(crate) struct S3Server {
    process: Child,
    pub(crate) config: S3Config,
    _dir: tempfile::TempDir,
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("blobs")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new(program())
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", "test", "--secret-key", "secret"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            config: S3Config {
                bucket: "blobs".into(),
                region: "us-east-1".into(),
                endpoint: Some(format!("http://127.0.0.1:{port}")),
                access_key: "test".into(),
                secret_key: "secret".into(),
                prefix: "aevir/".into(),
            },
            _dir: dir,
        };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("s3s-fs did not start");
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let cache =
        std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/aevir/tools/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = cache.into_iter().chain(std::env::split_paths(&path));
    let found = folders
        .map(|folder| folder.join("s3s-fs"))
        .find(|file| file.is_file());
    found.expect(
        "s3s-fs is missing: run `cargo xtask setup`, or install it by hand with \
         `cargo install s3s-fs --version 0.14.1 --locked --features binary`",
    )
}

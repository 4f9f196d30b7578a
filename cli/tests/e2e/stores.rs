//! The same job with the log in PostgreSQL and the objects in an S3 bucket.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use aevir_events::testing::PrivatePostgres;
use serde_json::{Value, json};

use crate::platform::{Stores, TestPlatform};

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_on_postgres_and_s3_survives_a_crash() {
    let postgres = PrivatePostgres::start().await;
    let s3 = S3Server::start().await;
    let text = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
    let mut platform = TestPlatform::start_on(Stores {
        args: text(&[
            "--database",
            &postgres.url(),
            "--s3",
            "blobs",
            "--s3-endpoint",
            &s3.url,
        ]),
        env: vec![
            ("AWS_ACCESS_KEY_ID".into(), "test".into()),
            ("AWS_SECRET_ACCESS_KEY".into(), "secret".into()),
        ],
    })
    .await;
    let _nodes = (platform.node(&[]).await, platform.node(&[]).await);
    let sampled = json!({
        "data": [{"name": "note", "from": {"inline": "kept in a bucket"}}],
        "verification": [{"method": "sampling", "replicas": 3, "quorum": 2}],
    });
    let task = platform.echo(json!({"copy": ["note"]}), sampled).await;
    let task = platform.ended(&task.id).await;
    assert_eq!(task.state, "settled", "{task:#?}");
    platform.kill_server();
    platform.start_server();
    let output = &task.verdict.as_ref().unwrap().outputs[0];
    let to = platform.folder().join("note");
    let downloaded = platform
        .requester
        .download_output(&task.id, "note", &output.digest, &to);
    downloaded.await.unwrap();
    assert_eq!(std::fs::read_to_string(to).unwrap(), "kept in a bucket");
    let audit = ["audit", "--output", "json"];
    let audit = platform.aevir_with(&platform.admin_key(), &audit).unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    assert_eq!(
        (&audit["live"]["equal"], &audit["ledger"]["sum"]),
        (&json!(true), &json!("0"))
    );
    assert!(
        !platform.folder().join("log.sqlite").exists(),
        "nothing is kept twice"
    );
}

/// `s3s-fs` on a free port with an empty bucket.
struct S3Server {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl S3Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("blobs")).unwrap();
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let process = Command::new(program())
            .args(["--host", "127.0.0.1", "--port", &free.port().to_string()])
            .args(["--access-key", "test", "--secret-key", "secret"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            url: format!("http://{free}"),
            _folder: folder,
        };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(free).await.is_ok() {
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
    let home = std::env::var_os("HOME").unwrap_or_default();
    let ours = Path::new(&home).join(".cache/aevir/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(ours)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join("s3s-fs"))
        .find(|file| file.is_file())
        .expect("s3s-fs is missing: run `cargo xtask setup`")
}

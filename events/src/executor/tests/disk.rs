//! A disk that is full: nothing that was acknowledged is lost, callers are told, and once there is room it goes on.

use std::{
    env,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{balance, check_replay, start_with, until};
use crate::{
    Log, Options, SqliteLog, Status, SubmitError,
    toy::{Order, Store, deposit, keyed, reproducible, request},
};

/// Names the log for the process whose files may not grow.
const CRAMPED: &str = "AEVIR_EVENTS_CRAMPED";
/// How large any file may become, in bytes: what a new log has, and room for some entries.
const FILE_BYTES: u64 = 600 << 10;
/// Bytes of each note at first; a few dozen fill the room.
const NOTE_BYTES: usize = 30 << 10;

/// In a process of its own, since the limit on files counts for all of it. The signal that comes with the limit is
/// ignored, so that SQLite gets an error like from a full disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_no_loss() {
    let store = Store::sqlite();
    let test = env::current_exe().unwrap();
    let run =
        r#"trap '' XFSZ; exec "$0" --exact executor::tests::disk::cramped --ignored --nocapture"#;
    let mut cramped = Command::new("/bin/sh");
    cramped
        .args(["-c", run])
        .arg(test)
        .env(CRAMPED, store.name())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || cramped.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{stderr}"
    );
    // What it acknowledged is there for the next one.
    let bank = start_with(store.open().await, Options::default())
        .await
        .unwrap();
    let acknowledged = said
        .lines()
        .find_map(|line| line.strip_prefix("acknowledged "));
    assert_eq!(acknowledged.unwrap(), balance(&bank, "a").to_string());
    check_replay(&bank, &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test of the full disk starts"]
async fn cramped() {
    let name = env::var(CRAMPED).expect("started by the test of the full disk");
    let log: Arc<dyn Log> = Arc::new(SqliteLog::open(&name).await.unwrap());
    let options = Options {
        resolve_patience: Duration::from_millis(500),
        ..reproducible()
    };
    let bank = start_with(log, options).await.unwrap();
    bank.submit(keyed("first", deposit("a", 1))).await.unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, FILE_BYTES, hard).unwrap();
    // First with what needs much room, then with less and less, until not even a new epoch fits.
    let mut refusals = 0;
    while bank.status() != Status::Recovering {
        let bytes = if refusals == 0 { NOTE_BYTES } else { 1 };
        match bank.submit(request(Order::Note { bytes })).await {
            Ok(_) => assert!(bank.head().size < 10_000, "the disk is not full"),
            Err(SubmitError::Unavailable | SubmitError::Unknown) => refusals += 1,
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = bank
        .submit(keyed("second", deposit("a", 1)))
        .await
        .unwrap_err();
    assert!(refused.is_retryable(), "{refused}");
    assert_eq!(balance(&bank, "a"), 1, "reading goes on");
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    until("it leads again", || bank.status() == Status::Leading).await;
    // The same log, the same executor, each key once.
    for (key, replayed) in [("second", false), ("second", true), ("first", true)] {
        let receipt = bank.submit(keyed(key, deposit("a", 1))).await.unwrap();
        assert_eq!(receipt.replayed, replayed, "{key}");
    }
    println!("\nacknowledged {}", balance(&bank, "a"));
}

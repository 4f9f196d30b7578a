//! Connections that misbehave, and a log that does.

use std::time::{Duration, Instant};

use aevir_events::{Executor, Handle, Options};
use aevir_platform::Platform;
use aevir_wire::{Deposit, OpenAccount};
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::TestPlatform;

#[tokio::test]
async fn headers_that_never_end_are_not_waited_for() {
    let platform = TestPlatform::builder()
        .limits(|l| l.header_time_max = Duration::from_millis(500))
        .start()
        .await;
    let mut stream = TcpStream::connect(platform.server.addr).await.unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    closed.expect("the server closes the connection").ok();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let platform = TestPlatform::builder()
        .limits(|l| l.header_time_max = Duration::from_millis(500))
        .start()
        .await;
    let mut stream = TcpStream::connect(platform.server.addr).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    closed.expect("the server closes the connection").ok();
}

#[tokio::test]
async fn connections_have_a_ceiling_and_wait_for_room() {
    let platform = TestPlatform::builder()
        .limits(|l| l.connections_max = 2)
        .start()
        .await;
    let address = platform.server.addr;
    let ask = |mut stream: TcpStream| async move {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream
    };
    let first = ask(TcpStream::connect(address).await.unwrap()).await;
    let _second = ask(TcpStream::connect(address).await.unwrap()).await;
    let third = tokio::spawn(ask(TcpStream::connect(address).await.unwrap()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!third.is_finished(), "there is no room for a third one");
    drop(first);
    timeout(Duration::from_secs(10), third)
        .await
        .expect("now there is")
        .unwrap();
}

#[tokio::test]
async fn an_unreachable_log_is_answered_as_such_and_comes_back() {
    let platform = TestPlatform::builder().faulty().start().await;
    let account = platform.account("a").await;
    let faults = platform.faults.clone().unwrap();
    let size = platform.size();
    faults.set_reachable(false);
    let open = OpenAccount {
        name: "b".into(),
        scopes: None,
    };
    let refused = platform.admin.open_account(&open).await.unwrap_err();
    assert!(
        matches!(refused.code(), Some("log-unavailable" | "outcome-unknown")),
        "{refused:?}"
    );
    assert!(refused.is_transient());
    assert_eq!(
        platform.admin.ready().await.unwrap_err().code(),
        Some("not-ready")
    );
    assert_eq!(
        account.client.account().await.unwrap().account,
        account.id,
        "reads go on"
    );
    faults.set_reachable(true);
    let recovered = async {
        while platform.admin.ready().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), recovered)
        .await
        .expect("the log comes back");
    assert_eq!(platform.size(), size, "what was refused did not happen");
    platform.account("b").await;
    platform.check_replay().await;
}

#[tokio::test]
async fn a_full_queue_is_answered_at_once_with_when_to_try_again() {
    const QUEUE: usize = 2;
    const REQUESTS: usize = 60;
    let platform = TestPlatform::builder()
        .faulty()
        .executor(|options| {
            options.queue_commands = QUEUE;
            options.batch_commands = 1;
        })
        .start()
        .await;
    let faults = platform.faults.clone().unwrap();
    let key = platform.admin_key();
    faults.hold_appends(true);
    // While no commit ends: one is in flight, one decided, one taken out of the queue, and the queue is full.
    let requests = (0..REQUESTS).map(|n| {
        let body = format!(r#"{{"name":"crowd {n}"}}"#);
        platform.raw(Method::POST, "/v1/accounts", Some(&key), body)
    });
    let release = async {
        // All that do not fit are answered although nothing moves; then the others may go on.
        tokio::time::sleep(Duration::from_secs(1)).await;
        faults.hold_appends(false);
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(requests), release);
    let (mut done, mut busy) = (0, 0);
    for (status, headers, body) in answers {
        if status.is_success() {
            done += 1;
            continue;
        }
        let problem: aevir_wire::Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), problem.code.as_str()), (503, "busy"));
        let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "a bounded wait: {wait} s");
        busy += 1;
    }
    assert!(done >= QUEUE && busy > 0, "{done} done, {busy} refused");
    platform.check_replay().await;
}

#[tokio::test]
async fn a_deposed_server_writes_nothing_more() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let log = platform.second_log().await;
    let successor: Handle<Platform> = Executor::start(log, Options::default()).await.unwrap();
    let deposit = Deposit {
        amount: "1".into(),
        reference: "late".into(),
    };
    let refused = platform
        .admin
        .deposit(&account.id, &deposit)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some("not-leader"));
    assert_eq!(
        platform.admin.ready().await.unwrap_err().code(),
        Some("not-ready")
    );
    assert_eq!(
        platform.server.log_ended().await,
        aevir_events::Status::Deposed
    );
    assert_eq!(successor.head().size, platform.size());
}

//! The executor process by itself, spoken to as its parent does.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Bench;

/// Starts an executor and sends it a run.
fn start(bench: &mut Bench) -> (Child, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_aevir-executor"))
        .env("AEVIR_EXECUTOR_CACHE", bench.dir.path().join("cache"))
        .env(aevir_sandbox::LOG_VAR, "json")
        .env("RUST_LOG", "info")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = json!({ "Run": bench.next_spec() }).to_string();
    ours.write_all(&(request.len() as u32).to_be_bytes())
        .unwrap();
    ours.write_all(request.as_bytes()).unwrap();
    (child, ours)
}

fn receive(socket: &mut UnixStream) -> Value {
    let mut head = [0; 4];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; u32::from_be_bytes(head) as usize];
    socket.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn it_dies_with_its_parent_in_the_middle_of_a_run() {
    let mut bench = Bench::guest("spin");
    let (mut child, mut socket) = start(&mut bench);
    assert_eq!(receive(&mut socket)["Event"]["event"], "started");
    drop(socket);
    let deadline = Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(
            Instant::now() < deadline,
            "the executor outlives its parent"
        );
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.signal(), Some(nix::libc::SIGKILL));
}

#[test]
fn its_log_lines_carry_the_ids_and_nothing_of_the_params() {
    let mut bench = Bench::guest("ok").params(r#"{"secret": "swordfish"}"#);
    bench.spec.trace.task = "task-1".into();
    bench.spec.trace.assignment = "assignment-2".into();
    bench.spec.trace.node = "node-3".into();
    let (child, mut socket) = start(&mut bench);
    assert_eq!(receive(&mut socket)["Event"]["event"], "started");
    assert_eq!(receive(&mut socket)["Outcome"]["end"]["end"], "ok");
    drop(socket);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("swordfish"), "{text}");
    let ended = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == "run ended")
        .unwrap_or_else(|| panic!("no such line: {text}"));
    assert_eq!(ended["span"]["task"], "task-1");
    assert_eq!(ended["span"]["assignment"], "assignment-2");
    assert_eq!(ended["span"]["node"], "node-3");
}

//! The process that leads the log, or its connections, die in the middle of a load.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{check_replay, start, start_with, until};
use crate::{
    Options, SubmitError,
    toy::{Happened, Store, deposit, keyed, on_both, open_named},
};

/// Names the log for the process that is to be killed.
const VICTIM: &str = "AEVIR_EVENTS_CRASH_VICTIM";
/// Acknowledged commands after which it is killed.
const ACKNOWLEDGED: usize = 150;
const VICTIMS_CALLERS: usize = 16;

on_both! {
    async fn what_was_acknowledged_survives_a_kill(store: Store) {
        let mut acknowledged = Vec::new();
        for _ in 0..3 {
            let name = store.name();
            acknowledged.extend(tokio::task::spawn_blocking(move || kill_under_load(&name)).await.unwrap());
        }
        let bank = start(store.open().await).await;
        let size = bank.head().size;
        let distinct: BTreeSet<u64> = acknowledged.iter().copied().collect();
        assert!(acknowledged.len() >= 3 * ACKNOWLEDGED);
        assert_eq!(distinct.len(), acknowledged.len(), "no position was given twice");
        assert!(distinct.last().is_some_and(|last| *last < size), "nothing acknowledged is lost");
        assert_eq!(check_replay(&bank, &store).await.total(), size);
    }

    /// On PostgreSQL the connections are cut again and again; callers repeat with their keys what they are told to.
    async fn every_command_happens_once_over_broken_connections(store: Store) {
        let bank = start_with(store.open().await, Options::default()).await.unwrap();
        let callers: Vec<_> = (0..8).map(|caller| {
            let bank = bank.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    let request = keyed(&format!("{caller}/{n}"), deposit(&format!("{caller}/{n}"), 1));
                    loop {
                        match bank.submit(request.clone()).await {
                            Ok(_) => break,
                            Err(SubmitError::Unavailable | SubmitError::Unknown) => {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        }).collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            store.cut_connections().await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        for caller in callers {
            caller.await.unwrap();
        }
        let live = check_replay(&bank, &store).await;
        assert_eq!((live.accounts.len(), live.total()), (320, 320));
    }
}

/// A leader whose process is stopped while another one takes over, and that then goes on. On PostgreSQL alone: a
/// process that is stopped inside of a transaction on SQLite keeps the file's lock, so nobody can take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_that_goes_on_writes_nothing_more() {
    let store = Store::postgres().await;
    let mut victim = spawn_victim(&store.name());
    let process = Pid::from_raw(victim.id().try_into().unwrap());
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&said);
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let listener = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            heard.lock().unwrap().push(line);
        }
    });
    until("it is under load", || {
        said.lock().unwrap().len() > ACKNOWLEDGED
    })
    .await;
    kill(process, Signal::SIGSTOP).unwrap();
    let bank = start(store.open().await).await;
    let taken_over = bank.head().size;
    for n in 0..20 {
        let receipt = bank
            .submit(crate::toy::request(deposit("new", 1)))
            .await
            .unwrap();
        assert_eq!(receipt.events[0].position, taken_over + n);
    }
    kill(process, Signal::SIGCONT).unwrap();
    let ended = tokio::task::spawn_blocking(move || victim.wait().unwrap());
    assert!(ended.await.unwrap().success(), "its callers were all told");
    listener.join().unwrap();
    let said = std::mem::take(&mut *said.lock().unwrap());
    // It owns up to all that it wrote before, and to nothing else.
    let mut acknowledged: Vec<u64> = said
        .iter()
        .filter_map(|line| acknowledged_in(line))
        .collect();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (0..taken_over).collect::<Vec<_>>());
    assert_eq!(
        said.iter().filter(|line| *line == "deposed.").count(),
        VICTIMS_CALLERS
    );
    assert_eq!(check_replay(&bank, &store).await.total(), taken_over + 20);
}

fn spawn_victim(name: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "executor::tests::crash::victim",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(VICTIM, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The position in a line of the victim's. The last line may be torn.
fn acknowledged_in(line: &str) -> Option<u64> {
    let position = line.strip_prefix("committed ")?.strip_suffix('.')?;
    Some(position.parse().unwrap())
}

/// Starts the victim, kills it (SIGKILL) in the middle, and returns the positions that it acknowledged.
fn kill_under_load(name: &str) -> Vec<u64> {
    let mut victim = spawn_victim(name);
    let mut positions = Vec::new();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        positions.extend(acknowledged_in(&line));
        if positions.len() == ACKNOWLEDGED {
            victim.kill().unwrap();
        }
    }
    assert!(
        !victim.wait().unwrap().success(),
        "it was killed and did not end by itself"
    );
    positions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the crash tests start, stop and kill"]
async fn victim() {
    let name = env::var(VICTIM).expect("started by the crash test");
    let bank = start_with(open_named(&name).await, Options::default())
        .await
        .unwrap();
    // The test's name is on the first line already.
    println!();
    let callers = (0..VICTIMS_CALLERS).map(|caller| {
        let bank = bank.clone();
        tokio::spawn(async move {
            loop {
                let order = deposit(&format!("{caller}"), 1);
                let receipt = match bank.submit(crate::toy::request(order)).await {
                    Ok(receipt) => receipt,
                    Err(SubmitError::NotLeader) => return println!("deposed."),
                    Err(other) => panic!("{other}"),
                };
                assert!(matches!(
                    receipt.events[0].event,
                    Happened::Deposited { .. }
                ));
                println!("committed {}.", receipt.events[0].position);
            }
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller.unwrap();
    }
}

//! The process that leads the log, or its connections, die in the middle of a load.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use super::{check_replay, start, start_with};
use crate::{
    Options, SubmitError,
    toy::{Happened, Store, deposit, keyed, on_both, open_named},
};

/// Names the log for the process that is to be killed.
const VICTIM: &str = "AEVIR_EVENTS_CRASH_VICTIM";
/// Acknowledged commands after which it is killed.
const ACKNOWLEDGED: usize = 150;

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

/// Starts the victim, kills it (SIGKILL) in the middle, and returns the positions that it acknowledged.
fn kill_under_load(name: &str) -> Vec<u64> {
    let mut victim = Command::new(env::current_exe().unwrap())
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
        .unwrap();
    let mut positions = Vec::new();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    // The last line may be torn.
    for line in lines.map_while(Result::ok) {
        if let Some(position) = line
            .strip_prefix("committed ")
            .and_then(|line| line.strip_suffix('.'))
        {
            positions.push(position.parse().unwrap());
        }
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
#[ignore = "the process that the crash test starts and kills"]
async fn victim() {
    let name = env::var(VICTIM).expect("started by the crash test");
    let bank = start_with(open_named(&name).await, Options::default())
        .await
        .unwrap();
    let callers = (0..16).map(|caller| {
        let bank = bank.clone();
        tokio::spawn(async move {
            loop {
                let receipt = bank
                    .submit(crate::toy::request(deposit(&format!("{caller}"), 1)))
                    .await
                    .unwrap();
                assert!(matches!(
                    receipt.events[0].event,
                    Happened::Deposited { .. }
                ));
                println!("committed {}.", receipt.events[0].position);
            }
        })
    });
    futures::future::join_all(callers).await;
}

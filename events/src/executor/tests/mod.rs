//! The executor on both databases, with the toy bank as the machine.
#![allow(clippy::unwrap_used)]

mod commands;
mod crash;
mod disk;
mod engines;
mod faults;
mod leadership;
mod load;
mod prefix;
mod simulation;
mod tamper;

use std::{sync::Arc, time::Duration};

use crate::{
    Entry, Executor, Handle, Log, Options, Receipt, Request, StartError, SubmitError, replay_log,
    state_hash,
    toy::{Balances, Bank, Happened, Order, Refused, Store},
};

type Submitted = Result<Receipt<Happened>, SubmitError<Refused>>;

async fn start(log: Arc<dyn Log>) -> Handle<Bank> {
    start_with(log, crate::toy::reproducible()).await.unwrap()
}

async fn start_with(log: Arc<dyn Log>, options: Options) -> Result<Handle<Bank>, StartError> {
    Executor::start(log, options).await
}

/// Sends a command off and lets it run.
fn spawn(bank: &Handle<Bank>, request: Request<Order>) -> tokio::task::JoinHandle<Submitted> {
    let bank = bank.clone();
    tokio::spawn(async move { bank.submit(request).await })
}

fn balance(bank: &Handle<Bank>, account: &str) -> u64 {
    bank.read(|state, _| state.accounts.get(account).copied().unwrap_or(0))
}

fn positions(receipt: &Receipt<Happened>) -> Vec<u64> {
    receipt.events.iter().map(|event| event.position).collect()
}

async fn all_entries(log: &dyn Log) -> Vec<Entry> {
    log.read(0, 1_000_000)
        .await
        .unwrap()
        .into_iter()
        .map(|stored| stored.entry)
        .collect()
}

/// What must hold after every test, whatever happened in it: an audit of the log ends in the live state.
async fn check_replay(bank: &Handle<Bank>, store: &Store) -> Balances {
    let replayed = replay_log::<Bank>(store.open().await.as_ref())
        .await
        .unwrap();
    let (live, size) = bank.read(|state, size| (state.clone(), size));
    assert_eq!(replayed.state, live);
    assert_eq!(
        state_hash(&replayed.state).unwrap(),
        state_hash(&live).unwrap()
    );
    assert_eq!((replayed.size, replayed.root), (size, bank.head().root));
    live
}

/// Waits for what another task is about to bring about.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("did not come about in 10 s: {what}");
}

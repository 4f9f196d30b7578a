//! Those who give commands and those who follow the log, and what they write down of it.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures::StreamExt as _;
use ulid::Ulid;

use super::{
    check::brief,
    cluster::{Cluster, Process},
};
use crate::{
    Request, SubmitError, SubscribeError,
    executor::tests::Submitted,
    toy::{Order, deposit, transfer},
};

/// The longest that an answer may take: patience, an outage and a stopped process together.
const ANSWERED: Duration = Duration::from_secs(60);
/// Attempts at one command.
const ATTEMPTS: u32 = 40;

/// One command on its way once.
pub(super) struct Attempt {
    pub(super) request: Request<Order>,
    /// Size of the log when it was sent and when its answer came.
    pub(super) before: u64,
    pub(super) after: u64,
    /// `None` where nobody heard an answer.
    pub(super) answer: Option<Submitted>,
}

impl Attempt {
    /// Whether the command may have happened by this attempt.
    pub(super) fn may_have_happened(&self) -> bool {
        match &self.answer {
            None | Some(Err(SubmitError::Unknown)) => true,
            Some(Ok(receipt)) => !receipt.replayed,
            Some(Err(_)) => false,
        }
    }
}

/// Everything that was asked and answered.
pub(super) type History = Arc<Mutex<Vec<Attempt>>>;

/// Gives commands, some at once.
pub(super) async fn call(cluster: Arc<Cluster>, history: History, caller: u64) {
    let world = Arc::clone(&cluster.world);
    for burst in 0..3 + world.below(5) {
        world.pause_ms(world.weather.calm_ms).await;
        let requests: Vec<_> = (0..1 + world.below(6))
            .map(|n| any_request(&cluster, caller, burst * 10 + n))
            .collect();
        let commands = requests
            .into_iter()
            .map(|request| command(&cluster, &history, request));
        futures::future::join_all(commands).await;
    }
}

/// A command that nobody else gives, but for those with a shared key.
fn any_request(cluster: &Cluster, caller: u64, n: u64) -> Request<Order> {
    let world = &cluster.world;
    let account = || ["a", "b", "c"][world.below(3) as usize].to_owned();
    let command = match world.below(100) {
        0..30 => deposit(&account(), 1 + world.below(5)),
        30..70 => transfer(&account(), &account(), 1 + world.below(6)),
        70..80 => Order::DrawTicket,
        80..90 => Order::Nothing,
        90..96 => Order::Many {
            to: account(),
            count: 3,
        },
        96..98 => Order::Poison {
            to: account(),
            cents: 1,
        },
        98 => Order::Unsafe,
        _ => Order::Panic,
    };
    let (actor, key) = match world.below(100) {
        0..10 => (
            "account/shared".to_owned(),
            Some(format!("s{}", world.below(6))),
        ),
        lot if lot < world.weather.keyed => (format!("account/{caller}"), Some(n.to_string())),
        _ => (format!("node/{caller}-{n}"), None),
    };
    Request {
        actor,
        key,
        command,
    }
}

/// Gives one command; repeats it under its key until it has an answer that will not change.
async fn command(cluster: &Cluster, history: &History, request: Request<Order>) {
    let world = &cluster.world;
    for _ in 0..ATTEMPTS {
        let Some(process) = cluster.any() else {
            world.pause_ms(200).await;
            continue;
        };
        let before = cluster.disk.lock().unwrap().size();
        let answer = ask(cluster, &process, request.clone()).await;
        let after = cluster.disk.lock().unwrap().size();
        let who = (&request.actor, &request.key);
        world.note(format_args!(
            "{who:?} {:?} -> {}",
            request.command,
            brief(&answer)
        ));
        let again = match &answer {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => error.is_retryable(),
        };
        history.lock().unwrap().push(Attempt {
            request: request.clone(),
            before,
            after,
            answer,
        });
        if !again || request.key.is_none() || world.chance(5) {
            return;
        }
        world.pause_ms(1_000).await;
    }
}

async fn ask(
    cluster: &Cluster,
    process: &Arc<Process>,
    request: Request<Order>,
) -> Option<Submitted> {
    let world = &cluster.world;
    let gives_up = world.chance(4);
    let answer = tokio::select! {
        biased;
        () = process.log.died() => return None,
        answer = process.bank.submit(request) => answer,
        () = world.pause_ms(2_000), if gives_up => return None,
        () = world.sleep(ANSWERED) => {
            world.violation(format_args!("{} does not answer", process.log.name));
            return None;
        }
    };
    if let Err(SubmitError::Unknown) = &answer {
        check_unknown(cluster, process);
    }
    if let Ok(receipt) = &answer {
        let seen = process.bank.head().size;
        if !receipt.replayed && seen < receipt.head {
            world.violation(format_args!("a caller can't read what it wrote: {seen}"));
        }
    }
    Some(answer)
}

/// An outcome may be called unknown only while it is, and not before patience has run out or the executor has ended.
fn check_unknown(cluster: &Cluster, process: &Process) {
    let (world, name) = (&cluster.world, &process.log.name);
    let Some(lost) = process.log.unresolved() else {
        return world.violation(format_args!("{name} says unknown, and nothing was lost"));
    };
    let now = world.now();
    if lost.until.is_some_and(|until| until < now) {
        world.violation(format_args!(
            "{name} says unknown, and knows since {:?}",
            lost.until
        ));
    }
    if now - lost.since < process.patience && !process.bank.status().is_final() {
        world.violation(format_args!("{name} says unknown without patience"));
    }
}

/// Follows the log from the beginning to the end, over restarts of itself and of others. Answers the ids of the events.
pub(super) async fn follow(
    cluster: Arc<Cluster>,
    end: tokio::sync::watch::Receiver<u64>,
) -> Vec<Ulid> {
    let world = Arc::clone(&cluster.world);
    let mut seen: Vec<Ulid> = Vec::new();
    while (seen.len() as u64) < *end.borrow() {
        world.pause_ms(300).await;
        let Some(process) = cluster.any() else {
            continue;
        };
        let mut events = process.bank.subscribe(seen.len() as u64);
        let restart = world.sleep(Duration::from_millis(world.below(5_000)));
        tokio::pin!(restart);
        loop {
            let event = tokio::select! {
                biased;
                () = process.log.died() => break,
                () = &mut restart => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    if event.position != seen.len() as u64 {
                        world.violation(format_args!("{} follows {}", event.position, seen.len()));
                    }
                    if process.bank.head().size <= event.position {
                        world.violation(format_args!("{} can't be read yet", event.position));
                    }
                    seen.push(event.id);
                }
                None | Some(Err(SubscribeError::Log(_))) => break,
                Some(Err(error)) => world.violation(format_args!("a follower: {error}")),
            }
            // Slow enough to fall behind now and then.
            if world.chance(5) {
                world.pause_ms(100).await;
            }
        }
        // The end is only reached where somebody has committed it.
        if cluster.quiet.load(Ordering::Relaxed) {
            world.jitter().await;
        }
    }
    seen
}

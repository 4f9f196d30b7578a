//! What everything in a simulation draws from: one seed, one virtual time, one trace.
//!
//! All tasks run on one thread. Time stands still while any of them can run; when none can, the runtime's hook calls
//! [`World::advance`], and the next timer is due. So a seed decides everything that happens.

use std::{
    collections::BTreeMap,
    fmt::Display,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use crate::{Hash, Timer};

/// Lines of the trace that are shown with a failure.
const TRACE_SHOWN: usize = 120;

/// How often what goes wrong, in percent; every seed has weather of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Refused connections and failed statements.
    pub(super) refused: u64,
    /// Commits whose answer is lost.
    pub(super) lost: u64,
    /// Longest time that one request or answer is on its way.
    pub(super) latency_ms: u64,
    /// Longest time between two blows of fate.
    pub(super) calm_ms: u64,
    /// Commands that carry an idempotency key.
    pub(super) keyed: u64,
}

/// The one source of chance, time and order.
pub(super) struct World {
    rng: Mutex<StdRng>,
    timers: Mutex<Timers>,
    trace: Mutex<Trace>,
    violations: Mutex<Vec<String>>,
    violated: Notify,
    pub(super) weather: Weather,
}

#[derive(Default)]
struct Timers {
    now: Duration,
    /// By due time, then by lot, so that simultaneous wake-ups come in any order.
    waiting: BTreeMap<(Duration, u64), Waker>,
}

#[derive(Default)]
struct Trace {
    hash: Sha256,
    lines: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let fair = rng.random_range(0..4) == 0;
        let mut percent = |most: u64| if fair { 0 } else { rng.random_range(0..=most) };
        let weather = Weather {
            refused: percent(15),
            lost: percent(20),
            latency_ms: [1, 5, 40, 400][percent(3) as usize],
            calm_ms: [2_000, 500, 100][percent(2) as usize],
            keyed: 20 + percent(60),
        };
        Arc::new(Self {
            rng: Mutex::new(rng),
            timers: Mutex::default(),
            trace: Mutex::default(),
            violations: Mutex::default(),
            violated: Notify::new(),
            weather,
        })
    }

    /// A number below `limit`, which is above 0.
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.rng.lock().unwrap().random_range(0..limit)
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn entropy(&self) -> [u8; 32] {
        self.rng.lock().unwrap().random()
    }

    /// Adds a line to the trace.
    pub(super) fn note(&self, what: impl Display) {
        let line = format!("{:>9.3} {what}", self.now().as_secs_f64());
        let mut trace = self.trace.lock().unwrap();
        trace.hash.update(line.as_bytes());
        trace.hash.update(b"\n");
        trace.lines.push(line);
    }

    /// Something happened that must never happen.
    pub(super) fn violation(&self, what: impl Display) {
        self.note(format_args!("VIOLATION {what}"));
        self.violations.lock().unwrap().push(what.to_string());
        self.violated.notify_one();
    }

    /// Is done with the first violation: what comes after it may go on for ever.
    pub(super) async fn violated(&self) {
        self.violated.notified().await;
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// Names everything that happened, in its order.
    pub(super) fn trace_hash(&self) -> Hash {
        Hash(self.trace.lock().unwrap().hash.clone().finalize().into())
    }

    /// The end of the trace, for a person.
    pub(super) fn story(&self) -> String {
        let trace = self.trace.lock().unwrap();
        let from = trace.lines.len().saturating_sub(TRACE_SHOWN);
        trace.lines[from..].join("\n")
    }

    /// Steps back behind whoever else can run, some times.
    pub(super) async fn jitter(&self) {
        for _ in 0..self.below(4) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for up to so long.
    pub(super) async fn pause_ms(self: &Arc<Self>, most: u64) {
        let micros = self.below(most * 1_000 + 1);
        self.sleep(Duration::from_micros(micros)).await;
    }

    /// A request or an answer is on its way.
    pub(super) async fn travel(self: &Arc<Self>) {
        self.jitter().await;
        if self.chance(70) {
            self.pause_ms(self.weather.latency_ms).await;
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.timers.lock().unwrap().now
    }

    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        Sleep {
            world: Arc::clone(self),
            key: (self.now() + duration, self.rng.lock().unwrap().random()),
        }
    }

    /// Nobody can run: goes on to the next timer.
    pub(super) fn advance(&self) {
        let mut timers = self.timers.lock().unwrap();
        if let Some(((due, _), waker)) = timers.waiting.pop_first() {
            timers.now = timers.now.max(due);
            drop(timers);
            waker.wake();
        }
    }
}

/// Waiting in virtual time.
pub(super) struct Sleep {
    world: Arc<World>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut timers = self.world.timers.lock().unwrap();
        if timers.now >= self.key.0 {
            timers.waiting.remove(&self.key);
            return Poll::Ready(());
        }
        timers.waiting.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.timers.lock().unwrap().waiting.remove(&self.key);
    }
}

/// [`World`]'s time, as executors use it.
pub(super) struct VirtualTimer(pub(super) Arc<World>);

impl Timer for VirtualTimer {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.sleep(duration))
    }
}

//! The processes that lead or led the log, and what fate does to them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    store::{Disk, Line, SimLog},
    world::{VirtualTimer, World},
};
use crate::{
    Executor, Handle, Log, Options, StartError, Status, Timestamp,
    toy::{Balances, Bank},
};

/// When the simulated clocks begin, in ms since 1970.
const EPOCH_MS: i64 = 1_700_000_000_000;
/// Longest outage, and longest time that a process is stopped.
const OUTAGE_MS: u64 = 15_000;
const STOPPED_MS: u64 = 4_000;
/// How far a clock jumps at most, forwards or backwards.
const JUMP_MS: u64 = 3_600_000;
/// How long a shutdown may take: a commit and its recovery, with the process stopped in between.
const SHUTDOWN: Duration = Duration::from_secs(60);

/// A process with an executor.
pub(super) struct Process {
    pub(super) log: Arc<SimLog>,
    pub(super) bank: Handle<Bank>,
    pub(super) patience: Duration,
}

/// All processes on one log.
pub(super) struct Cluster {
    pub(super) world: Arc<World>,
    pub(super) disk: Arc<Mutex<Disk>>,
    processes: Mutex<Vec<Arc<Process>>>,
    started: AtomicU64,
    clock_ms: Arc<AtomicI64>,
    /// States that somebody read, with their sizes.
    pub(super) observed: Mutex<Vec<(u64, Balances)>>,
    pub(super) quiet: AtomicBool,
}

impl Cluster {
    pub(super) fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world,
            disk: Disk::new(),
            processes: Mutex::default(),
            started: AtomicU64::new(0),
            clock_ms: Arc::new(AtomicI64::new(EPOCH_MS)),
            observed: Mutex::default(),
            quiet: AtomicBool::new(false),
        })
    }

    /// A process, rather the newest.
    pub(super) fn any(&self) -> Option<Arc<Process>> {
        let processes = self.processes.lock().unwrap();
        let newest = processes.last()?;
        let chosen = match self.world.chance(60) {
            true => newest,
            false => &processes[self.world.below(processes.len() as u64) as usize],
        };
        Some(Arc::clone(chosen))
    }

    /// The one that was started last.
    pub(super) fn newest(&self) -> Arc<Process> {
        Arc::clone(self.processes.lock().unwrap().last().unwrap())
    }

    fn take(&self) -> Option<Arc<Process>> {
        let mut processes = self.processes.lock().unwrap();
        if processes.is_empty() {
            return None;
        }
        let index = self.world.below(processes.len() as u64) as usize;
        Some(processes.remove(index))
    }

    /// Starts a process, which takes the log over; whoever led before goes on unknowing. Answers whether it could.
    pub(super) async fn start(&self, calm: bool) -> bool {
        let world = &self.world;
        let name = format!("p{}", self.started.fetch_add(1, Ordering::Relaxed));
        let log = match calm {
            true => SimLog::calm(world, &self.disk, &name),
            false => SimLog::new(world, &self.disk, &name),
        };
        let options = self.options();
        let patience = options.resolve_patience;
        let started = Executor::start(Arc::clone(&log) as Arc<dyn Log>, options).await;
        match started {
            Ok(bank) => {
                world.note(format_args!("{name} leads, size {}", bank.head().size));
                let process = Process {
                    log,
                    bank,
                    patience,
                };
                self.processes.lock().unwrap().push(Arc::new(process));
                true
            }
            Err(StartError::Log(_)) => false,
            Err(StartError::Damage(damage)) => {
                world.violation(format_args!("{name} found damage: {damage}"));
                false
            }
        }
    }

    fn options(&self) -> Options {
        let world = &self.world;
        let (clock, time, random) = (
            Arc::clone(&self.clock_ms),
            Arc::clone(world),
            Arc::clone(world),
        );
        Options {
            clock: Arc::new(move || {
                let passed = i64::try_from(time.now().as_millis()).unwrap();
                Timestamp(clock.load(Ordering::Relaxed) + passed)
            }),
            secret: crate::LeaderSecret([0; 32]),
            entropy: Arc::new(move || random.entropy()),
            timer: Arc::new(VirtualTimer(Arc::clone(world))),
            queue_commands: [2, 16, 4_096][world.below(3) as usize],
            batch_commands: [1, 3, 1_024][world.below(3) as usize],
            resolve_patience: Duration::from_secs([0, 1, 10][world.below(3) as usize]),
            // The simulated store keeps no snapshots.
            snapshot_events: u64::MAX,
        }
    }

    /// Until the callers are done.
    pub(super) async fn fate(self: Arc<Self>) {
        while !self.quiet.load(Ordering::Relaxed) {
            self.world.pause_ms(self.world.weather.calm_ms).await;
            self.observe();
            match self.world.below(12) {
                0 | 1 => drop(self.start(false).await),
                2 | 3 => self.crash(),
                4 => self.interrupt(Line::Stopped, STOPPED_MS),
                5 => self.shut_down(),
                6 => drop(self.take()),
                7 | 8 => self.interrupt(Line::Down, OUTAGE_MS),
                9 => self.end_those_that_ended(),
                _ => self.jump(),
            }
            while self.processes.lock().unwrap().is_empty() {
                if !self.start(false).await {
                    self.world.pause_ms(500).await;
                }
            }
        }
    }

    fn crash(&self) {
        if let Some(process) = self.take() {
            self.world
                .note(format_args!("{} crashes", process.log.name));
            process.log.set_line(Line::Dead);
        }
    }

    fn interrupt(&self, line: Line, most_ms: u64) {
        let Some(process) = self.any() else { return };
        self.world
            .note(format_args!("{} is {line:?}", process.log.name));
        process.log.set_line(line);
        let (world, log) = (Arc::clone(&self.world), Arc::clone(&process.log));
        tokio::spawn(async move {
            world.pause_ms(most_ms).await;
            log.set_line(Line::Up);
        });
    }

    fn shut_down(&self) {
        let Some(process) = self.take() else { return };
        let world = Arc::clone(&self.world);
        world.note(format_args!("{} shuts down", process.log.name));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                ending = process.bank.shutdown() => check_ending(&world, &ending),
                () = process.log.died() => {}
                () = world.sleep(SHUTDOWN) => world.violation("a shutdown hangs"),
            }
        });
    }

    fn end_those_that_ended(&self) {
        let mut processes = self.processes.lock().unwrap();
        processes.retain(|process| !process.bank.status().is_final());
    }

    fn jump(&self) {
        let jump = self.world.below(2 * JUMP_MS) as i64 - JUMP_MS as i64;
        self.world
            .note(format_args!("the clocks jump by {jump} ms"));
        self.clock_ms.fetch_add(jump, Ordering::Relaxed);
    }

    /// Reads the committed state of every process.
    pub(super) fn observe(&self) {
        for process in self.processes.lock().unwrap().iter() {
            check_ending(&self.world, &process.bank.status());
            let seen = process.bank.read(|state, size| (size, state.clone()));
            self.observed.lock().unwrap().push(seen);
        }
    }

    /// Ends what is wrong with the connections.
    pub(super) fn heal(&self) {
        for process in self.processes.lock().unwrap().iter() {
            process.log.calm_down();
        }
    }

    /// The one that leads the log, if it is still there.
    pub(super) fn leader(&self) -> Option<Arc<Process>> {
        let processes = self.processes.lock().unwrap();
        let leads =
            |process: &&Arc<Process>| process.log.leads() && !process.bank.status().is_final();
        processes.iter().find(leads).cloned()
    }
}

/// An executor must not fail for other reasons than being stopped while it could not reach the log.
fn check_ending(world: &World, ending: &Status) {
    if let Status::Failed(reason) = ending
        && reason != "stopped while the log could not be reached"
    {
        world.violation(format_args!("an executor failed: {reason}"));
    }
}

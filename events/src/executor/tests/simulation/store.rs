//! A log in memory with the connections that executors have to it, and everything that can happen to those.
//!
//! [`Disk`] is the database: it applies a batch whole or not at all, and keeps the constraints of the real tables.
//! [`SimLog`] is one process's way to it, which is slow, breaks, and loses requests and answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;
use ulid::Ulid;

use super::world::World;
use crate::{
    Batch, CommandRow, Hash, Log, LogError, LogHead, NewEvent, StoredEntry, merkle::Frontier,
};

/// Longest time that an append whose connection is lost goes on in the database.
const LATE_MS: u64 = 3_000;

/// What is durable.
pub(super) struct Disk {
    head: LogHead,
    pub(super) rows: BTreeMap<u64, NewEvent>,
    pub(super) commands: BTreeMap<Hash, CommandRow>,
    revisions: BTreeSet<(u64, u64)>,
    streams: BTreeMap<String, u64>,
    /// Replaces the next append's honest way of storing.
    tear: Option<Tear>,
}

/// How a dishonest store breaks a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tear {
    /// The head is moved, the last rows are missing.
    RowsCutOff,
    /// The head is moved, a row in the middle is missing.
    RowLost,
    /// Rows are there, the head is not moved.
    HeadNotMoved,
    /// The head is moved, the bytes of a row are another's.
    RowMixedUp,
    /// All is there, but the root is the one before.
    RootNotMoved,
}

pub(super) const TEARS: [Tear; 5] = [
    Tear::RowsCutOff,
    Tear::RowLost,
    Tear::HeadNotMoved,
    Tear::RowMixedUp,
    Tear::RootNotMoved,
];

impl Disk {
    pub(super) fn new() -> Arc<Mutex<Self>> {
        let frontier = Frontier::default();
        Arc::new(Mutex::new(Self {
            head: LogHead {
                epoch: 0,
                leader: None,
                root: frontier.root(),
                frontier,
            },
            rows: BTreeMap::new(),
            commands: BTreeMap::new(),
            revisions: BTreeSet::new(),
            streams: BTreeMap::new(),
            tear: None,
        }))
    }

    pub(super) fn size(&self) -> u64 {
        self.head.size()
    }

    pub(super) fn tear_next(&mut self, tear: Tear) {
        self.tear = Some(tear);
    }

    fn bump(&mut self, leader: Ulid, held: bool) -> Result<LogHead, LogError> {
        if held && self.head.leader != Some(leader) {
            return Err(LogError::Fenced);
        }
        self.head.epoch += 1;
        self.head.leader = Some(leader);
        Ok(self.head.clone())
    }

    /// The transaction: compare-and-set, constraints, rows. `Err(Some(..))` names a constraint that an executor
    /// must never run into.
    fn append(&mut self, batch: &Batch) -> Result<(), Option<String>> {
        if self.head.epoch != batch.epoch || self.head.size() != batch.base {
            return Err(None);
        }
        for (position, event) in (batch.base..).zip(&batch.events) {
            let known = self.streams.get(&event.stream).copied();
            if event.position != position || self.rows.contains_key(&position) {
                return Err(Some(format!("events_pkey: {}", event.position)));
            }
            if known.unwrap_or(position) != event.stream_id {
                return Err(Some(format!("streams_name_key: {}", event.stream)));
            }
            if !self.revisions.insert((event.stream_id, event.revision)) {
                return Err(Some(format!("events_stream_revision_key: {position}")));
            }
            self.streams.insert(event.stream.clone(), event.stream_id);
            self.rows.insert(position, event.clone());
        }
        for command in &batch.commands {
            if self.commands.insert(command.id, *command).is_some() {
                return Err(Some(format!("commands_pkey: {}", command.id)));
            }
        }
        let before = self.head.clone();
        self.head.frontier = batch.frontier.clone();
        self.head.root = batch.root;
        if let Some(tear) = self.tear.filter(|_| batch.events.len() > 2) {
            self.tear = None;
            self.tear_apart(tear, before, batch);
        }
        Ok(())
    }

    fn tear_apart(&mut self, tear: Tear, before: LogHead, batch: &Batch) {
        let last = batch.frontier.size() - 1;
        match tear {
            Tear::RowsCutOff => drop(self.rows.split_off(&last)),
            Tear::RowLost => drop(self.rows.remove(&(batch.base + 1))),
            Tear::HeadNotMoved => self.head = before,
            Tear::RootNotMoved => self.head.root = before.root,
            Tear::RowMixedUp => {
                let other = self.rows[&batch.base].clone();
                let row = self.rows.entry(last);
                row.and_modify(|row| (row.entry, row.leaf) = (other.entry, other.leaf));
            }
        }
    }

    pub(super) fn read(&self, from: u64, limit: usize) -> Vec<StoredEntry> {
        let rows = self.rows.range(from..).take(limit);
        rows.map(|(&position, row)| StoredEntry {
            position,
            entry: row.entry.clone(),
            leaf: row.leaf,
        })
        .collect()
    }
}

/// What a connection is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Up,
    /// Everything is refused.
    Down,
    /// The process is stopped: its requests leave when it goes on.
    Stopped,
    /// The process is gone: it neither sends nor hears anything any more.
    Dead,
}

/// An append whose outcome its process could not know for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) since: Duration,
    /// When its leader was told what became of it.
    pub(super) until: Option<Duration>,
    /// It has no events and so leaves the head as it is: only its commands' keys tell.
    by_keys: bool,
    /// Its leader holds the head again.
    reclaimed: bool,
}

/// How an append goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Refused,
    LostRequest,
    LostAnswer,
    /// The connection is lost, and the statement goes on in the database.
    Late,
    /// The task dies before anything is sent.
    TaskDies,
    /// The task dies with everything stored.
    TaskDiesAfter,
}

/// A process's way to the disk.
pub(super) struct SimLog {
    pub(super) world: Arc<World>,
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) name: String,
    line: Mutex<Line>,
    /// Not `watch`, which wakes in an order that no seed decides.
    changed: Notify,
    unresolved: Mutex<Option<Unresolved>>,
    /// Whether faults happen.
    rough: AtomicBool,
    /// As whom its process took the lead.
    leader: Mutex<Option<Ulid>>,
}

impl SimLog {
    pub(super) fn new(world: &Arc<World>, disk: &Arc<Mutex<Disk>>, name: &str) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            disk: Arc::clone(disk),
            name: name.to_owned(),
            line: Mutex::new(Line::Up),
            changed: Notify::new(),
            unresolved: Mutex::default(),
            rough: AtomicBool::new(true),
            leader: Mutex::default(),
        })
    }

    /// One on which nothing goes wrong.
    pub(super) fn calm(world: &Arc<World>, disk: &Arc<Mutex<Disk>>, name: &str) -> Arc<Self> {
        let log = Self::new(world, disk, name);
        log.calm_down();
        log
    }

    pub(super) fn set_line(&self, line: Line) {
        let mut now = self.line.lock().unwrap();
        // The dead stay dead.
        if *now != Line::Dead {
            *now = line;
            self.changed.notify_waiters();
        }
    }

    /// Ends the faults.
    pub(super) fn calm_down(&self) {
        self.set_line(Line::Up);
        self.rough.store(false, Ordering::Relaxed);
    }

    fn is_rough(&self) -> bool {
        self.rough.load(Ordering::Relaxed)
    }

    /// Whether nobody has taken over from its process.
    pub(super) fn leads(&self) -> bool {
        let leader = *self.leader.lock().unwrap();
        leader.is_some() && self.disk.lock().unwrap().head.leader == leader
    }

    async fn line_when(&self, wanted: impl Fn(Line) -> bool) -> Line {
        loop {
            let changed = self.changed.notified();
            let line = *self.line.lock().unwrap();
            if wanted(line) {
                return line;
            }
            changed.await;
        }
    }

    /// The last append whose outcome was lost.
    pub(super) fn unresolved(&self) -> Option<Unresolved> {
        *self.unresolved.lock().unwrap()
    }

    /// Is done when the process dies.
    pub(super) async fn died(&self) {
        self.line_when(|line| line == Line::Dead).await;
    }

    /// A request leaves, as soon as the process can send it and if there is a connection.
    async fn send(&self) -> Result<(), LogError> {
        self.world.travel().await;
        let line = self.line_when(|line| line != Line::Stopped).await;
        match line {
            Line::Dead => std::future::pending().await,
            Line::Down => Err(refused()),
            Line::Up | Line::Stopped
                if self.is_rough() && self.world.chance(self.world.weather.refused) =>
            {
                Err(refused())
            }
            Line::Up | Line::Stopped => Ok(()),
        }
    }

    /// An answer arrives, if anybody is there to hear it.
    async fn arrive(&self) {
        self.world.travel().await;
        let line = self.line_when(|line| line != Line::Stopped).await;
        if line == Line::Dead {
            std::future::pending::<()>().await;
        }
    }

    fn choose_fault(&self) -> Fault {
        if !self.is_rough() || !self.world.chance(self.world.weather.lost) {
            return Fault::None;
        }
        match self.world.below(8) {
            0 => Fault::Refused,
            1 => Fault::LostRequest,
            2 | 3 => Fault::LostAnswer,
            4 | 5 => Fault::Late,
            6 => Fault::TaskDies,
            _ => Fault::TaskDiesAfter,
        }
    }

    fn apply(&self, batch: &Batch) -> Result<(), LogError> {
        let result = self.disk.lock().unwrap().append(batch);
        let what = format!("{} base {} epoch {}", self.name, batch.base, batch.epoch);
        match result {
            Ok(()) => {
                let size = batch.frontier.size();
                self.world.note(format_args!("stored {what} size {size}"));
                Ok(())
            }
            Err(None) => {
                self.world.note(format_args!("fenced {what}"));
                Err(LogError::Fenced)
            }
            Err(Some(constraint)) => {
                self.world
                    .violation(format_args!("{what} violates {constraint}"));
                Err(refused())
            }
        }
    }

    fn lose(&self, by_keys: bool) -> LogError {
        let since = self.world.now();
        *self.unresolved.lock().unwrap() = Some(Unresolved {
            since,
            until: None,
            by_keys,
            reclaimed: false,
        });
        LogError::Unknown(Arc::new(broken()))
    }
}

#[async_trait]
impl Log for SimLog {
    async fn head(&self) -> Result<LogHead, LogError> {
        self.send().await?;
        let head = self.disk.lock().unwrap().head.clone();
        self.arrive().await;
        Ok(head)
    }

    async fn claim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.send().await?;
        let head = self.disk.lock().unwrap().bump(leader, false)?;
        *self.leader.lock().unwrap() = Some(leader);
        self.world
            .note(format_args!("{} claims epoch {}", self.name, head.epoch));
        self.arrive().await;
        Ok(head)
    }

    async fn reclaim(&self, leader: Ulid) -> Result<LogHead, LogError> {
        self.send().await?;
        let head = self.disk.lock().unwrap().bump(leader, true);
        self.arrive().await;
        if self.is_rough() && self.world.chance(self.world.weather.lost / 2) {
            return Err(refused());
        }
        if head.is_ok()
            && let Some(unresolved) = &mut *self.unresolved.lock().unwrap()
        {
            unresolved.reclaimed = true;
            if !unresolved.by_keys {
                unresolved.until.get_or_insert(self.world.now());
            }
        }
        head
    }

    async fn append(&self, batch: Arc<Batch>) -> Result<(), LogError> {
        let fault = self.choose_fault();
        let lose = {
            let by_keys = batch.events.is_empty() && !batch.commands.is_empty();
            move || self.lose(by_keys)
        };
        self.send().await?;
        match fault {
            Fault::None | Fault::LostAnswer | Fault::TaskDiesAfter => {}
            Fault::Refused => return Err(refused()),
            Fault::LostRequest => return Err(lose()),
            Fault::TaskDies => {
                lose();
                std::panic::resume_unwind(Box::new("injected: the append's task dies"));
            }
            Fault::Late => {
                let (world, disk) = (Arc::clone(&self.world), Arc::clone(&self.disk));
                let server = Self::calm(&world, &disk, &format!("{}, late,", self.name));
                tokio::spawn(async move {
                    world.pause_ms(LATE_MS).await;
                    let _ = server.apply(&batch);
                });
                self.arrive().await;
                return Err(lose());
            }
        }
        self.world.travel().await;
        let result = self.apply(&batch);
        self.arrive().await;
        match fault {
            Fault::LostAnswer => Err(lose()),
            Fault::TaskDiesAfter => {
                lose();
                std::panic::resume_unwind(Box::new("injected: the append's task dies"));
            }
            _ => result,
        }
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<StoredEntry>, LogError> {
        self.send().await?;
        let rows = self.disk.lock().unwrap().read(from, limit);
        self.arrive().await;
        Ok(rows)
    }

    async fn find_commands(&self, ids: &[Hash]) -> Result<Vec<CommandRow>, LogError> {
        self.send().await?;
        let disk = Arc::clone(&self.disk);
        let found = ids
            .iter()
            .filter_map(|id| disk.lock().unwrap().commands.get(id).copied())
            .collect();
        self.arrive().await;
        if let Some(unresolved) = &mut *self.unresolved.lock().unwrap()
            && unresolved.reclaimed
        {
            unresolved.until.get_or_insert(self.world.now());
        }
        Ok(found)
    }
}

fn refused() -> LogError {
    LogError::from(broken())
}

fn broken() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::ConnectionReset,
        "simulated fault",
    ))
}

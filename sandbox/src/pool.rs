//! Executor processes that wait for runs.
//!
//! A process is started before it is needed, belongs to nobody until its first run, and from then on to that run's tenant alone:
//! what one requester's guest might leave in a process (in memory that a flaw leaks, in a driver) can never meet another's. It goes
//! back to the pool only after a run that ended by returning; any other end (limit, trap, time, error of the host) is its last, for
//! then somebody's code did what its author did not plan, and a new process costs milliseconds that nobody waits for. Use is
//! bounded in runs, age and idle time, so that nothing that adds up slowly adds up for long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::confine::Role;
use crate::process::{Launcher, Process, StartError};
use crate::watch;

/// How often idle processes are looked at.
const JANITOR_PERIOD: Duration = Duration::from_secs(5);

/// How long after a process was taken the next one is started: starting one is work for a processor, which the first run of the one that was
/// taken is not to share.
const REPLACEMENT_PAUSE: Duration = Duration::from_millis(50);

/// How many processes wait, and how long each is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Processes without a GPU kept started for whoever comes next; 0: each is started when it is needed.
    pub warm: usize,
    /// Most processes of tenants that wait; the one that waited longest goes.
    pub idle_max: usize,
    /// Runs of one process.
    pub runs_max: u32,
    /// Age from which a process gets no further run.
    pub age_max: Duration,
    /// How long a tenant's process waits for its next run.
    pub idle_age_max: Duration,
    /// Bytes that a process without a GPU may hold after a run, of its own memory. One that holds more gets no further run; of those with a
    /// GPU, whose driver keeps buffers and pipelines for the next one, [`GPU_LEFT_TIMES`] as much.
    pub left_bytes_max: u64,
}

/// A software GPU held 280 MB after a transformer's forward pass.
const GPU_LEFT_TIMES: u64 = 4;

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            // When one is taken, the next one is there after 60 ms, less than a node takes to fetch two leases.
            warm: 1,
            // A process that waits holds some 15 MB.
            idle_max: 8,
            // Starting one costs as much as some hundred tiny runs: a thousandth of that is nothing.
            runs_max: 1_000,
            age_max: Duration::from_secs(600),
            idle_age_max: Duration::from_secs(60),
            left_bytes_max: 128 * 1024 * 1024,
        }
    }
}

/// A process in use.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) process: Process,
    role: Role,
    /// Whose it is; `None` until its first run.
    tenant: Option<String>,
    runs: u32,
    idle_since: Instant,
    /// Bytes that earlier runs left in it, which the next one does not answer for.
    pub(crate) left_bytes: u64,
}

/// The processes that wait.
#[derive(Debug)]
pub(crate) struct Pool {
    launcher: Arc<Launcher>,
    config: PoolConfig,
    idle: Mutex<Vec<Worker>>,
    warming: AtomicBool,
    has_janitor: AtomicBool,
}

impl Pool {
    pub(crate) fn new(launcher: Arc<Launcher>, config: PoolConfig) -> Arc<Self> {
        Arc::new(Self {
            launcher,
            config,
            idle: Mutex::default(),
            warming: AtomicBool::new(false),
            has_janitor: AtomicBool::new(false),
        })
    }

    /// A process for a run: one of this tenant's, one of nobody's, or a new one.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        role: Role,
        tenant: &str,
    ) -> Result<Worker, StartError> {
        while let Some(mut worker) = self.take(role, tenant) {
            if !worker.process.is_alive() {
                tracing::warn!("an executor died while it waited");
            } else if worker.runs == 0 || self.is_clean(&mut worker).await {
                worker.tenant = Some(tenant.to_owned());
                self.warm_after(REPLACEMENT_PAUSE);
                return Ok(worker);
            } else {
                worker.process.end(false).await;
            }
        }
        let process = self.launcher.start(role).await?;
        self.warm_after(REPLACEMENT_PAUSE);
        Ok(Worker {
            process,
            role,
            tenant: Some(tenant.to_owned()),
            runs: 0,
            idle_since: Instant::now(),
            left_bytes: 0,
        })
    }

    /// Whether a process that was used can be used again: it has given back what its run held, and keeps little besides.
    async fn is_clean(&self, worker: &mut Worker) -> bool {
        if !worker.process.is_wiped().await {
            return false;
        }
        // One that can't be looked at is gone.
        let left = worker.process.pid().and_then(watch::held);
        worker.left_bytes = left.unwrap_or(u64::MAX);
        let most = match worker.role {
            Role::Gpu => self.config.left_bytes_max.saturating_mul(GPU_LEFT_TIMES),
            Role::Cpu | Role::Compile => self.config.left_bytes_max,
        };
        worker.left_bytes <= most
    }

    fn take(&self, role: Role, tenant: &str) -> Option<Worker> {
        let mut idle = self.idle();
        let of = |wanted: Option<&str>| {
            idle.iter()
                .rposition(|worker| worker.role == role && worker.tenant.as_deref() == wanted)
        };
        let at = of(Some(tenant)).or_else(|| of(None))?;
        Some(idle.remove(at))
    }

    /// Takes a process back after a run that ended by returning.
    pub(crate) async fn release(self: &Arc<Self>, mut worker: Worker) {
        worker.runs += 1;
        worker.idle_since = Instant::now();
        // A run that belongs to nobody can't be told from anybody's.
        let nobodys = worker.tenant.as_deref().is_none_or(str::is_empty);
        let used_up = worker.runs >= self.config.runs_max
            || worker.process.born.elapsed() >= self.config.age_max;
        let cleaned = worker.process.clean();
        if let Err(error) = &cleaned {
            tracing::warn!(%error, "an executor's folder can't be cleaned");
        }
        if nobodys || used_up || cleaned.is_err() || self.config.idle_max == 0 {
            worker.process.end(false).await;
            return;
        }
        let surplus = {
            let mut idle = self.idle();
            idle.push(worker);
            let mut used = (0..idle.len()).filter(|at| idle[*at].tenant.is_some());
            let oldest = used.next();
            let is_surplus = used.count() >= self.config.idle_max;
            oldest.filter(|_| is_surplus).map(|at| idle.remove(at))
        };
        if let Some(surplus) = surplus {
            // Unmapping what it held takes milliseconds, which the run that ended is not to wait for.
            tokio::spawn(surplus.process.end(false));
        }
        self.keep_clean();
    }

    /// Starts processes until as many as configured wait for whoever comes; does not wait for them.
    pub(crate) fn warm(self: &Arc<Self>) {
        self.warm_after(Duration::ZERO);
    }

    fn warm_after(self: &Arc<Self>, pause: Duration) {
        if self.missing() == 0 || self.warming.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            while let Some(this) = pool.upgrade() {
                if this.missing() == 0 {
                    break;
                }
                match this.launcher.start(Role::Cpu).await {
                    Ok(process) => this.idle().push(Worker {
                        process,
                        role: Role::Cpu,
                        tenant: None,
                        runs: 0,
                        idle_since: Instant::now(),
                        left_bytes: 0,
                    }),
                    Err(error) => {
                        // Whoever needs one will be told.
                        tracing::warn!(%error, "no executor could be started in advance");
                        break;
                    }
                }
            }
            if let Some(this) = pool.upgrade() {
                this.warming.store(false, Ordering::Release);
            }
        });
    }

    /// How many processes of nobody's should wait and do not.
    fn missing(&self) -> usize {
        let idle = self.idle();
        let waiting = idle
            .iter()
            .filter(|worker| worker.role == Role::Cpu && worker.tenant.is_none());
        self.config.warm.saturating_sub(waiting.count())
    }

    /// Ends those that wait too long, as long as any waits.
    fn keep_clean(self: &Arc<Self>) {
        if self.has_janitor.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(janitor(Arc::downgrade(self)));
    }

    fn expired(&self) -> Vec<Worker> {
        let mut idle = self.idle();
        let old = |worker: &mut Worker| {
            // One that nobody has used is not worn, and its wait is its purpose.
            worker.tenant.is_some()
                && (worker.idle_since.elapsed() >= self.config.idle_age_max
                    || worker.process.born.elapsed() >= self.config.age_max)
        };
        idle.extract_if(.., old).collect()
    }

    /// Ends all that wait.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for worker in idle {
            worker.process.end(false).await;
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn janitor(pool: Weak<Pool>) {
    loop {
        let Some(this) = pool.upgrade() else {
            return;
        };
        for worker in this.expired() {
            worker.process.end(false).await;
        }
        // The flag falls under the lock under which a process is put back, so none is left without a janitor.
        let none_left = {
            let idle = this.idle();
            let none_left = idle.iter().all(|worker| worker.tenant.is_none());
            if none_left {
                this.has_janitor.store(false, Ordering::Release);
            }
            none_left
        };
        if none_left {
            return;
        }
        let period = JANITOR_PERIOD.min(this.config.idle_age_max);
        drop(this);
        tokio::time::sleep(period).await;
    }
}

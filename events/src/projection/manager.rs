//! All projections of a store: started together, read, watched, rebuilt.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::{
    GenerationState, Projection, ProjectionError, ProjectionOptions, Source,
    generation::{self, Generation},
    runner::{Board, Runner, Swaps},
    store::{Tx, ViewStore},
    table::{self, Dialect, Table, Value},
};
use crate::machine::Event;

/// How a generation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectionStatus {
    pub name: &'static str,
    pub generation: u64,
    pub version: u32,
    pub state: GenerationState,
    /// Number of events folded.
    pub position: u64,
    /// Number of events in the log.
    pub size: u64,
    /// The event at which it stopped, and why.
    pub failed: Option<(u64, String)>,
    /// What keeps it from working for the moment.
    pub trouble: Option<String>,
}

/// Why a view can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("there is no projection `{0}`")]
    Unknown(String),
    /// No generation has been level yet.
    #[error("the view is being built: {position} of {size} events are folded{}", stopped(.failed.as_ref()))]
    Building {
        position: u64,
        size: u64,
        failed: Option<(u64, String)>,
    },
    #[error("the views' database is unavailable")]
    Database(#[from] sqlx::Error),
    /// Another server's code is ahead of this one's: what it folds is not replaced by what it has left behind.
    #[error(
        "version {newer} of `{name}` is kept by a newer server, and this one folds version {own}: ask the newer server"
    )]
    Newer {
        name: &'static str,
        newer: u32,
        own: u32,
    },
    #[error(transparent)]
    Projection(ProjectionError),
}

impl From<ProjectionError> for ReadError {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::Database(error) => Self::Database(error),
            refused @ ProjectionError::Refused(_) => Self::Projection(refused),
        }
    }
}

fn stopped(failed: Option<&(u64, String)>) -> String {
    failed.map_or_else(String::new, |(position, why)| {
        format!("; it stopped at position {position}: {why}")
    })
}

struct One {
    board: Arc<Board>,
    tables: &'static [Table],
    version: u32,
    layout: String,
}

/// The running projections of one store.
pub struct Projections {
    store: ViewStore,
    all: BTreeMap<&'static str, One>,
    size: Arc<dyn Fn() -> u64 + Send + Sync>,
    stop: watch::Sender<bool>,
    runners: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projections")
            .field("names", &self.all.keys())
            .finish_non_exhaustive()
    }
}

impl Projections {
    /// Starts a runner for each projection, as tasks of the current tokio runtime.
    ///
    /// # Errors
    /// When the tables of a projection can't be described.
    pub fn start<E: Event>(
        store: ViewStore,
        source: Arc<dyn Source<E>>,
        projections: Vec<Arc<dyn Projection<E>>>,
        options: &ProjectionOptions,
    ) -> Result<Self, ProjectionError> {
        let (stop, stopped) = watch::channel(false);
        let mut all = BTreeMap::new();
        let mut runners = Vec::new();
        for projection in projections {
            let one = One {
                board: Arc::default(),
                tables: projection.tables(),
                version: projection.version(),
                layout: table::layout(projection.tables())?,
            };
            let runner = Runner {
                store: store.clone(),
                source: Arc::clone(&source),
                board: Arc::clone(&one.board),
                options: options.clone(),
                stop: stopped.clone(),
                projection: Arc::clone(&projection),
                swaps: Swaps::default(),
            };
            all.insert(projection.name(), one);
            runners.push(tokio::spawn(runner.run()));
        }
        Ok(Self {
            store,
            all,
            size: Arc::new(move || source.size()),
            stop,
            runners: runners.into(),
        })
    }

    /// Stops folding. What was begun and not committed is folded again at the next start.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        for runner in self.runners.lock().await.drain(..) {
            // A runner that panicked was logged where it happened.
            let _ = runner.await;
        }
    }

    /// Waits until a projection's live generation has at least `position` events, for at most `patience`. Answers whether
    /// it has.
    pub async fn reach(&self, name: &str, position: u64, patience: Duration) -> bool {
        let Some(one) = self.all.get(name) else {
            return false;
        };
        let mut live = one.board.live.subscribe();
        let reached = live.wait_for(|live| live.is_some_and(|live| live >= position));
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Opens the live generation of a projection for reading, at one position.
    ///
    /// # Errors
    /// [`ReadError::Building`] while there is none whose tables these queries fit.
    pub async fn snapshot(&self, name: &str) -> Result<Snapshot, ReadError> {
        let one = self.one(name)?;
        let mut tx = self.store.read().await?;
        let generations = generation::load(&mut tx, name).await?;
        let served = |g: &&Generation| g.state == GenerationState::Live && g.layout == one.layout;
        if let Some(live) = generations.iter().find(served) {
            return Ok(Snapshot {
                tx,
                tables: one.tables,
                generation: live.number,
                position: live.position,
            });
        }
        let building = generations
            .iter()
            .rev()
            .find(|g| g.state == GenerationState::Building);
        Err(ReadError::Building {
            position: building.map_or(0, |g| g.position),
            size: (self.size)(),
            failed: building.and_then(|g| g.failed.clone()),
        })
    }

    /// Every generation that has not been dropped, by name and age.
    pub async fn statuses(&self) -> Result<Vec<ProjectionStatus>, ReadError> {
        let mut tx = self.store.read().await?;
        let mut statuses = Vec::new();
        let size = (self.size)();
        for (name, one) in &self.all {
            let trouble = one.board.trouble();
            for generation in generation::load(&mut tx, name).await? {
                let newer = generation.version > one.version;
                let newer =
                    newer.then(|| "it was folded by a newer version of the server".to_owned());
                statuses.push(ProjectionStatus {
                    name,
                    generation: generation.number,
                    version: generation.version,
                    state: generation.state,
                    position: generation.position,
                    size,
                    failed: generation.failed,
                    trouble: trouble.clone().or(newer),
                });
            }
        }
        Ok(statuses)
    }

    /// Starts the next generation of a projection beside the live one, unless one is on its way; answers its number.
    ///
    /// # Errors
    /// [`ReadError::Newer`] where a newer server keeps the projection.
    pub async fn rebuild(&self, name: &str) -> Result<u64, ReadError> {
        let (name, one) = self.known(name)?;
        let mut tx = self.store.begin().await?;
        let number = generation::serialise(&mut tx).await?;
        let all = generation::load(&mut tx, name).await?;
        if let Some(newer) = generation::newer(&all, one.version) {
            let own = one.version;
            return Err(ReadError::Newer { name, newer, own });
        }
        let on_its_way = |g: &&Generation| {
            let same = g.version == one.version && g.layout == one.layout;
            g.state == GenerationState::Building && same && g.failed.is_none()
        };
        if let Some(building) = all.iter().find(on_its_way) {
            return Ok(building.number);
        }
        for failed in all.iter().filter(|g| g.state == GenerationState::Building) {
            generation::retire(&mut tx, name, failed).await?;
        }
        let made = (one.version, one.layout.as_str());
        let dialect = self.store.dialect();
        generation::create(&mut tx, dialect, name, made, one.tables, number).await?;
        tx.commit().await?;
        one.board.look.notify_one();
        Ok(number)
    }

    /// Names of all projections.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.all.keys().copied()
    }

    fn one(&self, name: &str) -> Result<&One, ReadError> {
        self.known(name).map(|(_, one)| one)
    }

    fn known(&self, name: &str) -> Result<(&'static str, &One), ReadError> {
        let known = self.all.get_key_value(name).map(|(name, one)| (*name, one));
        known.ok_or_else(|| ReadError::Unknown(name.to_owned()))
    }
}

/// One state of one projection's live tables.
pub struct Snapshot {
    tx: Tx,
    tables: &'static [Table],
    generation: u64,
    position: u64,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// How many events these tables show.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Runs a query, with parameters `$1`, `$2`, ...; `{name}` stands for the projection's table of that name. The text
    /// must hold no data.
    pub async fn select(
        &mut self,
        sql: &str,
        params: &[Value],
    ) -> Result<Vec<Vec<Value>>, ReadError> {
        let sql = self.tables.iter().fold(sql.to_owned(), |sql, table| {
            sql.replace(
                &format!("{{{}}}", table.name),
                &table.physical(self.generation),
            )
        });
        Ok(self.tx.fetch(&sql, params).await?)
    }

    /// `column IN (...)` for any number of texts that the parameter `$n` brings; see [`Snapshot::texts`].
    pub fn is_one_of(&self, column: &str, n: usize) -> String {
        match self.tx.dialect() {
            Dialect::Sqlite => format!("{column} IN (SELECT value FROM json_each(${n}))"),
            Dialect::Postgres => {
                format!("{column} IN (SELECT jsonb_array_elements_text(${n}::jsonb))")
            }
        }
    }

    /// Texts as one parameter.
    pub fn texts(texts: impl IntoIterator<Item = String>) -> Value {
        let texts = texts.into_iter().map(serde_json::Value::from);
        Value::Text(serde_json::Value::Array(texts.collect()).to_string())
    }
}

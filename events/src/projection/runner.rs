//! Folds one projection: its live generation as the log grows, and a building one beside it until they are level.
//!
//! One runner in the process does both by turns, a batch each. Runners of other servers on the same database may do the
//! same at the same time: the fence says whose turn it is, and the compare-and-set on the position keeps every event
//! from counting twice whatever the fence says.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Projection, ProjectionError, ProjectionOptions, Source,
    fold::{Applied, apply},
    generation::{self, Generation, GenerationState},
    source::{Stop, dense},
    store::{ViewStore, is_lock_timeout},
    table,
};
use crate::machine::Event;

/// Pause after the views' database failed; doubles up to the second one.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest pause between two tries of a swap that is held up.
const SWAP_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Looks at a generation that another folder holds, and that is behind without moving, until it is taken over.
const LOOKS_BEFORE_TAKEOVER: u32 = 5;

/// What a runner shows to this process.
#[derive(Debug)]
pub(super) struct Board {
    /// Position of the live generation; none while nothing is served.
    pub(super) live: watch::Sender<Option<u64>>,
    /// What keeps it from working, and is tried again.
    trouble: Mutex<Option<String>>,
    /// The register was changed: look at it.
    pub(super) look: Notify,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            live: watch::Sender::new(None),
            trouble: Mutex::new(None),
            look: Notify::new(),
        }
    }
}

impl Board {
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// A generation that this process knows, and its part in it.
struct Known {
    generation: Generation,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Folded here; `checked` once its last event was found in the log.
    Folds { checked: bool },
    /// Another folder holds the fence; counts the looks that found it behind and at the same position.
    Watches { looks: u32 },
    /// Stopped at an event, or folded by code that this is not.
    Rests,
}

/// Tries of a swap that queries on the old tables hold up. Each makes new queries wait for a moment, so they become rare.
#[derive(Debug, Default)]
pub(super) struct Swaps {
    /// Not again before; none while nothing is in the way.
    held_up: Option<(Instant, Duration)>,
}

impl Swaps {
    fn may_try(&self) -> bool {
        self.held_up
            .is_none_or(|(until, _)| Instant::now() >= until)
    }

    fn failed(&mut self) {
        let pause = self.held_up.map_or(PAUSE, |(_, pause)| pause * 2);
        let pause = pause.min(SWAP_PAUSE_MAX);
        self.held_up = Some((Instant::now() + pause, pause));
    }

    fn trouble(&self) -> Option<String> {
        let held_up = self.held_up.is_some();
        held_up.then(|| "the next generation is level and waits for queries on the tables that it replaces to end".into())
    }
}

/// What became of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is more to do at once.
    Busy,
    /// Level with the log, as far as it goes.
    Idle,
    /// The register is not what was known: look at it again.
    Changed,
}

/// One projection's runner.
pub(super) struct Runner<E> {
    pub(super) store: ViewStore,
    pub(super) source: Arc<dyn Source<E>>,
    pub(super) projection: Arc<dyn Projection<E>>,
    pub(super) board: Arc<Board>,
    pub(super) options: ProjectionOptions,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) swaps: Swaps,
}

impl<E: Event> Runner<E> {
    /// Works until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            // Dropping the work anywhere is like a crash: nothing is lost.
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        let mut pause = PAUSE;
        let mut known: Vec<Known> = Vec::new();
        loop {
            match self.look_and_fold(&mut known).await {
                Ok(()) => pause = PAUSE,
                Err(error) => {
                    let name = self.projection.name();
                    tracing::warn!(projection = name, %error, "a projection can't go on; it tries again");
                    self.board.set_trouble(Some(error.to_string()));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Looks at the register, and folds until there is a reason to look again.
    async fn look_and_fold(&mut self, known: &mut Vec<Known>) -> Result<(), ProjectionError> {
        *known = self.look(std::mem::take(known)).await?;
        loop {
            let mut turn = Turn::Idle;
            for one in known.iter_mut() {
                match self.step(one).await? {
                    Turn::Changed => return Ok(()),
                    Turn::Busy => turn = Turn::Busy,
                    Turn::Idle => {}
                }
            }
            self.publish(known);
            self.board.set_trouble(self.swaps.trouble());
            if turn == Turn::Busy {
                continue;
            }
            let folded = known
                .iter()
                .filter(|k| matches!(k.part, Part::Folds { .. }));
            let next = folded.map(|k| k.generation.position).min();
            tokio::select! {
                more = self.source.beyond(next.unwrap_or(u64::MAX)), if next.is_some() => {
                    // Without a writer nothing comes any more, but an operator may still ask for a rebuild.
                    if !more {
                        tokio::time::sleep(self.options.look_every).await;
                        return Ok(());
                    }
                }
                () = self.board.look.notified() => return Ok(()),
                () = tokio::time::sleep(self.options.look_every) => return Ok(()),
            }
        }
    }

    fn publish(&self, known: &[Known]) {
        let live = known
            .iter()
            .find(|k| k.generation.state == GenerationState::Live)
            .map(|k| k.generation.position);
        self.board.live.send_if_modified(|shown| {
            let changed = *shown != live;
            *shown = live;
            changed
        });
    }

    /// Brings the register in order, and says what is to be done with each generation.
    async fn look(&self, before: Vec<Known>) -> Result<Vec<Known>, ProjectionError> {
        let (name, version) = (self.projection.name(), self.projection.version());
        let layout = table::layout(self.projection.tables())?;
        let mut tx = self.store.begin().await?;
        let mut all = generation::load(&mut tx, name).await?;
        let fits = |g: &Generation| g.version == version && g.layout == layout;
        let newer = generation::newer(&all, version).is_some();
        let stale = |g: &Generation| g.state == GenerationState::Building && !fits(g) && !newer;
        let current = |g: &Generation| g.state != GenerationState::Retired && fits(g);
        let create = !newer && !all.iter().any(current);
        if create || all.iter().any(stale) {
            // Another server may be at the same: decided again once it is done.
            let number = generation::serialise(&mut tx).await?;
            all = generation::load(&mut tx, name).await?;
            for old in all.iter().filter(|g| stale(g)) {
                generation::retire(&mut tx, name, old).await?;
            }
            if !all.iter().any(current) {
                let made = (version, layout.as_str());
                let dialect = self.store.dialect();
                generation::create(
                    &mut tx,
                    dialect,
                    name,
                    made,
                    self.projection.tables(),
                    number,
                )
                .await?;
                tracing::info!(
                    projection = name,
                    generation = number,
                    version,
                    "building a projection"
                );
            }
            all = generation::load(&mut tx, name).await?;
        }
        tx.commit().await?;
        self.drop_retired(&all).await;
        let mut known = Vec::new();
        for generation in all {
            if generation.state == GenerationState::Retired {
                continue;
            }
            let foldable = fits(&generation);
            let earlier = before
                .iter()
                .find(|k| k.generation.number == generation.number);
            let one = if foldable {
                self.take_part(generation, earlier).await?
            } else {
                let part = Part::Rests;
                Some(Known { generation, part })
            };
            known.extend(one);
        }
        self.publish(&known);
        Ok(known)
    }

    /// Decides who folds a generation: whoever took it over last, as long as it moves.
    async fn take_part(
        &self,
        found: Generation,
        earlier: Option<&Known>,
    ) -> Result<Option<Known>, ProjectionError> {
        let part = match earlier {
            None => None,
            Some(known) => match known.part {
                Part::Folds { .. } | Part::Rests if known.generation.fence == found.fence => {
                    Some(known.part)
                }
                Part::Folds { .. } | Part::Rests => Some(Part::Watches { looks: 0 }),
                Part::Watches { looks } => {
                    let stands =
                        found.position == known.generation.position && found.failed.is_none();
                    let looks = if stands && found.position < self.source.size() {
                        looks + 1
                    } else {
                        0
                    };
                    (looks < LOOKS_BEFORE_TAKEOVER).then_some(Part::Watches { looks })
                }
            },
        };
        if let Some(part) = part {
            return Ok(Some(Known {
                generation: found,
                part,
            }));
        }
        let mut tx = self.store.begin().await?;
        let claimed = generation::claim(&mut tx, self.projection.name(), found.number).await?;
        tx.commit().await?;
        Ok(claimed.map(|generation| Known {
            generation,
            part: Part::Folds { checked: false },
        }))
    }

    /// Drops tables whose grace is over. Failing is no trouble: the next look tries again.
    async fn drop_retired(&self, all: &[Generation]) {
        let grace = i64::try_from(self.options.retired_for.as_millis()).unwrap_or(i64::MAX);
        let over = |g: &&Generation| {
            g.state == GenerationState::Retired
                && g.updated.saturating_add(grace) <= generation::now()
        };
        for old in all.iter().filter(over) {
            let dropped = async {
                let mut tx = self.store.begin().await?;
                generation::drop_tables(&mut tx, self.projection.name(), old).await?;
                Ok::<_, ProjectionError>(tx.commit().await?)
            };
            if let Err(error) = dropped.await {
                let name = self.projection.name();
                tracing::warn!(projection = name, generation = old.number, %error, "old tables can't be dropped yet");
            }
        }
    }

    /// Folds the next batch of one generation, and swaps it in when it is level.
    async fn step(&mut self, known: &mut Known) -> Result<Turn, ProjectionError> {
        let Part::Folds { checked } = known.part else {
            return Ok(Turn::Idle);
        };
        let size = self.source.size();
        let position = known.generation.position;
        if position > size {
            return self.start_anew(&known.generation).await;
        }
        if position == size && checked {
            return self.level(known).await;
        }
        // The last event that was folded is read again: if it is another one, this is another log.
        let overlap = usize::from(position > 0);
        let from = position - overlap as u64;
        let page = self
            .source
            .page(from, self.options.batch_events.max(1) + overlap)
            .await;
        let page =
            page.map_err(|e| ProjectionError::refused(format!("the log can't be read: {e}")))?;
        let mut page = dense(page, from);
        if overlap == 1 {
            match page.events.first() {
                Some(last) if last.leaf.to_string() == known.generation.anchor => {
                    page.events.remove(0);
                }
                Some(_) => return self.start_anew(&known.generation).await,
                // It can't be read: below.
                None => {}
            }
        }
        known.part = Part::Folds { checked: true };
        if !page.events.is_empty() {
            match apply(
                &self.store,
                &*self.projection,
                &mut known.generation,
                &page.events,
            )
            .await?
            {
                Applied::Done => {}
                Applied::Lost => return Ok(Turn::Changed),
                Applied::Refused { reason, .. } => {
                    let position = known.generation.position;
                    return self.give_up(known, Stop { position, reason }).await;
                }
            }
        }
        match page.stop {
            Some(stop) => self.give_up(known, stop).await,
            None if known.generation.position == position && position < size => {
                let reason = "the log has no entry here".to_owned();
                self.give_up(known, Stop { position, reason }).await
            }
            None if known.generation.position >= size => self.level(known).await,
            None => Ok(Turn::Busy),
        }
    }

    /// The generation has everything that was in the log when the step began.
    async fn level(&mut self, known: &mut Known) -> Result<Turn, ProjectionError> {
        if known.generation.state != GenerationState::Building || !self.swaps.may_try() {
            return Ok(Turn::Idle);
        }
        let name = self.projection.name();
        let mut tx = self.store.begin().await?;
        let swapped = match generation::swap(&mut tx, name, &known.generation).await {
            // The live generation must not stand still for as long as somebody's query takes.
            Err(ProjectionError::Database(error)) if is_lock_timeout(&error) => {
                self.swaps.failed();
                return Ok(Turn::Idle);
            }
            swapped => swapped?,
        };
        self.swaps = Swaps::default();
        if !swapped {
            // Another folder moved one of the two: looked at again in a moment.
            tx.rollback().await?;
            return Ok(Turn::Idle);
        }
        tx.commit().await?;
        let (generation, position) = (known.generation.number, known.generation.position);
        tracing::info!(
            projection = name,
            generation,
            position,
            "a projection is level and live"
        );
        Ok(Turn::Changed)
    }

    /// The tables belong to another log, such as a restored one: none of their rows may be shown.
    async fn start_anew(&self, of: &Generation) -> Result<Turn, ProjectionError> {
        let name = self.projection.name();
        tracing::warn!(
            projection = name,
            generation = of.number,
            position = of.position,
            size = self.source.size(),
            "the log is not the one that this projection was folded from; it is built anew"
        );
        let mut tx = self.store.begin().await?;
        generation::serialise(&mut tx).await?;
        let all = generation::load(&mut tx, name).await?;
        let same = |g: &&Generation| {
            g.number == of.number && g.fence == of.fence && g.position == of.position
        };
        if let Some(old) = all.iter().find(same) {
            generation::retire(&mut tx, name, old).await?;
        }
        tx.commit().await?;
        self.board.live.send_replace(None);
        Ok(Turn::Changed)
    }

    /// Stops this generation here, and says why where everybody can see it.
    async fn give_up(&self, known: &mut Known, stop: Stop) -> Result<Turn, ProjectionError> {
        let name = self.projection.name();
        let Stop { position, reason } = stop;
        tracing::error!(
            projection = name,
            position,
            reason,
            "a projection stopped at an event that it can't apply"
        );
        let mut tx = self.store.begin().await?;
        generation::fail(&mut tx, name, &known.generation, (position, &reason)).await?;
        tx.commit().await?;
        known.generation.failed = Some((position, reason));
        known.part = Part::Rests;
        Ok(Turn::Idle)
    }
}

//! The way into a run: what its operator allows of the machine is taken before a lease is begun, and given back when its run is
//! really over.
//!
//! The platform may hand out room before it is free here: a run that it ended still cleans up. Such a lease waits its turn;
//! only one that this machine could not run when nothing else did is declined. What a sealed result keeps of the storage is given back when its files are removed,
//! and the caches get what runs and sealed results leave.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aevir_sandbox::Executor;
use aevir_wire::Lease;
use tokio::sync::Notify;

use crate::{
    allowance::{Allowance, NotAllowed, Room},
    cache::BlobCache,
};

const MIB: u64 = 1024 * 1024;

/// All runs' entrance.
#[derive(Debug)]
pub(crate) struct Admission {
    allowance: Allowance,
    taken: Mutex<Taken>,
    /// None in tests.
    caches: Option<Caches>,
    /// Held by the one who waits at the head of the line: a large lease is not passed by small ones for ever.
    turn: tokio::sync::Mutex<()>,
    /// Rings for that one when something was given back.
    left: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    runs: Vec<Room>,
    /// By assignment.
    sealed: BTreeMap<String, Room>,
    /// Of those, the ones whose files should be gone and are not.
    staying: BTreeSet<String>,
}

impl Taken {
    fn all(&self) -> impl Iterator<Item = Room> {
        self.runs.iter().chain(self.sealed.values()).copied()
    }

    /// What nobody can say of when it is given back.
    fn staying(&self) -> impl Iterator<Item = Room> {
        let staying = self.staying.iter();
        staying.filter_map(|assignment| self.sealed.get(assignment).copied())
    }
}

/// What yields to runs and sealed results.
#[derive(Debug)]
pub(crate) struct Caches {
    blobs: Arc<BlobCache>,
    /// Has the compiled modules.
    executor: Executor,
    /// Whoever shares anew holds it, so that the last one goes by what is taken then.
    sharing: Mutex<()>,
}

impl Caches {
    pub(crate) fn new(blobs: &Arc<BlobCache>, executor: &Executor) -> Self {
        Self {
            blobs: Arc::clone(blobs),
            executor: executor.clone(),
            sharing: Mutex::default(),
        }
    }
}

/// What a lease holds, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    of: &'a Admission,
    room: Room,
}

impl Place<'_> {
    /// The memory in which the lease's module is compiled, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.room.memory_mib()
    }

    /// The module is compiled: from here on it holds what the run takes. Nobody waits for more while he holds less, so that nobody waits for
    /// ever.
    pub(crate) fn start(&mut self) {
        let started = self.room.started();
        let mut taken = self.of.taken();
        if let Some(own) = taken.runs.iter_mut().find(|room| **room == self.room) {
            *own = started;
        }
        drop(taken);
        self.room = started;
        self.of.left.notify_one();
    }
}

impl Admission {
    pub(crate) fn new(allowance: Allowance, caches: Option<Caches>) -> Self {
        Self {
            allowance,
            taken: Mutex::default(),
            caches,
            turn: tokio::sync::Mutex::default(),
            left: Notify::new(),
        }
    }

    /// Runs at once.
    pub(crate) fn runs(&self) -> u32 {
        self.allowance.runs
    }

    /// Takes what the lease holds until its run starts, as soon as it is free: in the order of asking.
    ///
    /// # Errors
    /// When it would not be allowed on an idle machine either, beside what could not be removed from it.
    pub(crate) async fn enter(&self, lease: &Lease) -> Result<Place<'_>, NotAllowed> {
        self.allowance.check(lease, self.taken().staying())?;
        let room = Room::of(lease);
        let _turn = self.turn.lock().await;
        loop {
            let checked = {
                let mut taken = self.taken();
                // What stays may have come to be so while the lease waited.
                self.allowance.check(lease, taken.staying())?;
                let checked = self.allowance.check(lease, taken.all());
                if checked.is_ok() {
                    taken.runs.push(room);
                }
                checked
            };
            match checked {
                Ok(()) => {
                    self.share();
                    return Ok(Place { of: self, room });
                }
                Err(why) => tracing::debug!(%why, "the lease waits for room"),
            }
            self.left.notified().await;
        }
    }

    /// A sealed result's outputs take so many bytes until [`Self::discarded`].
    pub(crate) fn keeps(&self, assignment: &str, bytes: u64) {
        let room = Room::sealed(bytes.div_ceil(MIB));
        self.taken().sealed.insert(assignment.to_owned(), room);
        self.share();
    }

    /// A sealed result's files are gone.
    pub(crate) fn discarded(&self, assignment: &str) {
        let mut taken = self.taken();
        taken.sealed.remove(assignment);
        taken.staying.remove(assignment);
        drop(taken);
        self.share();
        self.left.notify_one();
    }

    /// A sealed result's files should be gone, and can't be removed; `false` where that is known, or nothing is kept of it.
    pub(crate) fn stays(&self, assignment: &str) -> bool {
        let mut taken = self.taken();
        let is_kept = taken.sealed.contains_key(assignment);
        let is_new = is_kept && taken.staying.insert(assignment.to_owned());
        drop(taken);
        self.left.notify_one();
        is_new
    }

    /// The assignments whose files should be gone.
    pub(crate) fn staying(&self) -> Vec<String> {
        self.taken().staying.iter().cloned().collect()
    }

    /// Gives the caches what runs and sealed results leave.
    pub(crate) fn share(&self) {
        let Some(caches) = &self.caches else {
            return;
        };
        let _one_after_the_other = caches.sharing.lock();
        let bytes = self.allowance.caches(self.taken().all());
        let compiled = caches.executor.bound_compiled(bytes.compiled);
        let over = compiled.saturating_sub(bytes.compiled);
        caches.blobs.set_bound(bytes.blobs.saturating_sub(over));
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        let own = taken.runs.iter().position(|room| *room == self.room);
        own.map(|own| taken.runs.swap_remove(own));
        drop(taken);
        self.of.share();
        self.of.left.notify_one();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;
    use crate::allowance::tests::{lease, profile};

    type Entered<'a> = Result<Place<'a>, NotAllowed>;

    /// One look at who waits; `None` while it waits.
    fn look<'a>(waiting: Pin<&mut impl Future<Output = Entered<'a>>>) -> Option<Entered<'a>> {
        match waiting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(entered) => Some(entered),
            Poll::Pending => None,
        }
    }

    pub(crate) fn admission() -> Admission {
        let caps = aevir_wire::NodeCaps::default();
        Admission::new(Allowance::of(&profile(), &caps), None)
    }

    #[test]
    fn a_lease_waits_for_a_run_that_cleans_up() {
        let (admission, large) = (admission(), lease(600, 1, None));
        let first = look(pin!(admission.enter(&large))).unwrap().unwrap();
        let mut second = pin!(admission.enter(&large));
        assert!(look(second.as_mut()).is_none(), "1,200 of 1,000 MiB");
        drop(first);
        look(second).unwrap().unwrap();
    }

    #[test]
    fn the_large_one_is_not_passed_by_small_ones() {
        let admission = admission();
        let (small, large) = (lease(300, 1, None), lease(900, 1, None));
        let first = look(pin!(admission.enter(&small))).unwrap().unwrap();
        let mut second = pin!(admission.enter(&large));
        assert!(look(second.as_mut()).is_none());
        let mut third = pin!(admission.enter(&small));
        assert!(
            look(third.as_mut()).is_none(),
            "it would fit, and waits its turn"
        );
        drop(first);
        assert!(look(third.as_mut()).is_none());
        let second = look(second).unwrap().unwrap();
        assert!(look(third.as_mut()).is_none(), "1,200 of 1,000 MiB");
        drop(second);
        look(third).unwrap().unwrap();
    }

    #[test]
    fn two_compilations_that_do_not_fit_at_once_follow_each_other() {
        let admission = admission();
        let mut large = lease(300, 1, None);
        large.compile_mib = 600;
        let mut first = look(pin!(admission.enter(&large))).unwrap().unwrap();
        assert_eq!(first.memory_mib(), 600);
        let mut second = pin!(admission.enter(&large));
        assert!(look(second.as_mut()).is_none(), "1,200 of 1,000 MiB");
        // It would fit beside the first, and waits its turn.
        let small = lease(1, 1, None);
        let mut third = pin!(admission.enter(&small));
        assert!(look(third.as_mut()).is_none());
        // The second compiles while the first runs, and the first keeps what its run takes.
        first.start();
        let mut second = look(second).unwrap().unwrap();
        drop(look(third).unwrap().unwrap());
        let mut fourth = pin!(admission.enter(&large));
        assert!(look(fourth.as_mut()).is_none(), "1,500 of 1,000 MiB");
        second.start();
        assert!(look(fourth.as_mut()).is_none(), "1,200 of 1,000 MiB");
        drop(first);
        drop(look(fourth).unwrap().unwrap());
        drop(second);
        assert!(admission.taken().runs.is_empty());
    }

    #[test]
    fn one_who_stops_waiting_leaves_the_line() {
        let (admission, all) = (admission(), lease(1_000, 1, None));
        let first = look(pin!(admission.enter(&all))).unwrap().unwrap();
        {
            let mut given_up = pin!(admission.enter(&all));
            assert!(look(given_up.as_mut()).is_none());
        }
        drop(first);
        drop(look(pin!(admission.enter(&all))).unwrap().unwrap());
        assert!(admission.taken().runs.is_empty());
    }

    #[test]
    fn what_is_sealed_takes_storage_until_it_is_removed() {
        let admission = admission();
        // 1,000 MiB in all; 1 of the input and the reserve come to what each may write.
        let large = lease(1, 500, None);
        let first = look(pin!(admission.enter(&large))).unwrap().unwrap();
        admission.keeps("A", (500 << 20) - 5);
        drop(first);
        let mut second = pin!(admission.enter(&large));
        assert!(look(second.as_mut()).is_none(), "565 beside 500");
        let small = look(pin!(admission.enter(&lease(1, 435, None))));
        assert!(small.is_none(), "it waits its turn");
        admission.discarded("A");
        look(second).unwrap().unwrap();
    }

    #[test]
    fn what_never_fits_is_declined_at_once() {
        let admission = admission();
        let _busy = look(pin!(admission.enter(&lease(1_000, 1, None)))).unwrap();
        let why = look(pin!(admission.enter(&lease(1_001, 1, None)))).unwrap();
        let why = why.unwrap_err().to_string();
        assert!(why.contains("MiB of memory"), "{why}");
    }
}

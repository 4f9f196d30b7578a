//! Signatures are verified beside the fold, on threads of their own: one takes as long as a thousand other checks.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use aevir_platform::audit::Sealed;

/// Batches that may wait for a thread: what the fold is ahead.
const BATCHES_WAITING: usize = 64;

/// No signature is false.
const NONE: u64 = u64::MAX;

/// Threads that verify what they are given.
pub(super) struct Signatures {
    queue: Option<SyncSender<Vec<Sealed>>>,
    threads: Vec<JoinHandle<()>>,
    first_false: Arc<AtomicU64>,
    count: u64,
}

impl Signatures {
    pub(super) fn start(threads: usize) -> Self {
        let (queue, batches) = sync_channel::<Vec<Sealed>>(BATCHES_WAITING);
        let batches = Arc::new(Mutex::new(batches));
        let first_false = Arc::new(AtomicU64::new(NONE));
        let spawn = |_| {
            let (batches, first_false) = (Arc::clone(&batches), Arc::clone(&first_false));
            std::thread::spawn(move || verify(&batches, &first_false))
        };
        Self {
            queue: Some(queue),
            threads: (0..threads).map(spawn).collect(),
            first_false,
            count: 0,
        }
    }

    /// Hands commitments over; waits where the threads are far behind.
    pub(super) fn take(&mut self, sealed: Vec<Sealed>) {
        self.count += sealed.len() as u64;
        if let Some(queue) = &self.queue {
            // It is refused only when all threads have panicked, which `finish` reports.
            let _ = queue.send(sealed);
        }
    }

    /// The first position whose signature was found false so far.
    pub(super) fn first_false(&self) -> Option<u64> {
        let position = self.first_false.load(Ordering::Acquire);
        (position != NONE).then_some(position)
    }

    /// Waits for the end: how many there were, and the first false one.
    ///
    /// # Errors
    /// When a thread panicked.
    pub(super) fn finish(mut self) -> anyhow::Result<(u64, Option<u64>)> {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                anyhow::bail!("a thread that verifies signatures panicked");
            }
        }
        Ok((self.count, self.first_false()))
    }
}

fn verify(batches: &Mutex<Receiver<Vec<Sealed>>>, first_false: &AtomicU64) {
    loop {
        let batch = batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        let Ok(batch) = batch else { return };
        for sealed in batch {
            if sealed.verify().is_err() {
                first_false.fetch_min(sealed.position, Ordering::AcqRel);
            }
        }
    }
}

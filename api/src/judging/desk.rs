//! So many uploads are judged at once. Of those that wait the one whose account owes least processor time goes first, so that many that are
//! heavy do not keep out one who rarely comes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::COME_BACK_S;
use crate::error::{ApiError, ApiResult, Code};

/// Modules judged at once: each may take 2 GiB and several cores of the server.
const JUDGED_MAX: usize = 2;
/// How long an upload waits for that; it is held in memory meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Where uploads are judged.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    taken: usize,
    waiting: Vec<Waiting>,
    /// How many have waited so far.
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    /// By which they are served, the least first: what the account owed when it came, in ms, and then the order of coming.
    key: (u64, u64),
    call: oneshot::Sender<Place>,
}

/// A place at the desk, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Desk>>);

impl Desk {
    /// Waits for a place.
    ///
    /// # Errors
    /// There was none for long.
    pub(super) async fn place(self: &Arc<Self>, owed_ms: u64) -> ApiResult<Place> {
        self.place_within(owed_ms, WAIT_MAX).await
    }

    async fn place_within(self: &Arc<Self>, owed_ms: u64, wait_max: Duration) -> ApiResult<Place> {
        let called = match self.enter(owed_ms) {
            Ok(place) => return Ok(place),
            Err(called) => called,
        };
        let called = tokio::time::timeout(wait_max, called).await;
        called.ok().and_then(Result::ok).ok_or_else(|| {
            let text = "other modules are being judged: try again in a minute";
            ApiError::new(Code::InspectorUnavailable, text).after(COME_BACK_S)
        })
    }

    /// A place where one is free, or where the call for one is going to come.
    fn enter(self: &Arc<Self>, owed_ms: u64) -> Result<Place, oneshot::Receiver<Place>> {
        let mut line = self.line();
        if line.taken < JUDGED_MAX {
            line.taken += 1;
            return Ok(Place(Some(Arc::clone(self))));
        }
        let (call, called) = oneshot::channel();
        // Those who went away wait no more.
        line.waiting.retain(|waiting| !waiting.call.is_closed());
        line.count += 1;
        let key = (owed_ms, line.count);
        line.waiting.push(Waiting { key, call });
        Err(called)
    }

    /// Gives a place to the next in line who is still there.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut line = self.line();
                let waiting = line.waiting.iter().enumerate();
                let first = waiting.min_by_key(|(_, waiting)| waiting.key);
                let Some(first) = first.map(|(at, _)| at) else {
                    line.taken -= 1;
                    return;
                };
                line.waiting.swap_remove(first)
            };
            match next.call.send(Place(Some(Arc::clone(self)))) {
                Ok(()) => return,
                // It went away: the place was not given.
                Err(mut place) => drop(place.0.take()),
            }
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(desk) = self.0.take() {
            desk.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn who_owes_least_goes_first() {
        let desk = Arc::new(Desk::default());
        let first = desk.place(1_000_000).await.unwrap();
        let second = desk.place(1_000_000).await.unwrap();
        let mut heavy = desk.enter(500_000).unwrap_err();
        let gone = desk.enter(0).unwrap_err();
        let mut light = desk.enter(10).unwrap_err();
        let mut as_light = desk.enter(10).unwrap_err();
        drop(gone);
        drop(first);
        let place = light.try_recv().unwrap();
        assert!(heavy.try_recv().is_err() && as_light.try_recv().is_err());
        drop(second);
        let other = as_light.try_recv().unwrap();
        assert!(heavy.try_recv().is_err());
        drop(place);
        assert!(heavy.try_recv().is_ok(), "and it is given back at once");
        drop(other);
        assert_eq!(desk.line().taken, 0);
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_told_to_come_back_and_leaves_nothing() {
        let desk = Arc::new(Desk::default());
        let held = (desk.place(0).await.unwrap(), desk.place(0).await.unwrap());
        let wait_max = Duration::from_millis(20);
        let refused = desk.place_within(0, wait_max).await.unwrap_err();
        assert_eq!(refused.code(), Code::InspectorUnavailable.name());
        assert_eq!(refused.after_s(), Some(COME_BACK_S));
        // A place that was called out and not taken is the next one's.
        let called = desk.enter(0).unwrap_err();
        drop(held.0);
        assert_eq!(desk.line().taken, 2);
        drop(called);
        assert_eq!(desk.line().taken, 1);
        drop(held.1);
        assert_eq!(desk.line().taken, 0);
    }
}

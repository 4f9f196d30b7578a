//! The hash of the whole state, which takes seconds where the state is large: computed of a copy, by one at a time,
//! and kept until the log grows. Knows nothing of what the state holds.

use std::sync::Arc;

use aevir_events::{Head, state_hash};
use serde::Serialize;
use tokio::sync::Mutex;

/// The newest hash that was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct StateHash(Arc<Mutex<Option<(Head, String)>>>);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateHashError {
    #[error("the state has no JSON form")]
    Json(#[from] serde_json::Error),
    #[error("the hashing panicked")]
    Panic(#[from] tokio::task::JoinError),
}

impl StateHash {
    /// The hash of the state at `head` or, where `copy` finds the log grown, at a later one.
    ///
    /// `copy` answers the state as it is then, and the head that it is the fold of. Only it may hold a lock: the
    /// hashing comes after it.
    pub(crate) async fn of<S: Serialize>(
        &self,
        head: Head,
        copy: impl FnOnce() -> (S, Head) + Send + 'static,
    ) -> Result<(Head, String), StateHashError> {
        // Held by the work and not by the caller: whoever goes away does not let a second one begin beside it.
        let mut kept = Arc::clone(&self.0).lock_owned().await;
        let hashing = tokio::task::spawn_blocking(move || {
            if let Some(kept) = kept.as_ref().filter(|(of, _)| of.size >= head.size) {
                return Ok(kept.clone());
            }
            let (state, head) = copy();
            let hashed = (head, state_hash(&state)?);
            *kept = Some(hashed.clone());
            Ok(hashed)
        });
        hashing.await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{
        RwLock,
        atomic::{AtomicU32, Ordering},
    };

    use aevir_events::merkle::Hash;
    use serde::Serializer;

    use super::*;

    fn head(size: u64) -> Head {
        Head {
            size,
            root: Hash::of(&size.to_be_bytes()),
        }
    }

    /// A state that counts how often it is hashed, and can't be while somebody holds its lock.
    #[derive(Clone)]
    struct Counted {
        lock: Arc<RwLock<u64>>,
        hashed: Arc<AtomicU32>,
        size: u64,
    }

    impl Serialize for Counted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            drop(
                self.lock
                    .try_write()
                    .map_err(|_| serde::ser::Error::custom("the writer waits"))?,
            );
            self.hashed.fetch_add(1, Ordering::SeqCst);
            serializer.serialize_u64(self.size)
        }
    }

    #[tokio::test]
    async fn it_is_computed_once_a_head_and_the_writer_does_not_wait() {
        let (lock, hashed) = (Arc::new(RwLock::new(7)), Arc::new(AtomicU32::new(0)));
        let kept = StateHash::default();
        let ask = |at: u64| {
            let (lock, hashed) = (Arc::clone(&lock), Arc::clone(&hashed));
            kept.of(head(at), move || {
                let size = *lock.read().unwrap();
                (
                    Counted {
                        lock: Arc::clone(&lock),
                        hashed,
                        size,
                    },
                    head(size),
                )
            })
        };
        let all = futures::future::join_all((0..9).map(|_| ask(7))).await;
        for one in all {
            assert_eq!(one.unwrap(), (head(7), state_hash(&7).unwrap()));
        }
        assert_eq!(hashed.load(Ordering::SeqCst), 1);
        *lock.write().unwrap() = 9;
        // Asked for at 8, where the log has grown on: what the hash is of is answered with it.
        assert_eq!(ask(8).await.unwrap(), (head(9), state_hash(&9).unwrap()));
        assert_eq!(ask(9).await.unwrap().0, head(9));
        assert_eq!(hashed.load(Ordering::SeqCst), 2);
    }
}

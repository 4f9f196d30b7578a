//! What judgements found out, so that nobody has the same bytes judged again and again. It is this process's memory: another build, whose
//! inspector may judge otherwise, begins with none.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use aevir_platform::digest::Digest;

use crate::inspect::InspectError;

/// Verdicts that are kept, the newest: a refusal's sentence has at most some kilobytes.
const VERDICTS_MAX: usize = 4_096;

/// Of an upload that was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not taken.
    Refused(InspectError),
    /// It becomes the component with this digest.
    Adapted(Digest),
}

/// Verdicts by the digest of the upload.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    verdicts: HashMap<Digest, Verdict>,
    /// In the order of judging.
    order: VecDeque<Digest>,
}

impl Known {
    pub(super) fn get(&self, upload: &Digest) -> Option<Verdict> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.verdicts.get(upload).cloned()
    }

    /// Keeps a verdict, and forgets the oldest where there are too many.
    pub(super) fn keep(&self, upload: Digest, verdict: Verdict) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.verdicts.insert(upload, verdict).is_none() {
            kept.order.push_back(upload);
        }
        if kept.order.len() > VERDICTS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.verdicts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_verdicts_are_kept() {
        let known = Known::default();
        let upload = |n: usize| Digest::of(&n.to_be_bytes());
        let refused = |n: usize| Verdict::Refused(InspectError::TooComplex(n.to_string()));
        for n in 0..=VERDICTS_MAX {
            known.keep(upload(n), refused(n));
            known.keep(upload(n), refused(n));
        }
        assert_eq!(known.get(&upload(0)), None);
        assert_eq!(known.get(&upload(1)), Some(refused(1)));
        assert_eq!(
            known.get(&upload(VERDICTS_MAX)),
            Some(refused(VERDICTS_MAX))
        );
    }
}

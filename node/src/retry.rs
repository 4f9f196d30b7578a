//! Trying again until the platform answers.

use std::time::Duration;

use aevir_wire::ClientError;
use tokio_util::sync::CancellationToken;

/// First wait after a failure; doubles with each further one.
const FIRST: Duration = Duration::from_millis(250);
/// Longest wait: a server that comes back is found within this time.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double, with a random part so that many nodes don't come back at one instant.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: half to all of the doubled one.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = FIRST * 2u32.pow(self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(rand::random_range(0.5..1.0))
    }
}

/// What became of a call that was tried until it had an answer.
#[derive(Debug)]
pub(crate) enum Tried<T> {
    Done(T),
    /// The server's answer is no.
    Refused(ClientError),
    /// Told to stop before there was an answer.
    Stopped,
}

/// Whether an answer says nothing about the call itself: the server can't be reached, says to come back later, or
/// fails inside (5xx).
pub(crate) fn may_pass(error: &ClientError) -> bool {
    let inside = match error {
        ClientError::Problem(problem) => problem.status >= 500,
        ClientError::Unexpected { status, .. } => *status >= 500,
        ClientError::Transport(_)
        | ClientError::Digest { .. }
        | ClientError::File { .. }
        | ClientError::Url(..)
        | ClientError::Json(_)
        | ClientError::Stream(_) => false,
    };
    inside || error.is_transient()
}

/// Repeats a call for as long as the server can't be reached, says to come back later, or fails inside.
pub(crate) async fn until_answered<T, F>(
    what: &'static str,
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Tried<T>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut backoff = Backoff::default();
    loop {
        let answer = tokio::select! {
            answer = call() => answer,
            () = stop.cancelled() => return Tried::Stopped,
        };
        match answer {
            Ok(done) => return Tried::Done(done),
            Err(error) if !may_pass(&error) => return Tried::Refused(error),
            Err(error) => tracing::warn!(
                what,
                error = full(&error),
                "the platform did not answer; trying again"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = stop.cancelled() => return Tried::Stopped,
        }
    }
}

/// An error with its sources in one line.
pub(crate) fn full(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |e| e.source());
    sources.fold(error.to_string(), |text, source| {
        format!("{text}: {source}")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() < FIRST);
        for _ in 0..40 {
            backoff.next();
        }
        let long = backoff.next();
        assert!(long >= LONGEST / 2 && long <= LONGEST, "{long:?}");
        backoff.reset();
        assert!(backoff.next() < FIRST);
    }

    #[tokio::test]
    async fn a_refusal_is_not_repeated_and_a_stop_is_heeded() {
        let mut calls = 0;
        let stop = CancellationToken::new();
        let tried = until_answered("test", &stop, || {
            calls += 1;
            let again = calls < 3;
            async move {
                let status = if again { 500 } else { 409 };
                let reason = String::new();
                Err::<(), _>(ClientError::Unexpected { status, reason })
            }
        })
        .await;
        assert!(matches!(tried, Tried::Refused(_)), "{tried:?}");
        assert_eq!(calls, 3);
        stop.cancel();
        let tried = until_answered("test", &stop, std::future::pending::<Result<(), _>>).await;
        assert!(matches!(tried, Tried::Stopped), "{tried:?}");
    }
}

//! Load in a closed loop: so many callers, each of which waits for its answer before it asks again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// One of many that ask at the same time.
pub(crate) trait Caller: Send + 'static {
    /// Asks once and waits for the durable answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Load without measuring, until queues and caches are as they stay.
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) per_s: f64,
    /// Of every call, in microseconds, the shortest first.
    latencies: Vec<u32>,
}

impl Sample {
    /// A latency in milliseconds that so many percent of the calls did not exceed.
    pub(crate) fn percentile_ms(&self, percent: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * percent / 100.0).ceil() as usize;
        let micros = self.latencies.get(rank.saturating_sub(1));
        micros.map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    }
}

/// Lets all callers ask at the same time for as long as `span` says.
pub(crate) async fn drive<C: Caller>(callers: Vec<C>, span: Span) -> Result<Sample> {
    let begin = Instant::now() + span.warm_up;
    let end = begin + span.measure;
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|caller| tokio::spawn(ask(caller, begin, end)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.context("a caller died")??);
    }
    latencies.sort_unstable();
    Ok(Sample {
        per_s: latencies.len() as f64 / span.measure.as_secs_f64(),
        latencies,
    })
}

/// One caller's loop; answers its latencies in microseconds.
async fn ask<C: Caller>(mut caller: C, begin: Instant, end: Instant) -> Result<Vec<u32>> {
    let mut latencies = Vec::new();
    let mut asked = Instant::now();
    loop {
        caller.call().await?;
        let answered = Instant::now();
        if answered >= end {
            return Ok(latencies);
        }
        if answered >= begin {
            let micros = (answered - asked).as_micros();
            latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        asked = answered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let sample = Sample {
            per_s: 0.0,
            latencies: (1..=200).map(|n| n * 1_000).collect(),
        };
        for (percent, ms) in [(50.0, 100.0), (99.0, 198.0), (100.0, 200.0), (0.0, 1.0)] {
            assert_eq!(sample.percentile_ms(percent), ms, "{percent}");
        }
    }
}

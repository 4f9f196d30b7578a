//! What a local run left, for people and for programs.

use std::time::Duration;

use aevir_sandbox::{End, Level, Outcome, RunSpec, Usage};
use serde::Serialize;

use crate::output::{properties, table};

/// Hex digits of a digest that a person is shown.
const DIGEST_SHOWN: usize = 16;

/// The document.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// SHA-256 of the module.
    module: String,
    seed: String,
    /// The runtime profile.
    profile: &'static str,
    #[serde(flatten)]
    end: End,
    /// Why no node would take what it brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    result: Option<serde_json::Value>,
    outputs: Vec<Output>,
    metrics: Vec<Metric>,
    /// What it said. A person has seen it while it ran.
    log: Vec<Line>,
    /// Lines beyond the run's limit.
    log_lines_dropped: String,
    usage: Usage,
    trace_root: String,
    adapter: Option<String>,
    /// Compiling, starting and running together.
    total_ms: u64,
}

/// A line of the run's log.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
}

#[derive(Debug, Serialize)]
struct Output {
    name: String,
    digest: String,
    size: String,
    /// Where it was written, if it was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

#[derive(Debug, Serialize)]
struct Metric {
    name: String,
    step: String,
    value: String,
}

impl Report {
    pub(super) fn new(
        spec: &RunSpec,
        outcome: &Outcome,
        log: Vec<Line>,
        total: Duration,
        kept: bool,
    ) -> Self {
        let result = outcome.result.as_deref().map(|text| {
            // Its author should see one that is no JSON all the same.
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        });
        let outputs = outcome.outputs.iter().map(|output| Output {
            name: output.name.clone(),
            digest: output.digest.clone(),
            size: output.size.to_string(),
            path: kept.then(|| output.path.display().to_string()),
        });
        let metrics = outcome.metrics.iter().map(|metric| Metric {
            name: metric.name.clone(),
            step: metric.step.to_string(),
            value: decimal(metric.micro),
        });
        Self {
            module: spec.module_digest.clone(),
            seed: spec.seed.to_string(),
            profile: spec.profile.name(),
            end: outcome.end.clone(),
            refused: match outcome.end {
                End::Ok => aevir_node::refusal(outcome),
                _ => None,
            },
            result,
            outputs: outputs.collect(),
            metrics: metrics.collect(),
            log,
            log_lines_dropped: outcome.log_lines_dropped.to_string(),
            usage: outcome.usage.clone(),
            trace_root: outcome.trace_root.clone(),
            adapter: outcome
                .adapter
                .as_ref()
                .map(|adapter| adapter.class.clone()),
            total_ms: u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn table(&self) -> String {
        let Usage {
            fuel,
            wall_ms,
            peak_memory_bytes,
            gpu_dispatches,
            gpu_workgroups,
            gpu_time_ns,
            ..
        } = &self.usage;
        let end = match &self.refused {
            None => sentence(&self.end),
            Some(why) => format!("ok, but no node would take it: {why}"),
        };
        let mut rows = vec![
            ("end", end),
            ("fuel", format!("{fuel} in {}", self.profile)),
            (
                "time",
                format!(
                    "{wall_ms} ms, {} ms with compiling and starting",
                    self.total_ms
                ),
            ),
            ("memory", format!("{peak_memory_bytes} bytes at most")),
        ];
        if let Some(adapter) = &self.adapter {
            let text = format!(
                "{gpu_dispatches} dispatches of {gpu_workgroups} workgroups, {:.1} ms, on {adapter}",
                *gpu_time_ns as f64 / 1e6
            );
            rows.push(("gpu", text));
            rows.push(("trace root", self.trace_root.clone()));
        }
        if self.log_lines_dropped != "0" {
            let text = format!("{} more lines, which were dropped", self.log_lines_dropped);
            rows.push(("log", text));
        }
        if let Some(result) = &self.result {
            rows.push(("result", result.to_string()));
        }
        let mut text = properties(rows);
        if !self.outputs.is_empty() {
            let rows = self.outputs.iter().map(|output| {
                let digest = output.digest.get(..DIGEST_SHOWN).unwrap_or(&output.digest);
                [output.name.clone(), output.size.clone(), digest.to_owned()]
            });
            text += "\n\n";
            text += &table(["output", "bytes", "sha-256"], rows);
        }
        if !self.metrics.is_empty() {
            let rows = self.metrics.iter().map(|metric| {
                [
                    metric.name.clone(),
                    metric.step.clone(),
                    metric.value.clone(),
                ]
            });
            text += "\n\n";
            text += &table(["metric", "step", "value"], rows);
        }
        text
    }
}

/// How a run ended, in a few words.
pub(super) fn sentence(end: &End) -> String {
    match end {
        End::Ok => "ok".into(),
        End::GuestError { text } => format!("the module returned an error: {text}"),
        End::Trap { text, .. } => format!("the module trapped: {text}"),
        End::Limit { limit, value } => format!("it passed its limit `{limit}` of {value}"),
        End::HostError { text } => format!("this machine failed: {text}"),
        End::Cancelled => "cancelled".into(),
    }
}

/// Millionths as a decimal.
pub(super) fn decimal(micro: i64) -> String {
    crate::output::aev(&micro.to_string())
}

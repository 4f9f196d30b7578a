//! A task as text.

use aevir_wire::{Assignment, Task};

use super::OVERTURNED;
use crate::output::{aev, or_dash, properties, table};

pub(super) fn shown(task: &Task) -> String {
    let mut rows = vec![
        ("id", task.id.clone()),
        ("type", task.kind.clone()),
        ("state", task.state.clone()),
        ("created", task.created_at.clone()),
        ("escrow", aev(&task.escrow)),
    ];
    let prices = task.prices.iter();
    rows.extend(prices.map(|p| ("uses", format!("{} for {}", p.content, aev(&p.price)))));
    rows.extend(task.detail.clone().map(|detail| ("detail", detail)));
    rows.extend(
        task.duration_ms
            .clone()
            .map(|ms| ("took", format!("{ms} ms"))),
    );
    rows.extend(task.model.clone().map(|model| ("model", model)));
    let others = task.model_of_others.iter();
    rows.extend(others.map(|(file, content)| {
        let text = format!("none of `{file}`: another account had it before, as content {content}");
        ("model", text)
    }));
    rows.extend(task.reviews.clone().map(|of| ("reviews", of)));
    rows.extend(task.inspects.clone().map(|of| ("inspects", of)));
    rows.extend(task.inspections.iter().map(|inspection| {
        let (state, by) = (&inspection.state, &inspection.by);
        let compared = match &inspection.compares[..] {
            [one, two] => format!(", who compare {one} and {two}"),
            _ => String::new(),
        };
        ("verifiers", format!("{state} by {by}{compared}"))
    }));
    if let Some(review) = &task.review {
        let by = review.by.as_deref().map(|by| format!(" by {by}"));
        rows.push(("review", review.state.clone() + &by.unwrap_or_default()));
    }
    if !task.tainted_by.is_empty() {
        rows.push(("tainted by", task.tainted_by.join(", ")));
    }
    let is_overturned = task.state == OVERTURNED;
    if is_overturned {
        let review = task.review.as_ref();
        let found = match review.map(|review| review.state.as_str()) {
            Some("unconfirmed") => "nothing confirmed its result, and nobody is blamed",
            _ => "its result is refuted",
        };
        let by = or_dash(review.and_then(|review| review.by.as_deref()));
        let text = format!("by task {by}: what was paid for it came back, and {found}");
        rows.push(("overturned", text));
    }
    if let Some(settlement) = task.settlement.as_ref().filter(|_| !is_overturned) {
        rows.push(("fee", aev(&settlement.fee)));
        rows.push(("refund", aev(&settlement.refund)));
        rows.extend(
            settlement
                .held
                .as_deref()
                .map(|held| ("of it held", aev(held))),
        );
        let matured = settlement.matured_at.clone().map(|at| ("matured", at));
        let matures = settlement.matures_at.clone().map(|at| ("matures", at));
        rows.extend(matured.or(matures));
    }
    let waiting = task.waiting.iter();
    let waiting: Vec<_> = waiting
        .map(|w| format!("{} {}", w.nodes, w.reason))
        .collect();
    if !waiting.is_empty() {
        rows.push(("nodes", waiting.join(", ")));
    }
    if let Some(verdict) = &task.verdict {
        let before = if is_overturned {
            ", before it was overturned"
        } else {
            ""
        };
        rows.push(("verdict", format!("{}{before}", verdict.verdict)));
        rows.extend(verdict.checks.iter().map(|check| {
            let mark = if check.passed { "passed" } else { "failed" };
            ("check", format!("{} {mark}: {}", check.check, check.detail))
        }));
    }
    let assignments = table(
        ["ASSIGNMENT", "NODE", "STATE", "PROGRESS", "REASON"],
        task.assignments.iter().map(|a| {
            [
                a.id.clone(),
                a.node_name.clone(),
                a.state.clone(),
                a.progress
                    .as_ref()
                    .map_or_else(|| "-".into(), |p| format!("{} %", p.ppm / 10_000)),
                or_dash(a.message.as_deref().or(a.reason.as_deref())) + &doubles(a),
            ]
        }),
    );
    format!("{}\n\n{assignments}", properties(rows))
}

/// That a run duplicates another one, because the task may be late.
fn doubles(assignment: &Assignment) -> String {
    let doubled = assignment.doubles.as_ref();
    doubled.map_or_else(String::new, |run| format!(" (duplicate of {run})"))
}

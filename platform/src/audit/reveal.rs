//! Reveals: the report is the one that was sealed, and what is recorded beside it follows from the report, as far as
//! the log shows the result.

use std::sync::Arc;

use aevir_events::Context;
use serde_json::Value;

use super::{Counts, Flaw};
use crate::{
    check::{self, Check},
    closed::Keys,
    decide::{self, PUBLISHED_BYTES_MAX, check_result, key_told, publish, revealable},
    definition::{Publish, TaskDefinition},
    event::{AssignmentRevealed, CheckResult, Event},
    state::State,
};

/// What the rules derive from a reveal: itself, with its checks, and the verdict where it is the last.
pub(super) fn expected(
    state: &State,
    revealed: &AssignmentRevealed,
    context: &Context,
    keys: &Keys<'_>,
    counts: &mut Counts,
) -> Result<Vec<Event>, Flaw> {
    let report = &revealed.report;
    let Some((task, assignment)) = revealable(state, report.node, report, keys)? else {
        return Err(Flaw::Rule("the report was revealed before".into()));
    };
    let definition = &task.definition;
    let result = shown(definition, revealed)?;
    let again = AssignmentRevealed {
        report: Arc::clone(report),
        checks: checks(definition, result, revealed, counts)?,
        published: revealed.published.clone(),
        key: key_told(state, task, assignment, keys),
    };
    Ok(decide::opened(
        state, task, assignment, again, context, keys,
    ))
}

/// The inline result, where the log shows all of it.
fn shown<'a>(
    definition: &TaskDefinition,
    revealed: &'a AssignmentRevealed,
) -> Result<Option<&'a Value>, Flaw> {
    let rule = |text: &str| Err(Flaw::Rule(text.into()));
    match (&definition.privacy.publish, &revealed.published) {
        (Publish::Digest, None) => Ok(None),
        (Publish::Digest, Some(_)) => rule("a result is published that its task keeps private"),
        (Publish::Full, Some(published)) => {
            check_result(&revealed.report, published)?;
            if publish(definition, published).is_none() {
                return rule("a result is published that is too large for it");
            }
            Ok(Some(published))
        }
        (Publish::Full, None) => {
            let bytes = revealed.report.result.size.0;
            if bytes > PUBLISHED_BYTES_MAX as u64 {
                return Ok(None);
            }
            rule("the result is not published, though its task makes it public")
        }
        // What was chosen from, and how large it was, the log does not show.
        (Publish::Pointers(_), None) => Ok(None),
        (Publish::Pointers(pointers), Some(Value::Object(chosen))) => {
            if chosen.keys().all(|name| pointers.contains(name)) {
                return Ok(None);
            }
            rule("a part of the result is published that its task keeps private")
        }
        (Publish::Pointers(_), Some(_)) => rule("what is published of the result is no object"),
    }
}

/// The contract checks anew; the outcome of a schema on a result that the log does not show is the log's.
fn checks(
    definition: &TaskDefinition,
    result: Option<&Value>,
    revealed: &AssignmentRevealed,
    counts: &mut Counts,
) -> Result<Vec<CheckResult>, Flaw> {
    let metrics = &revealed.report.metrics;
    let mut recorded = revealed.checks.iter();
    let again = check::of(definition).map(|check| match (check, result, recorded.next()) {
        (Check::Bound(bound), _, _) => Ok(check::check_bound(bound, metrics)),
        (Check::Schema(schema), Some(result), _) => {
            Ok(check::check_schema(&schema.value(), result))
        }
        (Check::Schema(_), None, Some(found)) if found.check == "schema" => {
            counts.schema_checks_taken += 1;
            Ok(found.clone())
        }
        (Check::Schema(_), None, _) => Err(Flaw::Rule(
            "the outcome of the result's schema check is missing".into(),
        )),
    });
    again.collect()
}

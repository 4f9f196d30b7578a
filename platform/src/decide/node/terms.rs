//! The terms on which a node is offered.

use super::{super::Decision, present};
use crate::{
    amount::Amount,
    event::TermsChanged,
    ids::NodeId,
    rejection::Rejection,
    state::State,
    terms::{ASK_MAX, AllowDeny, HOURS_MAX, LIST_MAX, NodeTerms, WEEK_MIN},
};

pub(in crate::decide) fn change_terms(state: &State, node: NodeId, terms: &NodeTerms) -> Decision {
    if present(state, node)?.terms == *terms {
        return Ok(Vec::new());
    }
    check(terms).map_err(|detail| Rejection::TermsInvalid { detail })?;
    let terms = terms.clone();
    Ok(vec![TermsChanged { node, terms }.into()])
}

fn check(terms: &NodeTerms) -> Result<(), String> {
    if terms.hours.len() > HOURS_MAX {
        return Err(format!("at most {HOURS_MAX} windows of the week"));
    }
    for window in &terms.hours {
        if window.from_min >= window.to_min || window.to_min > WEEK_MIN {
            return Err(format!(
                "a window is from a minute of the week to a later one, 0 to {WEEK_MIN}; write one that passes Sunday's \
                 midnight as two"
            ));
        }
    }
    if !terms
        .hours
        .is_sorted_by(|before, after| before.to_min < after.from_min)
    {
        return Err("windows are in their order, and none touches the next".into());
    }
    if let Some(ask) = terms
        .asks
        .values()
        .find(|ask| **ask < Amount::ZERO || **ask > ASK_MAX)
    {
        return Err(format!("an ask is 0 to {ASK_MAX} micro-AEV, not {ask}"));
    }
    list("requesters", &terms.requesters)?;
    list("modules", &terms.modules)
}

fn list<T: Ord>(what: &str, list: &AllowDeny<T>) -> Result<(), String> {
    if list.allow.len().max(list.deny.len()) > LIST_MAX {
        return Err(format!("at most {LIST_MAX} {what} in one list"));
    }
    Ok(())
}

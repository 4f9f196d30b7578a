//! What operators and administrators hold back: nodes from a task by their terms and their standing, and tasks from all nodes
//! by a suspension.

use aevir_events::Timestamp;

use super::{Refused, needs::Needs};
use crate::{
    ids::ContentId,
    state::{Node, Standing, State, Task},
};

/// Why a task is placed on no node for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Held {
    /// Its requester is suspended.
    Requester,
    /// Its module is suspended.
    Module,
    /// A content that it uses is suspended.
    Content(ContentId),
}

impl Held {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Requester => "requester-suspended",
            Self::Module => "module-suspended",
            Self::Content(_) => "content-suspended",
        }
    }
}

/// Why a task is placed on no node; `None` where it may be placed.
pub fn held(state: &State, task: &Task) -> Option<Held> {
    let module = state.modules.get(&task.definition.module);
    if module.is_some_and(|module| module.suspended.is_some()) {
        return Some(Held::Module);
    }
    // What stops, stops what is new: reviews and verifiers look at what is old, others' money waits for them, and by its contents' suspension,
    // which follows from verdicts, a task could be kept from being looked at.
    if task.looks_back() {
        return None;
    }
    if state.suspension(task.requester).is_some() {
        return Some(Held::Requester);
    }
    let suspended = |id: &ContentId| {
        let content = state.contents.get(id);
        content.is_some_and(|content| content.suspended.is_some())
    };
    task.definition
        .contents()
        .into_iter()
        .find(suspended)
        .map(Held::Content)
}

/// Whether the node takes part at all, as its operator and the administrators have it.
pub(super) fn standing(state: &State, node: &Node) -> Option<Refused> {
    match node.standing {
        Standing::Working => {}
        Standing::Draining { .. } => return Some(Refused::Draining),
        Standing::Left { .. } | Standing::Revoked { .. } => return Some(Refused::Gone),
    }
    let suspended = node.suspended.is_some() || state.suspension(node.owner).is_some();
    suspended.then_some(Refused::Suspended)
}

/// Whether the node's terms allow it any run at all.
pub(super) fn runs(node: &Node) -> Option<Refused> {
    (node.offered_slots() == 0).then_some(Refused::NoRuns)
}

/// Whether the node is open at this time.
pub(super) fn hours(node: &Node, now: Timestamp) -> Option<Refused> {
    (!node.terms.is_open(now)).then_some(Refused::Hours)
}

/// Whether the node takes this module, and works for this requester.
pub(super) fn party(node: &Node, task: &Task) -> Option<Refused> {
    if !node.terms.modules.admits(&task.definition.module) {
        return Some(Refused::ModuleDenied);
    }
    let admits = node.terms.requesters.admits(&task.requester);
    (!admits).then_some(Refused::RequesterDenied)
}

/// Whether a replica earns what the node asks for, and it asks for something where it is paid by that.
pub(super) fn price(node: &Node, needs: &Needs) -> Option<Refused> {
    if needs.by_ask && !node.terms.asks.contains_key(&needs.kind) {
        return Some(Refused::NoAsk);
    }
    (needs.price < node.terms.ask(needs.kind)).then_some(Refused::Price)
}

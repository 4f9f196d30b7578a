//! Placement: which node gets which replica. A pure function of the state, the time and the epoch's secret.
//!
//! Whose turn it is follows from what requesters have used ([`queue`], [`turns`]); which nodes fit, from filters and ranks
//! ([`filter`], [`score`]); which of those gets the replica, from a draw that everybody can recompute later ([`draw`]).
//! [`specification`] says the same in its readable form, one node at a time, and a property test holds the two equal; what
//! stands here works on indexes ([`fleet`]), so that a placement costs about the same with 10 nodes and with 100,000.

mod ahead;
mod alarm;
mod barred;
mod bits;
mod charge;
mod classes;
mod column;
pub(crate) mod draw;
mod filter;
mod fit;
mod fleet;
mod hours;
mod lack;
mod members;
mod nearest;
pub(crate) mod needs;
mod opening;
mod pace;
mod parties;
pub(crate) mod queue;
mod quote;
mod reserve;
mod rooms;
mod score;
pub mod specification;
mod tail;
mod takers;
mod terms;
mod turns;
mod why;

use aevir_events::{Context, Timestamp};

pub(crate) use alarm::Alarms;
pub(crate) use charge::{charge, charge_of, held_ms, reserved_ms, slots_milli};
pub use draw::{Coin, Draw, EpochSecret, Purpose, commitment};
pub(crate) use draw::{PASSED_MAX, Ticket, Toss, Urn, secret_of};
pub use filter::{Refused, refusal};
pub(crate) use filter::{compiling_of, fitted_of_old, room_of};
pub(crate) use fit::Candidates;
pub(crate) use fleet::{Fleet, Load};
pub use nearest::Remedy;
pub(crate) use needs::{class_owners, sealed_mib};
pub use needs::{fetch_ms, reserve_mib, slack_ms};
pub(crate) use pace::{first_pace, hastens_at, round_ends_at};
pub(crate) use queue::Queues;
pub use quote::{Quote, quote};
pub use reserve::kept_free_until;
pub(crate) use tail::{Tails, may_double};
pub(crate) use takers::takers;
pub use terms::{Held, held};
pub use why::{NODES_MAX, WaitsFor, Why, why};

use crate::{
    amount::Ppm,
    event::{AssignmentLeased, Event},
    ids::{AssignmentId, NodeId},
    state::{State, Task},
};

/// A placement that a draw has decided on: the node's ordinal, and what the lease says.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) ordinal: u32,
    pub(crate) assignment: AssignmentId,
    /// Absent where the log of old has none.
    pub(crate) draw: Option<Draw>,
}

/// Places waiting replicas on free nodes. Nothing is placed while no epoch is open, or one whose secret the leader does not
/// know: a tick turns it first.
pub(crate) fn plan(state: &State, context: &Context) -> Vec<Event> {
    let Some((epoch, urn)) = urn_of(state, context) else {
        return Vec::new();
    };
    let mut ids = context.ids();
    place(state, context.time, |task, ticket, candidates| {
        let choice = ticket.choose(&urn, candidates.len(), |index| {
            weight(state, task, candidates, index)
        });
        let ordinal = candidates.select(choice.index)?;
        let draw = Draw {
            epoch,
            purpose: ticket.purpose,
            number: ticket.number,
            candidates: candidates.len(),
            passed: choice.passed,
        };
        Some(Drawn {
            ordinal,
            assignment: AssignmentId(ids.ulid()),
            draw: Some(draw),
        })
    })
}

/// With which chance a candidate is taken that comes up in an election.
pub(crate) fn weight(state: &State, task: &Task, candidates: &Candidates<'_>, index: u32) -> Ppm {
    let node = candidates
        .select(index)
        .and_then(|i| state.index.fleet.id(i));
    let node = node.and_then(|id| state.nodes.get(&id));
    node.map_or(0, |node| score::election_weight(state, task, node))
}

/// The open epoch and its secret, where the leader knows it.
pub(crate) fn urn_of(state: &State, context: &Context) -> Option<(u32, Urn)> {
    let open = state.epochs.open.as_ref()?;
    let secret = secret_of(&context.secret, open.number);
    (commitment(&secret) == open.commitment).then(|| (open.number, Urn::of(&secret)))
}

/// Places waiting replicas by the rules, and then duplicates of runs in danger; `draw` chooses among the nodes that may get
/// one. An audit answers what the log says was drawn. `None` ends the plan.
pub(crate) fn place(
    state: &State,
    now: Timestamp,
    draw: impl FnMut(&Task, Ticket, &Candidates<'_>) -> Option<Drawn>,
) -> Vec<Event> {
    let kept = reserve::Kept::of(state, now);
    turns::Planner::new(state, now, &kept).run(draw).events
}

/// How many times a plan looks at a task: at each that it places, at one more of each line, and at as many runs in danger as
/// the policy says. What tests and benches hold against the number of tasks that wait.
pub fn looks(state: &State, context: &Context) -> usize {
    let Some((_, urn)) = urn_of(state, context) else {
        return 0;
    };
    let mut ids = context.ids();
    let kept = reserve::Kept::of(state, context.time);
    let planner = turns::Planner::new(state, context.time, &kept);
    let plan = planner.run(|task, ticket, candidates| {
        let choice = ticket.choose(&urn, candidates.len(), |index| {
            weight(state, task, candidates, index)
        });
        let ordinal = candidates.select(choice.index)?;
        Some(Drawn {
            ordinal,
            assignment: AssignmentId(ids.ulid()),
            draw: None,
        })
    });
    plan.looks
}

/// The lease that a draw brings.
fn lease(
    state: &State,
    task: &Task,
    doubles: Option<AssignmentId>,
    drawn: &Drawn,
) -> Option<(NodeId, Event)> {
    let node = state.index.fleet.id(drawn.ordinal)?;
    let on = state.nodes.get(&node)?;
    let with_gpu = task.definition.qos.gpu.is_some();
    let resume = task.resume_point(&on.hardware(with_gpu));
    let ask = on.terms.ask(task.definition.kind);
    let leased = AssignmentLeased {
        task: task.id,
        assignment: drawn.assignment,
        node,
        round: task.round,
        resume: resume.map(|c| c.blob),
        author: resume.map(|c| c.author),
        doubles,
        price: task.definition.asked_price(ask),
        draw: drawn.draw.clone(),
    };
    Some((node, leased.into()))
}

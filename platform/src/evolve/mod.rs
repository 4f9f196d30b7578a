//! Folds events into the state. The same code serves live operation, restart, followers and audits; an event
//! that does not fit the state is a corrupt log.

mod assignment;
mod checkpoint;
mod concurrency;
mod epoch;
mod failures;
mod fleet;
mod inspection;
mod market;
mod node;
mod record;
mod reservation;
mod review;
mod rewards;
mod sample;
mod speed;
mod stake;
mod suspension;
mod task;
mod unseal;
mod withdrawal;

pub(crate) use review::reviewing;

use aevir_events::{Corrupt, Recorded};

use crate::{command::Subject, event::Event, state::State};

/// Folds one event.
///
/// # Errors
/// [`Corrupt`] when the event can't follow from the state: the log was tampered with or written by other rules.
pub fn evolve(state: &mut State, recorded: &Recorded<Event>) -> Result<(), Corrupt> {
    let at = recorded.time;
    match &recorded.event {
        Event::PolicyAdopted(e) => market::policy_adopted(state, e),
        Event::EpochOpened(e) => epoch::opened(state, e, at),
        Event::EpochClosed(e) => epoch::closed(state, e),
        Event::LimitsSet(e) => epoch::limits_set(state, e),
        Event::AccountOpened(e) => market::account_opened(state, e, at),
        Event::KeyAdded(e) => market::key_added(state, e),
        Event::KeyRevoked(e) => market::key_revoked(state, e),
        Event::JoinTokenIssued(e) => market::join_token_issued(state, e),
        Event::WithdrawalRequested(e) => withdrawal::requested(state, e, at),
        Event::WithdrawalPaid(e) => withdrawal::ended(state, e.account, e.withdrawal),
        Event::WithdrawalRefused(e) => withdrawal::ended(state, e.account, e.withdrawal),
        Event::BlobUploaded(e) => market::blob_uploaded(state, e),
        Event::LedgerPosted(e) => market::ledger_posted(state, e),
        Event::PointsChanged(e) => market::points_changed(state, e),
        Event::RewardsClaimed(e) => rewards::claimed(state, e),
        Event::ModuleRegistered(e) => market::module_registered(state, e, at),
        Event::ContentRegistered(e) => market::content_registered(state, e, at),
        Event::ContentTermsChanged(e) => market::content_terms_changed(state, e),
        Event::NodeRegistered(e) => node::registered(state, e, at),
        Event::AvailabilityChanged(e) => node::availability_changed(state, e),
        Event::ProfileChanged(e) => node::profile_changed(state, e),
        Event::TermsChanged(e) => node::terms_changed(state, e),
        Event::ComputeChecked(e) => node::compute_checked(state, e, at),
        Event::NodeDrained(e) => node::drained(state, e),
        Event::NodeResumed(e) => node::resumed(state, e),
        Event::NodeLeft(e) => node::left(state, e, at),
        Event::KeyRotated(e) => node::key_rotated(state, e),
        Event::NodeRevoked(e) => node::revoked(state, e, at),
        Event::NodeSlashed(e) => stake::slashed(state, e),
        Event::AccountSuspended(e) => {
            suspension::suspended(state, Subject::Account(e.account), &e.reason, at)
        }
        Event::AccountReleased(e) => suspension::released(state, Subject::Account(e.account)),
        Event::NodeSuspended(e) => {
            suspension::suspended(state, Subject::Node(e.node), &e.reason, at)
        }
        Event::NodeReleased(e) => suspension::released(state, Subject::Node(e.node)),
        Event::ContentSuspended(e) => {
            suspension::suspended(state, Subject::Content(e.content), &e.reason, at)
        }
        Event::ContentReleased(e) => suspension::released(state, Subject::Content(e.content)),
        Event::ModuleSuspended(e) => {
            suspension::suspended(state, Subject::Module(e.module), &e.reason, at)
        }
        Event::ModuleReleased(e) => suspension::released(state, Subject::Module(e.module)),
        Event::TaskCreated(e) => task::created(state, e, at),
        Event::TaskQueued(e) => task::queued(state, e, at),
        Event::RoundClosed(e) => task::round_closed(state, e),
        Event::TaskExtended(e) => sample::extended(state, e),
        Event::TaskHastened(e) => sample::hastened(state, e, at),
        Event::TrustDecided(e) => sample::trust_decided(state, e),
        Event::TaskReserved(e) => reservation::reserved(state, e),
        Event::InspectionOpened(e) => inspection::opened(state, e),
        Event::TaskInspected(e) => inspection::inspected_by(state, e),
        Event::TaskVerified(e) => task::verified(state, e, at),
        Event::TaskSettled(e) => task::settled(state, e, at, recorded.position),
        Event::TaskMatured(e) => task::matured(state, e, at),
        Event::ReviewOpened(e) => review::opened(state, e, at),
        Event::TaskReviewed(e) => review::reviewed(state, e, at),
        Event::TaskClosed(e) => task::closed(state, e, at, recorded.position),
        Event::AssignmentLeased(e) => assignment::leased(state, e, at),
        Event::AssignmentStarted(e) => assignment::started(state, e, at),
        Event::AssignmentProgressed(e) => assignment::progressed(state, e, at),
        Event::AssignmentCheckpointed(e) => checkpoint::saved(state, e),
        Event::OutputUploaded(e) => assignment::output_uploaded(state, e),
        Event::AssignmentCommitted(e) => assignment::committed(state, e, at),
        Event::OutputClosed(e) => assignment::output_closed(state, e),
        Event::AssignmentShown(e) => assignment::shown(state, e),
        Event::AssignmentRevealed(e) => assignment::revealed(state, e),
        Event::AssignmentFailed(e) => failures::failed(state, e, at),
        Event::AssignmentLost(e) => assignment::lost(state, e, at),
        Event::AssignmentReturned(e) => assignment::returned(state, e, at),
        Event::AssignmentWithdrawn(e) => assignment::withdrawn(state, e, at),
    }
}

/// `Ok` where the condition holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Corrupt> {
    if holds { Ok(()) } else { Err(Corrupt(what())) }
}

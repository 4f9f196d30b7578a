//! Decides commands: a function of state, command and context, which changes nothing.

mod account;
mod agree;
mod close;
mod content;
mod epoch;
mod inspect;
mod lease;
mod maturity;
mod model;
mod node;
mod posting;
mod result;
mod reveal;
mod review;
mod rewards;
mod settle;
mod stake;
mod submit;
mod suspension;
mod tick;
mod trust;
mod uses;
mod validate;
mod verdict;
mod withdrawal;

use aevir_events::Context;

use crate::{
    command::Command, event::Event, rejection::Rejection, rights::Giver, schedule, state::State,
};

pub(crate) use agree::{Agreement, Pair, agreement};
pub use content::may_register_module;
pub(crate) use epoch::{closed as epoch_closed, is_over as epoch_is_over};
pub use inspect::{CHECKED_DEFINITION, CHECKED_INPUT, CHECKED_RESULT, checked_definition_bytes};
pub(crate) use inspect::{compare as compare_results, expected as expected_inspections};
pub use lease::CHECKPOINT_BYTES_MAX;
pub use model::taken_by_others;
pub(crate) use result::{Seal, sealed, uploading};
pub(crate) use reveal::{
    PUBLISHED_BYTES_MAX, awaits_reveals, check_result, key_told, opened, publish, revealable,
};
pub(crate) use review::{rests_on_caught, rests_on_unvouched};
pub(crate) use stake::{due as stake_due, is_slashed};
pub use submit::worst_case;
pub(crate) use submit::{fee, prepare, submit_with};
pub(crate) use tick::{closes_epoch, due};
pub(crate) use trust::Fall;
pub(crate) use uses::sum as uses_sum;
pub(crate) use validate::FILES_MAX;
pub use validate::{
    DEFINITION_BYTES_MAX, INLINE_BYTES_MAX, PARAMS_BYTES_MAX, REPLICAS_MAX, RESULT_BYTES_MAX,
    SCHEMA_BYTES_MAX, validate,
};
pub(crate) use verdict::extended;

/// Events of one decision, in order.
pub(crate) type Decision = Result<Vec<Event>, Rejection>;

/// Decides one command.
///
/// # Errors
/// A [`Rejection`], whose code is stable; nothing has happened then.
pub fn decide(state: &State, command: &Command, context: &Context) -> Decision {
    Giver::of(command).admit(state, &context.actor)?;
    match command {
        Command::AdoptPolicy(policy) => account::adopt_policy(state, policy),
        Command::OpenAccount(c) => account::open(state, c, context),
        Command::AddKey(c) => account::add_key(state, c, context),
        Command::RevokeKey { account, key } => account::revoke_key(state, *account, *key),
        Command::IssueJoinToken {
            account,
            token_hash,
            expires,
        } => account::issue_join_token(state, *account, *token_hash, *expires),
        Command::Deposit {
            account,
            amount,
            reference,
        } => account::deposit(state, *account, *amount, reference),
        Command::RequestWithdrawal {
            account,
            amount,
            destination,
        } => withdrawal::request(state, *account, *amount, destination, context),
        Command::PayWithdrawal {
            account,
            withdrawal,
            reference,
        } => withdrawal::pay(state, *account, *withdrawal, reference),
        Command::RefuseWithdrawal {
            account,
            withdrawal,
            reason,
        } => withdrawal::refuse(state, *account, *withdrawal, reason),
        Command::ClaimRewards { account } => rewards::claim(state, *account),
        Command::SetLimits { account, limits } => account::set_limits(state, *account, *limits),
        Command::RecordUpload { account, blob } => content::record_upload(state, *account, *blob),
        Command::RegisterModule(c) => content::register_module(state, c),
        Command::RegisterContent(c) => content::register_content(state, c, context),
        Command::ChangeContentTerms {
            owner,
            content,
            price,
            access,
        } => content::change_terms(state, *owner, *content, *price, access),
        Command::RegisterNode(c) => node::register(state, c, context),
        Command::SetAvailability { node, availability } => {
            node::set_availability(state, *node, *availability)
        }
        Command::ChangeProfile { node, profile } => node::change_profile(state, *node, profile),
        Command::ChangeTerms { node, terms } => node::change_terms(state, *node, terms),
        Command::CheckCompute(check) => node::check_compute(state, check, context.time),
        Command::DrainNode { node } => node::drain(state, *node),
        Command::ResumeNode { node } => node::resume(state, *node),
        Command::LeaveMarket { node } => node::leave(state, *node),
        Command::Stake {
            account,
            node,
            amount,
        } => stake::stake(state, *account, *node, *amount),
        Command::Unstake {
            account,
            node,
            amount,
        } => stake::unstake(state, *account, *node, *amount),
        Command::RotateKey { node, rotation } => node::rotate_key(state, *node, rotation, context),
        Command::RevokeNode { node, reason } => node::revoke(state, *node, reason, context.time),
        Command::Suspend { subject, reason } => {
            suspension::suspend(state, *subject, reason, context)
        }
        Command::Release { subject, reason } => suspension::release(state, *subject, reason),
        Command::SubmitTask {
            requester,
            definition,
        } => submit::submit(state, *requester, definition, context),
        Command::CancelTask { requester, task } => {
            close::cancel(state, *requester, *task, context.time)
        }
        Command::Dispute {
            account,
            task,
            reason,
            bond,
        } => review::dispute(state, *account, *task, reason, *bond, context),
        Command::Plan => Ok(schedule::plan(state, context)),
        Command::Tick => Ok(tick::tick(state, context)),
        Command::Start { node, assignment } => lease::start(state, *node, *assignment),
        Command::ReportProgress {
            node,
            assignment,
            ppm,
            note,
        } => lease::progress(state, *node, *assignment, *ppm, note),
        Command::SaveCheckpoint {
            node,
            assignment,
            checkpoint,
        } => lease::checkpoint(state, *node, *assignment, *checkpoint),
        Command::RecordOutput {
            node,
            assignment,
            blob,
        } => result::record_output(state, *node, *assignment, *blob, &context.secret),
        Command::Commit {
            node,
            assignment,
            commitment,
            absent_ms,
        } => result::commit(state, *node, *assignment, (commitment, *absent_ms), context),
        Command::Reveal {
            node,
            report,
            result,
        } => reveal::reveal(state, *node, report, result, context),
        Command::Fail {
            node,
            assignment,
            class,
            message,
        } => lease::fail(state, *node, *assignment, *class, message, context.time),
        Command::GiveBack { node, assignment } => {
            lease::give_back(state, *node, *assignment, context.time)
        }
        Command::LoseLease { assignment, reason } => {
            lease::lose(state, *assignment, *reason, context.time)
        }
    }
}

//! Reads off a command's events what the command was.

use aevir_events::{Event as _, Recorded};

use super::{Fault, Flaw, node};
use crate::{
    command::{Command, LossReason, Subject},
    decide::Seal,
    definition::DataSource,
    event::{
        AssignmentCommitted, AssignmentRevealed, AssignmentShown, CloseReason, Event, KeyAdded,
        OutputClosed, ReviewCause, ReviewOpened, TaskCreated,
    },
    ids::{AssignmentId, NodeId},
    report::BlobRef,
    rights::Giver,
    state::{Stage, State},
};

mod money;
mod told;

/// A task's creation and where it stands.
#[derive(Debug)]
pub(super) struct Created<'a> {
    pub(super) position: u64,
    pub(super) event: &'a TaskCreated,
}

/// What brought a batch of events about.
#[derive(Debug)]
pub(super) enum Primary<'a> {
    /// A command that the events tell in full.
    Command(Box<Command>),
    /// A task, after the uploads of what was inline in it.
    Submission(Created<'a>),
    Plan,
    /// Told in full, but for the proof of the signature.
    Commit(NodeId, AssignmentId, Seal),
    /// Told but for the inline result.
    Reveal(&'a AssignmentRevealed),
    /// Told once it is opened.
    Show(NodeId, &'a AssignmentShown),
    /// Told once it is opened.
    Output(NodeId, &'a OutputClosed),
}

impl<'a> Primary<'a> {
    fn command(command: Command) -> Self {
        Self::Command(Box::new(command))
    }

    /// Who may have given it.
    pub(super) fn giver(&self) -> Giver {
        match self {
            Self::Command(command) => Giver::of(command),
            Self::Submission(created) => Giver::requester(created.event.requester),
            Self::Plan => Giver::System,
            Self::Commit(node, ..) => Giver::Node(*node),
            Self::Reveal(revealed) => Giver::Node(revealed.report.node),
            Self::Show(node, _) | Self::Output(node, _) => Giver::Node(*node),
        }
    }

    /// What the first event calls for; an event that never comes first is a fault.
    pub(super) fn of(batch: &[&'a Recorded<Event>], state: &State) -> Result<Self, Fault> {
        let Some(first) = batch.first() else {
            return Ok(Self::Plan);
        };
        let uncalled = || Fault {
            position: first.position,
            flaw: Flaw::Uncalled {
                found: first.event.label(),
            },
        };
        read(&first.event, batch, state)?.ok_or_else(uncalled)
    }
}

fn read<'a>(
    first: &'a Event,
    batch: &[&'a Recorded<Event>],
    state: &State,
) -> Result<Option<Primary<'a>>, Fault> {
    let on = |assignment| state.assignment(assignment).map(|(_, a)| a.node);
    let command = match first {
        Event::TaskCreated(_) => return Ok(submitted(batch)),
        Event::AssignmentLeased(_) | Event::TaskReserved(_) => return Ok(Some(Primary::Plan)),
        Event::AssignmentCommitted(e) => return Ok(sealing(e, state)),
        Event::AssignmentShown(e) => return Ok(on(e.assignment).map(|n| Primary::Show(n, e))),
        // What was shown before time opens.
        Event::AssignmentRevealed(e) if is_shown(state, e) => Command::Tick,
        Event::AssignmentRevealed(e) => return Ok(Some(Primary::Reveal(e))),
        Event::BlobUploaded(e) => match submitted(batch) {
            Some(task) => return Ok(Some(task)),
            None => Command::RecordUpload {
                account: e.account,
                blob: e.blob,
            },
        },
        Event::ReviewOpened(e) => reviewing(e),
        // Without a reveal it is time that closed the round.
        Event::InspectionOpened(_) => Command::Tick,
        Event::EpochOpened(_)
        | Event::EpochClosed(_)
        | Event::TaskQueued(_)
        | Event::RoundClosed(_)
        | Event::TaskExtended(_)
        | Event::TaskHastened(_)
        | Event::TaskVerified(_)
        | Event::TaskMatured(_)
        | Event::NodeLeft(_) => Command::Tick,
        Event::AssignmentWithdrawn(_) | Event::TaskClosed(_) => closing(batch, state)?,
        Event::LedgerPosted(e) => return Ok(money::posting(e, batch, state)?.map(Primary::command)),
        Event::PolicyAdopted(e) => Command::AdoptPolicy(e.policy.clone()),
        Event::LimitsSet(e) => Command::SetLimits {
            account: e.account,
            limits: e.limits,
        },
        Event::AccountOpened(e) => told::opening(e, key_after(batch)?),
        Event::KeyAdded(e) => told::adding(e),
        Event::KeyRevoked(e) => Command::RevokeKey {
            account: e.account,
            key: e.key,
        },
        Event::JoinTokenIssued(e) => Command::IssueJoinToken {
            account: e.account,
            token_hash: e.token_hash,
            expires: e.expires,
        },
        Event::WithdrawalRequested(e) => Command::RequestWithdrawal {
            account: e.account,
            amount: e.amount,
            destination: e.destination.clone(),
        },
        Event::WithdrawalPaid(e) => Command::PayWithdrawal {
            account: e.account,
            withdrawal: e.withdrawal,
            reference: money::reference_after(batch)?,
        },
        Event::WithdrawalRefused(e) => Command::RefuseWithdrawal {
            account: e.account,
            withdrawal: e.withdrawal,
            reason: e.reason.clone(),
        },
        Event::RewardsClaimed(e) => Command::ClaimRewards { account: e.account },
        Event::ModuleRegistered(e) => told::module(e),
        Event::ContentRegistered(e) => told::content(e),
        Event::ContentTermsChanged(e) => match state.contents.get(&e.content) {
            Some(content) => told::content_terms(e, content.owner),
            None => return Ok(None),
        },
        Event::NodeRegistered(e) => told::joining(e, key_after(batch)?),
        Event::AvailabilityChanged(e) => Command::SetAvailability {
            node: e.node,
            availability: e.availability,
        },
        Event::ProfileChanged(e) => Command::ChangeProfile {
            node: e.node,
            profile: Box::new(e.profile.clone()),
        },
        Event::TermsChanged(e) => Command::ChangeTerms {
            node: e.node,
            terms: Box::new(e.terms.clone()),
        },
        Event::ComputeChecked(e) => node::checking(e),
        Event::NodeDrained(e) => node::draining(e),
        Event::NodeResumed(e) => Command::ResumeNode { node: e.node },
        Event::KeyRotated(e) => {
            let position = batch.first().map_or(0, |recorded| recorded.position);
            node::rotation(e, state, position)?
        }
        Event::NodeRevoked(e) => Command::RevokeNode {
            node: e.node,
            reason: e.reason.clone(),
        },
        Event::AccountSuspended(e) => node::suspending(Subject::Account(e.account), &e.reason),
        Event::AccountReleased(e) => node::releasing(Subject::Account(e.account), &e.reason),
        Event::NodeSuspended(e) => node::suspending(Subject::Node(e.node), &e.reason),
        Event::NodeReleased(e) => node::releasing(Subject::Node(e.node), &e.reason),
        Event::ContentSuspended(e) => node::suspending(Subject::Content(e.content), &e.reason),
        Event::ContentReleased(e) => node::releasing(Subject::Content(e.content), &e.reason),
        Event::ModuleSuspended(e) => node::suspending(Subject::Module(e.module), &e.reason),
        Event::ModuleReleased(e) => node::releasing(Subject::Module(e.module), &e.reason),
        Event::AssignmentStarted(e) => return Ok(on(e.assignment).map(|n| told::starting(e, n))),
        Event::AssignmentProgressed(e) => return Ok(on(e.assignment).map(|n| told::progress(e, n))),
        Event::AssignmentCheckpointed(e) => {
            return Ok(on(e.assignment).map(|n| told::checkpoint(e, n)));
        }
        Event::OutputClosed(e) => return Ok(on(e.assignment).map(|n| Primary::Output(n, e))),
        Event::OutputUploaded(e) => return Ok(on(e.assignment).map(|n| told::output(e, n))),
        Event::AssignmentFailed(e) => return Ok(on(e.assignment).map(|n| told::failure(e, n))),
        Event::AssignmentReturned(e) => {
            return Ok(on(e.assignment).map(|n| told::giving_back(e, n)));
        }
        Event::AssignmentLost(e) if e.reason == LossReason::NotRevealed => Command::Tick,
        Event::AssignmentLost(e) => Command::LoseLease {
            assignment: e.assignment,
            reason: e.reason,
        },
        Event::PointsChanged(_)
        | Event::NodeSlashed(_)
        | Event::TaskSettled(_)
        | Event::TaskReviewed(_)
        | Event::TaskInspected(_)
        | Event::TrustDecided(_) => return Ok(None),
    };
    Ok(Some(Primary::command(command)))
}

fn is_shown(state: &State, e: &AssignmentRevealed) -> bool {
    let found = state.assignment(e.report.assignment);
    found.is_some_and(|(_, a)| matches!(a.stage, Stage::Shown(_)))
}

/// A dispute, or what time brought.
fn reviewing(e: &ReviewOpened) -> Command {
    match &e.cause {
        ReviewCause::Dispute { account, reason } => Command::Dispute {
            account: *account,
            task: e.task,
            reason: reason.clone(),
            // As much is taken as it needs.
            bond: e.bond,
        },
        ReviewCause::Caught { .. } | ReviewCause::Unvouched { .. } => Command::Tick,
    }
}

fn sealing<'a>(e: &AssignmentCommitted, state: &State) -> Option<Primary<'a>> {
    let seal = Seal {
        commitment: e.commitment,
        signature: e.signature,
        key: state.nodes.get(&e.node)?.public_key,
        absent_ms: e.absent_ms,
    };
    Some(Primary::Commit(e.node, e.assignment, seal))
}

/// The key that an account or a node begins with.
fn key_after<'a>(batch: &[&'a Recorded<Event>]) -> Result<&'a KeyAdded, Fault> {
    const KEY: &str = "account.key_added";
    let Some(second) = batch.get(1) else {
        return Err(missing(batch, KEY));
    };
    if let Event::KeyAdded(key) = &second.event {
        return Ok(key);
    }
    Err(Fault {
        position: second.position,
        flaw: Flaw::Another {
            expected: KEY,
            found: second.event.label(),
        },
    })
}

/// An event that the batch ends without.
fn missing(batch: &[&Recorded<Event>], expected: &'static str) -> Fault {
    Fault {
        position: batch.last().map_or(0, |last| last.position + 1),
        flaw: Flaw::Missing { expected },
    }
}

/// A task with inline inputs begins with their uploads.
fn submitted<'a>(batch: &[&'a Recorded<Event>]) -> Option<Primary<'a>> {
    let is_upload = |r: &&&Recorded<Event>| matches!(r.event, Event::BlobUploaded(_));
    let recorded = batch.iter().find(|r| !is_upload(r))?;
    if let Event::TaskCreated(event) = &recorded.event {
        let position = recorded.position;
        return Some(Primary::Submission(Created { position, event }));
    }
    None
}

/// The uploads before a task: inputs of its requester, which it could not read before.
pub(super) fn brought(
    state: &State,
    batch: &[&Recorded<Event>],
    created: &TaskCreated,
) -> Result<Vec<BlobRef>, Fault> {
    let mut brought: Vec<BlobRef> = Vec::new();
    for recorded in batch {
        let Event::BlobUploaded(upload) = &recorded.event else {
            break;
        };
        let digest = upload.blob.digest;
        let named = |from: &DataSource| matches!(from, DataSource::Blob(blob) if *blob == digest);
        let called_for = upload.account == created.requester
            && created
                .definition
                .data
                .iter()
                .any(|input| named(&input.from))
            && !state.may_read_blob(upload.account, digest)
            && !brought.iter().any(|blob| blob.digest == digest);
        if !called_for {
            return Err(Fault {
                position: recorded.position,
                flaw: Flaw::Uncalled {
                    found: recorded.event.label(),
                },
            });
        }
        brought.push(upload.blob);
    }
    Ok(brought)
}

/// What ends tasks without a verdict: their requester, or time.
fn closing(batch: &[&Recorded<Event>], state: &State) -> Result<Command, Fault> {
    let mut closed = batch.iter().filter_map(|r| {
        if let Event::TaskClosed(closed) = &r.event {
            Some(closed)
        } else {
            None
        }
    });
    let Some(first) = closed.next() else {
        // Without a sample a verdict calls off what still runs, first of all.
        let is_verdict = |r: &&Recorded<Event>| {
            matches!(r.event, Event::TaskVerified(_) | Event::InspectionOpened(_))
        };
        return match batch.iter().any(is_verdict) {
            true => Ok(Command::Tick),
            false => Err(missing(batch, "task.closed")),
        };
    };
    let task = state.tasks.get(&first.task);
    Ok(match (first.reason, task) {
        (CloseReason::Cancelled, Some(task)) => Command::CancelTask {
            requester: task.requester,
            task: task.id,
        },
        (
            CloseReason::Cancelled
            | CloseReason::Expired
            | CloseReason::AttemptsSpent
            | CloseReason::DependencyFailed,
            _,
        ) => Command::Tick,
    })
}

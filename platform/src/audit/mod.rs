//! Recomputation: given the state before a command and the events that the log has of it, what do the rules demand?
//!
//! Legality has two halves. `evolve` consents to each event: that one is called here too. The other half is that a
//! command's events are exactly those that the rules derive from the state and what the command brought: the escrow at
//! creation, verdict, postings, shares, points, maturity and closure. The command is read off the events ([`primary`]),
//! decided anew by the very functions of `decide`, and both lists are compared. So a log whose hashes, revisions and
//! books were all made to fit again still fails at the first amount that the rules don't explain.
//!
//! What entropy brought can't be derived, and is taken from the log: ids, drawn seeds and nonces. Which of several nodes was
//! drawn follows from a secret that stands in the log once its epoch has closed, and is recomputed then. What can't be told is what the log holds only a digest of: a result that is not published.
//! [`Counts`] says how much of each there was.
//!
//! Must not know: files, HTTP, where entries come from, or how their signatures are verified (see [`Sealed`]).

mod closed;
mod compare;
mod epoch;
mod lease;
mod node;
mod primary;
mod reveal;
mod trust;

use aevir_events::{Context, LeaderSecret, Recorded};
use serde::Serialize;

use crate::{
    amount::Amount,
    command::Command,
    decide,
    digest::Digest,
    event::Event,
    hexbytes::Hex,
    ids::TaskId,
    ledger::LedgerAccount,
    rejection::Rejection,
    report::{BadSignature, NodeKey, SignedCommitment},
    schedule::Toss,
    state::{State, Task},
};
use primary::Primary;

/// Something in the log that the rules don't explain.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{flaw}")]
pub struct Fault {
    /// Of the first event that is not what it must be.
    pub position: u64,
    pub flaw: Flaw,
}

/// What is wrong with an event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Flaw {
    #[error("the rules refuse what this event records: {0}")]
    Refused(#[from] Rejection),
    #[error("nothing calls for this `{found}`")]
    Uncalled { found: &'static str },
    #[error("the rules call for `{expected}` here, and the log has `{found}`")]
    Another {
        expected: &'static str,
        found: &'static str,
    },
    #[error("the rules call for a further event, `{expected}`, which the log lacks")]
    Missing { expected: &'static str },
    #[error(
        "`{label}` differs from what the rules derive at `{pointer}`: the log has {found}, the rules {expected}"
    )]
    Differs {
        label: &'static str,
        /// JSON pointer into the event's data.
        pointer: String,
        found: String,
        expected: String,
    },
    #[error("{0}")]
    Rule(String),
}

/// How much was recomputed, and how much had to be taken from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Commands decided anew.
    pub commands: u64,
    /// Events compared with what the rules derive.
    pub events: u64,
    /// Definition digests and escrows of new tasks.
    pub tasks: u64,
    /// Leases checked against the filter and the ranking.
    pub leases: u64,
    /// Reveals compared with their commitments.
    pub reveals: u64,
    /// Reveals that are closed, for their task has no verdict: what they hold can't be told.
    pub reveals_closed: u64,
    /// Reveals that a leader with another secret could not open: that it could not is taken from the log.
    pub reveals_lost: u64,
    /// Rounds of samples that disagreed, by what was opened later.
    pub extensions: u64,
    pub verdicts: u64,
    /// Tasks that ended without a verdict.
    pub closures: u64,
    pub postings: u64,
    pub points: u64,
    /// Draws of closed epochs that were recomputed.
    pub draws: u64,
    /// Draws whose epoch is open, so that they can't be recomputed yet.
    pub draws_open: u64,
    /// Draws of epochs whose secret was lost: which node was drawn is taken from the log.
    pub draws_lost: u64,
    /// Leases from before there were epochs: which node was drawn is taken from the log.
    pub draws_taken: u64,
    /// Decisions of closed epochs whether a result is repeated that were recomputed.
    pub coins: u64,
    /// Those whose epoch is open.
    pub coins_open: u64,
    /// Those of epochs whose secret was lost, and results that are repeated because nobody knew it: taken from the log.
    pub coins_lost: u64,
    /// Seeds that the platform drew.
    pub seeds_taken: u64,
    /// Outcomes of JSON Schema checks on results that the log does not publish.
    pub schema_checks_taken: u64,
}

/// A commitment with the key that its node had registered. Verifying one takes a tenth of a millisecond and more,
/// which is why it is the caller's to spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub position: u64,
    pub key: NodeKey,
    pub commitment: Digest,
    pub signature: Hex<64>,
}

impl Sealed {
    /// Verifies the signature.
    ///
    /// # Errors
    /// When it is not the node's over this commitment.
    pub fn verify(&self) -> Result<(), BadSignature> {
        SignedCommitment::check(self.key, self.commitment, self.signature).map(|_| ())
    }
}

/// Follows a log command by command, beside the fold, and compares each with what the rules derive.
#[derive(Debug, Default)]
pub struct Recomputation {
    counts: Counts,
    /// Of all postings so far.
    sum: i128,
    /// Draws whose secret is not known yet.
    kept: Vec<epoch::Kept>,
    /// Coins whose secret is not known yet.
    coins: Vec<trust::KeptCoin>,
}

impl Recomputation {
    pub fn counts(&self) -> Counts {
        Counts {
            draws_open: self.kept.len() as u64,
            coins_open: self.coins.len() as u64,
            ..self.counts
        }
    }

    /// Compares all events of one command, which stand together in the log with the same time, actor and cause, with
    /// what the rules derive from the state before them. `sealed` gets the commitments among them.
    ///
    /// # Errors
    /// The first event that is not what it must be, as far as the state before the command can tell.
    pub fn before(
        &mut self,
        state: &State,
        command: &[&Recorded<Event>],
        sealed: &mut Vec<Sealed>,
    ) -> Result<(), Fault> {
        let Some(first) = command.first() else {
            return Ok(());
        };
        let (before, expected) = self.derive(state, command, first)?;
        let rest = command.get(before..).unwrap_or_default();
        if let Some(fault) = compare::first_difference(expected, rest, first.position) {
            return Err(fault);
        }
        closed::count(state, command, &mut self.counts)?;
        for recorded in command {
            if let Event::EpochClosed(closed) = &recorded.event {
                let kept = std::mem::take(&mut self.kept);
                epoch::disclosed(&closed.secret, kept, &mut self.counts)?;
                let coins = std::mem::take(&mut self.coins);
                trust::disclosed(&closed.secret, coins, &mut self.counts)?;
            }
            self.count(&recorded.event);
            sealed.extend(seal_of(state, recorded));
        }
        self.counts.commands += 1;
        self.counts.events += command.len() as u64;
        Ok(())
    }

    /// Checks the books after each event was folded.
    ///
    /// # Errors
    /// When the balances don't sum to zero, or an escrow is not what it must be.
    pub fn after(&mut self, state: &State, recorded: &Recorded<Event>) -> Result<(), Fault> {
        let fault = |text: String| Fault {
            position: recorded.position,
            flaw: Flaw::Rule(text),
        };
        if let Event::LedgerPosted(posted) = &recorded.event {
            let amounts = posted.postings.iter().map(|p| i128::from(p.amount.0));
            self.sum += amounts.sum::<i128>();
            if self.sum != 0 {
                let sum = self.sum;
                return Err(fault(format!(
                    "all balances together are {sum}, and not zero"
                )));
            }
        }
        match task_of(&recorded.event).and_then(|id| state.tasks.get(&id)) {
            Some(task) => check_escrow(state, task).map_err(fault),
            None => Ok(()),
        }
    }

    /// What the rules derive, for the events that come after the uploads of inline inputs and after the turn of the epoch;
    /// and how many those are.
    fn derive(
        &mut self,
        state: &State,
        command: &[&Recorded<Event>],
        first: &Recorded<Event>,
    ) -> Result<(usize, Vec<Event>), Fault> {
        let context = Context {
            time: first.time,
            actor: first.actor.clone(),
            // Ids and draws that follow from it are replaced by the log's.
            entropy: [0; 32],
            // Nobody but the leaders knows it.
            secret: LeaderSecret([0; 32]),
        };
        let fault = |flaw: Flaw| Fault {
            position: first.position,
            flaw,
        };
        let refused = |rejection: Rejection| fault(rejection.into());
        let primary = Primary::of(command, state)?;
        primary
            .giver()
            .admit(state, &first.actor)
            .map_err(refused)?;
        let expected = match primary {
            Primary::Submission(created) => {
                let brought = primary::brought(state, command, created.event)?;
                let task = &created.event;
                let decided = decide::submit_with(
                    state,
                    task.requester,
                    &task.definition,
                    &brought,
                    &context,
                );
                let events = decided.map_err(|rejection| Fault {
                    position: created.position,
                    flaw: rejection.into(),
                })?;
                return Ok((brought.len(), events));
            }
            Primary::Command(given) if matches!(*given, Command::Tick) => {
                let turned = epoch::turned(state, command)?;
                let mut epoch = command.iter().take(turned);
                let due = if epoch.any(|r| decide::closes_epoch(&r.event)) {
                    Vec::new()
                } else {
                    decide::due(state, &context, &closed::disclosed(command))
                };
                return Ok((turned, due));
            }
            Primary::Command(given) => decide::decide(state, &given, &context).map_err(refused)?,
            Primary::Plan => {
                let leases = lease::expected(state, command, &mut self.counts)?;
                self.kept.extend(leases.kept);
                leases.events
            }
            Primary::Commit(node, assignment, seal) => {
                let told = trust::Told::of(state, command, assignment)?;
                let mut kept = None;
                let toss = |toss: &Toss| told.answer(toss, &mut kept);
                let events = decide::sealed(state, node, assignment, seal, &context, toss);
                self.counts.coins_lost += u64::from(told.is_without_secret());
                self.coins.extend(kept);
                events.map_err(refused)?
            }
            Primary::Reveal(revealed) => {
                let keys = closed::disclosed(command);
                let counts = &mut self.counts;
                reveal::expected(state, revealed, &context, &keys, counts).map_err(fault)?
            }
            Primary::Show(node, shown) => {
                closed::shown(state, node, shown, command, &context).map_err(fault)?
            }
            Primary::Output(node, output) => closed::output(state, node, output).map_err(fault)?,
        };
        Ok((0, expected))
    }

    fn count(&mut self, event: &Event) {
        let counts = &mut self.counts;
        match event {
            Event::TaskCreated(created) => {
                counts.tasks += 1;
                counts.seeds_taken += u64::from(created.definition.seed.is_none());
            }
            Event::LedgerPosted(_) => counts.postings += 1,
            Event::PointsChanged(_) => counts.points += 1,
            Event::TaskVerified(_) => counts.verdicts += 1,
            Event::TaskClosed(_) => counts.closures += 1,
            Event::AssignmentLeased(_) => counts.leases += 1,
            Event::AssignmentRevealed(_) => counts.reveals += 1,
            Event::PolicyAdopted(_)
            | Event::EpochOpened(_)
            | Event::EpochClosed(_)
            | Event::LimitsSet(_)
            | Event::RewardsClaimed(_)
            | Event::AccountOpened(_)
            | Event::KeyAdded(_)
            | Event::KeyRevoked(_)
            | Event::JoinTokenIssued(_)
            | Event::WithdrawalRequested(_)
            | Event::WithdrawalPaid(_)
            | Event::WithdrawalRefused(_)
            | Event::BlobUploaded(_)
            | Event::ModuleRegistered(_)
            | Event::ContentRegistered(_)
            | Event::ContentTermsChanged(_)
            | Event::NodeRegistered(_)
            | Event::AvailabilityChanged(_)
            | Event::ProfileChanged(_)
            | Event::TermsChanged(_)
            | Event::NodeDrained(_)
            | Event::NodeResumed(_)
            | Event::NodeLeft(_)
            | Event::KeyRotated(_)
            | Event::NodeRevoked(_)
            | Event::NodeSlashed(_)
            | Event::AccountSuspended(_)
            | Event::AccountReleased(_)
            | Event::NodeSuspended(_)
            | Event::NodeReleased(_)
            | Event::ContentSuspended(_)
            | Event::ContentReleased(_)
            | Event::ModuleSuspended(_)
            | Event::ModuleReleased(_)
            | Event::TaskQueued(_)
            | Event::RoundClosed(_)
            | Event::TaskExtended(_)
            | Event::TaskHastened(_)
            | Event::TrustDecided(_)
            | Event::TaskReserved(_)
            | Event::ReviewOpened(_)
            | Event::InspectionOpened(_)
            | Event::TaskInspected(_)
            | Event::TaskReviewed(_)
            | Event::TaskSettled(_)
            | Event::TaskMatured(_)
            | Event::AssignmentStarted(_)
            | Event::AssignmentProgressed(_)
            | Event::AssignmentCheckpointed(_)
            | Event::OutputUploaded(_)
            | Event::OutputClosed(_)
            | Event::AssignmentShown(_)
            | Event::AssignmentCommitted(_)
            | Event::AssignmentFailed(_)
            | Event::AssignmentLost(_)
            | Event::AssignmentReturned(_)
            | Event::AssignmentWithdrawn(_) => {}
        }
    }
}

fn seal_of(state: &State, recorded: &Recorded<Event>) -> Option<Sealed> {
    let Event::AssignmentCommitted(committed) = &recorded.event else {
        return None;
    };
    Some(Sealed {
        position: recorded.position,
        key: state.nodes.get(&committed.node)?.public_key,
        commitment: committed.commitment,
        signature: committed.signature,
    })
}

/// What a task's escrow holds is within its budget; it is what was locked while the task is settled or closed, and
/// nothing afterwards.
fn check_escrow(state: &State, task: &Task) -> Result<(), String> {
    let held = state.ledger.balance(LedgerAccount::Escrow(task.id));
    let (locked, budget) = (task.held(), task.definition.economics.budget);
    let id = task.id;
    if held > budget || locked > budget {
        return Err(format!(
            "the escrow of task {id} is {locked} and holds {held}, above its budget of {budget}"
        ));
    }
    // Its postings come before the settlement is noted, and after the creation.
    if held == Amount::ZERO || held == locked {
        Ok(())
    } else {
        Err(format!(
            "the escrow of task {id} holds {held}, where all of {locked} or nothing is due"
        ))
    }
}

/// The task whose money an event may move.
fn task_of(event: &Event) -> Option<TaskId> {
    match event {
        Event::TaskCreated(e) => Some(e.task),
        Event::LedgerPosted(e) => e.task,
        Event::TaskSettled(e) => Some(e.task),
        Event::TaskClosed(e) => Some(e.task),
        Event::PolicyAdopted(_)
        | Event::EpochOpened(_)
        | Event::EpochClosed(_)
        | Event::LimitsSet(_)
        | Event::RewardsClaimed(_)
        | Event::AccountOpened(_)
        | Event::KeyAdded(_)
        | Event::KeyRevoked(_)
        | Event::JoinTokenIssued(_)
        | Event::WithdrawalRequested(_)
        | Event::WithdrawalPaid(_)
        | Event::WithdrawalRefused(_)
        | Event::BlobUploaded(_)
        | Event::PointsChanged(_)
        | Event::ModuleRegistered(_)
        | Event::ContentRegistered(_)
        | Event::ContentTermsChanged(_)
        | Event::NodeRegistered(_)
        | Event::AvailabilityChanged(_)
        | Event::ProfileChanged(_)
        | Event::TermsChanged(_)
        | Event::NodeDrained(_)
        | Event::NodeResumed(_)
        | Event::NodeLeft(_)
        | Event::KeyRotated(_)
        | Event::NodeRevoked(_)
        | Event::NodeSlashed(_)
        | Event::AccountSuspended(_)
        | Event::AccountReleased(_)
        | Event::NodeSuspended(_)
        | Event::NodeReleased(_)
        | Event::ContentSuspended(_)
        | Event::ContentReleased(_)
        | Event::ModuleSuspended(_)
        | Event::ModuleReleased(_)
        | Event::InspectionOpened(_)
        | Event::TaskInspected(_)
        | Event::TaskQueued(_)
        | Event::RoundClosed(_)
        | Event::TaskExtended(_)
        | Event::TaskHastened(_)
        | Event::TrustDecided(_)
        | Event::TaskReserved(_)
        | Event::ReviewOpened(_)
        | Event::TaskReviewed(_)
        | Event::TaskVerified(_)
        | Event::TaskMatured(_)
        | Event::AssignmentLeased(_)
        | Event::AssignmentStarted(_)
        | Event::AssignmentProgressed(_)
        | Event::AssignmentCheckpointed(_)
        | Event::OutputUploaded(_)
        | Event::OutputClosed(_)
        | Event::AssignmentShown(_)
        | Event::AssignmentCommitted(_)
        | Event::AssignmentRevealed(_)
        | Event::AssignmentFailed(_)
        | Event::AssignmentLost(_)
        | Event::AssignmentReturned(_)
        | Event::AssignmentWithdrawn(_) => None,
    }
}

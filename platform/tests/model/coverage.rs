//! What was played: commands by kind, granted and refused, and how things ended.

use std::collections::BTreeMap;

use aevir_platform::{
    command::Command,
    definition::Pricing,
    event::{
        CloseReason, Event, InspectionOutcome, PostingReason, RefusalReason, ReviewCause,
        ReviewOutcome, ShareRole, Trust, Verdict,
    },
};

/// How often something happened: commands by kind, granted and refused, and ends.
pub type Coverage = BTreeMap<&'static str, (u64, u64)>;

/// The public name of a command; a new one stands among [`COMMANDS`], too, and has to be played.
pub fn kind(command: &Command) -> &'static str {
    match command {
        Command::AdoptPolicy(_) => "adopt-policy",
        Command::OpenAccount(_) => "open-account",
        Command::AddKey(_) => "add-key",
        Command::RevokeKey { .. } => "revoke-key",
        Command::IssueJoinToken { .. } => "issue-join-token",
        Command::Deposit { .. } => "deposit",
        Command::RequestWithdrawal { .. } => "request-withdrawal",
        Command::PayWithdrawal { .. } => "pay-withdrawal",
        Command::RefuseWithdrawal { .. } => "refuse-withdrawal",
        Command::ClaimRewards { .. } => "claim-rewards",
        Command::SetLimits { .. } => "set-limits",
        Command::RecordUpload { .. } => "record-upload",
        Command::RegisterModule(_) => "register-module",
        Command::RegisterContent(_) => "register-content",
        Command::ChangeContentTerms { .. } => "change-content-terms",
        Command::RegisterNode(_) => "register-node",
        Command::SetAvailability { .. } => "set-availability",
        Command::ChangeProfile { .. } => "change-profile",
        Command::ChangeTerms { .. } => "change-terms",
        Command::CheckCompute(_) => "check-compute",
        Command::DrainNode { .. } => "drain-node",
        Command::ResumeNode { .. } => "resume-node",
        Command::LeaveMarket { .. } => "leave-market",
        Command::Stake { .. } => "stake",
        Command::Unstake { .. } => "unstake",
        Command::RotateKey { .. } => "rotate-key",
        Command::RevokeNode { .. } => "revoke-node",
        Command::Suspend { .. } => "suspend",
        Command::Release { .. } => "release",
        Command::SubmitTask { .. } => "submit-task",
        Command::CancelTask { .. } => "cancel-task",
        Command::Dispute { .. } => "dispute",
        Command::Plan => "plan",
        Command::Tick => "tick",
        Command::Start { .. } => "start",
        Command::ReportProgress { .. } => "report-progress",
        Command::SaveCheckpoint { .. } => "save-checkpoint",
        Command::RecordOutput { .. } => "record-output",
        Command::Commit { .. } => "commit",
        Command::Reveal { .. } => "reveal",
        Command::Fail { .. } => "fail",
        Command::GiveBack { .. } => "give-back",
        Command::LoseLease { .. } => "lose-lease",
    }
}

/// Commands: each must have been granted so often in an ordinary run, and in longer ones as much more often.
pub const GRANTED_MIN: u64 = 20;

/// All of them.
pub const COMMANDS: [&str; 43] = [
    "adopt-policy",
    "open-account",
    "add-key",
    "revoke-key",
    "issue-join-token",
    "deposit",
    "request-withdrawal",
    "pay-withdrawal",
    "refuse-withdrawal",
    "claim-rewards",
    "set-limits",
    "record-upload",
    "register-module",
    "register-content",
    "change-content-terms",
    "register-node",
    "set-availability",
    "change-profile",
    "change-terms",
    "check-compute",
    "drain-node",
    "resume-node",
    "leave-market",
    "stake",
    "unstake",
    "rotate-key",
    "revoke-node",
    "suspend",
    "release",
    "submit-task",
    "cancel-task",
    "dispute",
    "plan",
    "tick",
    "start",
    "report-progress",
    "save-checkpoint",
    "record-output",
    "commit",
    "reveal",
    "fail",
    "give-back",
    "lose-lease",
];

/// How tasks, reviews and stakes must have ended, and how often at least in an ordinary run: a third of what is usual, or once.
pub const ENDS: [(&str, u64); 30] = [
    ("> passed", 300),
    ("> unmet", 100),
    ("> inconclusive", 80),
    ("> late", 60),
    ("> alone", 50),
    ("> cancelled", 80),
    ("> expired", 100),
    ("> attempts spent", 100),
    ("> dependency failed", 10),
    ("> disputed", 20),
    ("> caught", 1),
    ("> unvouched", 10),
    ("> upheld", 20),
    ("> undecided", 10),
    ("> overturned", 8),
    ("> unconfirmed", 1),
    ("> passed by verifiers", 30),
    ("> failed by verifiers", 5),
    ("> undecided by verifiers", 50),
    ("> refuted", 4),
    ("> slashed", 40),
    ("> matured", 300),
    ("> left", 10),
    ("> pool over", 20),
    ("> asked", 100),
    ("> metered", 60),
    ("> priced content", 200),
    ("> royalty", 1),
    ("> compared", 20),
    ("> apart", 1),
];

/// What an event says of an end.
pub fn end(event: &Event) -> Option<&'static str> {
    match event {
        Event::TaskVerified(e) if e.late && e.verdict == Verdict::Passed => Some("> late"),
        Event::TaskVerified(e) => Some(match e.verdict {
            Verdict::Passed => "> passed",
            Verdict::Unmet => "> unmet",
            Verdict::Inconclusive if e.has_mismatch() => "> refuted",
            Verdict::Inconclusive => "> inconclusive",
        }),
        Event::TaskInspected(e) => Some(match e.outcome {
            InspectionOutcome::Passed => "> passed by verifiers",
            InspectionOutcome::Failed => "> failed by verifiers",
            InspectionOutcome::Undecided => "> undecided by verifiers",
        }),
        Event::TaskClosed(e) => Some(match e.reason {
            CloseReason::Cancelled => "> cancelled",
            CloseReason::Expired => "> expired",
            CloseReason::AttemptsSpent => "> attempts spent",
            CloseReason::DependencyFailed => "> dependency failed",
        }),
        Event::TrustDecided(e) => match e.trust {
            Trust::Drawn {
                repeated: false, ..
            } => Some("> alone"),
            Trust::Drawn { .. } | Trust::Denied { .. } => None,
        },
        Event::LedgerPosted(e) => (e.reason == PostingReason::PoolExpired).then_some("> pool over"),
        Event::ReviewOpened(e) => Some(match e.cause {
            ReviewCause::Dispute { .. } => "> disputed",
            ReviewCause::Caught { .. } => "> caught",
            ReviewCause::Unvouched { .. } => "> unvouched",
        }),
        Event::TaskReviewed(e) => Some(match e.outcome {
            ReviewOutcome::Upheld => "> upheld",
            ReviewOutcome::Unconfirmed => "> unconfirmed",
            ReviewOutcome::Undecided => "> undecided",
            ReviewOutcome::Overturned => "> overturned",
        }),
        Event::AssignmentLeased(e) => e.price.map(|_| "> asked"),
        Event::TaskCreated(e) if !e.prices.is_empty() => Some("> priced content"),
        Event::TaskCreated(e) => {
            let pricing = &e.definition.economics.pricing;
            matches!(pricing, Pricing::Metered(_)).then_some("> metered")
        }
        Event::TaskSettled(e) => {
            let mut roles = e.shares.iter().map(|share| share.role);
            roles
                .any(|role| role == ShareRole::Royalty)
                .then_some("> royalty")
        }
        Event::InspectionOpened(e) => e.against.map(|_| "> compared"),
        Event::NodeSlashed(_) => Some("> slashed"),
        Event::TaskMatured(_) => Some("> matured"),
        Event::NodeLeft(_) => Some("> left"),
        _ => None,
    }
}

/// Results that a verdict refuses because they are not near enough to others.
pub fn apart(event: &Event) -> impl Iterator<Item = &'static str> {
    let refused = match event {
        Event::TaskVerified(e) => e.refused.as_slice(),
        _ => &[],
    };
    let apart = refused.iter().filter(|r| r.reason == RefusalReason::Apart);
    apart.map(|_| "> apart")
}

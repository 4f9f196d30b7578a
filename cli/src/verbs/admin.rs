//! `aevir admin`: suspend and release. `aevir market`: who may take part.

use aevir_wire::{Policy, Subject, Suspend};
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    args::Global,
    output::{print, say, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AdminVerb {
    /// Stop what is new of an account, a node, a content or a module (scope `admin`); what has begun goes on.
    Suspend(OnSubject),
    /// Release it again (scope `admin`).
    Release(OnSubject),
    /// List what is suspended, and why (scope `admin` or `audit`).
    Suspensions,
}

/// What is suspended or released, and why.
#[derive(Debug, Args)]
pub(crate) struct OnSubject {
    #[arg(value_enum)]
    kind: Kind,
    /// Its id; a module's digest.
    id: String,
    /// Why; it is in the log, and those whom it concerns are told.
    #[arg(long)]
    reason: String,
}

/// What can be suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// It can't submit, upload, register or let nodes join; its tasks are not placed, and its nodes get nothing.
    Account,
    /// It gets nothing new.
    Node,
    /// It can't be used by new tasks and runs.
    Content,
    /// It can't be used by new tasks and runs.
    Module,
}

/// Who may take part in the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Market {
    /// Strangers: no task runs on its requester's own node, nor twice with one owner.
    Open,
    /// One owner runs everything: those rules are off, and settlements say so.
    Private,
}

impl OnSubject {
    fn request(self) -> Suspend {
        let subject = match self.kind {
            Kind::Account => Subject::Account(self.id),
            Kind::Node => Subject::Node(self.id),
            Kind::Content => Subject::Content(self.id),
            Kind::Module => Subject::Module(self.id),
        };
        Suspend {
            subject,
            reason: self.reason,
        }
    }
}

pub(crate) async fn run(verb: AdminVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        AdminVerb::Suspend(on) => {
            let request = on.request();
            client.suspend(&request).await?;
            print(global.output, &request, || {
                let (kind, id) = named(&request.subject);
                format!("{kind} {id} is suspended")
            })
        }
        AdminVerb::Release(on) => {
            let request = on.request();
            client.release(&request).await?;
            print(global.output, &request, || {
                let (kind, id) = named(&request.subject);
                format!("{kind} {id} is released")
            })
        }
        AdminVerb::Suspensions => {
            let list = client.suspensions().await?;
            print(global.output, &list, || {
                let rows = list.suspensions.iter().map(|s| {
                    let (kind, id) = named(&s.subject);
                    let (name, since) = (s.name.clone(), s.since.clone());
                    [
                        kind.to_owned(),
                        id.to_owned(),
                        name,
                        since,
                        s.reason.clone(),
                    ]
                });
                table(["WHAT", "ID", "NAME", "SINCE", "REASON"], rows)
            })
        }
    }
}

fn named(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::Account(id) => ("account", id),
        Subject::Node(id) => ("node", id),
        Subject::Content(id) => ("content", id),
        Subject::Module(digest) => ("module", digest),
    }
}

/// What an open market still does without, as a private one may.
fn left_off(policy: &Policy) -> Vec<&'static str> {
    let off = [
        (
            policy.settlement.window_ms == 0,
            "`settlement.window_ms` is still 0: payments mature at once, and nobody can dispute a verdict",
        ),
        (
            policy.scheduling.compute.check_ms == 0,
            "`scheduling.compute.check_ms` is still 0: a GPU counts as whatever its node claims",
        ),
        (
            policy.scheduling.record_pay_min == "0",
            "`scheduling.record_pay_min` is still 0: work for nothing makes a record",
        ),
    ];
    let left = off.into_iter().filter(|_| policy.market == "open");
    left.filter_map(|(is_off, text)| is_off.then_some(text))
        .collect()
}

/// Shows who may take part, or adopts the policy in force with another market.
pub(crate) async fn market(wanted: Option<Market>, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    let mut adopted = client.policy().await?;
    let wanted = wanted.map(|market| match market {
        Market::Open => "open",
        Market::Private => "private",
    });
    if let Some(market) = wanted.filter(|market| *market != adopted.policy.market) {
        let policy = Policy {
            market: market.to_owned(),
            ..adopted.policy
        };
        adopted = client.adopt_policy(&policy).await?;
        for left in left_off(&adopted.policy) {
            say(format_args!(
                "note: {left} (`aevir policy show`, `aevir policy adopt FILE`)"
            ));
        }
    }
    let document =
        serde_json::json!({"market": adopted.policy.market, "policy_version": adopted.version});
    print(global.output, &document, || {
        format!(
            "the market is {} (policy version {})",
            adopted.policy.market, adopted.version
        )
    })
}

//! `aevir points`.

use aevir_wire::{Client, PointsExplanation};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::{
    args::Global,
    output::{aev, or_dash, print, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum PointsVerb {
    /// List accounts by their points, most first (all of them: scope `admin` or `audit`).
    Leaderboard {
        /// By the points of one track; over all of them when left out.
        #[arg(long, value_enum)]
        track: Option<Track>,
    },
    /// Say why an account has the points that it has: every change, and what epochs took off.
    Explain {
        /// The own account when left out; another one's with the scope `admin` or `audit`.
        account: Option<String>,
    },
    /// List epochs: what part of all points each kept, and what its reward pool got.
    Epochs,
    /// Show what the account can claim of the reward pools.
    Rewards,
    /// Take the account's parts of all open reward pools.
    Claim,
}

/// What points are earned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Track {
    Compute,
    Content,
    Verification,
}

impl Track {
    fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Content => "content",
            Self::Verification => "verification",
        }
    }
}

pub(crate) async fn run(verb: PointsVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        PointsVerb::Leaderboard { track } => {
            leaderboard(&client, track.map(Track::name), global).await
        }
        PointsVerb::Explain { account } => explain(&client, account.as_deref(), global).await,
        PointsVerb::Epochs => epochs(&client, global).await,
        PointsVerb::Rewards => rewards(&client.rewards().await?, global),
        PointsVerb::Claim => rewards(&client.claim_rewards().await?, global),
    }
}

async fn leaderboard(client: &Client, track: Option<&str>, global: &Global) -> Result<()> {
    let mut accounts = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client.points(track, after.as_deref()).await?;
        accounts.extend(page.accounts);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    print(global.output, &accounts, || {
        table(
            [
                "ACCOUNT",
                "NAME",
                "COMPUTE",
                "CONTENT",
                "VERIFICATION",
                "TOTAL",
            ],
            accounts.iter().map(|a| {
                [
                    a.account.clone(),
                    a.name.clone(),
                    a.points.compute.clone(),
                    a.points.content.clone(),
                    a.points.verification.clone(),
                    a.total.clone(),
                ]
            }),
        )
    })
}

async fn explain(client: &Client, account: Option<&str>, global: &Global) -> Result<()> {
    let mut whole = client.explain_points(account, None).await?;
    while let Some(after) = whole.next.take() {
        let page = client.explain_points(account, Some(&after)).await?;
        whole.changes.extend(page.changes);
        whole.tracks = page.tracks;
        whole.next = page.next;
    }
    print(global.output, &whole, || explained(&whole))
}

fn explained(whole: &PointsExplanation) -> String {
    let changes = whole.changes.iter().map(|c| {
        [
            c.time.clone(),
            c.track.clone(),
            faded(c.epochs, &c.faded),
            c.delta.clone(),
            c.reason.clone(),
            c.task.clone(),
            c.after.clone(),
        ]
    });
    let since = whole.tracks.iter().map(|t| {
        [
            "now".to_owned(),
            t.track.clone(),
            faded(t.epochs, &t.faded),
            or_dash(None),
            or_dash(None),
            or_dash(None),
            t.points.clone(),
        ]
    });
    table(
        [
            "TIME", "TRACK", "FADED", "CHANGE", "REASON", "TASK", "POINTS",
        ],
        changes.chain(since),
    )
}

/// What epochs took off, and how many.
fn faded(epochs: u32, points: &str) -> String {
    match epochs {
        0 => or_dash(None),
        1 => format!("-{points} in 1 epoch"),
        more => format!("-{points} in {more} epochs"),
    }
}

async fn epochs(client: &Client, global: &Global) -> Result<()> {
    let mut epochs = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = client.epochs(after.as_deref()).await?;
        epochs.extend(page.epochs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    print(global.output, &epochs, || {
        table(
            [
                "EPOCH", "OPENED", "CLOSED", "KEPT PPM", "POOL", "POINTS", "LEFT",
            ],
            epochs.iter().map(|e| {
                [
                    e.epoch.to_string(),
                    e.opened_at.clone(),
                    or_dash(e.closed_at.as_deref()),
                    or_dash(e.points_keep_ppm.map(|ppm| ppm.to_string()).as_deref()),
                    or_dash(e.reward.as_deref().map(aev).as_deref()),
                    or_dash(e.points.as_deref()),
                    or_dash(e.unclaimed.as_deref().map(aev).as_deref()),
                ]
            }),
        )
    })
}

fn rewards(rewards: &aevir_wire::Rewards, global: &Global) -> Result<()> {
    print(global.output, rewards, || {
        let all = ["all".to_owned(), or_dash(None), aev(&rewards.amount)];
        let parts = rewards.parts.iter().map(|part| {
            [
                part.epoch.to_string(),
                part.points.clone(),
                aev(&part.amount),
            ]
        });
        table(["EPOCH", "POINTS", "AEV"], parts.chain([all]))
    })
}

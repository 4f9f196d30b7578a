//! `aevir account`.

use aevir_wire::{
    Account, AccountLimits, AddKey, Client, Deposit, IssueJoinToken, KeyList, NodeFilter, NodeList,
    OpenAccount, StatementFilter,
};
use anyhow::Result;
use clap::Subcommand;

use super::{money, statement};
use crate::{
    args::Global,
    output::{aev, or_dash, pages, print, properties, table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Open an account (scope `admin`); prints its first key, which is shown this once.
    Create {
        name: String,
        /// A scope of the first key, repeatable; an ordinary owner's when left out.
        #[arg(long = "scope")]
        scopes: Vec<String>,
    },
    /// Show the own account: balances and IntelliPoints.
    Show,
    /// List all accounts (scope `admin` or `audit`).
    List,
    /// Book money that came in from outside (scope `admin`).
    Deposit {
        /// The account's id.
        account: String,
        /// In micro-AEV: 1 AEV is 1000000.
        amount: String,
        /// The external payment's reference; each is booked once.
        #[arg(long)]
        reference: String,
    },
    /// Show what moved on the account in a period, with opening and closing balances.
    Statement {
        /// Another account's (scope `admin` or `audit`).
        #[arg(long)]
        account: Option<String>,
        /// From this time on, such as 2026-01-01T00:00:00Z; from the account's beginning when left out.
        #[arg(long)]
        from: Option<String>,
        /// Until just before this time; until now when left out.
        #[arg(long)]
        to: Option<String>,
        /// Print the entries as CSV, in micro-AEV.
        #[arg(long)]
        csv: bool,
    },
    /// Ask for money to be paid out; it is set aside at once, and can't be taken back.
    Withdraw {
        /// In micro-AEV: 1 AEV is 1000000.
        amount: String,
        /// Where it is to go, as agreed with who runs the platform; it stands in the log.
        #[arg(long)]
        to: String,
    },
    /// List the account's withdrawals, or all of them (scope `admin` or `audit`).
    Withdrawals {
        /// Only those of this account.
        #[arg(long)]
        account: Option<String>,
        /// `open`, `paid` or `refused`.
        #[arg(long)]
        state: Option<String>,
    },
    /// Book that a withdrawal was paid out (scope `admin`).
    PayWithdrawal {
        /// The account's id.
        account: String,
        /// The withdrawal's id.
        withdrawal: String,
        /// The external payment's reference; each is booked once.
        #[arg(long)]
        reference: String,
    },
    /// Give a withdrawal's money back to its account (scope `admin`).
    RefuseWithdrawal {
        /// The account's id.
        account: String,
        /// The withdrawal's id.
        withdrawal: String,
        /// Why; it is in the log.
        #[arg(long)]
        reason: String,
    },
    /// Show an account's share of the nodes and its quotas, or set them (scope `admin`).
    Limits {
        /// The account's id.
        account: String,
        /// Its share relative to other requesters that wait; 1 to 10000.
        #[arg(long)]
        weight: Option<u32>,
        /// Its tasks that have not ended.
        #[arg(long)]
        tasks_max: Option<u32>,
        /// Its replicas that hold a slot of a node.
        #[arg(long)]
        running_max: Option<u32>,
    },
    /// Manage API keys.
    Keys {
        #[command(subcommand)]
        verb: KeysVerb,
    },
    /// Make a token with which one node can join the account.
    JoinToken {
        /// How long it can be used, in seconds; an hour when left out.
        #[arg(long)]
        ttl_s: Option<u32>,
    },
    /// List the account's nodes.
    Nodes,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// List the account's keys.
    List,
    /// Add a key; it is shown this once.
    Add {
        label: String,
        /// A scope, repeatable; not more than the calling key has.
        #[arg(long = "scope", required = true)]
        scopes: Vec<String>,
    },
    /// Revoke a key.
    Revoke { id: String },
}

pub(crate) async fn run(verb: AccountVerb, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    match verb {
        AccountVerb::Create { name, scopes } => {
            let scopes = (!scopes.is_empty()).then_some(scopes);
            let opened = client.open_account(&OpenAccount { name, scopes }).await?;
            print(global.output, &opened, || {
                properties([
                    ("account", opened.account.clone()),
                    ("name", opened.name.clone()),
                    ("key", opened.key.clone()),
                    ("scopes", opened.scopes.join(" ")),
                ])
            })
        }
        AccountVerb::Limits {
            account,
            weight,
            tasks_max,
            running_max,
        } => {
            let before = client.limits(&account).await?;
            let wanted = AccountLimits {
                weight: weight.unwrap_or(before.weight),
                tasks_max: tasks_max.unwrap_or(before.tasks_max),
                running_max: running_max.unwrap_or(before.running_max),
            };
            let limits = match wanted == before {
                true => before,
                false => client.set_limits(&account, &wanted).await?,
            };
            print(global.output, &limits, || {
                properties([
                    ("weight", limits.weight.to_string()),
                    ("tasks at most", limits.tasks_max.to_string()),
                    ("running at most", limits.running_max.to_string()),
                ])
            })
        }
        AccountVerb::Show => {
            let account = client.account().await?;
            print(global.output, &account, || shown(&account))
        }
        AccountVerb::List => list(&client, global).await,
        AccountVerb::Deposit {
            account,
            amount,
            reference,
        } => {
            let deposited = client
                .deposit(&account, &Deposit { amount, reference })
                .await?;
            print(global.output, &deposited, || {
                properties([
                    ("account", deposited.account.clone()),
                    ("deposited", format!("{} AEV", aev(&deposited.amount))),
                    ("available", format!("{} AEV", aev(&deposited.available))),
                ])
            })
        }
        AccountVerb::Statement {
            account,
            from,
            to,
            csv,
        } => {
            let filter = StatementFilter {
                account,
                from,
                to,
                ..StatementFilter::default()
            };
            statement::show(&client, &filter, csv, global).await
        }
        AccountVerb::Withdraw { amount, to } => money::withdraw(&client, amount, to, global).await,
        AccountVerb::Withdrawals { account, state } => {
            money::withdrawals(&client, account.as_deref(), state.as_deref(), global).await
        }
        AccountVerb::PayWithdrawal {
            account,
            withdrawal,
            reference,
        } => money::pay(&client, account, withdrawal, reference, global).await,
        AccountVerb::RefuseWithdrawal {
            account,
            withdrawal,
            reason,
        } => money::refuse(&client, account, withdrawal, reason, global).await,
        AccountVerb::Keys { verb } => keys(verb, &client, global).await,
        AccountVerb::JoinToken { ttl_s } => {
            let token = client.issue_join_token(&IssueJoinToken { ttl_s }).await?;
            print(global.output, &token, || {
                properties([
                    ("token", token.token.clone()),
                    ("expires", token.expires.clone()),
                ])
            })
        }
        AccountVerb::Nodes => nodes(&client, global).await,
    }
}

async fn list(client: &Client, global: &Global) -> Result<()> {
    let accounts = pages!(client.accounts, accounts);
    print(global.output, &accounts, || {
        table(
            [
                "ACCOUNT",
                "NAME",
                "AVAILABLE",
                "PENDING",
                "COMPUTE",
                "CONTENT",
            ],
            accounts.iter().map(|a| {
                [
                    a.account.clone(),
                    a.name.clone(),
                    aev(&a.available),
                    aev(&a.pending),
                    a.points.compute.clone(),
                    a.points.content.clone(),
                ]
            }),
        )
    })
}

async fn keys(verb: KeysVerb, client: &Client, global: &Global) -> Result<()> {
    match verb {
        KeysVerb::List => {
            let keys = pages!(client.keys, keys);
            let list = KeyList { keys, next: None };
            print(global.output, &list, || {
                table(
                    ["ID", "LABEL", "SCOPES", "NODE", "REVOKED"],
                    list.keys.iter().map(|k| {
                        [
                            k.id.clone(),
                            k.label.clone(),
                            k.scopes.join(" "),
                            or_dash(k.node.as_deref()),
                            k.revoked.to_string(),
                        ]
                    }),
                )
            })
        }
        KeysVerb::Add { label, scopes } => {
            let added = client.add_key(&AddKey { label, scopes }).await?;
            print(global.output, &added, || {
                properties([
                    ("id", added.id.clone()),
                    ("key", added.key.clone()),
                    ("scopes", added.scopes.join(" ")),
                ])
            })
        }
        KeysVerb::Revoke { id } => {
            client.revoke_key(&id).await?;
            let document = serde_json::json!({"id": id, "revoked": true});
            print(global.output, &document, || format!("key {id} is revoked"))
        }
    }
}

async fn nodes(client: &Client, global: &Global) -> Result<()> {
    let mut nodes = Vec::new();
    let mut filter = NodeFilter::default();
    loop {
        let page = client.nodes(&filter).await?;
        nodes.extend(page.nodes);
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    let list = NodeList { nodes, next: None };
    print(global.output, &list, || {
        table(
            ["NODE", "NAME", "STATE", "STANDING", "SLOTS", "BUSY", "GPU"],
            list.nodes.iter().map(|n| {
                [
                    n.id.clone(),
                    n.profile.name.clone(),
                    n.availability.clone(),
                    match &n.suspended {
                        None => n.standing.clone(),
                        Some(_) => "suspended".to_owned(),
                    },
                    n.profile.slots.to_string(),
                    n.active.len().to_string(),
                    or_dash(n.profile.gpu.as_ref().map(|g| g.adapter.as_str())),
                ]
            }),
        )
    })
}

fn shown(account: &Account) -> String {
    properties([
        ("account", account.account.clone()),
        ("name", account.name.clone()),
        ("available", aev(&account.available)),
        ("pending", aev(&account.pending)),
        ("withdrawing", aev(&account.withdrawing)),
        ("points, compute", account.points.compute.clone()),
        ("points, content", account.points.content.clone()),
        ("points, verification", account.points.verification.clone()),
    ])
}

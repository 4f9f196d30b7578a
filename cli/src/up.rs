//! `aevir up`: a whole platform on this machine, in one data folder.
//!
//! The server runs in this process and the nodes in child processes. The first start opens the accounts `you`, with
//! money to try things, and `local`, which owns the nodes; the market is private, so one owner may run everything.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use aevir_node::{Registration, offered_memory_mib};
use aevir_platform::policy::Policy;
use aevir_wire::{Client, Deposit, IssueJoinToken, OpenAccount, Secret};
use anyhow::{Context, Result};
use clap::Args;

use crate::{
    args::{DEFAULT_LISTEN, Global, LogStyle},
    lifeline,
    platform::{self, Setup},
    processes::{Fate, NodeProcess, folder},
    secrets,
    serve::{DEFAULT_DATA, LogArgs, until_ended},
};

/// What the account `you` starts with: 1,000 AEV in micro-AEV.
const GRANT: &str = "1000000000";
/// How often it is checked that the nodes are still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Standings of nodes that do not come back.
const GONE: [&str; 2] = ["left", "revoked"];

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The data folder.
    #[arg(long, env = "AEVIR_DATA", default_value = DEFAULT_DATA)]
    data: PathBuf,
    #[arg(long, env = "AEVIR_LISTEN", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Local nodes. The examples ask for two that agree.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    nodes: u32,
    /// Whether the nodes offer the GPU: `auto`, `required` or `off`.
    #[arg(long, default_value = "auto")]
    gpu: String,
    #[command(flatten)]
    log: LogArgs,
    /// End when standard input ends.
    #[arg(long, hide = true)]
    lifeline: bool,
}

pub(crate) async fn up(args: UpArgs, global: &Global) -> Result<()> {
    let shutdown = lifeline::shutdown(args.lifeline);
    let setup = Setup {
        data: args.data.clone(),
        listen: args.listen,
        database: None,
        s3: None,
        log: args.log.clone().setup(),
        policy: Policy::private(),
    };
    let _lock = platform::lock(&setup)?;
    let server = platform::start(&setup).await?;
    let url = server.url();
    let admin = platform::admin(&url, &args.data)?;
    let you = account(&admin, &args, "you", &["audit", "admin"]).await?;
    grant(&admin, &you).await?;
    let local = account(&admin, &args, "local", &[]).await?;
    let mut nodes = Vec::new();
    for number in 1..=args.nodes {
        nodes.push(start_node(&args, global, &local, number).await?);
    }
    eprintln!("The platform is at {url}. In another terminal:\n");
    eprintln!(
        "    export AEVIR_SERVER={url} AEVIR_KEY=$(cat {})\n",
        args.data.join("you.key").display()
    );
    eprintln!("    aevir account show\n");
    let stop = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = keep_alive(&mut nodes) => {}
        }
        for node in &mut nodes {
            node.end().await;
        }
    };
    until_ended(server, stop).await
}

/// The account of this name, opened at the first start, whose key is in the data folder. `also` are scopes beside an
/// owner's: whoever starts all of it is its operator, too.
async fn account(admin: &Client, args: &UpArgs, name: &str, also: &[&str]) -> Result<Client> {
    let file = args.data.join(format!("{name}.key"));
    if let Some(key) = secrets::read(&file)? {
        return Ok(admin.with_key(key));
    }
    let owner = [
        "read",
        "tasks:write",
        "contents:write",
        "nodes:write",
        "keys:write",
    ];
    let scopes = owner
        .iter()
        .chain(also)
        .map(|scope| (*scope).to_owned())
        .collect();
    let opened = admin
        .open_account(&OpenAccount {
            name: name.to_owned(),
            scopes: Some(scopes),
        })
        .await
        .with_context(|| format!("the account `{name}` can't be opened"))?;
    let key = Secret::from_text(opened.key);
    secrets::write(&file, &key)?;
    Ok(admin.with_key(key))
}

/// Gives an account its first money, once. Asked for at each start and only after the key was kept, so that a crash
/// between leaves neither a funded account without key nor a key without money.
async fn grant(admin: &Client, to: &Client) -> Result<()> {
    let account = to.account().await?.account;
    let deposit = Deposit {
        amount: GRANT.to_owned(),
        reference: format!("a start for {account}"),
    };
    match admin.deposit(&account, &deposit).await {
        Err(error) if error.code() != Some("reference-used") => Err(error.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn start_node(
    args: &UpArgs,
    global: &Global,
    owner: &Client,
    number: u32,
) -> Result<NodeProcess> {
    let token = owner
        .issue_join_token(&IssueJoinToken { ttl_s: None })
        .await?;
    let log = match global.log {
        LogStyle::Text => "text",
        LogStyle::Json => "json",
    };
    let name = format!("local-{number}");
    set_aside(args, owner, &name).await?;
    // Less than `NodeProcess::end` waits.
    // They share the machine.
    let memory_mib = (offered_memory_mib() / args.nodes.max(1))
        .max(1)
        .to_string();
    let mut more = vec!["--gpu", &args.gpu, "--log", log, "--grace-s", "5"];
    more.extend(["--memory-mib", &memory_mib]);
    let mut node = NodeProcess::start(&args.data, owner.base_url(), &name, &token, &more)?;
    node.joined().await?;
    Ok(node)
}

/// Makes room for a new node where the one of this folder has left, or was revoked.
async fn set_aside(args: &UpArgs, owner: &Client, name: &str) -> Result<()> {
    let folder = folder(&args.data, name);
    let Some(registration) = Registration::read(&folder)? else {
        return Ok(());
    };
    let id = registration.node;
    let is_gone = match owner.node(&id).await {
        Ok(node) => GONE.contains(&node.standing.as_str()),
        Err(error) if error.code() == Some("unknown-node") => true,
        Err(error) => return Err(error.into()),
    };
    if !is_gone {
        return Ok(());
    }
    let aside = folder.with_file_name(format!("gone-{id}"));
    std::fs::rename(&folder, &aside)
        .with_context(|| format!("`{}` can't be moved aside", folder.display()))?;
    eprintln!(
        "the node {name} ({id}) does not come back, and a new one joins; what it left is in {}",
        aside.display()
    );
    Ok(())
}

/// Starts nodes again that ended by themselves. One that left, or was revoked, is not: whoever did that wants one fewer; the next start
/// of all has a new one join.
async fn keep_alive(nodes: &mut Vec<NodeProcess>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        nodes.retain_mut(|node| {
            let gone = node.fate() == Fate::Gone;
            if gone {
                eprintln!(
                    "the node {} ({}) has left or was revoked, and is not started again; the next `aevir up` has a new one join",
                    node.name, node.id
                );
            }
            !gone
        });
        for node in nodes.iter_mut() {
            if node.fate() != Fate::Ended {
                continue;
            }
            eprintln!(
                "the node {} ended and is started again:\n{}",
                node.name,
                node.last_words()
            );
            if let Err(error) = node.restart() {
                tracing::error!(node = node.name, %error, "the node can't be started again");
            }
        }
    }
}

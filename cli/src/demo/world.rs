//! Everybody who takes part in the demo.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use aevir_api::RunningServer;
use aevir_platform::policy::{Policy, SettlementPolicy, VerificationPolicy};
use aevir_wire::{
    Access, Artifact, Client, Deposit, GpuProfile, IssueJoinToken, NodeFilter, OpenAccount,
    RegisterContent, Secret,
};
use anyhow::{Context, Result};

use super::progress::Progress;
use crate::{
    manifest::Named,
    platform::{self, LogSetup, Setup},
    processes::NodeProcess,
};

/// The nodes, each of its own owner.
const NODES: [&str; 3] = ["north", "east", "south"];
/// The one that cheats, and in what.
const CHEATER: &str = "south";
const CHEATS_IN: &str = "wrong-result=evaluation";
/// What the requester has to spend: 100 AEV in micro-AEV.
const DEPOSIT: &str = "100000000";
/// Silence after which a node's lease is lost: short, so that the crash is noticed while one watches.
const LEASE_MS: u32 = 6_000;
/// Time to start what was leased, to reveal, and until a silent node counts as offline.
const PATIENCE_MS: u32 = 15_000;

/// The modules, as `cargo xtask guests` builds them.
const MODULES: [(&str, &[u8]); 4] = [
    (
        "digits-prepare",
        include_bytes!("../../../examples/modules/digits-prepare.wasm"),
    ),
    (
        "mlp-train",
        include_bytes!("../../../examples/modules/mlp-train.wasm"),
    ),
    (
        "mlp-evaluate",
        include_bytes!("../../../examples/modules/mlp-evaluate.wasm"),
    ),
    (
        "mlp-infer",
        include_bytes!("../../../examples/modules/mlp-infer.wasm"),
    ),
];
/// The UCI optical-digits test set; see `examples/data/README.md`.
const DIGITS: &[u8] = include_bytes!("../../../examples/data/digits.csv.gz");

/// The platform with everybody on it.
#[derive(Debug)]
pub(super) struct World {
    server: RunningServer,
    pub(super) admin: Client,
    pub(super) requester: Client,
    pub(super) nodes: Vec<NodeProcess>,
    /// The index of the node that cheats.
    pub(super) cheater: usize,
    /// The GPU that the nodes offer.
    pub(super) gpu: GpuProfile,
    /// Names of accounts by id.
    pub(super) accounts: BTreeMap<String, String>,
    /// What the manifests' names stand for, but for tasks.
    pub(super) ids: BTreeMap<(Named, String), String>,
}

impl World {
    /// Starts the platform and the nodes, opens the accounts, and registers modules and data.
    pub(super) async fn start(folder: &Path, progress: &Progress) -> Result<Self> {
        let setup = Setup {
            data: folder.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: None,
            s3: None,
            log: LogSetup::default(),
            policy: Policy {
                lease_ms: LEASE_MS,
                accept_ms: PATIENCE_MS,
                reveal_ms: PATIENCE_MS,
                offline_ms: PATIENCE_MS,
                // It shows in a minute what everybody has earned in the end.
                settlement: SettlementPolicy::IMMEDIATE,
                // Its nodes put no stake up.
                verification: VerificationPolicy {
                    staked_votes: 0,
                    ..VerificationPolicy::default()
                },
                ..Policy::default()
            },
        };
        let server = platform::start(&setup).await?;
        let url = server.url();
        progress.say(&format!("the platform is at {url}"));
        let admin = platform::admin(&url, folder)?;
        let mut accounts = BTreeMap::new();
        let operator = admin.account().await?;
        accounts.insert(operator.account, operator.name);

        let (requester_id, requester) = open(&admin, "lab", &mut accounts).await?;
        let deposit = Deposit {
            amount: DEPOSIT.to_owned(),
            reference: "demo".to_owned(),
        };
        admin.deposit(&requester_id, &deposit).await?;
        let (_, contributor) = open(&admin, "archive", &mut accounts).await?;

        // Probing the GPU takes a while: the nodes start first.
        let mut nodes = Vec::new();
        for name in NODES {
            let (_, owner) = open(&admin, &format!("{name}'s owner"), &mut accounts).await?;
            let token = owner
                .issue_join_token(&IssueJoinToken { ttl_s: None })
                .await?;
            let mut args = vec!["--gpu", "required", "--grace-s", "0"];
            if name == CHEATER {
                args.extend(["--fault", CHEATS_IN]);
            }
            nodes.push(NodeProcess::start(folder, &url, name, &token, &args)?);
        }
        let ids = register(&requester, &contributor).await?;
        progress.say("the modules are pushed, the digits are registered");
        for node in &mut nodes {
            node.joined().await?;
        }
        let listed = admin.nodes(&NodeFilter::default()).await?.nodes;
        let gpu = listed.into_iter().find_map(|node| node.profile.gpu);
        let gpu = gpu.context("no node offers a GPU")?;
        progress.say(&format!(
            "three nodes of three owners joined: {} (GPU: {})",
            NODES.join(", "),
            gpu.adapter
        ));
        let cheater = NODES.iter().position(|name| *name == CHEATER);
        Ok(Self {
            server,
            admin,
            requester,
            nodes,
            cheater: cheater.context("one of the nodes cheats")?,
            gpu,
            accounts,
            ids,
        })
    }

    /// The index of a node.
    pub(super) fn node(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// What the nodes' logs say last, for an error.
    pub(super) fn last_words(&self) -> String {
        let words = self
            .nodes
            .iter()
            .map(|node| format!("the log of {} ends:\n{}", node.name, node.last_words()));
        let words: Vec<_> = words.collect();
        format!("{}\nthe demo failed", words.join("\n"))
    }

    /// Ends the nodes, then the platform.
    pub(super) async fn end(mut self) {
        let ends = self.nodes.iter_mut().map(NodeProcess::end);
        futures::future::join_all(ends).await;
        self.server.shutdown().await;
    }
}

/// Opens an account; answers its id and a client with its key.
async fn open(
    admin: &Client,
    name: &str,
    accounts: &mut BTreeMap<String, String>,
) -> Result<(String, Client)> {
    let opened = admin
        .open_account(&OpenAccount {
            name: name.to_owned(),
            scopes: None,
        })
        .await?;
    accounts.insert(opened.account.clone(), name.to_owned());
    Ok((
        opened.account,
        admin.with_key(Secret::from_text(opened.key)),
    ))
}

/// Pushes the modules and registers the data set.
async fn register(
    requester: &Client,
    contributor: &Client,
) -> Result<BTreeMap<(Named, String), String>> {
    let mut ids = BTreeMap::new();
    for (name, wasm) in MODULES {
        let module = requester.push_module(name, wasm).await?;
        ids.insert((Named::Module, name.to_owned()), module.digest);
    }
    let blob = contributor.put_blob(DIGITS).await?;
    let content = contributor
        .register_content(&RegisterContent {
            kind: "dataset".into(),
            name: "digits".into(),
            version: "1".into(),
            files: vec![Artifact {
                name: "digits.csv.gz".into(),
                digest: blob.digest,
                size: blob.size,
            }],
            licence: "CC-BY-4.0".into(),
            weight: 1,
            price: "0".into(),
            access: Access::Everybody,
            contributors: Vec::new(),
        })
        .await?;
    ids.insert((Named::Content, "digits".to_owned()), content.id);
    Ok(ids)
}

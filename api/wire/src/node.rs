//! The node protocol: join, ask for leases, show life, seal the result, reveal it.
//!
//! A node asks (`POST /v1/node/leases`, long poll), starts each lease, sends heartbeats at a third of `lease_ms`,
//! uploads outputs, commits, and reveals once it is told to. It tells in `holding` which assignments it has, so
//! that a lease whose answer got lost is handed out again and nothing is handed out twice. What it says of several
//! assignments may go in one request (`crate::batch`). Each answer to an ask says how the node stands, which it obeys; one
//! that is about to stop says so with `stopping`: no lease comes with the answer, and what it has not heard of is given back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The runtime profile whose runs give the same bytes on every machine.
pub const RUNTIME_REPRODUCIBLE: &str = "det/1";
/// The runtime profile that leaves floating point as the processor has it.
pub const RUNTIME_FAST: &str = "fast/1";
/// What a report's class ends with when the run was one of [`RUNTIME_FAST`], so that nobody takes it for one that can be repeated.
pub const FAST_CLASS_MARK: &str = "+fast/1";

use crate::{
    challenge::Challenge,
    contents::{Artifact, BlobRef},
    node_life::{NodeCompute, NodeRecord, NodeSpeed, NodeStake, NodeTerms, Suspension},
    report::Report,
};

/// Joins a node. `POST /v1/nodes`; the join token in the body is the authentication.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterNode {
    pub token: String,
    /// The node's Ed25519 public key, in hex.
    pub public_key: String,
    /// SHA-256 of the API key that the node made for itself (`Secret::new_key().hash()`).
    pub key_hash: String,
    pub profile: NodeProfile,
}

impl std::fmt::Debug for RegisterNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisterNode")
            .field("public_key", &self.public_key)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// A node that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegisteredNode {
    pub node: String,
    /// The account it belongs to.
    pub owner: String,
}

/// What a node has to offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeProfile {
    /// 1 to 64 printable characters.
    pub name: String,
    pub cpu_cores: u32,
    /// Memory for runs, in MiB.
    pub memory_mib: u32,
    /// Room for inputs and outputs, in MiB.
    pub storage_mib: u32,
    /// Runs at once; 1 to 256.
    pub slots: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuProfile>,
    /// The deterministic runtime profile, such as `det/1`.
    pub runtime: String,
    /// Fuel that a run burns on it, in millions a second, as a probe measured it. Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mfuel_s: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Absent: the node did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<NodeConfinement>,
}

/// How much of a part of the confinement of executor processes is in force on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wall {
    /// All of it.
    Full,
    /// What the node's kernel can.
    Partly,
    /// Nothing.
    None,
}

/// What keeps a run that broke out of WebAssembly from the rest of the node, as the node says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfinement {
    /// Which system calls are left.
    pub seccomp: Wall,
    /// Which files and sockets are in reach.
    pub landlock: Wall,
    /// Whether they are without capabilities. Absent: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Wall>,
    /// Limits of the system: open files, sizes of files, locked memory, priorities. Absent: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<Wall>,
    /// Whether guests' memories come from a pool that is wiped between runs. Absent: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled: Option<bool>,
    /// Of executors with a GPU, which can reach its driver. Absent: there are none, or it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuConfinement>,
}

/// The same of executors with a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuConfinement {
    /// Which system calls are left.
    pub seccomp: Wall,
    /// Which files and sockets are in reach.
    pub landlock: Wall,
    /// Whether they are without capabilities.
    pub capabilities: Wall,
    /// Limits of the system.
    pub resource_limits: Wall,
}

/// A node's GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuProfile {
    /// The adapter's name, as the driver gives it.
    pub adapter: String,
    /// Adapter, driver, library versions and probe outputs in one word.
    pub class: String,
    /// In MiB.
    pub memory_mib: u32,
    /// The largest buffer, in MiB. Absent: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_mib: Option<u32>,
    pub features: Vec<String>,
    /// Runs on the CPU.
    pub software: bool,
    /// Class `n` of arithmetic throughput is from 4^(n-1) to 4^n f32 GFLOP/s, class 0 all below 1, as a probe measured it.
    /// Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<u8>,
}

/// A node as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    pub id: String,
    pub owner: String,
    pub public_key: String,
    pub profile: NodeProfile,
    /// `online` or `offline`.
    pub availability: String,
    /// `working`, `draining`, `leaving`, `left` or `revoked`.
    pub standing: String,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing_reason: Option<String>,
    /// It gets nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspension>,
    pub terms: NodeTerms,
    pub speed: NodeSpeed,
    /// Absent where it has no GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<NodeCompute>,
    /// Assignments that hold a slot.
    pub active: Vec<String>,
    /// Runs at once that it is given: its slots, as far as it has shown that it has them; in lists as it is when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_at_once: Option<u32>,
    /// Where it gets nothing new because it is kept free for a task that needs the room of several runs: until when at the latest. For which
    /// task is not told. In lists as it is when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_free_until: Option<String>,
    /// What it pledged; in lists as it is when they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stake: Option<NodeStake>,
    /// Of the assignments with a sealed result whose shares have not matured, the newest: at most [`SEALED_SHOWN_MAX`], newest first.
    pub sealed: Vec<String>,
    /// How many such assignments there are.
    #[serde(default)]
    pub sealed_count: u64,
    /// Shares of settlements so far, in micro-AEV.
    pub earned: String,
    /// By task type.
    pub records: BTreeMap<String, NodeRecord>,
    pub registered_at: String,
}

/// Sealed results that are named of one node; a busy one has thousands until they mature.
pub const SEALED_SHOWN_MAX: usize = 10;

/// The caller's nodes; all nodes with the scope `audit` or `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeList {
    pub nodes: Vec<Node>,
    /// Give this as `after` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Asks for work. `POST /v1/node/leases`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The most leases to hand out now; 0 to 256. With 0, and with `stopping`, the answer brings directives alone.
    pub max: u32,
    /// How long to wait for something to say, in ms; at most 30,000.
    #[serde(default)]
    pub wait_ms: u32,
    /// The assignments that the node has and still listens for. Leave out what it was told to reveal or to stop:
    /// one that stands here and is due to be revealed or stopped ends the wait at once.
    #[serde(default)]
    pub holding: Vec<String>,
    /// The node is about to stop: it counts as offline, and gets nothing more, until it asks without this. What is leased to it and neither
    /// started nor named in `holding` (an answer was lost, or it was placed just before) is given back at once, as by
    /// `POST /v1/node/assignments/{id}/return`.
    #[serde(default)]
    pub stopping: bool,
    /// The last challenge that it was told, so that it is not told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// New leases, and what to do with assignments named in `holding`. Both may be empty: ask again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Leases {
    pub leases: Vec<Lease>,
    /// Only reveals and stops.
    pub directives: Vec<Directive>,
    /// How the node stands. A node obeys it: it takes no work unless it is `working`.
    #[serde(default)]
    pub standing: NodeStanding,
    /// The node is to show how fast its GPU is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Challenge>,
}

/// How a node stands with its operator and the market's administrators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeStanding {
    /// `working`, `draining`, `leaving`, `left` or `revoked`.
    pub standing: String,
    /// Why it, or its owner, is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    pub terms: NodeTerms,
}

/// One assignment with everything needed to run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    pub assignment: String,
    pub task: String,
    /// `training`, `inference`, `evaluation` or `data-processing`.
    pub task_type: String,
    /// Whose task it is, for keeping requesters apart on the node: the same for all tasks of one requester on this node, and
    /// another one on every other node. Empty where the server does not say.
    #[serde(default)]
    pub tenant: String,
    /// From `GET /v1/node/assignments/{id}/module`.
    pub module: BlobRef,
    /// Memory that compiling the module takes at most, in MiB: until the run starts the lease holds so much of the node, where its run takes
    /// less.
    #[serde(default = "compile_unmeasured")]
    pub compile_mib: u32,
    /// Storage that the lease holds beside inputs and outputs, in MiB: for the module, its compiled form and the run's checkpoints.
    #[serde(default = "reserve")]
    pub reserve_mib: u32,
    /// What the compiled form takes of that, in MiB; 0 where nobody measured it.
    #[serde(default)]
    pub code_mib: u32,
    /// How the module is run: [`RUNTIME_REPRODUCIBLE`], or [`RUNTIME_FAST`] where the requester asks for it.
    #[serde(default = "reproducible")]
    pub runtime: String,
    /// JSON text, the same bytes for every replica.
    pub params: String,
    pub seed: String,
    /// From `GET /v1/node/assignments/{id}/inputs/{name}`.
    pub inputs: Vec<Artifact>,
    pub limits: Limits,
    /// Present: the module may use the GPU interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuNeed>,
    /// Resume from this one, from `GET /v1/node/assignments/{id}/checkpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<BlobRef>,
    /// A checkpoint that the run may make on its way: if it does, bring this one, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<BlobRef>,
    /// What an accepted result earns. Absent where the server does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay: Option<Pay>,
    /// The run compares others' results, which stay closed: it brings its inline result and nothing else. No output, metric, note, log line
    /// or checkpoint of it is told or taken, and of what it used its fuel alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub word_only: bool,
    /// Without a heartbeat for this long the lease is lost; send one each third of it.
    pub lease_ms: u32,
    /// Start within this time.
    pub accept_ms: u32,
    /// Reveal within this time once told to.
    pub reveal_ms: u32,
}

/// What a server kept for it that did not say.
fn compile_unmeasured() -> u32 {
    1_024
}

/// What nodes kept for a server that did not say.
fn reserve() -> u32 {
    64
}

fn reproducible() -> String {
    RUNTIME_REPRODUCIBLE.to_owned()
}

/// What an accepted result earns, in micro-AEV, and by when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pay {
    /// In time; the most that it can earn, where that goes by what it uses.
    pub price: String,
    /// From the lease to the commitment: what takes longer earns `late_price`, and counts as a bad outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<u32>,
    /// The least that an accepted result earns.
    pub late_price: String,
    /// When the task is over; a run that is under way then earns by its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// Bounds of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// In wasmtime fuel units.
    pub fuel: String,
    /// Linear memory, in MiB.
    pub memory_mib: u32,
    /// Wall time of the run alone, in s.
    pub runtime_s: u32,
    /// Sum of the outputs, in MiB.
    pub output_mib: u32,
}

/// What the run may use of the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GpuNeed {
    /// Memory budget of the run, in MiB.
    pub memory_mib: u32,
    /// The largest buffer that it makes, in MiB; what any GPU can make where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_mib: Option<u32>,
    pub features: Vec<String>,
}

/// What the node shall do with each assignment it named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Directives {
    pub directives: Vec<Directive>,
}

/// What to do with one assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Directive {
    pub assignment: String,
    #[serde(flatten)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// Run on, or wait for the round to close.
    Continue,
    /// All replicas have committed: send the reveal.
    Reveal,
    /// Drop the assignment and what it holds.
    Stop { reason: StopReason },
}

/// Why an assignment is over for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// Revealed, or the task has its verdict.
    Done,
    /// The task ended without it: cancelled, expired or failed.
    Withdrawn,
    /// The lease ran out, or the node reported a failure or gave it back.
    LeaseEnded,
    /// This node has no such assignment.
    Unknown,
}

/// Seals a result. `POST /v1/node/assignments/{id}/commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// [`Report::commitment`] in hex.
    pub commitment: String,
    /// Ed25519 signature over [`crate::commit_message`], in hex.
    pub signature: String,
}

/// Opens a sealed result. `POST /v1/node/assignments/{id}/reveal`; outputs must have been uploaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    pub report: Report,
    /// The inline result, any JSON value.
    pub result: Value,
}

/// Gives up an assignment. `POST /v1/node/assignments/{id}/fail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// `guest-error`, `trap`, `limit`, `host-error`, or before its start `not-compiled`.
    pub class: String,
    /// At most 400 characters are kept.
    pub message: String,
}

/// A checkpoint that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkpointed {
    pub checkpoint: BlobRef,
}

//! What commands carry.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    amount::Amount,
    content::{Access, Contributor},
    digest::Digest,
    ids::{AccountId, ContentId, NodeId, TaskId},
    report::{Artifact, BlobRef, NodeKey},
};

/// Opens an account together with its first key.
#[derive(Debug, Clone, Serialize)]
pub struct OpenAccount {
    pub name: String,
    /// SHA-256 of the first key's secret.
    pub key_hash: Digest,
    pub scopes: Vec<Scope>,
}

/// Adds an API key; the secret itself is never told to the machine.
#[derive(Debug, Clone, Serialize)]
pub struct AddKey {
    pub account: AccountId,
    pub label: String,
    pub hash: Digest,
    pub scopes: Vec<Scope>,
}

/// What an API key may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Scope {
    /// Read the account's own objects.
    #[serde(rename = "read")]
    Read,
    #[serde(rename = "tasks:write")]
    TasksWrite,
    #[serde(rename = "contents:write")]
    ContentsWrite,
    /// Issue join tokens for nodes.
    #[serde(rename = "nodes:write")]
    NodesWrite,
    /// Manage the account's keys.
    #[serde(rename = "keys:write")]
    KeysWrite,
    /// Act as the node that the key is bound to.
    #[serde(rename = "node")]
    Node,
    /// Read the whole log.
    #[serde(rename = "audit")]
    Audit,
    /// Open accounts, deposit, adopt policies.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Its public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::TasksWrite => "tasks:write",
            Self::ContentsWrite => "contents:write",
            Self::NodesWrite => "nodes:write",
            Self::KeysWrite => "keys:write",
            Self::Node => "node",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }

    /// What an account's own first key gets.
    pub const OWNER: [Self; 5] = [
        Self::Read,
        Self::TasksWrite,
        Self::ContentsWrite,
        Self::NodesWrite,
        Self::KeysWrite,
    ];
}

/// The least memory that a node keeps for compiling a module, in MiB: what compilers really take is for whoever measures it.
pub const COMPILE_MIB_MIN: u32 = 1;
/// The most, in MiB: nodes give no compiler more.
pub const COMPILE_MIB_MAX: u32 = 4_096;
/// What nodes kept for a module that was registered before anybody measured it, in MiB.
pub const COMPILE_MIB_UNMEASURED: u32 = 1_024;

/// Registers an uploaded and inspected module.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterModule {
    pub owner: AccountId,
    pub name: String,
    pub blob: BlobRef,
    pub world: World,
    pub imports: Vec<String>,
    /// Memory that a node needs to compile it, in MiB, as measured when it was judged.
    pub compile_mib: u32,
}

/// The world of the guest interface that a module fits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    Task,
    Check,
    Comparator,
}

impl World {
    /// Its public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Check => "check",
            Self::Comparator => "comparator",
        }
    }
}

/// Registers a dataset or a model version.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterContent {
    pub owner: AccountId,
    pub kind: ContentKind,
    pub name: String,
    pub version: String,
    /// Blobs that the owner uploaded.
    pub files: Vec<Artifact>,
    pub licence: String,
    /// Part of a task's content share relative to the task's other contents; 1 to 1,000.
    pub weight: u32,
    /// What each task that uses it pays for that, in micro-AEV.
    pub price: Amount,
    pub access: Access,
    /// Who earns by it; its owner alone where nobody is named.
    pub contributors: Vec<Contributor>,
}

/// What a content is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ContentKind {
    Dataset,
    Model,
}

/// Where a model that a task made comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    pub task: TaskId,
    /// The model that it started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ContentId>,
    /// Contents used by the task and by the tasks it depends on.
    pub contents: Vec<ContentId>,
    pub tasks: Vec<TaskId>,
    /// The nodes whose result was accepted.
    pub nodes: Vec<NodeId>,
}

/// Joins a node to the account that a token is bound to.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterNode {
    pub token_hash: Digest,
    pub public_key: NodeKey,
    /// SHA-256 of the secret of the API key that the node will use.
    pub key_hash: Digest,
    pub profile: NodeProfile,
}

/// What a node has to offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeProfile {
    /// At most 64 characters.
    pub name: String,
    pub cpu_cores: u32,
    /// Memory for runs, in MiB.
    pub memory_mib: u32,
    /// Room for inputs and outputs, in MiB.
    pub storage_mib: u32,
    /// How many runs at once; 1 to 256.
    pub slots: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuProfile>,
    /// The deterministic runtime profile it runs, such as `det/1`.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuProfile {
    /// The adapter's name, as the driver gives it.
    pub adapter: String,
    /// Adapter, driver, library versions and probe outputs in one word; results compare bitwise within it.
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

/// What an administrator can suspend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    Account(AccountId),
    Node(NodeId),
    Content(ContentId),
    Module(Digest),
}

/// Whether a node takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    Online,
    Offline,
}

/// Why a run did not end well.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The module returned an error.
    GuestError,
    /// The module trapped.
    Trap,
    /// The module passed one of its limits.
    Limit,
    /// The node could not run it: fetching, disk, GPU, the executor itself.
    HostError,
    /// The node could not compile the module, which was compiled when it was uploaded: it is slower, or its compiler takes more.
    NotCompiled,
}

impl FailureClass {
    /// Whether the module, rather than the node, is to blame as far as the node says.
    pub fn blames_module(self) -> bool {
        match self {
            Self::GuestError | Self::Trap | Self::Limit => true,
            Self::HostError | Self::NotCompiled => false,
        }
    }

    /// Whether the node takes the fault on itself. That it can't compile a module is nobody's.
    pub fn blames_node(self) -> bool {
        match self {
            Self::HostError => true,
            Self::GuestError | Self::Trap | Self::Limit | Self::NotCompiled => false,
        }
    }
}

/// Why a lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LossReason {
    /// The node never started it.
    NotStarted,
    /// The node's heartbeats stopped.
    Silent,
    /// The node was revoked.
    Revoked,
    /// It sealed a result and did not reveal it in time.
    NotRevealed,
}

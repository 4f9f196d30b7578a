//! What a requester asks for: the task definition (`schemas/task.v1.json` is generated from these types).

use std::collections::BTreeMap;

use aevir_events::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use pricing::{Metered, Pricing, Used};
pub use verification::{
    Bound, Comparator, Method, Numbers, Sampling, Tolerance, VerifierModule, Verifiers,
};

mod pricing;
mod verification;

use crate::{
    amount::{Amount, Count, Ppm},
    content::Access,
    digest::Digest,
    hexbytes::Hex,
    ids::{ContentId, TaskId},
    json::Json,
};

/// The four kinds of work of the platform's mission.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TaskType {
    Training,
    Inference,
    Evaluation,
    DataProcessing,
}

impl TaskType {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [
        Self::Training,
        Self::Inference,
        Self::Evaluation,
        Self::DataProcessing,
    ];
}

/// A task as its requester defines it. Unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskDefinition {
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// SHA-256 of a registered module that fits the world `task`.
    pub module: Digest,
    /// Handed to the module as JSON text; at most 16 KiB.
    #[serde(default)]
    pub params: Json,
    /// Seed of the run's only randomness; drawn by the platform when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Count>,
    /// Goes into every draw of a node for the task, so that its requester need not trust the platform's randomness; drawn by
    /// the platform when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Hex<32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// Inputs from contents, uploaded blobs or small inline text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataInput>,
    /// Outputs of other tasks of the same requester as inputs; the task is queued once all of them settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    #[serde(default)]
    pub qos: Qos,
    #[serde(default)]
    pub limits: Limits,
    pub economics: Economics,
    /// All of them must pass. Empty: one node's word is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verification: Vec<Method>,
    #[serde(default)]
    pub privacy: Privacy,
    #[serde(default)]
    pub retry: Retry,
    /// The requester's own notes: at most 16, keys and values of at most 64 characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How the module is run. Nodes see it with their lease, so that it must not tell whether anybody compares: it goes by what is asked for
    /// here, and not by `verification`.
    #[serde(default, skip_serializing_if = "Runtime::is_reproducible")]
    pub runtime: Runtime,
}

/// A runtime profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Runtime {
    /// The same module, input and seed give the same bytes and the same fuel on every machine, so that any run can be repeated by anybody.
    #[default]
    #[serde(rename = "det/1")]
    Reproducible,
    /// Floating point as the processor has it. Whoever asks for it tells the node that nobody compares bit by bit.
    #[serde(rename = "fast/1")]
    Fast,
}

impl Runtime {
    /// Its public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reproducible => "det/1",
            Self::Fast => "fast/1",
        }
    }

    /// Whether runs can be compared bit by bit.
    pub fn is_reproducible(&self) -> bool {
        match self {
            Self::Reproducible => true,
            Self::Fast => false,
        }
    }
}

/// The model that a task starts from and the one it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A registered model; its files become inputs under their own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ContentId>,
    /// Registered with its lineage when the task settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetModel>,
}

/// The model version that a settled task registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetModel {
    /// At most 64 characters.
    pub name: String,
    /// At most 64 characters.
    pub version: String,
    /// Which of the task's outputs are the model's files.
    pub outputs: Vec<String>,
    /// An SPDX expression, or `sha256:` and the digest of the licence's text.
    pub licence: String,
    /// What each task that uses the model pays for that, in micro-AEV.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub price: Amount,
    /// Who may use the model.
    #[serde(default, skip_serializing_if = "Access::is_open")]
    pub access: Access,
}

/// One named input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataInput {
    /// The name under which the module opens it: `[A-Za-z0-9._-]{1,64}`.
    pub name: String,
    pub from: DataSource,
}

/// Where an input's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataSource {
    /// A file of a registered dataset or model.
    Content {
        id: ContentId,
        /// May be left out where the content has one file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A blob that the requester uploaded.
    Blob(Digest),
    /// Small text, at most 16 KiB. The log records its digest only.
    Inline(String),
}

/// An output of another task as an input of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub task: TaskId,
    /// The other task's output. Left out: only the order matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The input's name here; the output's name when absent.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

impl Dependency {
    /// The name of the input it becomes, where it becomes one.
    pub fn input_name(&self) -> Option<&str> {
        self.input.as_deref().or(self.output.as_deref())
    }
}

/// What the task needs of a node, and by when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Qos {
    /// From queued to verified, in ms. Missing it is recorded and counted against the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<u32>,
    /// The task expires when its results are not sealed by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Timestamp>,
    /// Present: the module may use the GPU interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuNeed>,
    /// Labels that the node's operator must have set, each equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels of which the node must have one of the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_any: BTreeMap<String, Vec<String>>,
    /// Labels of which the node must have none of the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_not: BTreeMap<String, Vec<String>>,
    /// Cores that the run takes of the node: one where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<u32>,
    /// Fuel that the node burns at least, in millions a second, as measured. A node of unknown speed does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_mfuel_s: Option<u32>,
    /// What the run is expected to burn; with `max_latency_ms`, nodes that are fast enough for it are preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_fuel: Option<Count>,
    /// Which of the requester's own tasks come first: the higher, up to the policy's `priority_max`. It does not change the
    /// requester's share.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
}

fn is_zero(priority: &u32) -> bool {
    *priority == 0
}

/// What a task may ask of a GPU beyond WebGPU's portable defaults: WebGPU's own features, and steps of larger limits. A node's profile
/// names those that its GPU has.
pub const GPU_FEATURES: [&str; 5] = [
    "shader-f16",
    "subgroups",
    "large-buffers",
    "large-workgroups",
    "many-buffers",
];

/// What the task needs of a GPU.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct GpuNeed {
    /// GPU memory budget of the run, in MiB.
    #[serde(default = "default_gpu_memory_mib")]
    pub memory_mib: u32,
    /// `shader-f16`, `subgroups`, `large-buffers`, `large-workgroups` or `many-buffers`: what the GPU must have beyond WebGPU's portable defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The largest buffer that it must be able to make, in MiB. A GPU of which this is not known does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_mib: Option<u32>,
    /// Least class of arithmetic throughput, as nodes measure it: class n is from 4^(n-1) to 4^n f32 GFLOP/s. A GPU that was
    /// not measured does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_compute: Option<u8>,
    /// Hardware classes of which the node's GPU must be one. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

fn default_gpu_memory_mib() -> u32 {
    256
}

/// Bounds of one run. A run that passes one ends with the class `limit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Instructions, in wasmtime fuel units.
    pub fuel: Count,
    /// Linear memory, in MiB.
    pub memory_mib: u32,
    /// Wall time of the run alone, fetching and compiling apart, in s.
    pub runtime_s: u32,
    /// Sum of the outputs, in MiB.
    pub output_mib: u32,
}

impl Default for Limits {
    /// Ten minutes, 256 MiB of memory and of output, and fuel for about as long.
    fn default() -> Self {
        Self {
            fuel: Count(1_000_000_000_000),
            memory_mib: 256,
            runtime_s: 600,
            output_mib: 256,
        }
    }
}

/// What the requester pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Economics {
    /// The most that this task may ever cost, all shares and replicas included.
    pub budget: Amount,
    pub pricing: Pricing,
    /// The most that using its contents may cost, all together: one that costs more by the time of the submission is refused, whatever
    /// the budget leaves. A quote says what they cost. Absent: as much as the budget leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents_max: Option<Amount>,
    /// What comes back when `max_latency_ms` is missed: this part of the price of each replica whose node took longer, or of the
    /// platform's share where no node did and the task waited. Nodes see it with their lease.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    pub late_refund_ppm: Ppm,
}

fn is_none_of_it(part: &Ppm) -> bool {
    *part == 0
}

/// How much of the result the log shows. The requester reads all of it in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    #[serde(default)]
    pub publish: Publish,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            publish: Publish::Digest,
        }
    }
}

/// The part of the inline result that goes into the log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Publish {
    #[default]
    Digest,
    /// The values at these JSON pointers.
    Pointers(Vec<String>),
    Full,
}

/// What happens after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Failed or lost assignments after which the task fails; 1 to 16.
    pub max_attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 3 }
    }
}

impl TaskDefinition {
    /// Whether results of two runs are compared bit by bit, so that runs must be reproducible.
    pub(crate) fn must_be_reproducible(&self) -> bool {
        self.verification.iter().any(|method| match method {
            Method::Sampling(sampling) => sampling.comparator.is_bitwise(),
            // Who runs it again compares, too; a check's own run is always reproducible.
            Method::Attestation { .. } => true,
            Method::Check { .. } => false,
        })
    }

    /// The sampling terms; those of a single replica where the task names none.
    pub fn sampling(&self) -> &Sampling {
        static NONE: Sampling = Sampling::NONE;
        self.verification
            .iter()
            .find_map(|m| match m {
                Method::Sampling(s) => Some(s),
                Method::Check { .. } | Method::Attestation { .. } => None,
            })
            .unwrap_or(&NONE)
    }

    /// The methods that ask for verifiers, with their places among all.
    pub fn inspections(&self) -> impl Iterator<Item = (u32, &Method, Verifiers)> {
        let methods = (0u32..).zip(&self.verification);
        methods.filter_map(|(at, method)| Some((at, method, method.verifiers()?)))
    }

    /// The modules that check its result.
    pub fn check_modules(&self) -> impl Iterator<Item = (usize, &VerifierModule)> {
        let methods = self.verification.iter().enumerate();
        methods.filter_map(|(at, method)| match method {
            Method::Check { module, .. } => Some((at, module.as_deref()?)),
            Method::Sampling(_) | Method::Attestation { .. } => None,
        })
    }

    /// What a replica of this price earns for certain: the price, less what a late one gives back where a late one is possible.
    pub fn certain_pay(&self, price: Amount) -> Amount {
        price.less(self.late_ppm())
    }

    /// What a replica earns for certain, before it is known which node it goes to: what a node's ask is held against.
    pub fn least_pay(&self) -> Amount {
        self.certain_pay(self.economics.pricing.least_price())
    }

    /// The price at which a node with such an ask takes a replica: the least of which the ask is certain to be left. Only where the
    /// task pays what nodes ask.
    pub fn asked_price(&self, ask: Amount) -> Option<Amount> {
        match &self.economics.pricing {
            Pricing::Ask { .. } => Some(ask.grossed_up(self.late_ppm())),
            Pricing::Fixed { .. } | Pricing::Metered(_) => None,
        }
    }

    fn late_ppm(&self) -> Ppm {
        match self.qos.max_latency_ms {
            Some(_) => self.economics.late_refund_ppm,
            None => 0,
        }
    }

    /// The contents that it uses, each once, in the order of their ids.
    pub fn contents(&self) -> Vec<ContentId> {
        let data = self.data.iter().filter_map(|d| match &d.from {
            DataSource::Content { id, .. } => Some(*id),
            DataSource::Blob(_) | DataSource::Inline(_) => None,
        });
        let base = self.model.iter().filter_map(|m| m.base);
        let mut all: Vec<_> = data.chain(base).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Its inline inputs, which become blobs of the requester.
    pub fn inline_inputs(&self) -> impl Iterator<Item = &str> {
        self.data.iter().filter_map(|d| match &d.from {
            DataSource::Inline(text) => Some(text.as_str()),
            DataSource::Content { .. } | DataSource::Blob(_) => None,
        })
    }

    /// The definition as the log records it: digests in place of inline inputs.
    pub fn without_inline(&self) -> Self {
        let mut sealed = self.clone();
        for input in &mut sealed.data {
            if let DataSource::Inline(text) = &input.from {
                input.from = DataSource::Blob(Digest::of(text.as_bytes()));
            }
        }
        sealed
    }
}

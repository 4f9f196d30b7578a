//! The node agent: it joins a machine to a platform, asks for work, runs it in the sandbox, and proves what it did.
//!
//! Nothing ever connects to a node; it polls. Its loop: ask for leases, fetch what each reads, start it, run it in an
//! executor process, upload the outputs, seal the result with a signed commitment, and reveal it once the platform
//! says that every replica is sealed. A sealed result is on disk before its commitment is sent, so that a node that
//! was killed can still reveal.
//!
//! Must not know: the engine, SQL. The platform's rules are not repeated here; the agent does as it is told.

mod admissible;
mod admission;
mod agent;
mod allowance;
mod cache;
mod card;
mod challenge;
mod checkpoints;
mod config;
mod directive;
mod discard;
mod disk;
mod error;
mod fault;
mod fetch;
mod files;
mod heartbeat;
mod held;
mod identity;
mod join;
mod journal;
mod leasing;
mod memory;
mod offer;
mod probe;
mod profile;
mod report;
mod retry;
mod reveal;
mod rotation;
mod seal;
mod submit;
mod telemetry;
mod terms;
mod work;

pub use admissible::{ENTRIES_MAX, RESULT_BYTES_MAX, RESULT_DEPTH_MAX};
pub use agent::{Ended, run};
pub use cache::{BlobCache, CacheError, Pinned};
pub use config::{GRACE_DEFAULT, GpuOffer, NodeConfig, STORAGE_MIB_DEFAULT};
pub use disk::DiskUsage;
pub use error::NodeError;
pub use fault::{Fault, UnknownFault};
pub use identity::{IdentityError, NodeKey, Registration};
pub use journal::{Journal, Sealed};
pub use memory::offered_memory_mib;
pub use report::refusal;
pub use rotation::{client_of, rotate_key};
pub use terms::TermsChange;

//! Compute on GPUs for code that nobody trusts.
//!
//! This crate turns wgpu (Vulkan only) into something that a stranger's program may drive: every size is bounded, every
//! kernel is parsed, validated and given a **loop budget** before a driver sees it, every object counts against one run's
//! budget, and nothing that a caller passes in can panic the process. It knows nothing of WebAssembly or of tasks.
//!
//! | module | is |
//! |---|---|
//! | [`driver`] | which Vulkan driver to load: hardware, or the software one that was set up for this machine |
//! | [`adapter`] | opening an adapter, its identity and its *class* |
//! | [`probe`] | the kernels that an adapter must compute right before anybody is paid for its answers |
//! | [`speed`] | how fast an adapter is, coarsely, for placing work |
//! | [`limits`], [`features`] | what one run may use, with ceilings; what a task may ask for beyond the portable defaults |
//! | [`kernel`], [`loop_budget`], [`cache`] | WGSL in, a checked pipeline out, once for each device |
//! | [`session`], [`buffer`], [`batch`] | one run: memory, dispatches, readback, metering |
//! | [`pool`] | dropped buffers, zeroed for the next ones of their size |
//! | [`devices`] | the device that a process keeps between runs of one requester |
//! | [`meter`] | what a run used |
//! | [`trace`] | the Merkle root over everything that was dispatched |
//!
//! GPU objects live on the thread that owns the [`Session`]: wgpu's error scopes are thread-local. A device serves one run at a
//! time and one requester ever. When a wait times out, end the process: dropping a hung device can hang for ever (a [`Session`] that is
//! dropped before its work is done leaks its device on purpose; [`Session::finish`] waits).

pub mod adapter;
pub mod batch;
pub mod buffer;
pub mod cache;
pub mod devices;
pub mod driver;
mod encode;
pub mod error;
pub mod features;
pub mod kernel;
pub mod limits;
pub mod loop_budget;
pub mod meter;
pub mod pool;
pub mod probe;
pub mod session;
pub mod speed;
mod timer;
pub mod trace;

pub use adapter::{AdapterInfo, Gpu};
pub use batch::Batch;
pub use buffer::Buffer;
pub use devices::Devices;
pub use driver::{DriverChoice, select_driver};
pub use error::{AdapterError, GpuError};
pub use kernel::{Constant, Kernel};
pub use limits::{DeviceLimits, GpuLimits, LimitTooHigh};
pub use meter::Usage;
pub use session::Session;

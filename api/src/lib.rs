//! The HTTP API over the platform's log: authentication, routes, object storage, and the driver that turns time
//! and silence into commands.
//!
//! A handler parses, asks the machine, and renders; it decides nothing itself. What must not get lost is in the
//! log; what is kept here in memory (lease deadlines, who was seen when, the newest log lines) can be lost at any
//! moment and is rebuilt or simply newer.
//!
//! Must not know: WebAssembly, GPUs. What a module is comes from an injected [`ModuleInspector`].

mod app;
mod auth;
mod convert;
mod driver;
mod error;
mod extract;
mod inspect;
mod judging;
mod listing;
mod live;
pub mod objects;
mod router;
mod routes;
mod schema;
mod server;
mod state_hash;
mod stream;
mod submit;
mod tlog;
pub mod views;

pub use error::{CODES, Code, status_of};
pub use inspect::{InspectError, Inspected, Inspection, ModuleInspector};
pub use router::openapi;
pub use schema::task_schema;
pub use server::{
    Bootstrap, BootstrapError, Config, Limits, Publishing, RunningServer, Server, StartError,
};

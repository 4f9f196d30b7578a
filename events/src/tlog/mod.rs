//! The log as a transparency log that anybody's tools can check: C2SP tlog-tiles, checkpoints, proofs, receipts.
//!
//! ```text
//!   Log (database) --Publisher--> tiles and entry bundles --> checkpoints table --> checkpoint    (TileStore)
//!                                       |
//!                                   TileReader --> inclusion and consistency proofs --> Receipt
//! ```
//!
//! Formats: <https://c2sp.org/tlog-tiles>, <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>,
//! <https://c2sp.org/tlog-proof>, RFC 6962. Knows nothing of what an entry says, nor of HTTP, files or buckets.
//!
//! Readers need [`TileSource`], [`VerifierKey`], [`Checkpoint`], [`verify_inclusion`], [`verify_consistency`] and
//! [`Receipt`]; what writes is [`Publisher`] alone.

mod builder;
mod bundle;
mod checkpoint;
mod key;
mod path;
mod proof;
mod publisher;
mod reader;
mod receipt;
mod store;
mod table;

pub use builder::{Tile, TileBuilder};
pub use bundle::{BundleError, decode_bundle};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use key::{KeyError, LogKey, VerifierKey};
pub use path::{BadTilePath, TILE_WIDTH, TileKind, TilePath};
pub use proof::{PROOF_HASHES_MAX, ProofError, verify_consistency, verify_inclusion};
pub use publisher::{
    PublishError, PublishNowError, Publisher, PublisherConfig, PublisherHandle, PublisherState,
    PublisherStatus,
};
pub use reader::{ReadError, TileReader};
pub use receipt::{TlogProof, TlogProofError};
pub use store::{TileSource, TileStore, TileStoreError};
pub(crate) use table::CHECKPOINTS_KEPT;
pub use table::{CheckpointRow, CheckpointTable};

#[cfg(test)]
mod tests;

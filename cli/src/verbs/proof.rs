//! `aevir log key|checkpoint|prove|consistency`: what the log's key has signed, and what follows from it.
//!
//! Every answer of the server is verified before it is shown, and held against what is known of its log.

use aevir_events::{
    Hash,
    merkle::leaf_hash,
    tlog::{TlogProof, VerifierKey, verify_consistency, verify_inclusion},
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::{args::Global, output::print, pin::Known};

#[derive(Debug, Subcommand)]
pub(crate) enum ProofVerb {
    /// Show the log's public key, which is pinned at the first contact.
    Key(Pin),
    /// Show the newest signed checkpoint, checked against the last one seen here.
    Checkpoint {
        /// One that covers so many entries.
        #[arg(long)]
        min_size: Option<u64>,
        #[command(flatten)]
        pin: Pin,
    },
    /// Prove that the entry at a position is in the log (scope `audit`).
    Prove {
        position: u64,
        /// In the tree of so many entries, instead of the newest checkpoint's.
        #[arg(long)]
        size: Option<u64>,
        #[command(flatten)]
        pin: Pin,
    },
    /// Prove that the log of so many entries is the beginning of a later one.
    Consistency {
        from: u64,
        to: u64,
        #[command(flatten)]
        pin: Pin,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Pin {
    /// The log's public key, as in `log.pub`; known from the first contact where it is left out.
    #[arg(long, env = "AEVIR_LOG_VKEY", value_name = "VKEY")]
    log_key: Option<VerifierKey>,
}

pub(crate) async fn run(verb: ProofVerb, global: &Global) -> Result<()> {
    match verb {
        ProofVerb::Key(pin) => {
            // Everybody's to see.
            let client = global.client()?;
            let known = Known::meet(&client, pin.log_key.as_ref()).await?;
            let key = known.key();
            let document = serde_json::json!({"origin": key.origin(), "key": key.to_string()});
            print(global.output, &document, || key.to_string())
        }
        ProofVerb::Checkpoint { min_size, pin } => {
            let client = global.keyed_client()?;
            let mut known = Known::meet(&client, pin.log_key.as_ref()).await?;
            let checkpoint = client.log_checkpoint(min_size).await?;
            known.see(&client, &checkpoint.note).await?;
            print(global.output, &checkpoint, || {
                checkpoint.note.trim_end().to_owned()
            })
        }
        ProofVerb::Prove {
            position,
            size,
            pin,
        } => prove(position, size, &pin, global).await,
        ProofVerb::Consistency { from, to, pin } => consistency((from, to), &pin, global).await,
    }
}

/// Checks the proof that the server gives before it is shown. The entry's own bytes are needed for what it proves to
/// be checked; who may read them checks their hash too.
async fn prove(position: u64, size: Option<u64>, pin: &Pin, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    let mut known = Known::meet(&client, pin.log_key.as_ref()).await?;
    let proof = client.log_inclusion(position, size).await?;
    let checkpoint = known.see(&client, &proof.checkpoint.note).await?;
    let (size, root) = (proof.size.parse()?, proof.root.parse()?);
    let (hashes, more) = (hashes(&proof.hashes)?, hashes(&proof.consistency)?);
    verify_consistency((size, root), (checkpoint.size, checkpoint.root), &more)
        .context("the server's tree is not the checkpoint's")?;
    let mut entries = client.events(position, Some(1), false).await?;
    let entry = entries
        .next_line()
        .await
        .context("the server sent no entry")??;
    verify_inclusion(position, size, leaf_hash(&entry), &hashes, root)?;
    let text = TlogProof {
        extra: None,
        index: position,
        hashes,
        checkpoint: proof.checkpoint.note.clone(),
    };
    print(global.output, &proof, || match size == checkpoint.size {
        true => text.to_string().trim_end().to_owned(),
        false => format!(
            "entry {position} is in the tree of {size} entries with the root {root}, which the checkpoint of {} \
             entries continues",
            checkpoint.size
        ),
    })
}

async fn consistency((from, to): (u64, u64), pin: &Pin, global: &Global) -> Result<()> {
    let client = global.keyed_client()?;
    let mut known = Known::meet(&client, pin.log_key.as_ref()).await?;
    let proof = client.log_consistency(from, to).await?;
    let (from_root, to_root) = (proof.from_root.parse()?, proof.to_root.parse()?);
    verify_consistency((from, from_root), (to, to_root), &hashes(&proof.hashes)?)?;
    // The later tree in turn must be a beginning of what the log's key has signed.
    let shown = client.log_checkpoint(Some(to)).await?;
    let checkpoint = known.see(&client, &shown.note).await?;
    let rest = client.log_consistency(to, checkpoint.size).await?;
    let rest = hashes(&rest.hashes)?;
    verify_consistency((to, to_root), (checkpoint.size, checkpoint.root), &rest)?;
    print(global.output, &proof, || {
        format!(
            "the log of {from} entries ({from_root}) is the beginning of that of {to} ({to_root}), and that of the \
             checkpoint of {} entries",
            checkpoint.size
        )
    })
}

fn hashes(texts: &[String]) -> Result<Vec<Hash>> {
    let hashes = texts.iter().map(|text| text.parse());
    hashes
        .collect::<Result<_, _>>()
        .context("the server's proof is no list of hashes")
}

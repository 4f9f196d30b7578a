//! What this machine knows of logs: the key that each server showed first, and the newest checkpoint seen.
//!
//! A server that shows another key, an older log or one that does not continue what was seen is an alarm. One file
//! for each server's address, like SSH's known hosts.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use aevir_events::tlog::{Checkpoint, VerifierKey, verify_consistency};
use aevir_wire::{Client, digest};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::secrets;

/// Names the folder, where it is not the user's configuration.
const FOLDER: &str = "AEVIR_KNOWN_LOGS";

/// One file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    server: String,
    /// The log's public key.
    key: String,
    /// The newest checkpoint seen, as a signed note.
    checkpoint: Option<String>,
}

/// A server's log as it is known here.
#[derive(Debug)]
pub(crate) struct Known {
    file: PathBuf,
    server: String,
    key: VerifierKey,
    checkpoint: Option<Checkpoint>,
}

impl Known {
    /// Asks the server for its log's key, and holds it against what is known or `given`.
    ///
    /// # Errors
    /// When the key is another one.
    pub(crate) async fn meet(client: &Client, given: Option<&VerifierKey>) -> Result<Self> {
        Self::meet_in(&folder()?, client, given).await
    }

    async fn meet_in(folder: &Path, client: &Client, given: Option<&VerifierKey>) -> Result<Self> {
        let server = client.base_url().to_owned();
        let file = folder.join(format!("{}.json", &digest(server.as_bytes())[..16]));
        let shown: VerifierKey = client.log_key().await?.key.parse()?;
        if let Some(given) = given
            && *given != shown
        {
            bail!(
                "the server's log has the key\n  {shown}\nand not the one that you gave\n  {given}"
            );
        }
        let known = match read(&file)? {
            Some(record) => {
                let key: VerifierKey = record.key.parse()?;
                if key != shown {
                    bail!(
                        "THE LOG'S KEY HAS CHANGED. {server} shows\n  {shown}\nand was known by\n  {key}\nSomebody may be \
                         between, or the platform was set up anew. If you know that it was, remove `{}`",
                        file.display()
                    );
                }
                let checkpoint = record
                    .checkpoint
                    .map(|note| Checkpoint::open(note.as_bytes(), &key));
                let checkpoint = checkpoint.transpose().with_context(|| damaged(&file))?;
                Self {
                    file,
                    server,
                    key,
                    checkpoint,
                }
            }
            None => {
                let known = Self {
                    file,
                    server,
                    key: shown,
                    checkpoint: None,
                };
                known.write()?;
                known
            }
        };
        Ok(known)
    }

    /// The log's public key.
    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Reads a checkpoint that the server shows, holds it against the newest one seen, and remembers it.
    ///
    /// # Errors
    /// When it is not signed by the log's key, or the log was cut or rewritten since.
    pub(crate) async fn see(&mut self, client: &Client, note: &str) -> Result<Checkpoint> {
        let new = Checkpoint::open(note.as_bytes(), &self.key)?;
        if let Some(old) = &self.checkpoint {
            let alarm = |what: String| {
                format!(
                    "{what}. Keep `{}`: its checkpoint is signed by the log's own key, and with the new one it proves \
                     that the log was cut or rewritten. The new one:\n{note}",
                    self.file.display()
                )
            };
            if new.size < old.size {
                let sizes = (new.size, old.size);
                bail!(alarm(format!(
                    "ROLLBACK: the log has {} entries, and had {} before",
                    sizes.0, sizes.1
                )));
            }
            let mut proof = Vec::new();
            if new.size > old.size {
                let answered = client.log_consistency(old.size, new.size).await?;
                let hashes = answered.hashes.iter().map(|hash| hash.parse());
                proof = hashes
                    .collect::<Result<_, _>>()
                    .context("the server's proof")?;
            }
            verify_consistency((old.size, old.root), (new.size, new.root), &proof).with_context(
                || {
                    alarm(format!(
                        "FORK: the log does not continue what it was at {} entries",
                        old.size
                    ))
                },
            )?;
        }
        self.checkpoint = Some(new.clone());
        self.write()?;
        Ok(new)
    }

    fn write(&self) -> Result<()> {
        let named = || format!("`{}` can't be written", self.file.display());
        let folder = self.file.parent().with_context(named)?;
        secrets::private_folder(folder).with_context(named)?;
        let record = Record {
            server: self.server.clone(),
            key: self.key.to_string(),
            checkpoint: self.checkpoint.as_ref().map(|c| c.note().to_owned()),
        };
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(named)?;
        writeln!(file, "{}", serde_json::to_string_pretty(&record)?).with_context(named)?;
        file.persist(&self.file).with_context(named)?;
        Ok(())
    }
}

fn read(file: &Path) -> Result<Option<Record>> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| damaged(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("`{}` can't be read", file.display())),
    }
}

fn damaged(file: &Path) -> String {
    format!(
        "`{}` is damaged: what was known of the log is lost with it; restore or remove it",
        file.display()
    )
}

fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Ok(folder.into());
    }
    let config = match std::env::var_os("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()) {
        Some(config) => PathBuf::from(config),
        None => {
            let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty());
            let home = home.with_context(|| {
                format!("there is no home folder to keep the log's key in: set {FOLDER}")
            })?;
            PathBuf::from(home).join(".config")
        }
    };
    Ok(config.join("aevir/known-logs"))
}

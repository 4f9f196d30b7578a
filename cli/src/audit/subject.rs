//! What is audited, and what is known of it from elsewhere: checkpoints, tiles, the live platform's word.

use std::{path::Path, sync::Arc};

use aevir_events::{
    Hash, LogError, LogHead, LogRows,
    tlog::{Checkpoint, CheckpointRow, VerifierKey},
};
use aevir_wire::Client;
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Handle;

use super::{
    AuditArgs, at,
    checks::Mark,
    report::{Finding, Unchecked},
    source::{Chunks, Database, FileLines, Live, RowQueue},
    tiles::Published,
};
use crate::{args::Global, export::beside, pin::Known};

/// The live platform's word on one size of the log.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) state_hash: String,
}

/// An audit's input.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) chunks: Chunks,
    pub(super) bar: ProgressBar,
    /// Show the bar's progress in entries; a file shows its bytes by itself.
    pub(super) counted: bool,
    /// Roots that are known, by size.
    pub(super) marks: Vec<Mark>,
    /// The published log, and how many entries of it to compare.
    pub(super) published: Option<(Published, u64)>,
    pub(super) rows: Option<RowQueue>,
    /// What a database's head says of size and root.
    pub(super) word: Option<Word>,
    /// The moment that is to be shown.
    pub(super) at: Option<at::At>,
    /// What is wrong before any entry is read.
    pub(super) bad: Option<Finding>,
    pub(super) not_checked: Vec<Unchecked>,
    /// Signed checkpoints that were verified.
    pub(super) checkpoints: u64,
    /// Entries that the largest of them covers.
    pub(super) signed_size: u64,
}

impl Subject {
    pub(super) async fn of(args: &AuditArgs, global: &Global) -> Result<Self> {
        let at = args.at.as_deref().map(at::parse).transpose()?;
        let live = args.compare || (args.file.is_none() && args.database.is_none());
        let word = match live {
            true => Some(word(&global.keyed_client()?).await?),
            false => None,
        };
        let mut subject = match (&args.file, &args.database) {
            (Some(file), _) => {
                let origin = args.log_key.as_ref().map(|key| key.origin().to_owned());
                Self::file(file, origin)?
            }
            (None, Some(place)) => Self::database(place, args.log_key.as_ref()).await?,
            (None, None) => Self::live(&global.keyed_client()?, args, word.as_ref()).await?,
        };
        if let Some(word) = &word {
            subject.mark(word.size, word.root, "the live platform".into());
        }
        subject.word = word;
        subject.at = at;
        subject.checkpoints(args)?;
        Ok(subject)
    }

    /// An exported file.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn file(file: &Path, origin: Option<String>) -> Result<Self> {
        let bar = bar("{wide_bar} {bytes}/{total_bytes} {eta}");
        let lines = FileLines::open(file, origin, &bar)?;
        Ok(Self::new(file.display().to_string(), Box::new(lines), bar))
    }

    async fn database(place: &str, key: Option<&VerifierKey>) -> Result<Self> {
        let named = || {
            let shown = place.rsplit('@').next().unwrap_or(place);
            format!("the database `{shown}` can't be read")
        };
        let log = LogRows::open(place).await.with_context(named)?;
        // What is there and says nothing is damage, and no failure to read; the entries are audited all the same.
        let mut bad = None;
        let mut or_bad = |what: &str, error: LogError| match error {
            LogError::Corrupt { reason, .. } => {
                bad.get_or_insert(Finding::somewhere(format!(
                    "the database's {what} is damaged: {reason}"
                )));
                Ok(())
            }
            error @ (LogError::Fenced
            | LogError::Unknown(_)
            | LogError::Unavailable(_)
            | LogError::Migration(_)) => Err(error).with_context(named),
        };
        // Before the head, which may grow meanwhile: none of them can be larger then.
        let checkpoints = match log.checkpoints().await {
            Ok(checkpoints) => checkpoints,
            Err(error) => or_bad("table of checkpoints", error).map(|()| Vec::new())?,
        };
        let head = match log.head().await {
            Ok(head) => Some(head),
            Err(error) => or_bad("log_head", error).map(|()| None)?,
        };
        let queue = RowQueue::default();
        let chunks = Database {
            log,
            size: head.as_ref().map_or(u64::MAX, LogHead::size),
            next: 0,
            queue: Arc::clone(&queue),
            runtime: Handle::current(),
            ended: false,
        };
        let bar = bar("{wide_bar} {pos}/{len} events {per_sec} {eta}");
        let mut subject = Self::new("a database".into(), Box::new(chunks), bar);
        subject.bad = bad;
        subject.counted = true;
        subject.rows = Some(queue);
        if let Some(head) = head {
            subject.bar.set_length(head.size());
            subject.mark(head.size(), head.root, "the database's log_head".into());
            let from_frontier = head.frontier.root();
            subject.mark(
                head.size(),
                from_frontier,
                "the frontier in log_head".into(),
            );
        }
        for row in &checkpoints {
            subject.recorded(row, key);
        }
        subject.not_checked.push(Unchecked {
            what: "idempotency keys, projections and snapshots in the database",
            why: "they are derived, or caches; an audit reads the log".into(),
        });
        Ok(subject)
    }

    /// Takes a row of the table of signed checkpoints: without the key, only what it says of the root.
    fn recorded(&mut self, row: &CheckpointRow, key: Option<&VerifierKey>) {
        let size = row.size;
        let name = format!("the database's signed checkpoint of {size} entries");
        let Some(key) = key else {
            return self.mark(size, row.root, name);
        };
        let flaw = match Checkpoint::open(row.note.as_bytes(), key) {
            Ok(note) if (note.size, note.root) == (size, row.root) => {
                return self.signed(&note, &name);
            }
            Ok(note) => format!("its note says {} entries and root {}", note.size, note.root),
            Err(error) => error.to_string(),
        };
        let finding = Finding::somewhere(format!("{name} is bad: {flaw}"));
        self.bad.get_or_insert(finding);
    }

    async fn live(client: &Client, args: &AuditArgs, word: Option<&Word>) -> Result<Self> {
        let head = word.map_or(u64::MAX, |word| word.size);
        let shown = client.published("checkpoint").await?;
        // What this machine knows of the server's log: a changed key, a rollback or a fork ends the audit here.
        let mut known = Known::meet(client, args.log_key.as_ref()).await?;
        let checkpoint = match &shown {
            Some(note) => {
                let note =
                    std::str::from_utf8(note).context("the published checkpoint is no text")?;
                Some(known.see(client, note).await?)
            }
            None => None,
        };
        let published = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let limit = head.max(published);
        let entries = client.events(0, Some(limit), false).await?;
        let chunks = Live {
            entries,
            runtime: Handle::current(),
        };
        let bar = bar("{wide_bar} {pos}/{len} events {per_sec} {eta}");
        bar.set_length(limit);
        let mut subject = Self::new(client.base_url().to_owned(), Box::new(chunks), bar);
        subject.counted = true;
        if let Some(checkpoint) = checkpoint {
            subject.signed(&checkpoint, "the published checkpoint");
            let tiles = Published::Server(client.clone(), Handle::current());
            subject.published = Some((tiles, checkpoint.size));
        }
        if args.log_key.is_none() {
            subject.not_checked.push(Unchecked {
                what: "that the key is the log's",
                why:
                    "it is the one that this machine met first at the server: pin it with --log-key"
                        .into(),
            });
        }
        Ok(subject)
    }

    /// Nothing is known of it yet.
    pub(super) fn new(name: String, chunks: Chunks, bar: ProgressBar) -> Self {
        Self {
            name,
            chunks,
            bar,
            counted: false,
            marks: Vec::new(),
            published: None,
            rows: None,
            word: None,
            at: None,
            bad: None,
            not_checked: Vec::new(),
            checkpoints: 0,
            signed_size: 0,
        }
    }

    fn mark(&mut self, size: u64, root: Hash, name: String) {
        self.marks.push(Mark { size, root, name });
    }

    fn signed(&mut self, checkpoint: &Checkpoint, name: &str) {
        self.checkpoints += 1;
        self.signed_size = self.signed_size.max(checkpoint.size);
        self.mark(checkpoint.size, checkpoint.root, name.to_owned());
    }

    /// The checkpoints and tiles that the arguments name.
    pub(super) fn checkpoints(&mut self, args: &AuditArgs) -> Result<()> {
        if let Some(key) = &args.log_key {
            if let Some(file) = &args.checkpoint {
                self.signed(&open(file, key)?, "the signed checkpoint");
            } else if let Some(file) = &args.file
                && beside(file, ".checkpoint").exists()
            {
                self.signed(
                    &open(&beside(file, ".checkpoint"), key)?,
                    "the export's signed checkpoint",
                );
            }
            for file in &args.since {
                let name = format!("the earlier checkpoint `{}`", file.display());
                self.signed(&open(file, key)?, &name);
            }
            if let Some(folder) = &args.tiles {
                let checkpoint = open(&folder.join("checkpoint"), key)?;
                self.signed(&checkpoint, "the published checkpoint");
                self.published = Some((Published::Folder(folder.clone()), checkpoint.size));
            }
        }
        ensure!(
            args.log_key.is_none()
                || self.checkpoints > 0
                || self.bad.is_some()
                || args.allow_unsigned,
            "the log's key is given, and there is no signed checkpoint to verify with it: name one with --checkpoint or \
             --since, or say --allow-unsigned"
        );
        self.marks.sort_by_key(|mark| mark.size);
        Ok(())
    }
}

fn open(file: &Path, key: &VerifierKey) -> Result<Checkpoint> {
    let note = std::fs::read(file)
        .with_context(|| format!("the checkpoint `{}` can't be read", file.display()))?;
    Checkpoint::open(&note, key).with_context(|| format!("`{}` is bad", file.display()))
}

async fn word(client: &Client) -> Result<Word> {
    let head = client.log_head(true).await?;
    Ok(Word {
        size: head.size.parse().context("the log's size is no number")?,
        root: head.root.parse().context("the log's root is no hash")?,
        state_hash: head
            .state_hash
            .context("the server did not say its state's hash")?,
    })
}

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

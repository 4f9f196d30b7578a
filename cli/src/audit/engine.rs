//! Runs an audit: the source, the workers, the fold and the signature threads, and the first bad position of them all.

use aevir_events::{Replay, Stopped, state_hash, workers};
use aevir_platform::{Platform, state::State};
use anyhow::{Context, Result};

use super::{
    at::{AsOf, At},
    checks::{Inspector, Watch},
    report::{Audit, Check, Finding, Live, Unchecked, ledger, points},
    signatures::Signatures,
    source::Broken,
    subject::{Subject, Word},
    tiles::Tiles,
};

/// The report, and the state that it is about.
pub(super) struct Examined {
    pub(super) audit: Audit,
    /// Everything as of the moment that was asked for, where the log reaches it.
    pub(super) as_of: Option<AsOf>,
    replay: Replay<Platform>,
}

impl Examined {
    pub(super) fn state(&self) -> &State {
        self.replay.state()
    }
}

/// Audits a subject, on threads that may compute for long.
///
/// # Errors
/// When it can't be read. What is wrong with it stands in the report.
pub(super) async fn examine(subject: Subject) -> Result<Examined> {
    tokio::task::spawn_blocking(move || run(subject))
        .await
        .context("the audit panicked")?
}

fn run(subject: Subject) -> Result<Examined> {
    let Subject {
        name,
        chunks,
        bar,
        counted,
        marks,
        published,
        rows,
        word,
        at,
        bad,
        not_checked,
        checkpoints,
        signed_size,
    } = subject;
    let mut inspector = Inspector::new()?;
    inspector.keep_bytes = published.is_some();
    let mut watch = Watch::new(Signatures::start(workers().get()));
    watch.tiles = published.map(|(published, size)| Tiles::new(published, size));
    watch.rows = rows;
    watch.marks = marks;
    watch.hash_at = word.as_ref().map(|word| word.size);
    watch.at = at;
    watch.bar = counted.then(|| bar.clone());
    let mut replay = Replay::<Platform>::default();
    // A log of no entries has a root, too.
    let empty = watch.check_marks();
    let ended = match empty {
        Ok(()) => replay.run(workers(), chunks, &inspector, &mut watch),
        Err(_) => Ok(()),
    };
    bar.finish_and_clear();
    let finding = earlier(finding(ended, &replay, &mut watch)?, bad);
    let facts = Facts {
        name,
        word,
        not_checked,
        checkpoints,
        signed_size,
    };
    if matches!(at, Some(At::Time(_))) {
        // No entry is later.
        watch.capture(replay.state());
    }
    let as_of = watch.as_of.take();
    let audit = sum_up(&replay, watch, finding, facts)?;
    Ok(Examined {
        audit,
        as_of,
        replay,
    })
}

/// What ended the replay before its time, if that is anything wrong.
fn finding(
    ended: Result<(), Stopped<Broken>>,
    replay: &Replay<Platform>,
    watch: &mut Watch,
) -> Result<Option<Finding>> {
    if let Some(error) = watch.failed.take() {
        return Err(error.context("the published log can't be read"));
    }
    let at_fold = match ended {
        Ok(()) => None,
        Err(Stopped::Damage(damage)) => Some(Finding::at(damage.position, damage.flaw.to_string())),
        Err(Stopped::Source(Broken::Damaged(reason))) => Some(Finding::at(replay.size(), reason)),
        Err(Stopped::Source(Broken::Unreadable(error))) => return Err(error),
    };
    if let Some(finding) = watch.finding.take() {
        return Ok(Some(finding));
    }
    if at_fold.is_some() {
        return Ok(at_fold);
    }
    // A root that is known of a tree that was never reached.
    let missed = watch.marks.get(watch.marks_passed);
    Ok(missed.map(|mark| {
        let (size, found) = (mark.size, replay.size());
        let text = format!(
            "the log ends after {found} entries, and {} covers {size}: the rest was cut off, or a backup was restored",
            mark.name
        );
        Finding::at(found, text)
    }))
}

/// What is known of the subject beside its entries.
struct Facts {
    name: String,
    word: Option<Word>,
    not_checked: Vec<Unchecked>,
    checkpoints: u64,
    /// Entries that the largest signed checkpoint covers.
    signed_size: u64,
}

fn sum_up(
    replay: &Replay<Platform>,
    watch: Watch,
    finding: Option<Finding>,
    facts: Facts,
) -> Result<Audit> {
    let state = replay.state();
    let mut checked = made(replay.size(), &watch, facts.checkpoints);
    let mut not_checked = facts.not_checked;
    not_checked.extend(limits(&watch, facts.checkpoints));
    let unsigned = replay.size().saturating_sub(facts.signed_size);
    if facts.checkpoints > 0 && unsigned > 0 {
        not_checked.push(Unchecked {
            what: "signatures over the newest entries",
            why: format!(
                "{unsigned} entries, from position {} on, came after the newest signed checkpoint",
                facts.signed_size
            ),
        });
    }
    let hash = state_hash(state)?;
    let live = facts.word.map(|word| {
        let replayed = watch.hash.as_ref();
        Live {
            equal: replayed == Some(&word.state_hash),
            size: word.size.to_string(),
            root: word.root.to_string(),
            state_hash: word.state_hash,
        }
    });
    let (signatures, first_false) = watch.signatures.finish()?;
    checked.push(Check {
        what: "signatures of commitments",
        count: signatures,
    });
    let false_one = first_false.map(|position| {
        let text = "the commitment was not signed with its node's registered key";
        Finding::at(position, text.into())
    });
    let first_bad = earlier(finding, false_one).or_else(|| {
        let differs = live.as_ref().is_some_and(|live| !live.equal);
        differs.then(|| {
            let text = "the live platform's state is not what its log makes: its hash differs";
            Finding::somewhere(text.into())
        })
    });
    Ok(Audit {
        clean: first_bad.is_none(),
        first_bad,
        source: facts.name,
        events: replay.size(),
        root: replay.root().to_string(),
        state_hash: hash,
        ledger: ledger(state),
        points: points(state),
        tasks: state.tasks.len(),
        signatures,
        checked,
        not_checked,
        live,
        reexecuted: Vec::new(),
    })
}

/// The one at the lower position; one without a position is about all that was folded.
fn earlier(one: Option<Finding>, other: Option<Finding>) -> Option<Finding> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let first = |finding: &Finding| finding.position.unwrap_or(u64::MAX);
            Some(if first(&other) < first(&one) {
                other
            } else {
                one
            })
        }
        (one, other) => one.or(other),
    }
}

fn made(events: u64, watch: &Watch, checkpoints: u64) -> Vec<Check> {
    let (counts, tiles) = (watch.counts(), watch.tile_counts());
    let rows = [
        (
            "bytes, positions, revisions, times, schemas, legality, conservation",
            events,
        ),
        ("commands decided anew", counts.commands),
        ("definition digests and escrows", counts.tasks),
        ("leases, against the filter and the ranking", counts.leases),
        (
            "draws of closed epochs, against their secrets",
            counts.draws,
        ),
        ("reveals, against their commitments", counts.reveals),
        (
            "verdicts with settlement, shares and maturity",
            counts.verdicts,
        ),
        ("closures with fees and refunds", counts.closures),
        ("postings", counts.postings),
        ("changes of points", counts.points),
        ("known roots", watch.marks_passed as u64),
        ("signatures of checkpoints", checkpoints),
        ("tiles of hashes", tiles.hashes),
        ("bundles of entries", tiles.bundles),
        ("rows of the database", watch.rows_compared),
    ];
    rows.map(|(what, count)| Check { what, count }).into()
}

/// What this audit could not tell.
fn limits(watch: &Watch, checkpoints: u64) -> Vec<Unchecked> {
    let counts = watch.counts();
    let mut all = Vec::new();
    let mut push = |what, why: String| all.push(Unchecked { what, why });
    if checkpoints == 0 {
        push(
            "forks, truncation, restored backups",
            "no signed checkpoint was given: a file alone can't show what was cut off at its end or replaced as a whole \
             (--log-key with --checkpoint, or --since with one that you kept)"
                .into(),
        );
    }
    if watch.tiles.is_none() {
        push(
            "tiles",
            "none were given (--tiles, or a live platform)".into(),
        );
    }
    let mut draws = |n: u64, what, why: &str| {
        if n > 0 {
            push(what, format!("{n} {why}"));
        }
    };
    draws(
        counts.draws_open,
        "draws of the open epoch",
        "leases follow from a secret that the log discloses when the epoch closes: audit again then",
    );
    draws(
        counts.draws_lost,
        "draws of epochs whose secret was lost",
        "leases can't be recomputed: the leader that closed their epochs did not have the secret",
    );
    draws(
        counts.draws_taken,
        "draws before there were epochs",
        "leases follow from entropy that is not logged",
    );
    draws(
        counts.coins_open,
        "coins of the open epoch",
        "decisions whether a result is repeated follow from a secret that the log discloses when the epoch closes: audit again then",
    );
    draws(
        counts.coins_lost,
        "coins of epochs whose secret was lost",
        "decisions whether a result is repeated can't be recomputed: the leader did not have the secret",
    );
    draws(
        counts.reveals_closed,
        "closed results of samples",
        "nodes showed results that the log keeps closed until the verdict; those of tasks that end without one stay so",
    );
    draws(
        counts.reveals_lost,
        "closed results that could not be opened",
        "that the leader did not have the secret under which they were closed is its word",
    );
    push(
        "drawn seeds and ids",
        format!(
            "{} seeds and all ids follow from entropy that is not logged",
            counts.seeds_taken
        ),
    );
    push(
        "checks of GPUs",
        format!(
            "that {} answers came when they did, and were right, is the leader's word: whoever has a GPU can compute each root again from its seed",
            counts.compute_checks_taken
        ),
    );
    push(
        "schema checks of unpublished results",
        format!(
            "{} outcomes are the platform's word: the log holds the results' digests",
            counts.schema_checks_taken
        ),
    );
    push(
        "who gave a command",
        "that it is whom the command is about, with a live key of the scope it takes, is checked; that it was them, and by which key, is the platform's word. Nodes sign what they commit".into(),
    );
    push(
        "parts of results that are published",
        "they are the platform's word where a task publishes less than all: the log holds the whole result's digest".into(),
    );
    push(
        "results",
        "nothing was run again but what --reexecute names; a lost lease's and a failure's cause leave no proof".into(),
    );
    all
}

//! What an audit checks of each entry: by itself on the workers ([`Inspector`]), and along the fold ([`Watch`]).

use std::{collections::HashMap, sync::PoisonError};

use aevir_events::{
    Damage, Entry, Flaw, Hash, Inspect, Inspected, Recorded, Row, Visit, merkle::Frontier,
    state_hash,
};
use aevir_platform::{
    Platform,
    audit::{Counts, Fault, Recomputation},
    event::Event,
    schemas,
    state::State,
};
use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

use super::{
    at::{AsOf, At},
    report::Finding,
    signatures::Signatures,
    source::RowQueue,
    tiles::{TileCounts, Tiles},
};

/// Characters of a schema violation that are shown: it quotes the value.
const VIOLATION_CHARS_MAX: usize = 300;

/// The part of an entry that its schema is about.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    label: String,
    schema: u16,
    data: Value,
}

/// What the fold still needs of an entry.
#[derive(Debug)]
pub(super) struct Seen {
    schema: u16,
    /// The entry, where bundles are compared.
    bytes: Vec<u8>,
}

/// The schemas of all event versions, compiled once.
pub(super) struct Inspector {
    validators: HashMap<&'static str, Vec<(u16, Validator)>>,
    /// Hand the entries' bytes to the fold, which compares bundles.
    pub(super) keep_bytes: bool,
}

impl Inspector {
    /// # Errors
    /// When an embedded schema does not compile.
    pub(super) fn new() -> Result<Self> {
        let mut validators: HashMap<_, Vec<_>> = HashMap::new();
        for schema in schemas::all() {
            let named = || format!("the schema of `{}`", schema.label);
            let document = serde_json::from_str(schema.text).with_context(named)?;
            let validator = jsonschema::draft202012::new(&document)
                .map_err(|e| anyhow::anyhow!("{}: {e}", named()))?;
            let versions = validators.entry(schema.label).or_default();
            versions.push((schema.version, validator));
        }
        Ok(Self {
            validators,
            keep_bytes: false,
        })
    }

    /// The version of the schema that the entry satisfies.
    fn satisfies_schema(&self, entry: &Entry) -> Result<u16, String> {
        let typed: Typed = serde_json::from_slice(&entry.0).map_err(|e| e.to_string())?;
        let versions = self.validators.get(typed.label.as_str());
        let validator =
            versions.and_then(|v| v.iter().find(|(version, _)| *version == typed.schema));
        let Some((_, validator)) = validator else {
            let (label, version) = (typed.label, typed.schema);
            return Err(format!(
                "there is no schema of `{label}` in version {version}"
            ));
        };
        let valid = validator.validate(&typed.data).map_err(|e| {
            let text = format!(
                "the event violates the schema of `{}` at `{}`: {e}",
                typed.label,
                e.instance_path()
            );
            text.chars().take(VIOLATION_CHARS_MAX).collect::<String>()
        });
        valid.map(|()| typed.schema)
    }
}

impl Inspect<Platform> for Inspector {
    type Finding = Seen;

    fn inspect(&self, entry: &Entry, _: &Recorded<Event>) -> Result<Seen, String> {
        let schema = self.satisfies_schema(entry)?;
        let bytes = self.keep_bytes.then(|| entry.0.clone());
        Ok(Seen {
            schema,
            bytes: bytes.unwrap_or_default(),
        })
    }
}

/// A size at which the tree's root is known from elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// What says so, such as "the signed checkpoint".
    pub(super) name: String,
}

/// Follows the fold.
pub(super) struct Watch {
    pub(super) recomputation: Recomputation,
    pub(super) signatures: Signatures,
    pub(super) tiles: Option<Tiles>,
    pub(super) rows: Option<RowQueue>,
    pub(super) rows_compared: u64,
    /// By size, ascending.
    pub(super) marks: Vec<Mark>,
    pub(super) marks_passed: usize,
    /// The size at which the state's hash is wanted.
    pub(super) hash_at: Option<u64>,
    pub(super) hash: Option<String>,
    /// When everything is to be noted as it is.
    pub(super) at: Option<At>,
    pub(super) as_of: Option<AsOf>,
    /// What is wrong at a position other than where the fold stands, or at none.
    pub(super) finding: Option<Finding>,
    /// The published log could not be read.
    pub(super) failed: Option<anyhow::Error>,
    pub(super) bar: Option<ProgressBar>,
    frontier: Frontier,
}

impl Watch {
    pub(super) fn new(signatures: Signatures) -> Self {
        Self {
            recomputation: Recomputation::default(),
            signatures,
            tiles: None,
            rows: None,
            rows_compared: 0,
            marks: Vec::new(),
            marks_passed: 0,
            hash_at: None,
            hash: None,
            at: None,
            as_of: None,
            finding: None,
            failed: None,
            bar: None,
            frontier: Frontier::default(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.recomputation.counts()
    }

    pub(super) fn tile_counts(&self) -> TileCounts {
        self.tiles.as_ref().map(Tiles::counts).unwrap_or_default()
    }

    /// Notes everything as it is now, once.
    pub(super) fn capture(&mut self, state: &State) {
        if self.as_of.is_none() {
            let (size, root) = (self.frontier.size(), self.frontier.root());
            self.as_of = Some(AsOf::of(state, size, root.to_string()));
        }
    }

    /// Compares the root with what is known of it at this size.
    pub(super) fn check_marks(&mut self) -> Result<(), String> {
        let (size, root) = (self.frontier.size(), self.frontier.root());
        while let Some(mark) = self.marks.get(self.marks_passed).filter(|m| m.size == size) {
            if mark.root != root {
                let (name, expected) = (&mark.name, mark.root);
                let text = format!(
                    "the Merkle root of the first {size} entries is {root}; {name} says {expected}: an entry before \
                     position {size} was changed, or this is another history"
                );
                self.finding = Some(Finding::somewhere(text.clone()));
                return Err(text);
            }
            self.marks_passed += 1;
        }
        Ok(())
    }

    fn compare_row(&mut self, recorded: &Recorded<Event>, schema: u16) -> Result<(), String> {
        let Some(rows) = &self.rows else {
            return Ok(());
        };
        let row = rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let row = row.ok_or("the table's row is missing")?;
        self.rows_compared += 1;
        compare_columns(&row, recorded, schema)
    }

    fn compare_tiles(&mut self, entry: &[u8]) -> Result<(), String> {
        let Some(tiles) = &mut self.tiles else {
            return Ok(());
        };
        match tiles.push(entry) {
            Ok(None) => Ok(()),
            Ok(Some(finding)) => {
                let text = finding.reason.clone();
                self.finding = Some(finding);
                Err(text)
            }
            Err(error) => {
                self.failed = Some(error);
                Err("the published log can't be read".into())
            }
        }
    }
}

/// The columns beside the entry are copies of what it says.
fn compare_columns(row: &Row, recorded: &Recorded<Event>, schema: u16) -> Result<(), String> {
    use aevir_events::Event as _;
    let differs = |column: &str, stored: String, entry: String| {
        Err(format!(
            "the column `{column}` says {stored}, and the entry says {entry}"
        ))
    };
    if row.stream != recorded.stream {
        return differs("stream", row.stream.clone(), recorded.stream.clone());
    }
    if row.revision != recorded.revision {
        return differs(
            "revision",
            row.revision.to_string(),
            recorded.revision.to_string(),
        );
    }
    if row.id != recorded.id {
        return differs("id", row.id.to_string(), recorded.id.to_string());
    }
    if row.label != recorded.event.label() {
        return differs("type", row.label.clone(), recorded.event.label().into());
    }
    if row.schema != schema {
        return differs("schema", row.schema.to_string(), schema.to_string());
    }
    if row.time != recorded.time {
        return differs("time", row.time.to_string(), recorded.time.to_string());
    }
    Ok(())
}

fn damage(fault: Fault) -> Damage {
    Damage {
        position: fault.position,
        flaw: Flaw::Check(fault.flaw.to_string()),
    }
}

impl Visit<Platform, Seen> for Watch {
    fn before(&mut self, state: &State, command: &[Inspected<Event, Seen>]) -> Result<(), Damage> {
        let Some(first) = command.first() else {
            return Ok(());
        };
        let position = first.recorded.position;
        let halt = |reason: &str| Damage {
            position,
            flaw: Flaw::Check(reason.into()),
        };
        if let Some(At::Time(until)) = self.at
            && first.recorded.time > until
        {
            self.capture(state);
        }
        if self.signatures.first_false().is_some() {
            return Err(halt("an earlier signature is false"));
        }
        let events: Vec<&Recorded<Event>> = command.iter().map(|c| &c.recorded).collect();
        let mut sealed = Vec::new();
        self.recomputation
            .before(state, &events, &mut sealed)
            .map_err(damage)?;
        if !sealed.is_empty() {
            self.signatures.take(sealed);
        }
        Ok(())
    }

    fn after(&mut self, state: &State, event: &Inspected<Event, Seen>) -> Result<(), String> {
        let position = event.recorded.position;
        self.compare_row(&event.recorded, event.finding.schema)?;
        self.recomputation
            .after(state, &event.recorded)
            .map_err(|fault| fault.flaw.to_string())?;
        self.frontier.push(event.leaf);
        self.compare_tiles(&event.finding.bytes)?;
        self.check_marks()?;
        if self.hash_at == Some(position + 1) {
            self.hash = Some(state_hash(state).map_err(|e| e.to_string())?);
        }
        if self.at == Some(At::Position(position)) {
            self.capture(state);
        }
        Ok(())
    }

    fn progress(&mut self, size: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(size);
        }
    }
}

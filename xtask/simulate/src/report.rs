//! One JSON document, a table for the terminal, and the table of `docs/benchmarks/simulate.md`, of which what people wrote stays.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::{
    bars::Summary,
    figures::Figures,
    strategy::Strategy,
    terms::{COST_PPM, PRICE, TASKS_PER_NODE_DAY},
};

const FILE: &str = "simulate.md";
const BEGIN: &str = "<!-- figures: written by `cargo xtask simulate --write` -->";
const END: &str = "<!-- end of figures -->";
const HEADER: [&str; 12] = [
    "strategy",
    "seeds",
    "wrong matured",
    "replicas",
    "after bootstrap",
    "income ratio",
    "profit ratio",
    "ejected",
    "h to eject",
    "utilisation",
    "queue p99, s",
    "bars",
];

/// The document of `--json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) nodes: usize,
    pub(crate) hours: usize,
    pub(crate) tasks_per_node_day: u64,
    /// What a replica earns, in micro-AEV.
    pub(crate) price: i64,
    /// What a cheat saves, as a part of it.
    pub(crate) cost_saved: f64,
    /// What tasks ask for.
    pub(crate) sampling: serde_json::Value,
    /// Fields of the policy that were changed.
    pub(crate) policy_changes: Vec<String>,
    pub(crate) strategies: Vec<Summary>,
}

impl Document {
    pub(crate) fn new(
        (nodes, hours): (usize, usize),
        sampling: serde_json::Value,
        policy_changes: Vec<String>,
        strategies: Vec<Summary>,
    ) -> Self {
        Self {
            nodes,
            hours,
            tasks_per_node_day: TASKS_PER_NODE_DAY,
            price: PRICE.0,
            cost_saved: COST_PPM as f64 / 1e6,
            sampling,
            policy_changes,
            strategies,
        }
    }

    /// The runs of several documents about markets of the same terms, by strategy and seed.
    ///
    /// # Errors
    /// When a file can't be read, is no such document, or is about other markets.
    pub(crate) fn joined(files: &[PathBuf]) -> Result<Self> {
        let mut all: Option<Self> = None;
        for file in files {
            let name = file.display();
            let text = fs::read(file).with_context(|| format!("{name} can't be read"))?;
            let next: Self = serde_json::from_slice(&text)
                .with_context(|| format!("{name} is no document of `simulate --json`"))?;
            match &mut all {
                None => all = Some(next),
                Some(first) if first.terms() == next.terms() => {
                    first.strategies.extend(next.strategies);
                }
                Some(_) => bail!("{name} is about other markets than the files before it"),
            }
        }
        let mut all = all.context("name a file")?;
        let mut runs: BTreeMap<Strategy, Vec<Figures>> = BTreeMap::new();
        for summary in all.strategies.drain(..) {
            runs.entry(summary.strategy)
                .or_default()
                .extend(summary.runs);
        }
        let summaries = runs.into_iter().map(|(strategy, mut runs)| {
            runs.sort_by_key(|run| run.seed);
            runs.dedup_by_key(|run| run.seed);
            Summary::of(strategy, runs)
        });
        all.strategies = summaries.collect();
        Ok(all)
    }

    /// What must be equal for figures to stand in one table.
    fn terms(&self) -> (usize, usize, &serde_json::Value, &[String]) {
        let changes = self.policy_changes.as_slice();
        (self.nodes, self.hours, &self.sampling, changes)
    }

    fn rows(&self) -> impl Iterator<Item = [String; HEADER.len()]> {
        let ratio = |value: Option<f64>| value.map(|v| format!("{v:.3}")).unwrap_or_default();
        self.strategies.iter().map(move |s| {
            let bars = s.bars.iter().map(|bar| {
                let verdict = if bar.passed { "met" } else { "missed" };
                format!(
                    "{} {}: {verdict} ({})",
                    bar.figure,
                    limit(bar.limit),
                    short(bar.worst)
                )
            });
            [
                s.strategy.name(),
                s.seeds.len().to_string(),
                short(s.wrong_matured_rate),
                format!("{:.3}", s.replication_factor),
                format!("{:.3}", s.replication_factor_after_bootstrap),
                ratio(s.cheater_income_ratio),
                ratio(s.cheater_profit_ratio),
                s.ejected
                    .map(|e| format!("{:.0} %", e * 100.0))
                    .unwrap_or_default(),
                s.hours_to_eject
                    .map(|h| format!("{h:.1}"))
                    .unwrap_or_default(),
                format!("{:.0} %", s.utilisation * 100.0),
                format!("{:.1}", s.queue_p99_s),
                bars.collect::<Vec<_>>().join("; "),
            ]
        })
    }

    /// For the terminal.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for row in self.rows() {
            table.add_row(row);
        }
        for column in 1..HEADER.len() - 1 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// Replaces the figures in the page under `folder`.
    ///
    /// # Errors
    /// When the page can't be read or written, or has lost its markers.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join(FILE);
        let before = fs::read_to_string(&file)
            .unwrap_or_else(|_| format!("# The figures of `simulate`\n\n{BEGIN}\n{END}\n"));
        let lost = || {
            format!(
                "{} has lost its markers `{BEGIN}` and `{END}`",
                file.display()
            )
        };
        let after = replaced(&before, &self.markdown()).with_context(lost)?;
        fs::write(&file, after).with_context(|| format!("{} can't be written", file.display()))
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let changes = match self.policy_changes.as_slice() {
            [] => "the default policy".to_owned(),
            changes => format!("the default policy but for `{}`", changes.join("`, `")),
        };
        let _ = writeln!(
            text,
            "\n{} nodes, {} hours, {} tasks for each node and day, sampling `{}`, {changes}. Rates are of all seeds together, other figures \
             their means; a bar holds the worst seed's.\n",
            self.nodes, self.hours, self.tasks_per_node_day, self.sampling,
        );
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&HEADER.map(str::to_owned));
        let mut rule = HEADER.map(|_| "--:".to_owned());
        rule[0] = "---".into();
        rule[HEADER.len() - 1] = "---".into();
        text += &line(&rule);
        for row in self.rows() {
            text += &line(&row);
        }
        text.push('\n');
        text
    }
}

fn limit(value: f64) -> String {
    format!("< {}", short(value))
}

/// As many digits as mean something.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v.abs() < 0.01 => format!("{v:.1e}"),
        v => format!("{v:.3}"),
    }
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let text = format!("# Page\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(
            new,
            format!("# Page\n\nbefore\n\n{BEGIN}\nnew\n{END}\n\nafter\n")
        );
        assert_eq!(replaced("no markers", "new"), None);
    }

    /// What `--json` wrote of one strategy at a time stands in one table, and other markets' figures do not.
    #[test]
    fn documents_about_the_same_markets_are_joined() {
        let folder = std::env::temp_dir().join(format!("aevir-joined-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, nodes: usize| {
            let document = Document::new((nodes, 1), serde_json::json!({}), vec![], vec![]);
            let path = folder.join(name);
            fs::write(&path, serde_json::to_vec(&document).unwrap()).unwrap();
            path
        };
        let (one, same, other) = (write("a", 40), write("b", 40), write("c", 41));
        assert_eq!(Document::joined(&[one.clone(), same]).unwrap().nodes, 40);
        let refused = Document::joined(&[one, other]).unwrap_err().to_string();
        assert!(refused.contains("other markets"), "{refused}");
        assert!(Document::joined(&[]).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn numbers_are_as_long_as_they_mean_something() {
        assert_eq!(
            [0.0, 0.000_12, 0.5, -0.001].map(short),
            ["0", "1.2e-4", "0.500", "-1.0e-3"]
        );
    }
}

//! Tables: for the terminal, and for `docs/benchmarks`.
//!
//! The file holds what people wrote about the figures as well: only what stands between the two markers is replaced.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};

use crate::{
    figure::{Figure, number},
    host::Host,
};

/// Settings of the database server by name.
pub(crate) type Settings = Vec<(&'static str, String)>;

const BEGIN: &str = "<!-- figures: written by `cargo xtask bench log` -->";
const END: &str = "<!-- end of figures -->";
const HEADER: [&str; 7] = [
    "figure", "value", "unit", "peer", "peer's", "ratio", "target",
];

fn rows(figures: &[Figure]) -> impl Iterator<Item = [String; HEADER.len()]> {
    figures.iter().map(|figure| {
        let target = match (figure.target, figure.is_met()) {
            (Some(target), Some(true)) => format!("{target}: met"),
            (Some(target), _) => format!("{target}: missed"),
            (None, _) => String::new(),
        };
        [
            figure.metric.clone(),
            number(figure.value),
            figure.unit.to_owned(),
            figure.peer.clone().unwrap_or_default(),
            figure.peer_value.map(number).unwrap_or_default(),
            figure
                .ratio
                .map(|ratio| format!("{ratio:.2}x"))
                .unwrap_or_default(),
            target,
        ]
    })
}

/// For the terminal.
pub(crate) fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for row in rows(figures) {
        table.add_row(row);
    }
    for column in [1, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Replaces the figures in a file, or begins it.
pub(crate) fn write(
    file: &Path,
    figures: &[Figure],
    host: &Host,
    settings: &Settings,
) -> Result<()> {
    let before = fs::read_to_string(file)
        .unwrap_or_else(|_| format!("# The log's figures\n\n{BEGIN}\n{END}\n"));
    let after = replaced(&before, &markdown(figures, host, settings)).with_context(|| {
        format!(
            "{} has lost its markers `{BEGIN}` and `{END}`",
            file.display()
        )
    })?;
    fs::write(file, after).with_context(|| format!("{} can't be written", file.display()))
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

fn markdown(figures: &[Figure], host: &Host, settings: &Settings) -> String {
    let mut text = String::new();
    let date = jiff::Timestamp::now().strftime("%F");
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let Host {
        cores,
        processor,
        memory_gib,
        kernel,
        sync,
        load,
    } = host;
    let _ = writeln!(
        text,
        "\nMeasured on {date} with `cargo xtask bench log` on {cores} cores ({processor}), {memory_gib} GiB of memory, Linux {kernel}. \
         One small write with `fdatasync` takes {:.2} ms. Load average before: {load:.1}.\n\
         PostgreSQL for everybody: {}. SQLite for everybody: journal_mode WAL, synchronous FULL.\n",
        sync.as_secs_f64() * 1_000.0,
        settings.join(", ")
    );
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &line(&HEADER.map(str::to_owned));
    text += &line(&["---", "--:", "---", "---", "--:", "--:", "---"].map(str::to_owned));
    for row in rows(figures) {
        text += &line(&row);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::figure::Target;

    #[test]
    fn what_people_wrote_stays() {
        let text = format!("# Log\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n");
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(
            new,
            format!("# Log\n\nbefore\n\n{BEGIN}\nnew\n{END}\n\nafter\n")
        );
        assert_eq!(replaced("no markers", "new"), None);
    }

    #[test]
    fn a_row_says_whether_its_target_is_met() {
        let figure = Figure::alone("m", 3.0, "events/s").beside("p", 2.0);
        let target = |least| {
            rows(&[figure.clone().target(Target::RatioAtLeast(least))])
                .next()
                .unwrap()[6]
                .clone()
        };
        assert_eq!(target(1.5), "≥ 1.5x: met");
        assert_eq!(target(2.0), "≥ 2x: missed");
    }
}

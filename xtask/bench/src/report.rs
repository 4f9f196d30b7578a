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

/// Replaces the figures of a bench in its file under `folder`, or begins it. `conditions` is what else they were measured under.
pub(crate) fn write(
    folder: &Path,
    bench: &str,
    figures: &[Figure],
    host: &Host,
    conditions: &str,
) -> Result<()> {
    write_part(folder, bench, "", figures, host, conditions)
}

/// The same for one section of several: `part` is the machines that it is about. Each has markers of its own, and the others' figures stay.
pub(crate) fn write_part(
    folder: &Path,
    bench: &str,
    part: &str,
    figures: &[Figure],
    host: &Host,
    conditions: &str,
) -> Result<()> {
    let file = folder.join(format!("{bench}.md"));
    let begin = begin(bench, part);
    let before = fs::read_to_string(&file)
        .unwrap_or_else(|_| format!("# The figures of `bench {bench}`\n\n{begin}\n{END}\n"));
    let figures = markdown(bench, figures, host, conditions);
    let after = replaced(&before, &begin, &figures).with_context(|| {
        format!(
            "{} has lost its markers `{begin}` and `{END}`",
            file.display()
        )
    })?;
    fs::write(&file, after).with_context(|| format!("{} can't be written", file.display()))
}

fn begin(bench: &str, part: &str) -> String {
    let part = match part {
        "" => String::new(),
        part => format!(" on {part}"),
    };
    format!("<!-- figures: written by `cargo xtask bench {bench}`{part} -->")
}

fn replaced(text: &str, begin: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{figures}{END}{after}"))
}

fn markdown(bench: &str, figures: &[Figure], host: &Host, conditions: &str) -> String {
    let mut text = String::new();
    let date = jiff::Timestamp::now().strftime("%F");
    let Host {
        cores,
        processor,
        memory_gib,
        kernel,
        sync: _,
        load,
    } = host;
    let _ = writeln!(
        text,
        "\nMeasured on {date} with `cargo xtask bench {bench}` on {cores} cores ({processor}), {memory_gib} GiB of memory, Linux {kernel}. \
         Load average before: {load:.1}.\n{conditions}\n",
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
        let begin = begin("log", "");
        let text = format!("# Log\n\nbefore\n\n{begin}\nold\n{END}\n\nafter\n");
        let new = replaced(&text, &begin, "new\n").unwrap();
        assert_eq!(
            new,
            format!("# Log\n\nbefore\n\n{begin}\nnew\n{END}\n\nafter\n")
        );
        assert_eq!(replaced("no markers", &begin, "new"), None);
    }

    #[test]
    fn sections_of_a_page_do_not_touch_each_other() {
        let [plain, special] = ["", "a GPU"].map(|part| begin("gpu", part));
        let text = format!("{plain}\na\n{END}\n## Hardware\n{special}\nb\n{END}\n");
        let new = replaced(&text, &special, "c\n").unwrap();
        let new = replaced(&new, &plain, "d\n").unwrap();
        assert_eq!(
            new,
            format!("{plain}\nd\n{END}\n## Hardware\n{special}\nc\n{END}\n")
        );
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

//! Answers on standard output: tables for people, JSON for programs. Errors in one sentence.

use std::{borrow::Cow, fmt::Write as _, io::Write as _};

use aevir_wire::ClientError;
use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Output;

/// Prints a JSON document, or what `table` makes for people.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print(
    output: Output,
    document: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Result<()> {
    let text = match output {
        Output::Json => serde_json::to_string_pretty(document)?,
        Output::Table => table(),
    };
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Says something on standard error, where what others wrote may be a part of it. Nobody may be reading, which is no reason to fail.
pub(crate) fn say(line: impl std::fmt::Display) {
    let line = line.to_string();
    let _ = writeln!(std::io::stderr(), "{}", printable(&line));
}

/// A text without what a terminal would obey: control characters but line ends, and those that turn the direction of writing, are written as
/// numbers. Every text of a guest, a node or another account goes through here before a person sees it.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c)); // a text takes it
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The same for a text that stands in one line with others: whoever wrote it must not begin a line of its own.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// All rows of a list that takes a cursor, page by page: `pages!(client.accounts, accounts)`.
macro_rules! pages {
    ($client:ident.$list:ident, $field:ident) => {{
        let mut rows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = $client.$list(after.as_deref()).await?;
            rows.extend(page.$field);
            after = page.next;
            if after.is_none() {
                break rows;
            }
        }
    }};
}
pub(crate) use pages;

/// A table with a header.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = new_table();
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
    }
    trimmed(&table)
}

/// A list of properties.
pub(crate) fn properties(rows: impl IntoIterator<Item = (impl Into<String>, String)>) -> String {
    let mut table = new_table();
    for (name, value) in rows {
        let name: String = name.into();
        table.add_row([name, printable(&value).into_owned()]);
    }
    trimmed(&table)
}

fn new_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table without the blanks at the ends of its lines.
fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// micro-AEV as AEV: `1500000` is `1.5`. What is no number is shown as it is.
pub(crate) fn aev(micro: &str) -> String {
    let Ok(amount) = micro.parse::<i64>() else {
        return micro.to_owned();
    };
    let sign = if amount < 0 { "-" } else { "" };
    let (whole, fraction) = (
        amount.unsigned_abs() / 1_000_000,
        amount.unsigned_abs() % 1_000_000,
    );
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let fraction = format!("{fraction:06}");
    format!("{sign}{whole}.{}", fraction.trim_end_matches('0'))
}

/// An optional text, or a dash.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// An error with its causes as one sentence; the platform's own sentences come with their code.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Some libraries repeat their source.
        if parts.last().is_none_or(|last| !last.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// Says on standard error why a command failed.
pub(crate) fn last_words(output: Output, error: &anyhow::Error) {
    let words = failure(output, error);
    match output {
        Output::Table => say(words),
        // A program reads it, and JSON has its own way to write what a terminal would obey.
        Output::Json => {
            let _ = writeln!(std::io::stderr(), "{words}");
        }
    }
}

/// A failed command's last words: a sentence for people, `{"code", "detail"}` for programs. The code is the
/// platform's, or `failed` where the platform did not answer with one.
pub(crate) fn failure(output: Output, error: &anyhow::Error) -> String {
    let detail = sentence(error);
    match output {
        Output::Table => format!("error: {detail}"),
        Output::Json => {
            let mut causes = error
                .chain()
                .filter_map(|c| c.downcast_ref::<ClientError>());
            let code = causes.find_map(ClientError::code).unwrap_or("failed");
            serde_json::json!({"code": code, "detail": detail}).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_shown_in_aev() {
        for (micro, shown) in [
            ("1500000", "1.5"),
            ("-1", "-0.000001"),
            ("0", "0"),
            ("2000000", "2"),
            ("?", "?"),
        ] {
            assert_eq!(aev(micro), shown, "{micro}");
        }
    }

    #[test]
    fn an_error_is_one_sentence() {
        let error = anyhow::anyhow!("the disk is full").context("the file can't be written");
        assert_eq!(
            sentence(&error),
            "the file can't be written: the disk is full"
        );
    }

    #[test]
    fn programs_get_errors_as_json() {
        let error = anyhow::anyhow!("full").context("no file");
        assert_eq!(
            failure(Output::Json, &error),
            r#"{"code":"failed","detail":"no file: full"}"#
        );
        assert_eq!(failure(Output::Table, &error), "error: no file: full");
    }

    #[test]
    fn what_others_wrote_commands_no_terminal() {
        let hostile = "\x1b]0;title\x07\x1b[2Jgood\nerror: no\r\u{9b}1m\u{202e}";
        let shown = printable(hostile);
        assert_eq!(
            shown,
            "\\u{1b}]0;title\\u{7}\\u{1b}[2Jgood\nerror: no\\u{d}\\u{9b}1m\\u{202e}"
        );
        assert!(one_line(hostile).contains("good\\nerror"));
        assert_eq!(printable("ä 中 🙂\n"), "ä 中 🙂\n");
        let tables = [
            table(["name"], [[hostile.to_owned()]]),
            properties([("result", hostile.to_owned())]),
        ];
        for text in tables {
            assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
        }
    }

    #[test]
    fn tables_line_up() {
        let text = table(["id", "state"], [["1".into(), "settled".into()]]);
        assert_eq!(text, " id  state\n 1   settled");
    }
}

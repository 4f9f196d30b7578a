//! `aevir account statement`.

use std::{collections::BTreeMap, io::Write as _};

use aevir_wire::{Client, Statement, StatementFilter};
use anyhow::{Context, Result, ensure};

use crate::{
    args::Global,
    output::{aev, or_dash, print, table},
};

/// Amounts are integers of micro-AEV, and several accounts' names stand in one field with spaces between them: nothing in a field
/// but the reference can hold a comma, a quote or a line's end.
const CSV_HEADER: &str =
    "time,position,line,account,reason,task,reference,counter_accounts,amount,balance";

pub(super) async fn show(
    client: &Client,
    filter: &StatementFilter,
    csv: bool,
    global: &Global,
) -> Result<()> {
    let statement = client.statement(filter).await?;
    check(&statement)?;
    if csv {
        let mut stdout = std::io::stdout().lock();
        write!(stdout, "{}", as_csv(&statement))?;
        return Ok(stdout.flush()?);
    }
    print(global.output, &statement, || as_tables(&statement))
}

/// What the server says must add up, account by account and entry by entry.
fn check(statement: &Statement) -> Result<()> {
    let number = |text: &str| -> Result<i128> {
        text.parse()
            .with_context(|| format!("the server says `{text}`, which is no amount"))
    };
    let mut balances = BTreeMap::new();
    for balance in &statement.balances {
        balances.insert(&balance.account, number(&balance.opening)?);
    }
    for entry in &statement.entries {
        let balance = balances.entry(&entry.account).or_default();
        *balance += number(&entry.amount)?;
        ensure!(
            *balance == number(&entry.balance)?,
            "the statement does not add up: {} has {balance} after position {}, and the server says {}",
            entry.account,
            entry.position,
            entry.balance
        );
    }
    for balance in &statement.balances {
        let sum = balances.get(&balance.account).copied().unwrap_or_default();
        ensure!(
            sum == number(&balance.closing)?,
            "the statement does not add up: {} closes with {}, and its entries lead to {sum}",
            balance.account,
            balance.closing
        );
    }
    Ok(())
}

fn as_csv(statement: &Statement) -> String {
    let mut text = format!("{CSV_HEADER}\r\n");
    let from = statement.from.as_deref().unwrap_or_default();
    let bare = |time: &str, account: &str, reason: &str, balance: &str| {
        format!("{time},,,{account},{reason},,,,,{balance}\r\n")
    };
    for b in &statement.balances {
        text += &bare(from, &b.account, "opening", &b.opening);
    }
    for e in &statement.entries {
        let task = e.task.as_deref().unwrap_or_default();
        let reference = quoted(e.reference.as_deref().unwrap_or_default());
        let counter = e.counter_accounts.join(" ");
        text += &format!(
            "{},{},{},{},{},{task},{reference},{counter},{},{}\r\n",
            e.time, e.position, e.line, e.account, e.reason, e.amount, e.balance
        );
    }
    for b in &statement.balances {
        text += &bare(&statement.to, &b.account, "closing", &b.closing);
    }
    text
}

/// A field as RFC 4180 writes it. One that a spreadsheet would take for a formula begins with an apostrophe.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

fn as_tables(statement: &Statement) -> String {
    let balances = table(
        ["ACCOUNT", "OPENING", "CLOSING"],
        statement
            .balances
            .iter()
            .map(|b| [b.account.clone(), aev(&b.opening), aev(&b.closing)]),
    );
    let entries = table(
        [
            "TIME",
            "ACCOUNT",
            "REASON",
            "TASK OR REFERENCE",
            "WITH",
            "AMOUNT",
            "BALANCE",
        ],
        statement.entries.iter().map(|e| {
            [
                e.time.clone(),
                e.account.clone(),
                e.reason.clone(),
                or_dash(e.task.as_deref().or(e.reference.as_deref())),
                e.counter_accounts.join(" "),
                aev(&e.amount),
                aev(&e.balance),
            ]
        }),
    );
    format!("{balances}\n\n{entries}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aevir_wire::{StatementBalance, StatementEntry};

    use super::*;

    fn statement() -> Statement {
        let account = "account/A/available".to_owned();
        let entry =
            |line: u32, amount: &str, balance: &str, reference: Option<&str>| StatementEntry {
                position: "7".into(),
                line,
                time: "2026-01-01T00:00:00.000Z".into(),
                account: account.clone(),
                amount: amount.into(),
                balance: balance.into(),
                reason: "deposit".into(),
                task: None,
                reference: reference.map(str::to_owned),
                counter_accounts: vec!["external".into()],
            };
        Statement {
            account: "A".into(),
            from: None,
            to: "2026-02-01T00:00:00.000Z".into(),
            balances: vec![StatementBalance {
                account: account.clone(),
                opening: "5".into(),
                closing: "8".into(),
            }],
            entries: vec![
                entry(0, "10", "15", Some("wire \"1\", of A")),
                entry(1, "-7", "8", Some("=1+1")),
            ],
            next: None,
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        check(&statement()).unwrap();
        let mut wrong = statement();
        wrong.entries[1].amount = "-6".into();
        assert!(check(&wrong).is_err());
        let mut wrong = statement();
        wrong.balances[0].closing = "9".into();
        assert!(check(&wrong).is_err());
        let mut wrong = statement();
        wrong.entries.pop();
        assert!(check(&wrong).is_err());
    }

    #[test]
    fn a_spreadsheet_reads_it() {
        let expected = "time,position,line,account,reason,task,reference,counter_accounts,amount,balance\r\n\
            ,,,account/A/available,opening,,,,,5\r\n\
            2026-01-01T00:00:00.000Z,7,0,account/A/available,deposit,,\"wire \"\"1\"\", of A\",external,10,15\r\n\
            2026-01-01T00:00:00.000Z,7,1,account/A/available,deposit,,'=1+1,external,-7,8\r\n\
            2026-02-01T00:00:00.000Z,,,account/A/available,closing,,,,,8\r\n";
        assert_eq!(as_csv(&statement()), expected);
    }
}

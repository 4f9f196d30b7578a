//! `aevir task quote` and `aevir task why`.

use aevir_wire::{Client, Quote, Remedy, Waiting, Why};
use anyhow::Result;

use super::task::{QuoteArgs, definition};
use crate::{
    args::Global,
    output::{aev, or_dash, print, properties, table},
};

pub(super) async fn quote(client: &Client, args: &QuoteArgs, global: &Global) -> Result<()> {
    let definition = definition(client, args).await?;
    let quote = client.quote_task(&definition).await?;
    print(global.output, &quote, || quoted(&quote))
}

fn quoted(quote: &Quote) -> String {
    let available = match quote.affordable {
        true => aev(&quote.available),
        false => format!("{}: deposit the difference first", aev(&quote.available)),
    };
    let pace = match quote.at_once {
        true => "at once: one after the other could be too late",
        false => "one after the other",
    };
    let prices = quote.prices.iter();
    let uses = prices.map(|p| ("of both, for", format!("{}: {}", p.content, aev(&p.price))));
    let amounts = [
        ("expected fee", aev(&quote.expected_fee)),
        ("escrow (at most)", aev(&quote.escrow)),
    ];
    let rest = [
        ("available", available),
        (
            "nodes",
            format!(
                "{} of {} fit, {} of them free{}",
                quote.eligible_nodes,
                quote.nodes_looked_at,
                quote.free_nodes,
                match quote.borderline_nodes {
                    0 => String::new(),
                    more => format!(
                        "; {more} more may: what others' nodes have is told in powers of two"
                    ),
                }
            ),
        ),
        ("tasks ahead", quote.tasks_ahead.to_string()),
        ("replicas", pace.to_owned()),
        ("starts at", or_dash(quote.starts_at.as_deref())),
        ("finishes by", or_dash(quote.finishes_by.as_deref())),
    ];
    // What a submission takes to pay no more for them than this.
    let most = quote.contents_max.iter();
    let most = most.map(|most| ("for no more", format!("--contents-max {most}")));
    let text = properties(amounts.into_iter().chain(uses).chain(most).chain(rest));
    text + &in_the_way(&quote.refused, &quote.nearest)
}

/// What nodes are refused for, and what would help with the one that lacks least.
fn in_the_way(refused: &[Waiting], nearest: &[Remedy]) -> String {
    let mut text = String::new();
    if !refused.is_empty() {
        let rows = refused
            .iter()
            .map(|r| [r.reason.clone(), r.nodes.to_string()]);
        text += &format!("\n\n{}", table(["REFUSED FOR", "NODES"], rows));
    }
    if !nearest.is_empty() {
        let rows = nearest.iter().map(|r| [r.reason.clone(), r.help.clone()]);
        text += &format!(
            "\n\n{}",
            table(["THE NEAREST NODE", "WHAT WOULD HELP"], rows)
        );
    }
    text
}

pub(super) async fn why(client: &Client, id: &str, global: &Global) -> Result<()> {
    let why = client.why_task(id).await?;
    print(global.output, &why, || explained(&why))
}

fn explained(why: &Why) -> String {
    let waits_for = match why.waits_for.as_str() {
        "dependencies" => "the tasks that it depends on",
        "node" => "a node that can take it",
        "room" => "other runs of a node to end: it is kept free for this task",
        "turn" => "its turn: nodes could take it",
        "quota" => {
            "its account's quota: as many runs as it may have at once are under way (`aevir account limits` shows how many that are)"
        }
        "release" => "an administrator: its account, its module or a content of it is suspended",
        "commitment" => "the results before it to be sealed: replicas run one after the other",
        "runs" => "its runs",
        "reveals" => "its nodes to reveal their results",
        "nothing" => "nothing: it has ended",
        other => other,
    };
    let awaits = (!why.awaits.is_empty()).then(|| why.awaits.join(", "));
    let text = properties([
        ("id", why.id.clone()),
        ("state", why.state.clone()),
        ("waits for", waits_for.to_owned()),
        ("sealed by", or_dash(awaits.as_deref())),
        ("at once from", or_dash(why.at_once_from.as_deref())),
        (
            "nodes",
            format!(
                "{} looked at, {} could take it",
                why.nodes_looked_at, why.fitting
            ),
        ),
    ]);
    text + &in_the_way(&why.refused, &why.nearest)
}

//! What using contents costs a task, and who earns by it (formulas: `docs/economics.md`, Contents).

use crate::{
    amount::{Amount, split},
    content::{Ancestor, ContentPrice, Contributor},
    definition::TaskDefinition,
    event::{Share, ShareRole},
    ids::ContentId,
    policy::Policy,
    rejection::Rejection,
    state::{Content, State, Task},
};

/// Shares of contents in one settlement: each is named in an entry of the log, and has two postings in another one.
const PAYEES_MAX: usize = 256;

/// What the contents of a definition cost by their terms as of now: each that costs something, in the order of their ids.
pub(super) fn prices(state: &State, definition: &TaskDefinition) -> Vec<ContentPrice> {
    let contents = definition.contents().into_iter();
    let prices = contents.filter_map(|content| {
        let price = state.contents.get(&content)?.price;
        (price > Amount::ZERO).then_some(ContentPrice { content, price })
    });
    prices.collect()
}

/// All of them together.
pub(crate) fn sum(prices: &[ContentPrice]) -> Amount {
    let sum = prices
        .iter()
        .fold(0_i64, |sum, p| sum.saturating_add(p.price.0));
    Amount(sum)
}

/// Whether a settlement can name everybody who would earn.
pub(super) fn check_payees(
    state: &State,
    definition: &TaskDefinition,
    policy: &Policy,
) -> Result<(), Rejection> {
    let earners = |id: &ContentId| {
        let content = state.contents.get(id);
        content.map_or(0, |content| content.contributors.len().max(1))
    };
    let payees: usize = definition
        .contents()
        .iter()
        .map(|id| {
            let ancestors = ancestors(state, *id, policy);
            earners(id) + ancestors.map(|a| earners(&a.content)).sum::<usize>()
        })
        .sum();
    if payees > PAYEES_MAX {
        let detail = format!(
            "its contents, and those that they were made of, have {payees} contributors who would be paid, and one settlement pays \
             {PAYEES_MAX} at most: use fewer contents"
        );
        return Err(Rejection::definition("/data", detail));
    }
    Ok(())
}

/// Who earns what by the contents of a task: each content its part of the content pool and its price, less what goes to those that it
/// was made of.
pub(super) fn shares(state: &State, task: &Task, compute: Amount, policy: &Policy) -> Vec<Share> {
    let contents: Vec<(ContentId, &Content)> = task
        .definition
        .contents()
        .into_iter()
        .filter_map(|id| Some((id, state.contents.get(&id)?)))
        .collect();
    let weights: Vec<u64> = contents.iter().map(|(_, c)| c.weight.into()).collect();
    let parts = split(compute.share(policy.content_share_ppm), &weights);
    let mut shares = Vec::new();
    for ((id, content), part) in contents.into_iter().zip(parts) {
        let price = task.prices.iter().find(|p| p.content == id);
        let income = Amount(part.0 + price.map_or(0, |p| p.price.0));
        let royalties = royalties(state, id, income, policy);
        let passed_on: i64 = royalties.iter().map(|(_, amount)| amount.0).sum();
        let kept = Amount(income.0 - passed_on);
        shares.extend(parted(ShareRole::Content, id, &content.earners(), kept));
        let royalties = royalties.into_iter().filter_map(|(ancestor, amount)| {
            let earners = state.contents.get(&ancestor)?.earners();
            Some(parted(ShareRole::Royalty, ancestor, &earners, amount))
        });
        shares.extend(royalties.flatten().filter(|s| s.amount > Amount::ZERO));
    }
    shares
}

/// A content's amount, by the weights of those who earn by it.
fn parted(
    role: ShareRole,
    content: ContentId,
    earners: &[Contributor],
    amount: Amount,
) -> Vec<Share> {
    let weights: Vec<u64> = earners.iter().map(|e| e.weight.into()).collect();
    let parts = split(amount, &weights);
    let shares = earners.iter().zip(parts).map(|(earner, amount)| Share {
        role,
        account: Some(earner.account),
        node: None,
        content: Some(content),
        amount,
    });
    shares.collect()
}

fn ancestors<'a>(
    state: &'a State,
    id: ContentId,
    policy: &Policy,
) -> impl Iterator<Item = &'a Ancestor> + use<'a> {
    let generations = policy.contents.generations;
    let known = state.index.ancestors.get(&id).into_iter().flatten();
    known.filter(move |a| a.generation <= generations)
}

/// What the ancestors of a content get of what it earns. Generation g is passed on the pot R_g = floor(R_(g-1) * royalty_ppm / M), with R_0
/// what the content earns, and keeps of it what it does not pass on itself. Those that are suspended get nothing; what a whole generation
/// of them would have kept stays with the content.
fn royalties(
    state: &State,
    id: ContentId,
    income: Amount,
    policy: &Policy,
) -> Vec<(ContentId, Amount)> {
    let ancestors: Vec<&Ancestor> = ancestors(state, id, policy).collect();
    let deepest = ancestors.iter().map(|a| a.generation).max().unwrap_or(0);
    let mut royalties = Vec::new();
    let mut pot = income.share(policy.contents.royalty_ppm);
    for generation in 1..=deepest {
        let next = match generation < deepest {
            true => pot.share(policy.contents.royalty_ppm),
            false => Amount::ZERO,
        };
        let earning: Vec<(ContentId, u64)> = ancestors
            .iter()
            .filter(|a| a.generation == generation)
            .filter_map(|a| Some((a.content, state.contents.get(&a.content)?)))
            .filter(|(_, content)| content.suspended.is_none())
            .map(|(id, content)| (id, content.weight.into()))
            .collect();
        let weights: Vec<u64> = earning.iter().map(|(_, weight)| *weight).collect();
        let parts = split(Amount(pot.0 - next.0), &weights);
        royalties.extend(earning.into_iter().map(|(id, _)| id).zip(parts));
        pot = next;
    }
    royalties
}

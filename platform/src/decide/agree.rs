//! Which results of a sample agree: bit by bit, or as drawn verifiers say who compare two at a time (`docs/economics.md`, Comparators).
//! What is said here does not depend on the order in which results came or were compared.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    digest::Digest, event::RefusalReason, ids::AssignmentId, policy::Policy, report::Report,
    state::Task,
};

/// Two results, that with the smaller id first.
pub(crate) type Pair = (AssignmentId, AssignmentId);

/// What the results of a sample come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// A quorum, and what it agrees on bit by bit or nearly: the first one's result is it.
    Reached {
        key: Digest,
        results: Vec<AssignmentId>,
    },
    /// That depends on whether these agree, which nobody was asked yet.
    Open(Vec<Pair>),
    None,
}

/// Results that are equal bit by bit, in the order of their ids.
struct Group<'a> {
    key: Digest,
    results: Vec<(AssignmentId, &'a Report)>,
}

impl Group<'_> {
    fn ids(&self) -> impl Iterator<Item = AssignmentId> + '_ {
        self.results.iter().map(|(id, _)| *id)
    }
}

/// What these results come to. `compared` says of two whether they agree, where verifiers were asked.
pub(crate) fn agreement(
    task: &Task,
    policy: &Policy,
    reports: &BTreeMap<AssignmentId, &Report>,
    compared: impl Fn(Pair) -> Option<bool>,
) -> Agreement {
    let groups = groups(reports);
    let equal = groups.iter().find(|group| {
        // The quorum is more than half of all replicas, so that at most one group reaches it. What stood alone had stake behind it.
        let counted = usize::from(counted_word(task) == Some(group.key));
        let ids: Vec<AssignmentId> = group.ids().collect();
        ids.len() + counted >= task.quorum() as usize && task.may_decide(&ids, counted, policy)
    });
    if task.definition.comparison().is_none() {
        return equal.map_or(Agreement::None, |group| Agreement::Reached {
            key: group.key,
            results: group.ids().collect(),
        });
    }
    // What is equal often enough is the result, whoever else is near it; else any of them may be.
    let centres: Vec<&Group<'_>> = equal.map_or_else(|| groups.iter().collect(), |one| vec![one]);
    let others = |centre: &Group<'_>| {
        let key = centre.key;
        groups.iter().filter(move |group| group.key != key)
    };
    let asked = centres.iter().flat_map(|centre| {
        let others = others(centre).filter(|other| said(centre, other, &compared).is_none());
        others.filter_map(|other| first_pair(task, centre, other))
    });
    let mut open: Vec<Pair> = asked.collect();
    open.sort_unstable();
    open.dedup();
    if !open.is_empty() {
        return Agreement::Open(open);
    }
    let stars = centres.iter().map(|centre| {
        let near = others(centre).filter(|other| said(centre, other, &compared) == Some(true));
        let mut near: Vec<AssignmentId> = near.flat_map(Group::ids).collect();
        near.sort_unstable();
        let results: Vec<AssignmentId> = centre.ids().chain(near).collect();
        (centre.key, results)
    });
    let quorums = stars.filter(|(_, results)| {
        results.len() >= task.quorum() as usize && task.may_decide(results, 0, policy)
    });
    let first = |results: &[AssignmentId]| (Reverse(results.len()), results.first().copied());
    let most = quorums.min_by_key(|(_, results)| first(results));
    most.map_or(Agreement::None, |(key, results)| Agreement::Reached {
        key,
        results,
    })
}

fn groups<'a>(reports: &BTreeMap<AssignmentId, &'a Report>) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<Digest, Group<'a>> = BTreeMap::new();
    for (id, report) in reports {
        let key = report.agreement_key();
        let new = || Group {
            key,
            results: Vec::new(),
        };
        let group = groups.entry(key).or_insert_with(new);
        group.results.push((*id, report));
    }
    groups.into_values().collect()
}

/// What the one word says that a review counts.
pub(super) fn counted_word(task: &Task) -> Option<Digest> {
    Some(task.review_of.as_ref().filter(|of| of.counts)?.reviewed)
}

/// What verifiers say of one result of each of two groups.
fn said(
    one: &Group<'_>,
    two: &Group<'_>,
    compared: &impl Fn(Pair) -> Option<bool>,
) -> Option<bool> {
    let mut pairs = one.ids().flat_map(|a| two.ids().map(move |b| (a, b)));
    pairs.find_map(|(a, b)| compared((a.min(b), a.max(b))))
}

/// Of two groups the first two results that verifiers can be asked about.
fn first_pair(task: &Task, one: &Group<'_>, two: &Group<'_>) -> Option<Pair> {
    let pairs = one
        .results
        .iter()
        .flat_map(|a| two.results.iter().map(move |b| (a, b)));
    let pairs = pairs.filter(|((_, a), (_, b))| may_differ(task, a, b));
    pairs.map(|((a, _), (b, _))| (*a.min(b), *a.max(b))).min()
}

/// Whether right results of these two runs can differ: not within a class of hardware, where runs can be repeated bit by bit.
fn may_differ(task: &Task, one: &Report, two: &Report) -> bool {
    one.class != two.class || !task.definition.runtime.is_reproducible()
}

/// Why a revealed result is refused that does not belong to those accepted.
pub(super) fn refusal(
    task: &Task,
    policy: &Policy,
    report: &Report,
    accepted: &BTreeMap<AssignmentId, &Report>,
) -> RefusalReason {
    if task.definition.comparison().is_none() {
        return RefusalReason::Mismatch;
    }
    // What the requester's module or tolerance says shows nobody to be wrong; what others of the same class say, bit by bit, does.
    let same = accepted
        .iter()
        .filter(|(_, of)| !may_differ(task, of, report));
    let same: BTreeMap<AssignmentId, &Report> = same.map(|(id, of)| (*id, *of)).collect();
    let is_shown = groups(&same).iter().any(|group| {
        let ids: Vec<AssignmentId> = group.ids().collect();
        ids.len() >= CLASS_QUORUM && task.may_decide(&ids, 0, policy)
    });
    if is_shown {
        RefusalReason::Mismatch
    } else {
        RefusalReason::Apart
    }
}

/// Results of a class of hardware that are equal and show another one of it to be wrong: one against one decides nothing.
const CLASS_QUORUM: usize = 2;

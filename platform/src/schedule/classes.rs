//! GPU classes, each with its nodes and how many owners they have: results that are compared bit by bit stay in one class, so that a sample
//! has to begin in one whose owners suffice for all of its replicas.

use std::collections::BTreeMap;

use super::{
    bits::Bits,
    members::{Members, Named},
};
use crate::{decide::REPLICAS_MAX, ids::AccountId};

/// Classes of one owner's GPUs up to which each is looked at when he is the requester. Of whoever has more, every class is asked for one owner
/// more, whether he has a node of it or not.
pub(super) const OWN_CLASSES_MAX: usize = 64;

/// How many replicas there may be.
const SIZES: usize = REPLICAS_MAX as usize + 1;

/// The index of GPU classes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Classes {
    /// Of each node that is not gone for good: its class and its owner.
    known: BTreeMap<u32, (String, AccountId)>,
    /// All of those.
    pub(super) there: Counted,
    /// Those that take work, busy or not: others can't confirm anything.
    pub(super) at_work: Counted,
}

impl Classes {
    /// A node is of a class, or is not any more.
    pub(super) fn mark(
        &mut self,
        class: &str,
        owner: AccountId,
        i: u32,
        (is_there, is_at_work): (bool, bool),
    ) {
        if is_there {
            self.known.insert(i, (class.to_owned(), owner));
        } else {
            self.known.remove(&i);
        }
        self.there.mark(class, owner, i, is_there);
        self.at_work.mark(class, owner, i, is_there && is_at_work);
    }

    /// A node takes work from here on, or does not any more.
    pub(super) fn work(&mut self, i: u32, is_at_work: bool) {
        if let Some((class, owner)) = self.known.get(&i) {
            self.at_work.mark(class, *owner, i, is_at_work);
        }
    }
}

/// Some nodes by their classes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    nodes: Named<String>,
    /// By class: how many nodes of it each owner has.
    owners: BTreeMap<String, BTreeMap<AccountId, u32>>,
    /// By owner: the classes of his nodes.
    owned: BTreeMap<AccountId, BTreeMap<String, u32>>,
    /// The nodes of classes that have so many owners at least.
    of_size: [Bits; SIZES + 1],
}

impl Counted {
    /// A node is among those of a class, or is not any more.
    fn mark(&mut self, class: &str, owner: AccountId, i: u32, is_there: bool) {
        let was_there = self.nodes.get(class).is_some_and(|nodes| nodes.contains(i));
        if was_there == is_there {
            return;
        }
        let before = self.owners_of(class);
        self.nodes.mark(class.to_owned(), i, is_there);
        count(&mut self.owners, class.to_owned(), owner, is_there);
        count(&mut self.owned, owner, class.to_owned(), is_there);
        let after = self.owners_of(class);
        for size in 0..=before.max(after).min(SIZES) {
            self.of_size[size].set(i, is_there && size <= after);
        }
        if before != after
            && let Some(of_size) = self.of_size.get_mut(before.max(after))
        {
            let others = self.nodes.get(class).into_iter().flat_map(Members::iter);
            others.for_each(|i| of_size.set(i, after > before));
        }
    }

    /// How many owners have nodes of a class.
    pub(super) fn owners_of(&self, class: &str) -> usize {
        self.owners.get(class).map_or(0, BTreeMap::len)
    }

    /// Whether a class has nodes of so many owners beside the requester.
    pub(super) fn has_owners(&self, class: &str, requester: AccountId, needed: u32) -> bool {
        let owned = self.owned.get(&requester);
        let is_his =
            owned.is_some_and(|own| own.len() > OWN_CLASSES_MAX || own.contains_key(class));
        self.owners_of(class) >= needed as usize + usize::from(is_his)
    }

    /// Keeps of some nodes those of classes that have so many owners beside the requester.
    pub(super) fn keep_owned(&self, nodes: &mut Bits, requester: AccountId, needed: u32) {
        let own = self.owned.get(&requester);
        let are_many = own.is_some_and(|own| own.len() > OWN_CLASSES_MAX);
        let least = needed as usize + usize::from(are_many);
        match self.of_size.get(least) {
            Some(of_size) => nodes.intersect(of_size),
            None => nodes.clear(),
        }
        for class in own
            .filter(|_| !are_many)
            .into_iter()
            .flat_map(BTreeMap::keys)
        {
            if self.owners_of(class) == least
                && let Some(of_class) = self.nodes.get(class)
            {
                of_class.take_out(nodes);
            }
        }
    }

    /// Whether it makes a difference to that who the requester is.
    pub(super) fn are_owned_by(&self, requester: AccountId) -> bool {
        self.owned.contains_key(&requester)
    }

    /// Keeps of some nodes those of a class.
    pub(super) fn keep(&self, class: &str, nodes: &mut Bits) {
        self.nodes.keep(class, nodes);
    }

    /// Keeps of some nodes those of any of these classes.
    pub(super) fn keep_any(&self, classes: &[String], nodes: &mut Bits) {
        self.nodes.keep_any(classes.iter(), nodes);
    }
}

/// One more of `inner` at `outer`, or one less; what is none is not kept.
fn count<A: Ord + Clone, B: Ord>(
    counts: &mut BTreeMap<A, BTreeMap<B, u32>>,
    outer: A,
    inner: B,
    is_more: bool,
) {
    if is_more {
        *counts.entry(outer).or_default().entry(inner).or_default() += 1;
        return;
    }
    let Some(of) = counts.get_mut(&outer) else {
        return;
    };
    if let Some(known) = of.get_mut(&inner) {
        *known -= 1;
        if *known == 0 {
            of.remove(&inner);
        }
    }
    if of.is_empty() {
        counts.remove(&outer);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use ulid::Ulid;

    use super::*;

    /// Nodes, each with its class and owner.
    type Fleet = BTreeMap<u32, (u8, u8)>;

    fn account(owner: u8) -> AccountId {
        AccountId(Ulid(owner.into()))
    }

    fn owners(fleet: &Fleet, class: u8, but: Option<u8>) -> usize {
        let of_class = fleet.values().filter(|(of, _)| *of == class);
        let owners: BTreeSet<u8> = of_class.map(|(_, owner)| *owner).collect();
        owners
            .into_iter()
            .filter(|owner| Some(*owner) != but)
            .count()
    }

    proptest! {
        /// Whoever comes and goes, the index is what counting anew says.
        #[test]
        fn the_index_counts_owners(
            changes in prop::collection::vec((0u32..40, 0u8..4, 0u8..14, any::<bool>()), 1..200),
            requester in 0u8..14,
        ) {
            let (mut fleet, mut classes) = (Fleet::new(), Counted::default());
            for (i, class, owner, is_there) in changes {
                if let Some((class, owner)) = fleet.remove(&i) {
                    classes.mark(&class.to_string(), account(owner), i, false);
                }
                if is_there {
                    fleet.insert(i, (class, owner));
                    // Told twice, it is there once.
                    classes.mark(&class.to_string(), account(owner), i, true);
                    classes.mark(&class.to_string(), account(owner), i, true);
                }
            }
            let mut anew = Counted::default();
            for (i, (class, owner)) in &fleet {
                anew.mark(&class.to_string(), account(*owner), *i, true);
            }
            prop_assert_eq!(&anew, &classes, "whatever the way there was");
            for needed in 1..=REPLICAS_MAX {
                let mut kept: Bits = (0..40).collect();
                classes.keep_owned(&mut kept, account(requester), needed);
                let has = |class: u8| owners(&fleet, class, Some(requester)) >= needed as usize;
                let expected = fleet.iter().filter(|(_, (class, _))| has(*class));
                let expected: Vec<u32> = expected.map(|(i, _)| *i).collect();
                prop_assert_eq!(kept.iter().collect::<Vec<_>>(), expected);
                for class in 0..4 {
                    let found = classes.has_owners(&class.to_string(), account(requester), needed);
                    prop_assert_eq!(found, has(class));
                    prop_assert_eq!(classes.owners_of(&class.to_string()), owners(&fleet, class, None));
                }
            }
        }
    }

    #[test]
    fn who_takes_no_work_is_there_and_not_at_work() {
        let mut classes = Classes::default();
        let owners = |of: &Counted| of.owners_of("a");
        classes.mark("a", account(1), 0, (true, false));
        classes.mark("a", account(2), 1, (true, true));
        assert_eq!((owners(&classes.there), owners(&classes.at_work)), (2, 1));
        classes.work(0, true);
        assert_eq!(owners(&classes.at_work), 2);
        classes.work(1, false);
        classes.work(7, true);
        assert_eq!((owners(&classes.there), owners(&classes.at_work)), (2, 1));
        classes.mark("a", account(1), 0, (false, true));
        classes.work(0, true);
        assert_eq!((owners(&classes.there), owners(&classes.at_work)), (1, 0));
    }

    #[test]
    fn of_who_has_very_many_classes_each_is_asked_for_one_owner_more() {
        let mut classes = Counted::default();
        for (i, owner) in (0..3).zip([1, 2, 3]) {
            classes.mark("of three", account(owner), i, true);
        }
        let kept = |classes: &Counted, needed| {
            let mut kept: Bits = (0..3).collect();
            classes.keep_owned(&mut kept, account(9), needed);
            let has = classes.has_owners("of three", account(9), needed);
            assert_eq!(has, !kept.is_empty());
            has
        };
        for i in 0..=OWN_CLASSES_MAX {
            assert!(kept(&classes, 3), "{i}");
            classes.mark(&i.to_string(), account(9), 10 + i as u32, true);
        }
        assert!(!kept(&classes, 3));
        assert!(kept(&classes, 2));
    }
}

//! Sets of nodes, most of which are small: what one node says of itself (a label with its name, an input that it has) costs what
//! one node's number takes, and not a bit for each node there is.

use std::collections::{BTreeMap, btree_map::Entry};

use super::bits::Bits;

/// Members up to which a set is a list. A list of so many takes 4 KiB; as bits it takes three times as much with 100,000 nodes, and
/// is no slower for it.
const FEW_MAX: usize = 1_024;

/// A set of ordinals: a sorted list while it is small, then bits. Which of both it is follows from its size alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Members {
    Few(Vec<u32>),
    Many(Bits),
}

impl Default for Members {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    /// Whether there are more than so many.
    pub(super) fn is_more_than(&self, count: usize) -> bool {
        match self {
            Self::Few(few) => few.len() > count,
            Self::Many(many) => many.len() as usize > count,
        }
    }

    pub(super) fn contains(&self, i: u32) -> bool {
        match self {
            Self::Few(few) => few.binary_search(&i).is_ok(),
            Self::Many(many) => many.contains(i),
        }
    }

    /// Puts a member in or takes it out.
    pub(super) fn set(&mut self, i: u32, is_member: bool) {
        match (&mut *self, is_member) {
            (Self::Few(few), true) => {
                if let Err(at) = few.binary_search(&i) {
                    few.insert(at, i);
                }
                if few.len() > FEW_MAX {
                    *self = Self::Many(few.iter().copied().collect());
                }
            }
            (Self::Few(few), false) => {
                if let Ok(at) = few.binary_search(&i) {
                    few.remove(at);
                }
            }
            (Self::Many(many), _) => {
                many.set(i, is_member);
                if many.len() as usize <= FEW_MAX {
                    *self = Self::Few(many.iter().collect());
                }
            }
        }
    }

    /// The members in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => ([].as_slice(), Some(many)),
        };
        few.iter()
            .copied()
            .chain(many.into_iter().flat_map(Bits::iter))
    }

    /// Keeps of some nodes those that are in it.
    pub(super) fn keep_in(&self, nodes: &mut Bits) {
        match self {
            Self::Few(few) => {
                let kept: Vec<u32> = few.iter().copied().filter(|i| nodes.contains(*i)).collect();
                nodes.clear();
                kept.into_iter().for_each(|i| nodes.set(i, true));
            }
            Self::Many(many) => nodes.intersect(many),
        }
    }

    /// Takes those out of some nodes that are in it.
    pub(super) fn take_out(&self, nodes: &mut Bits) {
        match self {
            Self::Few(few) => few.iter().for_each(|i| nodes.set(*i, false)),
            Self::Many(many) => nodes.subtract(many),
        }
    }

    /// Adds to some nodes those that are in it and in `of`.
    pub(super) fn add_shared(&self, of: &Bits, to: &mut Bits) {
        match self {
            Self::Few(few) => {
                let shared = few.iter().filter(|i| of.contains(**i));
                shared.for_each(|i| to.set(*i, true));
            }
            Self::Many(many) => to.add_shared(many, of, &Bits::default()),
        }
    }
}

/// Sets by name; an empty one is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named<K: Ord>(BTreeMap<K, Members>);

impl<K: Ord> Default for Named<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Named<K> {
    pub(super) fn get<Q: Ord + ?Sized>(&self, name: &Q) -> Option<&Members>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(name)
    }

    /// Puts a node into the set of a name, or takes it out.
    pub(super) fn mark(&mut self, name: K, i: u32, is_there: bool) {
        match self.0.entry(name) {
            Entry::Vacant(set) if is_there => set.insert(Members::default()).set(i, true),
            Entry::Vacant(_) => {}
            Entry::Occupied(mut set) => {
                set.get_mut().set(i, is_there);
                if set.get().is_empty() {
                    set.remove();
                }
            }
        }
    }

    /// Keeps of some nodes those of a name.
    pub(super) fn keep<Q: Ord + ?Sized>(&self, name: &Q, nodes: &mut Bits)
    where
        K: std::borrow::Borrow<Q>,
    {
        match self.get(name) {
            Some(set) => set.keep_in(nodes),
            None => nodes.clear(),
        }
    }

    /// Keeps of some nodes those of any of these names.
    pub(super) fn keep_any<'a, Q: Ord + ?Sized + 'a>(
        &self,
        names: impl Iterator<Item = &'a Q>,
        nodes: &mut Bits,
    ) where
        K: std::borrow::Borrow<Q>,
    {
        let mut any = Bits::default();
        for set in names.filter_map(|name| self.get(name)) {
            set.add_shared(nodes, &mut any);
        }
        *nodes = any;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sets() -> impl Strategy<Value = BTreeSet<u32>> {
        prop_oneof![
            prop::collection::btree_set(0u32..20_000, 0..20),
            prop::collection::btree_set(0u32..5_000, 900..1_200),
        ]
    }

    proptest! {
        #[test]
        fn both_forms_are_the_same_set(a in sets(), removed in sets(), b in sets()) {
            let mut members = Members::default();
            a.iter().for_each(|i| members.set(*i, true));
            removed.iter().for_each(|i| members.set(*i, false));
            let left = &a - &removed;
            let mut anew = Members::default();
            left.iter().rev().for_each(|i| anew.set(*i, true));
            prop_assert_eq!(&members, &anew, "whatever the way there was");
            prop_assert!(members.iter().eq(left.iter().copied()));
            prop_assert_eq!(matches!(members, Members::Few(_)), left.len() <= FEW_MAX);
            let bits = |set: &BTreeSet<u32>| set.iter().copied().collect::<Bits>();
            let (mut both, mut without, mut shared) = (bits(&b), bits(&b), Bits::default());
            members.keep_in(&mut both);
            members.take_out(&mut without);
            members.add_shared(&bits(&b), &mut shared);
            prop_assert_eq!(&both, &bits(&(&b & &left)));
            prop_assert_eq!(&without, &bits(&(&b - &left)));
            prop_assert_eq!(&shared, &both);
            prop_assert!(b.iter().all(|i| members.contains(*i) == left.contains(i)));
        }
    }

    #[test]
    fn one_node_costs_what_one_number_takes() {
        let mut named = Named::default();
        named.mark("host".to_owned(), 99_999, true);
        let Some(Members::Few(few)) = named.get("host") else {
            panic!("a set of one is a list");
        };
        assert!(few.capacity() <= 4);
        named.mark("host".to_owned(), 99_999, false);
        assert_eq!(named, Named::default(), "an empty set is not kept");
    }
}

//! Nodes that do not work for everybody, or do not run every module: by whom they name, so that a plan looks at the names of
//! its task, and not at each node's lists.

use super::{bits::Bits, members::Named};
use crate::{
    digest::Digest,
    ids::AccountId,
    terms::{AllowDeny, NodeTerms},
};

/// The index of nodes by whom and what they take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parties {
    requesters: Lists<AccountId>,
    modules: Lists<Digest>,
}

/// Of a task, what nodes name in their lists: tasks of which none is named fit the same nodes.
pub(super) type NamedParty = (Option<AccountId>, Option<Digest>);

impl Parties {
    /// A node has these terms, or does not any more.
    pub(super) fn set(&mut self, i: u32, terms: &NodeTerms, is_there: bool) {
        self.requesters.set(i, &terms.requesters, is_there);
        self.modules.set(i, &terms.modules, is_there);
    }

    /// What of a requester and a module nodes name.
    pub(super) fn named(&self, requester: AccountId, module: Digest) -> NamedParty {
        (
            self.requesters.is_named(&requester).then_some(requester),
            self.modules.is_named(&module).then_some(module),
        )
    }

    /// Takes the nodes out that do not work for the requester, or do not run the module.
    pub(super) fn take_out(&self, requester: AccountId, module: Digest, nodes: &mut Bits) {
        self.requesters.take_out(&requester, nodes);
        self.modules.take_out(&module, nodes);
    }
}

/// Nodes by what they allow and deny of one sort.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lists<K: Ord> {
    /// Nodes that take nothing but what they name.
    select: Bits,
    allow: Named<K>,
    deny: Named<K>,
}

impl<K: Ord> Default for Lists<K> {
    fn default() -> Self {
        Self {
            select: Bits::default(),
            allow: Named::default(),
            deny: Named::default(),
        }
    }
}

impl<K: Ord + Copy> Lists<K> {
    fn set(&mut self, i: u32, lists: &AllowDeny<K>, is_there: bool) {
        self.select.set(i, is_there && !lists.allow.is_empty());
        for one in &lists.allow {
            self.allow.mark(*one, i, is_there);
        }
        for one in &lists.deny {
            self.deny.mark(*one, i, is_there);
        }
    }

    fn is_named(&self, one: &K) -> bool {
        self.allow.get(one).is_some() || self.deny.get(one).is_some()
    }

    fn take_out(&self, one: &K, nodes: &mut Bits) {
        if !self.select.is_empty() {
            let mut others = self.select.clone();
            if let Some(allowing) = self.allow.get(one) {
                allowing.take_out(&mut others);
            }
            nodes.subtract(&others);
        }
        if let Some(denying) = self.deny.get(one) {
            denying.take_out(nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn lists() -> impl Strategy<Value = AllowDeny<u8>> {
        let some = || prop::collection::btree_set(0u8..6, 0..4);
        (some(), some()).prop_map(|(allow, deny)| AllowDeny { allow, deny })
    }

    proptest! {
        #[test]
        fn taken_out_is_who_does_not_admit(all in prop::collection::vec(lists(), 1..20), gone in 0usize..20) {
            let mut index = Lists::default();
            for (i, lists) in all.iter().enumerate() {
                index.set(i as u32, lists, true);
            }
            if let Some(lists) = all.get(gone) {
                index.set(gone as u32, lists, false);
            }
            let mut unnamed = BTreeSet::new();
            for one in 0u8..8 {
                let mut nodes: Bits = (0..all.len() as u32).collect();
                index.take_out(&one, &mut nodes);
                for (i, lists) in all.iter().enumerate() {
                    prop_assert_eq!(nodes.contains(i as u32), i == gone || lists.admits(&one));
                }
                if !index.is_named(&one) {
                    unnamed.insert(nodes.iter().collect::<Vec<_>>());
                }
            }
            prop_assert!(unnamed.len() <= 1, "who is not named is like all others who are not");
        }
    }
}

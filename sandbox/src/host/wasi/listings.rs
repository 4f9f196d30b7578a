//! What is in the folders that a program has listed, each held once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::filesystem::Listing;

/// The lists of a run's folders, by their paths. Inputs never change, and outputs only become more, so that their number tells an old list.
/// There are no more folders than there are parts in the names of inputs.
#[derive(Debug, Default)]
pub(super) struct Listings(BTreeMap<String, (usize, Listing)>);

impl Listings {
    /// The list of a folder of a run that has made `outputs` so far; `make` is asked where it is not known.
    pub(super) fn get(
        &mut self,
        folder: &str,
        outputs: usize,
        make: impl FnOnce() -> BTreeSet<(String, bool)>,
    ) -> Listing {
        match self.0.get(folder) {
            Some((made_at, listing)) if *made_at == outputs => Arc::clone(listing),
            _ => {
                let listing: Listing = make().into_iter().collect();
                self.0
                    .insert(folder.to_owned(), (outputs, Arc::clone(&listing)));
                listing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_made_once_until_there_are_more_outputs() {
        let mut listings = Listings::default();
        let names = |name: &str| BTreeSet::from([(name.to_owned(), false)]);
        let one = listings.get("inputs", 0, || names("a"));
        let two = listings.get("inputs", 0, || names("never asked"));
        assert!(Arc::ptr_eq(&one, &two));
        let outputs = listings.get("outputs", 0, || names("x"));
        let more = listings.get("outputs", 1, || names("y"));
        assert_eq!((&outputs[0].0[..], &more[0].0[..]), ("x", "y"));
    }
}

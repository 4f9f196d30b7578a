//! Contents in the model: what a use costs, who may, and who earns by it.

use std::collections::{BTreeMap, BTreeSet};

use aevir_platform::{
    content::Access,
    definition::TaskDefinition,
    event::ContentRegistered,
    ids::{AccountId, ContentId},
    policy::Policy,
};

use super::{Naive, divide, share, used};

/// Ancestors that earn.
const ANCESTORS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Content {
    owner: AccountId,
    weight: i64,
    price: i64,
    access: Access,
    earners: Vec<(AccountId, i64)>,
    parents: Vec<ContentId>,
}

impl Content {
    pub(super) fn of(e: &ContentRegistered) -> Self {
        let named = e.contributors.iter();
        let mut earners: Vec<_> = named.map(|c| (c.account, i64::from(c.weight))).collect();
        if earners.is_empty() {
            earners.push((e.owner, 1));
        }
        let lineage = e.lineage.iter();
        Self {
            owner: e.owner,
            weight: e.weight.into(),
            price: e.price.0,
            access: e.access.clone(),
            earners,
            parents: lineage.flat_map(|l| l.contents.clone()).collect(),
        }
    }

    fn is_for(&self, account: AccountId) -> bool {
        let is_listed = match &self.access {
            Access::Everybody => true,
            Access::Accounts(accounts) => accounts.contains(&account),
        };
        is_listed || self.owner == account || self.earners.iter().any(|(a, _)| *a == account)
    }

    fn parted(&self, amount: i64) -> impl Iterator<Item = (AccountId, i64)> + '_ {
        let weights: Vec<i64> = self.earners.iter().map(|(_, weight)| *weight).collect();
        let accounts = self.earners.iter().map(|(account, _)| *account);
        accounts.zip(divide(amount, &weights))
    }
}

impl Naive {
    pub(super) fn terms_changed(&mut self, id: ContentId, price: i64, access: &Access) {
        let content = self.contents.get_mut(&id).unwrap();
        (content.price, content.access) = (price, access.clone());
    }

    /// What using the contents of a definition costs now.
    pub(super) fn uses(&self, definition: &TaskDefinition) -> BTreeMap<ContentId, i64> {
        let contents = used(definition).into_iter();
        let known = contents.filter_map(|id| Some((id, self.contents.get(&id)?.price)));
        known.collect()
    }

    /// All of its contents are there for the account.
    pub(super) fn may_use(&self, account: AccountId, definition: &TaskDefinition) -> bool {
        let contents = used(definition);
        contents.iter().all(|id| self.contents[id].is_for(account))
    }

    /// Who earns what by the contents of a task.
    pub(super) fn by_contents(
        &self,
        uses: &BTreeMap<ContentId, i64>,
        pool: i64,
        policy: &Policy,
    ) -> Vec<(AccountId, i64)> {
        let weights: Vec<i64> = uses.keys().map(|id| self.contents[id].weight).collect();
        let mut earned = Vec::new();
        for ((id, price), part) in uses.iter().zip(divide(pool, &weights)) {
            let income = part + price;
            let royalties = self.royalties(*id, income, policy);
            let passed_on: i64 = royalties.iter().map(|(_, amount)| amount).sum();
            earned.extend(self.contents[id].parted(income - passed_on));
            for (ancestor, amount) in royalties {
                let parts = self.contents[&ancestor].parted(amount);
                earned.extend(parts.filter(|(_, amount)| *amount > 0));
            }
        }
        earned
    }

    /// What a content was made of, by whom it may be: in place of contents of one owner, what those were made of.
    fn made_of(&self, id: ContentId, owner: AccountId, found: &mut BTreeSet<ContentId>) {
        for parent in &self.contents[&id].parents {
            match self.contents[parent].owner == owner {
                true => self.made_of(*parent, owner, found),
                false => drop(found.insert(*parent)),
            }
        }
    }

    fn royalties(&self, id: ContentId, income: i64, policy: &Policy) -> Vec<(ContentId, i64)> {
        let owner = self.contents[&id].owner;
        let mut seen = BTreeSet::new();
        let mut last = BTreeSet::from([id]);
        let mut generations: Vec<Vec<ContentId>> = Vec::new();
        for _ in 0..policy.contents.generations {
            let mut next = BTreeSet::new();
            for of in &last {
                self.made_of(*of, owner, &mut next);
            }
            next.retain(|of| seen.insert(*of));
            let left = ANCESTORS_MAX - generations.iter().map(Vec::len).sum::<usize>();
            let earning: Vec<ContentId> = next.iter().copied().take(left).collect();
            if earning.is_empty() {
                break;
            }
            generations.push(earning);
            last = next;
        }
        let mut pots = vec![income];
        for _ in &generations {
            pots.push(share(pots[pots.len() - 1], policy.contents.royalty_ppm));
        }
        pots.push(0);
        let mut royalties = Vec::new();
        for (n, mut earning) in generations.into_iter().enumerate() {
            earning.retain(|of| !self.suspended.contains(of));
            let weights: Vec<i64> = earning.iter().map(|of| self.contents[of].weight).collect();
            let parts = divide(pots[n + 1] - pots[n + 2], &weights);
            royalties.extend(earning.into_iter().zip(parts));
        }
        royalties
    }
}

//! What administrators and account holders do now and then.

use std::collections::BTreeSet;

use aevir_platform::{
    amount::{Amount, Points},
    command::{AddKey, COMPILE_MIB_MIN, Command, RegisterModule, Scope, World as ModuleWorld},
    content::{Access, Contributor},
    digest::Digest,
    ids::{AccountId, ContentId, NodeId},
    policy::{AccountLimits, Policy},
};

use super::{Player, Random};
use crate::market::{EPOCH_MS, Offer, blob};

/// Nodes that have not gone.
const NODES_MAX: usize = 8;
/// Contents; from a few on their terms change, too.
const CONTENTS_MAX: usize = 12;
const CONTENTS_FEW: usize = 9;

impl Player {
    /// Whether another content is to be registered, and not the terms of one to be changed.
    fn registers_content(&mut self) -> bool {
        let known = self.market.state.contents.len();
        known < CONTENTS_FEW || (known < CONTENTS_MAX && self.random.chance(2))
    }

    /// What administrators and account holders do now and then.
    pub(super) fn office(&mut self) -> Option<Command> {
        let requester = self.requester();
        let number = self.market.log.len();
        let hash = Digest::of(&number.to_be_bytes());
        match self.random.below(9) {
            0 => Some(Command::AdoptPolicy(self.policy())),
            1 => {
                let scopes = vec![Scope::Read];
                let label = format!("key {number}");
                Some(Command::AddKey(AddKey {
                    account: requester,
                    label,
                    hash,
                    scopes,
                }))
            }
            2 => {
                let keys = self.market.state.keys.iter();
                let added = keys
                    .filter(|(_, k)| k.account == requester && !k.revoked && k.label != "first");
                let added: Vec<_> = added.map(|(id, _)| *id).collect();
                let key = self.random.pick(&added)?;
                Some(Command::RevokeKey {
                    account: requester,
                    key,
                })
            }
            3 => {
                let limits = AccountLimits {
                    weight: self.random.below(200) as u32,
                    tasks_max: 100,
                    running_max: 1 + self.random.below(20) as u32,
                };
                Some(Command::SetLimits {
                    account: requester,
                    limits,
                })
            }
            4 => {
                let name = format!("module {number}");
                Some(Command::RegisterModule(RegisterModule {
                    owner: requester,
                    blob: blob(name.as_bytes()),
                    name,
                    world: ModuleWorld::Task,
                    imports: Vec::new(),
                    compile_mib: COMPILE_MIB_MIN,
                    code_mib: 1,
                }))
            }
            5 if self.registers_content() => {
                let weight = 1 + self.random.below(9) as u32;
                let offer = self.offer();
                self.market
                    .content(requester, &format!("set {number}"), weight, offer);
                None
            }
            6 | 7 => {
                let gone = |n: &&NodeId| self.market.state.nodes[*n].standing.is_gone();
                if self.market.nodes.len() - self.market.nodes.iter().filter(gone).count()
                    < NODES_MAX
                {
                    let owner = self.random.below(self.market.owners.len());
                    let owner = self.market.owners[owner];
                    if self.market.state.suspension(owner).is_none() {
                        self.market.join(owner);
                    }
                }
                None
            }
            _ => {
                let expires = self.market.now.plus_ms(1_000);
                Some(Command::IssueJoinToken {
                    account: requester,
                    token_hash: hash,
                    expires,
                })
            }
        }
    }

    /// A content is offered on other terms, mostly by who may.
    pub(super) fn content_terms(&mut self) -> Option<Command> {
        let contents: Vec<ContentId> = self.market.state.contents.keys().copied().collect();
        let content = self.random.pick(&contents)?;
        let owner = match self.random.chance(5) {
            true => self.requester(),
            false => self.market.state.contents[&content].owner,
        };
        let Offer { price, access, .. } = self.offer();
        Some(Command::ChangeContentTerms {
            owner,
            content,
            price,
            access,
        })
    }

    /// Terms of a content, which now and then name accounts.
    fn offer(&mut self) -> Offer {
        let accounts = [&self.market.requesters[..], &self.market.owners].concat();
        let some = |random: &mut Random, most: usize| -> BTreeSet<AccountId> {
            let many = random.below(most + 1);
            (0..many).filter_map(|_| random.pick(&accounts)).collect()
        };
        let access = match self.random.chance(4) {
            true => Access::Accounts(some(&mut self.random, 3)),
            false => Access::Everybody,
        };
        let contributors = some(&mut self.random, 3).into_iter();
        let contributors: Vec<Contributor> = contributors
            .map(|account| Contributor {
                account,
                weight: 1 + self.random.below(9) as u32,
            })
            .collect();
        Offer {
            contributors,
            price: Amount([0, 1, 100_003, -1][self.random.below(4)]),
            access,
        }
    }

    /// Another policy than the one before, in all that moves money and points.
    fn policy(&mut self) -> Policy {
        let mut policy = Policy {
            content_share_ppm: [0, 100_000, 333_333][self.random.below(3)],
            platform_share_ppm: [0, 50_000, 77_777][self.random.below(3)],
            attempt_fee: Amount([0, 7, 1_000][self.random.below(3)]),
            ..Policy::default()
        };
        policy.scheduling.epoch_ms = EPOCH_MS;
        policy.scheduling.record_pay_min = Amount([0, 1_000, 500_000][self.random.below(3)]);
        policy.contents.royalty_ppm = [0, 100_000, 333_333][self.random.below(3)];
        policy.contents.generations = self.random.below(4) as u8;
        policy.settlement.window_ms = [0, 30_000, 600_000][self.random.below(3)];
        policy.stake.per_result_ppm = [0, 1_000_000, 3_000_000][self.random.below(3)];
        policy.stake.strike_ms = [60_000, 604_800_000][self.random.below(2)];
        policy.stake.strikes_free = self.random.below(2) as u32;
        policy.stake.free_after = [0, 3, 32][self.random.below(3)];
        policy.points.refused_min = Points(self.random.below(60) as i64);
        policy.points.content_ppm = [0, 200_000, 1_000_000][self.random.below(3)];
        policy.points.keep_ppm = [999_000, 1_000_000, 900_001][self.random.below(3)];
        policy.rewards.pool_ppm = [0, 250_000, 500_000][self.random.below(3)];
        policy.rewards.claim_epochs = [1, 1, 168][self.random.below(3)];
        // Trust is soon earned, so that results stand alone.
        policy.verification.adaptive.trusted_ppm = [0, 100_000][self.random.below(2)];
        policy.verification.adaptive.vouched = self.random.below(2) == 0;
        policy.verification.inspection_ms = [10_000, 60_000, 21_600_000][self.random.below(3)];
        policy.verification.verifiers_staked = self.random.below(3) > 0;
        // Votes with stake behind them cover the price.
        let votes = self.random.below(3) as u32;
        let covers = policy.stake.per_result_ppm >= 1_000_000;
        policy.verification.staked_votes = if covers { votes } else { 0 };
        policy
    }
}

//! Commands in the model: which it affords, and what those move that say themselves what they do.

use aevir_platform::{command::Command, event::Event, ids::AccountId, ledger::LedgerAccount};

use super::{Naive, escrow, reviews};

impl Naive {
    /// Whether a command about money can be granted, where nothing but money stands in the way. `None`: it is about something else.
    pub fn affords(&self, command: &Command) -> Option<bool> {
        let available = |account: &AccountId| self.balance(LedgerAccount::Available(*account));
        match command {
            Command::Deposit {
                amount, reference, ..
            } => Some(amount.0 > 0 && !self.references.contains(reference)),
            Command::RequestWithdrawal {
                account, amount, ..
            } => Some(amount.0 > 0 && amount.0 <= available(account)),
            Command::PayWithdrawal {
                withdrawal,
                reference,
                ..
            } => Some(
                self.withdrawals.contains_key(withdrawal) && !self.references.contains(reference),
            ),
            Command::RefuseWithdrawal { withdrawal, .. } => {
                Some(self.withdrawals.contains_key(withdrawal))
            }
            Command::Stake {
                account,
                node,
                amount,
            } => Some(
                self.owners.get(node) == Some(account)
                    && amount.0 > 0
                    && amount.0 <= available(account),
            ),
            Command::Unstake {
                account,
                node,
                amount,
            } => Some(
                self.owners.get(node) == Some(account)
                    && amount.0 > 0
                    && amount.0 <= self.free_stake(*node),
            ),
            Command::Dispute {
                account,
                task,
                bond,
                ..
            } => {
                let task = self.tasks.get(task)?;
                let needed = reviews::cost(&task.definition, false, &task.policy);
                Some(needed <= bond.0 && needed <= available(account))
            }
            Command::ClaimRewards { account } => {
                Some(self.parts(*account).iter().any(|(_, part)| *part > 0))
            }
            Command::SubmitTask {
                requester,
                definition,
            } => {
                let uses = self.uses(definition);
                let needed = escrow(definition, self.policy.as_ref()?, &uses);
                let most = definition.economics.contents_max.map(|most| most.0);
                let is_dear = most.is_some_and(|most| uses.values().sum::<i64>() > most);
                Some(
                    !is_dear
                        && needed <= definition.economics.budget.0
                        && needed <= available(requester),
                )
            }
            _ => None,
        }
    }

    /// What a granted command moves by itself.
    pub(super) fn asked(&mut self, command: &Command, facts: &[Event]) {
        match command {
            Command::Deposit {
                account,
                amount,
                reference,
            } => {
                self.references.insert(reference.clone());
                let to = LedgerAccount::Available(*account);
                self.transfer(LedgerAccount::External, to, amount.0);
            }
            Command::RequestWithdrawal {
                account, amount, ..
            } => {
                let requested = facts.iter().find_map(|fact| match fact {
                    Event::WithdrawalRequested(e) => Some(e.withdrawal),
                    _ => None,
                });
                self.withdrawals.insert(requested.unwrap(), amount.0);
                let from = LedgerAccount::Available(*account);
                self.transfer(from, LedgerAccount::Withdrawing(*account), amount.0);
            }
            Command::PayWithdrawal {
                account,
                withdrawal,
                reference,
            } => {
                self.references.insert(reference.clone());
                let amount = self.withdrawals.remove(withdrawal).unwrap();
                let from = LedgerAccount::Withdrawing(*account);
                self.transfer(from, LedgerAccount::External, amount);
            }
            Command::RefuseWithdrawal {
                account,
                withdrawal,
                ..
            } => {
                let amount = self.withdrawals.remove(withdrawal).unwrap();
                let from = LedgerAccount::Withdrawing(*account);
                self.transfer(from, LedgerAccount::Available(*account), amount);
            }
            Command::Stake {
                account,
                node,
                amount,
            } => {
                let from = LedgerAccount::Available(*account);
                self.transfer(from, LedgerAccount::Stake(*node), amount.0);
            }
            Command::Unstake {
                account,
                node,
                amount,
            } => {
                let to = LedgerAccount::Available(*account);
                self.transfer(LedgerAccount::Stake(*node), to, amount.0);
            }
            Command::ClaimRewards { account } => {
                for (epoch, part) in self.parts(*account) {
                    let to = LedgerAccount::Available(*account);
                    self.transfer(LedgerAccount::Pool(epoch), to, part);
                }
                self.claimed.insert(*account, self.last_closed);
            }
            Command::ChangeContentTerms {
                content,
                price,
                access,
                ..
            } => self.terms_changed(*content, price.0, access),
            Command::AdoptPolicy(policy) => self.policy = Some(policy.clone()),
            _ => {}
        }
    }
}

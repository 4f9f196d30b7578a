//! Balances and policy.

use super::{Client, ClientError, call::Call};
use crate::{
    ledger::{Ledger, LedgerEntryPage, Statement},
    policy::{AdoptedPolicy, Policy},
};

/// Which postings to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// A ledger account, such as `account/<id>/available`.
    pub account: Option<String>,
    pub task: Option<String>,
    /// `deposit`, `escrow`, `settlement`, `maturity`, `closure`, `withdrawal`, `payout`, `withdrawal-refused`, `stake`, `unstake`, `slash`, `pool`, `reward` or `pool-expired`.
    pub reason: Option<String>,
    /// From this position of the log on.
    pub from: Option<u64>,
    /// Before this position.
    pub to: Option<u64>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<u32>,
    /// The last page's `next`.
    pub after: Option<String>,
}

/// Whose statement, and of which period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementFilter {
    /// The caller's own when absent; another one's for the scopes `audit` and `admin`.
    pub account: Option<String>,
    /// RFC 3339; from the account's beginning when absent.
    pub from: Option<String>,
    /// RFC 3339; until now when absent.
    pub to: Option<String>,
    /// 1 to 200 entries; 50 when absent.
    pub limit: Option<u32>,
    /// The last page's `next`.
    pub after: Option<String>,
}

impl Client {
    /// One page of a statement. Give the first page's `to` with the next ones.
    pub async fn statement_page(&self, filter: &StatementFilter) -> Result<Statement, ClientError> {
        let call = Call::list("/v1/account/statement")
            .query("account", filter.account.as_deref())
            .query("from", filter.from.as_deref())
            .query("to", filter.to.as_deref())
            .query("limit", filter.limit)
            .query("after", filter.after.as_deref());
        self.fetch(call).await
    }

    /// A whole statement, page by page.
    pub async fn statement(&self, filter: &StatementFilter) -> Result<Statement, ClientError> {
        let mut statement = self.statement_page(filter).await?;
        let mut more = StatementFilter {
            to: Some(statement.to.clone()),
            ..filter.clone()
        };
        while let Some(after) = statement.next.take() {
            more.after = Some(after);
            let page = self.statement_page(&more).await?;
            statement.entries.extend(page.entries);
            statement.next = page.next;
        }
        Ok(statement)
    }

    /// One page of balances; `after` is the last page's `next`. Scope `audit` or `admin`.
    pub async fn ledger_page(&self, after: Option<&str>) -> Result<Ledger, ClientError> {
        let call = Call::list("/v1/ledger").query("limit", Some(200));
        self.fetch(call.query("after", after)).await
    }

    /// Every balance, page by page. Scope `audit` or `admin`. Consistent while nobody moves money; `size` is the last
    /// page's.
    pub async fn ledger(&self) -> Result<Ledger, ClientError> {
        let mut ledger = self.ledger_page(None).await?;
        while let Some(after) = ledger.next.take() {
            let mut page = self.ledger_page(Some(&after)).await?;
            page.balances.append(&mut ledger.balances);
            ledger = page;
        }
        Ok(ledger)
    }

    pub async fn ledger_entries(
        &self,
        filter: &EntryFilter,
    ) -> Result<LedgerEntryPage, ClientError> {
        let call = Call::list("/v1/ledger/entries")
            .query("account", filter.account.as_deref())
            .query("task", filter.task.as_deref())
            .query("reason", filter.reason.as_deref())
            .query("from", filter.from)
            .query("to", filter.to)
            .query("limit", filter.limit)
            .query("after", filter.after.as_deref());
        self.fetch(call).await
    }

    pub async fn policy(&self) -> Result<AdoptedPolicy, ClientError> {
        self.fetch(Call::get("/v1/policy")).await
    }

    /// Scope `admin`.
    pub async fn adopt_policy(&self, policy: &Policy) -> Result<AdoptedPolicy, ClientError> {
        self.fetch(Call::put("/v1/policy").keyed(None).json(policy)?)
            .await
    }
}

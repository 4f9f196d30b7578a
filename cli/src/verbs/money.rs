//! `aevir account withdraw` and the other verbs of money.

use aevir_wire::{Client, PayWithdrawal, RefuseWithdrawal, RequestWithdrawal, WithdrawalPage};
use anyhow::Result;

use crate::{
    args::Global,
    output::{aev, or_dash, print, properties, table},
};

pub(super) async fn withdraw(
    client: &Client,
    amount: String,
    destination: String,
    global: &Global,
) -> Result<()> {
    let request = RequestWithdrawal {
        amount,
        destination,
    };
    let requested = client.request_withdrawal(&request).await?;
    print(global.output, &requested, || {
        properties([
            ("withdrawal", requested.id.clone()),
            ("amount", format!("{} AEV", aev(&requested.amount))),
            ("to", requested.destination.clone()),
            ("state", requested.state.clone()),
        ])
    })
}

pub(super) async fn withdrawals(
    client: &Client,
    account: Option<&str>,
    state: Option<&str>,
    global: &Global,
) -> Result<()> {
    let mut list = WithdrawalPage {
        withdrawals: Vec::new(),
        next: None,
    };
    loop {
        let after = list.next.take();
        let page = client.withdrawals(account, state, after.as_deref()).await?;
        list.withdrawals.extend(page.withdrawals);
        list.next = page.next;
        if list.next.is_none() {
            break;
        }
    }
    print(global.output, &list, || {
        table(
            [
                "WITHDRAWAL",
                "ACCOUNT",
                "AMOUNT",
                "TO",
                "STATE",
                "REQUESTED",
                "REFERENCE OR REASON",
            ],
            list.withdrawals.iter().map(|w| {
                [
                    w.id.clone(),
                    w.account.clone(),
                    aev(&w.amount),
                    w.destination.clone(),
                    w.state.clone(),
                    w.requested_at.clone(),
                    or_dash(w.reference.as_deref().or(w.reason.as_deref())),
                ]
            }),
        )
    })
}

pub(super) async fn pay(
    client: &Client,
    account: String,
    withdrawal: String,
    reference: String,
    global: &Global,
) -> Result<()> {
    let request = PayWithdrawal { reference };
    client
        .pay_withdrawal(&account, &withdrawal, &request)
        .await?;
    ended(&account, &withdrawal, "paid", global)
}

pub(super) async fn refuse(
    client: &Client,
    account: String,
    withdrawal: String,
    reason: String,
    global: &Global,
) -> Result<()> {
    let request = RefuseWithdrawal { reason };
    client
        .refuse_withdrawal(&account, &withdrawal, &request)
        .await?;
    ended(&account, &withdrawal, "refused", global)
}

fn ended(account: &str, withdrawal: &str, state: &str, global: &Global) -> Result<()> {
    let document = serde_json::json!({"account": account, "id": withdrawal, "state": state});
    print(global.output, &document, || {
        format!("withdrawal {withdrawal} is {state}")
    })
}

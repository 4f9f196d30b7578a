//! Money over HTTP: the dispute window, and withdrawals.

use aevir_platform::policy::Policy;
use aevir_wire::{
    ChangeStake, EntryFilter, NodeTerms, PayWithdrawal, RefuseWithdrawal, RequestWithdrawal,
    Statement, StatementFilter,
};
use serde_json::json;

use crate::support::{
    TestPlatform,
    node::{Outcome, until},
    single,
};

/// Long enough to be seen, short enough to be waited for.
const WINDOW_MS: u32 = 1_500;

#[tokio::test]
async fn shares_mature_when_the_dispute_window_has_passed() {
    let policy = |p: &mut Policy| p.settlement.window_ms = WINDOW_MS;
    let platform = TestPlatform::builder().policy(policy).start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    let task = single(&module).submit(&requester.client).await.id;
    node.work(&Outcome::of(json!(1))).await;
    let settled = until(&requester.client, &task, "settled").await;
    let settlement = settled.settlement.unwrap();
    assert!(settlement.matures_at.is_some());
    assert_eq!(settlement.matured_at, None);
    let owner = node.owner.account().await.unwrap();
    let share = &settlement.shares[0].amount;
    assert_eq!((&owner.pending, owner.available.as_str()), (share, "0"));
    assert_eq!(owner.points.compute, "0");
    // The result is the requester's all the same.
    requester.client.task_result(&task).await.unwrap();
    let matured = async {
        loop {
            let task = requester.client.task(&task).await.unwrap();
            let settlement = task.settlement.unwrap();
            if settlement.matured_at.is_some() {
                return settlement;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let matured = tokio::time::timeout(std::time::Duration::from_secs(15), matured);
    let matured = matured.await.unwrap();
    assert!(matured.matured_at >= matured.matures_at, "{matured:?}");
    let owner = node.owner.account().await.unwrap();
    assert_eq!((owner.pending.as_str(), &owner.available), ("0", share));
    assert_ne!(owner.points.compute, "0");
    platform.check_replay().await;
}

fn request(amount: &str) -> RequestWithdrawal {
    RequestWithdrawal {
        amount: amount.into(),
        destination: "the account on file".into(),
    }
}

#[tokio::test]
async fn withdrawals_are_asked_for_and_paid_or_refused() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    let stranger = platform.account("b").await;
    let before = account.client.account().await.unwrap();
    let opened = account.client.request_withdrawal(&request("60")).await;
    let opened = opened.unwrap();
    assert_eq!(
        (opened.state.as_str(), opened.amount.as_str()),
        ("open", "60")
    );
    let second = account.client.request_withdrawal(&request("7")).await;
    let second = second.unwrap();
    let shown = account.client.account().await.unwrap();
    assert_eq!(shown.withdrawing, "67");
    let left: i64 = before.available.parse::<i64>().unwrap() - 67;
    assert_eq!(shown.available, left.to_string());
    platform.level().await;
    let listed = platform.admin.accounts(None).await.unwrap().accounts;
    assert!(listed.contains(&shown), "{listed:?}");
    let mine = account.client.withdrawals(None, None, None).await.unwrap();
    assert_eq!(mine.withdrawals, [opened.clone(), second.clone()]);
    let none = stranger.client.withdrawals(None, None, None).await.unwrap();
    assert!(none.withdrawals.is_empty());

    let pay = |reference: &str| PayWithdrawal {
        reference: reference.into(),
    };
    let first = pay("payout 1");
    for _ in 0..2 {
        // A repeat answers the original outcome.
        let paid = platform
            .admin
            .pay_withdrawal(&account.id, &opened.id, &first);
        paid.await.unwrap();
    }
    let again = pay("payout 2");
    let again = platform
        .admin
        .pay_withdrawal(&account.id, &opened.id, &again);
    platform.refused(again, 404, "unknown-withdrawal").await;
    let twice = platform
        .admin
        .pay_withdrawal(&account.id, &second.id, &first);
    platform.refused(twice, 409, "reference-used").await;
    let own = account
        .client
        .pay_withdrawal(&account.id, &second.id, &first);
    platform.refused(own, 403, "scope-missing").await;
    let nothing = platform.admin.pay_withdrawal(&account.id, "none", &first);
    platform.refused(nothing, 404, "unknown-withdrawal").await;
    let refusal = RefuseWithdrawal {
        reason: "it is not on file".into(),
    };
    let refused = platform
        .admin
        .refuse_withdrawal(&account.id, &second.id, &refusal);
    refused.await.unwrap();
    platform.level().await;
    let all = platform.admin.withdrawals(Some(&account.id), None, None);
    let all = all.await.unwrap().withdrawals;
    let told: Vec<_> = all
        .iter()
        .map(|w| {
            (
                w.state.as_str(),
                w.reference.as_deref(),
                w.reason.as_deref(),
            )
        })
        .collect();
    let expected = [
        ("paid", Some("payout 1"), None),
        ("refused", None, Some("it is not on file")),
    ];
    assert_eq!(told, expected);
    let open = platform.admin.withdrawals(None, Some("open"), None);
    assert!(open.await.unwrap().withdrawals.is_empty());
    let entries = EntryFilter {
        reason: Some("payout".into()),
        ..EntryFilter::default()
    };
    let entries = account.client.ledger_entries(&entries).await.unwrap();
    assert_eq!(entries.entries.len(), 1, "the other line is the world's");
    platform.check_replay().await;
}

#[tokio::test]
async fn what_can_not_be_taken_out_is_refused() {
    let platform = TestPlatform::start().await;
    let account = platform.account("a").await;
    for (amount, status, code) in [
        ("0", 422, "amount-not-positive"),
        ("1.5", 422, "field-invalid"),
        ("9223372036854775807", 402, "balance-too-small"),
    ] {
        let asked = account.client.request_withdrawal(&request(amount)).await;
        platform.refused(async { asked }, status, code).await;
    }
    let scopes = vec!["read".to_owned(), "tasks:write".to_owned()];
    let label = "ci".to_owned();
    let key = account
        .client
        .add_key(&aevir_wire::AddKey { label, scopes })
        .await
        .unwrap();
    let limited = platform.client(&key.key);
    let asked = request("1");
    platform
        .refused(limited.request_withdrawal(&asked), 403, "scope-missing")
        .await;
}

#[tokio::test]
async fn stake_is_put_up_locked_and_taken_back() {
    let policy = |p: &mut Policy| p.settlement.window_ms = 600_000;
    let platform = TestPlatform::builder().policy(policy).start().await;
    let (requester, module) = platform.requester().await;
    let owner = platform.account("owner").await;
    let node = crate::support::FakeNode::join(&platform.server.url(), &owner.client, "n").await;
    let change = |amount: &str| ChangeStake {
        amount: amount.into(),
    };
    let staked = owner.client.stake(&node.id, &change("50000000")).await;
    let stake = staked.unwrap().stake.unwrap();
    assert_eq!(
        (stake.amount.as_str(), stake.locked.as_str()),
        ("50000000", "0")
    );
    let foreign = requester.client.stake(&node.id, &change("1")).await;
    platform
        .refused(async { foreign }, 404, "unknown-node")
        .await;
    let task = single(&module).submit(&requester.client).await;
    node.work(&Outcome::of(json!(1))).await;
    let task = until(&requester.client, &task.id, "settled").await;
    assert!(task.assignments[0].is_staked);
    let shown = owner.client.node(&node.id).await.unwrap().stake.unwrap();
    assert_eq!(shown.locked, task.assignments[0].stake);
    assert_ne!(shown.locked, "0");
    let all = owner.client.unstake(&node.id, &change("50000000")).await;
    platform.refused(async { all }, 409, "stake-locked").await;
    let free = owner.client.unstake(&node.id, &change(&shown.free)).await;
    let left = free.unwrap().stake.unwrap();
    assert_eq!((left.free.as_str(), left.amount), ("0", left.locked));
    platform.check_replay().await;
}

#[tokio::test]
async fn a_node_is_paid_what_it_asked_for_or_by_what_it_used() {
    let platform = TestPlatform::start().await;
    let (requester, module) = platform.requester().await;
    let node = platform.node("n").await;
    node.appear().await;
    let client = &requester.client;
    let asks = json!({"budget": "10000000", "pricing": {"mode": "ask", "max_price": "900000"}});
    let by_ask = single(&module).with("economics", asks);
    let task = by_ask.submit(client).await.id;
    let why = client.why_task(&task).await.unwrap();
    let refused: Vec<&str> = why.refused.iter().map(|w| w.reason.as_str()).collect();
    assert_eq!(refused, ["no-ask"]);
    let terms = json!({"asks": {"inference": "300000"}});
    let terms: NodeTerms = serde_json::from_value(terms).unwrap();
    node.owner.set_node_terms(&node.id, &terms).await.unwrap();
    let quote = client.quote_task(&by_ask.0).await.unwrap();
    // Others' asks are rounded up to powers of two: 524,288, and 5 %.
    assert_eq!(quote.expected_fee, "550502");
    let lease = node.work(&Outcome::of(json!(1))).await;
    assert_eq!(lease.pay.unwrap().price, "300000");
    let task = until(client, &task, "settled").await;
    assert_eq!(task.assignments[0].price, "300000");
    let settlement = task.settlement.unwrap();
    assert_eq!(settlement.shares[0].amount, "300000");
    assert_eq!(settlement.fee, "315000");

    let pricing = json!({"mode": "metered", "base": "300000", "per_mib_out": "1048576000", "max_price": "900000"});
    let economics = json!({"budget": "10000000", "pricing": pricing});
    let metered = single(&module).with("economics", economics);
    let task = metered.submit(client).await.id;
    let lease = node.work(&Outcome::of(json!(1))).await;
    let pay = lease.pay.unwrap();
    assert_eq!(
        (pay.price.as_str(), pay.late_price.as_str()),
        ("900000", "300000")
    );
    let settled = until(client, &task, "settled").await;
    let share: i64 = settled.settlement.unwrap().shares[0]
        .amount
        .parse()
        .unwrap();
    // A thousand for each byte that it brought.
    assert!(
        share > 300_000 && share < 900_000 && share % 1_000 == 0,
        "{share}"
    );
    platform.check_replay().await;
}

/// Opening and entries lead to closing, in each account.
fn adds_up(statement: &Statement) {
    let number = |text: &str| text.parse::<i64>().unwrap();
    for balance in &statement.balances {
        let of = statement.entries.iter();
        let of: Vec<_> = of.filter(|e| e.account == balance.account).collect();
        let moved: i64 = of.iter().map(|e| number(&e.amount)).sum();
        assert_eq!(number(&balance.opening) + moved, number(&balance.closing));
        let last = of.last().map_or(&balance.opening, |e| &e.balance);
        assert_eq!(*last, balance.closing);
    }
}

/// A life with every kind of posting that an owner sees, on one database.
async fn statements(platform: TestPlatform) {
    let (requester, module) = platform.requester().await;
    let owner = platform.account("owner").await;
    let node = crate::support::FakeNode::join(&platform.server.url(), &owner.client, "n").await;
    let amount = "50000000".to_owned();
    let change = ChangeStake { amount };
    owner.client.stake(&node.id, &change).await.unwrap();
    let task = single(&module).submit(&requester.client).await.id;
    node.work(&Outcome::of(json!(1))).await;
    until(&requester.client, &task, "settled").await;
    owner
        .client
        .request_withdrawal(&request("60"))
        .await
        .unwrap();
    // The statement's period ends before the present ms.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let whole = owner.client.statement(&StatementFilter::default()).await;
    let whole = whole.unwrap();
    adds_up(&whole);
    let told: Vec<_> = whole
        .entries
        .iter()
        .map(|e| {
            (
                e.reason.as_str(),
                e.task.is_some(),
                e.counter_accounts.len(),
            )
        })
        .collect();
    let expected = [
        ("deposit", false, 1),
        ("stake", false, 1),
        ("stake", false, 1),
        ("settlement", true, 1),
        ("maturity", true, 1),
        ("maturity", true, 1),
        ("withdrawal", false, 1),
        ("withdrawal", false, 1),
    ];
    assert_eq!(told, expected);
    assert_eq!(whole.balances.len(), 4, "{:?}", whole.balances);
    // Page by page, and in two periods, it is the same.
    let small = StatementFilter {
        limit: Some(3),
        to: Some(whole.to.clone()),
        ..StatementFilter::default()
    };
    let paged = owner.client.statement(&small).await.unwrap();
    assert_eq!(paged, whole);
    let between = whole.entries[3].time.clone();
    let first = StatementFilter {
        to: Some(between.clone()),
        ..StatementFilter::default()
    };
    let first = owner.client.statement(&first).await.unwrap();
    let second = StatementFilter {
        from: Some(between),
        to: Some(whole.to.clone()),
        ..StatementFilter::default()
    };
    let second = owner.client.statement(&second).await.unwrap();
    adds_up(&first);
    adds_up(&second);
    assert_eq!(
        first.entries.len() + second.entries.len(),
        whole.entries.len()
    );
    for (before, after) in first.balances.iter().zip(&second.balances) {
        assert_eq!(
            (&before.account, &before.closing),
            (&after.account, &after.opening)
        );
    }
    // Others' are not to be seen, but by who runs the platform.
    let foreign = StatementFilter {
        account: Some(owner.id.clone()),
        to: Some(whole.to.clone()),
        ..StatementFilter::default()
    };
    let seen = platform.admin.statement(&foreign).await.unwrap();
    assert_eq!(seen, whole);
    platform
        .refused(requester.client.statement(&foreign), 403, "scope-missing")
        .await;
    let wrong = StatementFilter {
        from: Some("yesterday".into()),
        ..StatementFilter::default()
    };
    platform
        .refused(owner.client.statement(&wrong), 400, "query-invalid")
        .await;
}

#[tokio::test]
async fn statements_add_up_on_sqlite() {
    statements(TestPlatform::start().await).await;
}

#[tokio::test]
async fn statements_add_up_on_postgres() {
    statements(TestPlatform::builder().postgres().start().await).await;
}

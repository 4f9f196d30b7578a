//! Money leaves the platform.

use aevir_platform::{
    amount::Amount,
    command::{Command, OpenAccount, Scope, Subject},
    digest::Digest,
    event::Event,
    ids::{AccountId, WithdrawalId},
    ledger::LedgerAccount,
};
use serde_json::json;

use crate::{
    sample::documents_agree,
    world::{World, labels, recompute},
};

const REASON: &str = "the destination is not on file";

fn request(account: AccountId, amount: i64) -> Command {
    Command::RequestWithdrawal {
        account,
        amount: Amount(amount),
        destination: "the account on file".into(),
    }
}

fn pay(account: AccountId, withdrawal: WithdrawalId, reference: &str) -> Command {
    Command::PayWithdrawal {
        account,
        withdrawal,
        reference: reference.into(),
    }
}

fn refuse(account: AccountId, withdrawal: WithdrawalId) -> Command {
    Command::RefuseWithdrawal {
        account,
        withdrawal,
        reason: REASON.into(),
    }
}

/// An account with 100 micro-AEV of which it wants 60 out.
fn requested() -> (World, AccountId, WithdrawalId) {
    let mut w = World::new();
    let account = w.account("a");
    w.deposit(account, 100);
    let events = w.ok(request(account, 60));
    assert_eq!(
        labels(&events),
        ["account.withdrawal_requested", "ledger.posted"]
    );
    let Event::WithdrawalRequested(e) = &events[0] else {
        unreachable!()
    };
    let withdrawal = e.withdrawal;
    (w, account, withdrawal)
}

fn withdrawing(w: &World, account: AccountId) -> i64 {
    let balance = w.state.ledger.balance(LedgerAccount::Withdrawing(account));
    balance.0
}

#[test]
fn what_is_asked_for_is_set_aside_and_paid_once() {
    let (mut w, account, withdrawal) = requested();
    assert_eq!((w.available(account), withdrawing(&w, account)), (40, 60));
    assert_eq!(w.refused(request(account, 41)), "balance-too-small");
    let outside = w.state.ledger.balance(LedgerAccount::External).0;
    let events = w.ok(pay(account, withdrawal, "payout 1"));
    assert_eq!(
        labels(&events),
        ["account.withdrawal_paid", "ledger.posted"]
    );
    assert_eq!((w.available(account), withdrawing(&w, account)), (40, 0));
    let after = w.state.ledger.balance(LedgerAccount::External).0;
    assert_eq!(after - outside, 60);
    assert!(w.state.withdrawals.is_empty());
    assert_eq!(
        w.refused(pay(account, withdrawal, "payout 2")),
        "unknown-withdrawal"
    );
    assert_eq!(w.refused(refuse(account, withdrawal)), "unknown-withdrawal");
    w.check_replay();
    documents_agree(&w, "withdrawals");
}

#[test]
fn a_refused_withdrawal_is_available_again() {
    let (mut w, account, withdrawal) = requested();
    let events = w.ok(refuse(account, withdrawal));
    assert_eq!(
        labels(&events),
        ["account.withdrawal_refused", "ledger.posted"]
    );
    assert_eq!((w.available(account), withdrawing(&w, account)), (100, 0));
    assert_eq!(
        w.refused(pay(account, withdrawal, "late")),
        "unknown-withdrawal"
    );
    w.check_replay();
    documents_agree(&w, "withdrawal-refused");
}

/// What is set aside can't be spent a second time, and a reference is booked once, whichever way the money went.
#[test]
fn nothing_is_paid_twice() {
    let (mut w, account, withdrawal) = requested();
    w.push_module(account);
    let free =
        json!({"economics": {"budget": "4000", "pricing": {"mode": "fixed", "price": "80"}}});
    let definition = Box::new(w.definition(free));
    let submit = Command::SubmitTask {
        requester: account,
        definition,
    };
    assert_eq!(w.refused(submit), "insufficient-balance");
    w.ok(Command::Deposit {
        account,
        amount: Amount(1),
        reference: "wire 7".into(),
    });
    assert_eq!(
        w.refused(pay(account, withdrawal, "wire 7")),
        "reference-used"
    );
    w.ok(pay(account, withdrawal, "payout 1"));
    let deposit = Command::Deposit {
        account,
        amount: Amount(1),
        reference: "payout 1".into(),
    };
    assert_eq!(w.refused(deposit), "reference-used");
    w.check_replay();
}

#[test]
fn a_withdrawal_that_can_not_hold_is_refused() {
    let (mut w, account, withdrawal) = requested();
    for (amount, code) in [
        (0, "amount-not-positive"),
        (-1, "amount-not-positive"),
        (41, "balance-too-small"),
    ] {
        assert_eq!(w.refused(request(account, amount)), code, "{amount}");
    }
    let nowhere = Command::RequestWithdrawal {
        account,
        amount: Amount(1),
        destination: " ".into(),
    };
    assert_eq!(w.refused(nowhere), "name-invalid");
    assert_eq!(w.refused(pay(account, withdrawal, "")), "name-invalid");
    let silent = Command::RefuseWithdrawal {
        account,
        withdrawal,
        reason: String::new(),
    };
    assert_eq!(w.refused(silent), "reason-invalid");
    let other = w.account("b");
    assert_eq!(w.refused(pay(other, withdrawal, "x")), "unknown-withdrawal");
    for _ in 1..16 {
        w.ok(request(account, 1));
    }
    assert_eq!(w.refused(request(account, 1)), "too-many-withdrawals");
    w.ok(Command::Suspend {
        subject: Subject::Account(other),
        reason: "a complaint".into(),
    });
    w.deposit(other, 5);
    assert_eq!(w.refused(request(other, 5)), "account-suspended");
}

/// Nobody takes out another one's money, and nobody pays himself.
#[test]
fn only_who_may_gives_the_commands() {
    let (mut w, account, withdrawal) = requested();
    let thief = w.account("thief");
    let gives = |w: &World, actor: String, command: &Command| {
        let context = aevir_events::Context {
            time: w.now,
            actor,
            entropy: [9; 32],
            secret: aevir_events::LeaderSecret([7; 32]),
        };
        aevir_platform::decide(&w.state, command, &context)
            .err()
            .map(|e| e.code())
    };
    let not = Some("not-permitted");
    let by = |id: AccountId| format!("account/{id}");
    let ask = request(account, 1);
    assert_eq!(gives(&w, by(thief), &ask), not);
    assert_eq!(gives(&w, "system".into(), &ask), not);
    assert_eq!(gives(&w, by(account), &ask), None);
    for command in [pay(account, withdrawal, "x"), refuse(account, withdrawal)] {
        assert_eq!(gives(&w, by(account), &command), not);
        assert_eq!(gives(&w, "system".into(), &command), None);
    }
    // A key that can't make keys can't take money out.
    let opened = w.ok(Command::OpenAccount(OpenAccount {
        name: "reader".into(),
        key_hash: Digest::of(b"reader"),
        scopes: vec![Scope::Read, Scope::TasksWrite],
    }));
    let Event::AccountOpened(reader) = &opened[0] else {
        unreachable!()
    };
    let reader = reader.account;
    w.deposit(reader, 5);
    assert_eq!(gives(&w, by(reader), &request(reader, 1)), not);
}

#[test]
fn an_audit_finds_a_payout_of_another_amount() {
    let (mut w, account, withdrawal) = requested();
    w.ok(pay(account, withdrawal, "payout 1"));
    let at = w.log.len() - 1;
    let Event::LedgerPosted(posted) = &mut w.log[at].event else {
        unreachable!()
    };
    for posting in &mut posted.postings {
        posting.amount = Amount(posting.amount.0 / 2);
    }
    let fault = recompute(&w.log).unwrap_err();
    assert_eq!(fault.position, at as u64);
    assert!(fault.to_string().contains("/postings/0/amount"), "{fault}");
}

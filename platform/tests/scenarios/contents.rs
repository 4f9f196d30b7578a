//! Contents have a price, an access list and contributors, and one first registrant.

use aevir_platform::{
    amount::{Amount, Count},
    command::{Command, RegisterContent, Subject},
    content::{ACCESS_MAX, Access, CONTRIBUTORS_MAX, Contributor, PRICE_MAX},
    digest::Digest,
    event::{Event, Share, ShareRole, Track},
    ids::{AccountId, ContentId, TaskId},
    ledger::LedgerAccount,
    report::BlobRef,
};
use serde_json::{Value, json};

use crate::{
    market::content,
    quotes::quoted,
    world::{World, windowed},
};

/// What a content is offered for.
#[derive(Default)]
pub struct Offer<'a> {
    pub price: i64,
    pub access: Access,
    pub contributors: &'a [(AccountId, u32)],
}

/// A content of an account's own, with one file of its own.
pub fn offered(w: &mut World, owner: AccountId, name: &str, offer: &Offer<'_>) -> ContentId {
    let command = offering(w, owner, name, offer);
    // So that the older has the smaller id.
    w.later(1);
    w.ok(Command::RegisterContent(command));
    w.state.content_named(owner, name, "1").unwrap()
}

pub fn offering(w: &mut World, owner: AccountId, name: &str, offer: &Offer<'_>) -> RegisterContent {
    let digest = Digest::of(name.as_bytes());
    let size = Count(name.len() as u64);
    w.ok(Command::RecordUpload {
        account: owner,
        blob: BlobRef { digest, size },
    });
    let contributors = offer.contributors.iter();
    RegisterContent {
        price: Amount(offer.price),
        access: offer.access.clone(),
        contributors: contributors
            .map(|(account, weight)| Contributor {
                account: *account,
                weight: *weight,
            })
            .collect(),
        ..content(owner, name, digest, 1)
    }
}

/// A task's field `data`, with each of the contents as an input.
pub fn using(contents: &[ContentId]) -> Value {
    let inputs = contents.iter().enumerate();
    inputs
        .map(|(n, id)| json!({"name": format!("input-{n}"), "from": {"content": {"id": id.to_string()}}}))
        .collect()
}

/// A task of an account that has the money and the module for it.
pub fn submission_of(w: &mut World, requester: AccountId, overrides: Value) -> Command {
    if !w.state.modules[&w.module].names.contains_key(&requester) {
        w.push_module(requester);
        w.deposit(requester, 1_000_000_000);
    }
    Command::SubmitTask {
        requester,
        definition: Box::new(w.definition(overrides)),
    }
}

/// What contents earned by a task: role, content, account and amount.
pub fn earned(w: &World, task: TaskId) -> Vec<(ShareRole, ContentId, AccountId, i64)> {
    let settlement = w.state.tasks[&task].settlement.as_ref().unwrap();
    let of = |s: &Share| Some((s.role, s.content?, s.account?, s.amount.0));
    settlement.shares.iter().filter_map(of).collect()
}

/// The example of the documents.
#[test]
fn a_use_is_paid_to_contributors_by_their_weights() {
    let mut w = World::new();
    w.node("a");
    let [owner, ann, ben] = ["owner", "ann", "ben"].map(|name| w.account(name));
    let set = offered(
        &mut w,
        owner,
        "set",
        &Offer {
            price: 500_000,
            contributors: &[(ann, 2), (ben, 1)],
            ..Offer::default()
        },
    );
    let before = w.available(w.requester);
    let economics = json!({"budget": "1653000", "pricing": {"mode": "fixed", "price": "1000000"}});
    let mut short = economics.clone();
    short["budget"] = json!("1652999");
    let command = w.submission(json!({"data": using(&[set]), "economics": short}));
    assert_eq!(w.refused(command), "budget-too-small");
    let task = w.task(json!({"data": using(&[set]), "economics": economics}));
    // Compute 1 AEV, content pool 0.1, platform 0.05, price 0.5, three attempt fees.
    assert_eq!(
        w.state.ledger.balance(LedgerAccount::Escrow(task)),
        Amount(1_653_000)
    );
    w.finish(task, |_| json!({}));
    assert_eq!(
        earned(&w, task),
        [
            (ShareRole::Content, set, ann, 400_000),
            (ShareRole::Content, set, ben, 200_000)
        ]
    );
    assert_eq!(w.available(w.requester), before - 1_650_000);
    assert_eq!(
        [owner, ann, ben].map(|a| w.available(a)),
        [0, 400_000, 200_000]
    );
    // 50 points are minted by the platform's share, whatever the content costs; 20 % of them for contents.
    assert_eq!(
        [ann, ben].map(|a| w.state.points(a, Track::Content)),
        [7, 3]
    );
    w.check_replay();
}

/// The price is inside the quote, and of it nothing is paid where there is no verdict.
#[test]
fn what_is_quoted_is_locked_and_comes_back_without_a_verdict() {
    let mut w = World::new();
    w.node("a");
    let owner = w.account("owner");
    let offer = Offer {
        price: 500_000,
        ..Offer::default()
    };
    let [one, two] = ["one", "two"].map(|name| offered(&mut w, owner, name, &offer));
    let free = offered(&mut w, owner, "free", &Offer::default());
    let data = using(&[two, one, free, one]);
    let quoted = quoted(&w, json!({"data": data}));
    assert_eq!(quoted.expected_fee, Amount(2_150_000));
    assert_eq!(quoted.escrow, Amount(2_153_000));
    let prices: Vec<_> = quoted.prices.iter().map(|p| (p.content, p.price)).collect();
    assert_eq!(prices, [(one, Amount(500_000)), (two, Amount(500_000))]);
    let before = w.available(w.requester);
    let task = w.task(json!({"data": data}));
    assert_eq!(w.state.tasks[&task].escrow, quoted.escrow);
    assert_eq!(w.state.tasks[&task].prices, quoted.prices);
    w.ok(Command::CancelTask {
        requester: w.requester,
        task,
    });
    assert_eq!(w.available(w.requester), before);
    w.check_replay();
}

/// Whoever names what contents may cost pays no price that was raised since it was quoted, whatever the budget leaves.
#[test]
fn a_price_that_was_raised_after_the_quote_is_refused() {
    let mut w = World::new();
    w.node("a");
    let owner = w.account("owner");
    let offer = Offer {
        price: 500_000,
        ..Offer::default()
    };
    let [one, two] = ["one", "two"].map(|name| offered(&mut w, owner, name, &offer));
    let terms = |budget: i64, most: Value| {
        let pricing = json!({"mode": "fixed", "price": "1000000"});
        json!({
            "data": using(&[one, two]),
            "economics": {"budget": budget.to_string(), "contents_max": most, "pricing": pricing},
        })
    };
    let quoted = quoted(&w, terms(10_000_000, Value::Null));
    assert_eq!(quoted.contents, Amount(1_000_000));
    let most = json!(quoted.contents.to_string());
    let before = w.task(terms(10_000_000, most.clone()));
    w.finish(before, |_| json!({}));
    assert_eq!(w.available(owner), 500_000 * 2 + 100_000);
    let raised = |w: &mut World, price| {
        w.ok(Command::ChangeContentTerms {
            owner,
            content: two,
            price: Amount(price),
            access: Access::Everybody,
        })
    };
    raised(&mut w, 500_001);
    let submission = w.submission(terms(10_000_000, most.clone()));
    assert_eq!(w.refused(submission), "contents-too-dear");
    // What the contents cost is said before what the budget lacks for them.
    let submission = w.submission(terms(1_000_000, most.clone()));
    assert_eq!(w.refused(submission), "contents-too-dear");
    let submission = w.submission(terms(10_000_000, json!("-1")));
    assert_eq!(w.refused(submission), "definition-invalid");
    // Without it as much is paid as the budget leaves.
    w.task(terms(10_000_000, Value::Null));
    raised(&mut w, 499_999);
    w.task(terms(10_000_000, most));
    // Of a task without contents it asks for nothing.
    let none = json!({"economics": {"budget": "2000000", "contents_max": "0", "pricing": {"mode": "fixed", "price": "1"}}});
    w.task(none);
    w.check_replay();
}

/// An unmet result was computed with the content all the same; results that never agree pay for none.
#[test]
fn a_content_is_paid_where_the_compute_is() {
    let mut w = World::new();
    let nodes = ["a", "b"].map(|n| w.node(n));
    let owner = w.account("owner");
    let offer = Offer {
        price: 500_000,
        ..Offer::default()
    };
    let set = offered(&mut w, owner, "set", &offer);
    let check = json!([{"method": "check", "bounds": [{"metric": "m", "at_most": "1"}]}]);
    let unmet = w.task(json!({"data": using(&[set]), "verification": check}));
    w.finish(unmet, |_| json!({}));
    assert_eq!(w.phase(unmet), "unmet");
    assert_eq!(w.available(owner), 600_000);
    let sample = json!([{"method": "sampling", "replicas": 2, "quorum": 2}]);
    let task = w.task(json!({"data": using(&[set]), "verification": sample}));
    w.finish(task, |node| json!(node == nodes[0]));
    assert_eq!(w.phase(task), "inconclusive");
    assert_eq!(w.available(owner), 600_000);
    w.check_replay();
}

#[test]
fn new_terms_bind_later_tasks_alone() {
    let mut w = World::new();
    w.node("a");
    let [owner, friend] = ["owner", "friend"].map(|name| w.account(name));
    let offer = Offer {
        price: 500_000,
        ..Offer::default()
    };
    let set = offered(&mut w, owner, "set", &offer);
    let terms = |by, price, access: &Access| Command::ChangeContentTerms {
        owner: by,
        content: set,
        price: Amount(price),
        access: access.clone(),
    };
    let before = w.task(json!({"data": using(&[set])}));
    let friends = Access::Accounts([friend].into());
    let strangers = w.requester;
    assert_eq!(w.refused(terms(strangers, 1, &friends)), "unknown-content");
    assert_eq!(w.refused(terms(owner, -1, &friends)), "content-invalid");
    let nobody = Access::Accounts([AccountId(ulid::Ulid::nil())].into());
    assert_eq!(w.refused(terms(owner, 1, &nobody)), "content-invalid");
    w.ok(terms(owner, 900_000, &friends));
    assert!(w.ok(terms(owner, 900_000, &friends)).is_empty());
    // The task that was there is paid by its own terms, though its requester may not use the content any more.
    w.finish(before, |_| json!({}));
    assert_eq!(w.available(owner), 600_000);
    let submission = w.submission(json!({"data": using(&[set])}));
    assert_eq!(w.refused(submission), "unknown-content");
    let submission = submission_of(&mut w, friend, json!({"data": using(&[set])}));
    let after = crate::world::task_of(&w.ok(submission));
    assert_eq!(w.state.tasks[&after].prices[0].price, Amount(900_000));
    w.check_replay();
    w.ok(Command::Suspend {
        subject: Subject::Account(owner),
        reason: "under inquiry".into(),
    });
    assert_eq!(w.refused(terms(owner, 1, &friends)), "account-suspended");
}

/// For whoever isn't on the list a content isn't there, by whichever name it is called.
#[test]
fn a_content_is_there_for_those_who_may_use_it() {
    let mut w = World::new();
    let [owner, listed, contributor, stranger] =
        ["owner", "listed", "contributor", "stranger"].map(|name| w.account(name));
    let set = offered(
        &mut w,
        owner,
        "set",
        &Offer {
            access: Access::Accounts([listed].into()),
            contributors: &[(contributor, 1)],
            ..Offer::default()
        },
    );
    let absent = ContentId(ulid::Ulid::nil());
    let named: [fn(ContentId) -> Value; 3] = [
        |id| json!({"data": using(&[id])}),
        |id| json!({"data": [{"name": "a", "from": {"content": {"id": id.to_string(), "file": "no.csv"}}}]}),
        |id| json!({"model": {"base": id.to_string()}}),
    ];
    for overrides in named {
        let there = submission_of(&mut w, stranger, overrides(set));
        let nothing = submission_of(&mut w, stranger, overrides(absent));
        assert_eq!(w.refused(there), "unknown-content");
        assert_eq!(w.refused(nothing), "unknown-content");
    }
    for account in [owner, listed, contributor] {
        let submission = submission_of(&mut w, account, named[0](set));
        w.ok(submission);
    }
    // Not even that it is suspended is told.
    w.ok(Command::Suspend {
        subject: Subject::Content(set),
        reason: "under inquiry".into(),
    });
    let submission = submission_of(&mut w, stranger, named[0](set));
    assert_eq!(w.refused(submission), "unknown-content");
    let submission = submission_of(&mut w, listed, named[0](set));
    assert_eq!(w.refused(submission), "content-suspended");
    w.check_replay();
}

#[test]
fn what_cannot_hold_is_not_registered() {
    let mut w = World::new();
    let owner = w.account("owner");
    let good = offering(&mut w, owner, "set", &Offer::default());
    let twice = Contributor {
        account: owner,
        weight: 1,
    };
    let nobody = AccountId(ulid::Ulid::nil());
    let crowd: Vec<AccountId> = (0..=ACCESS_MAX)
        .map(|n| w.account(&format!("account {n}")))
        .collect();
    let many = crowd[..=CONTRIBUTORS_MAX]
        .iter()
        .map(|account| Contributor {
            account: *account,
            weight: 1,
        });
    let bad = [
        RegisterContent {
            price: Amount(-1),
            ..good.clone()
        },
        RegisterContent {
            price: Amount(PRICE_MAX.0 + 1),
            ..good.clone()
        },
        RegisterContent {
            licence: "x".repeat(129),
            ..good.clone()
        },
        RegisterContent {
            access: Access::Accounts([nobody].into()),
            ..good.clone()
        },
        RegisterContent {
            access: Access::Accounts(crowd.iter().copied().collect()),
            ..good.clone()
        },
        RegisterContent {
            contributors: vec![twice, twice],
            ..good.clone()
        },
        RegisterContent {
            contributors: vec![Contributor { weight: 0, ..twice }],
            ..good.clone()
        },
        RegisterContent {
            contributors: vec![Contributor {
                account: nobody,
                ..twice
            }],
            ..good.clone()
        },
        RegisterContent {
            contributors: many.collect(),
            ..good.clone()
        },
    ];
    for bad in bad {
        assert_eq!(w.refused(Command::RegisterContent(bad)), "content-invalid");
    }
    w.ok(Command::RegisterContent(RegisterContent {
        price: PRICE_MAX,
        access: Access::Accounts(crowd[1..].iter().copied().collect()),
        ..good
    }));
}

/// A model has its terms from the moment on when it is there.
#[test]
fn a_trained_model_is_offered_on_the_terms_of_its_task() {
    let mut w = World::new();
    w.node("a");
    let friend = w.account("friend");
    let target = |access: Value, price: &str| json!({"name": "m", "version": "1", "outputs": ["out"], "licence": "MIT", "price": price, "access": access});
    let nobody = json!({"accounts": ["00000000000000000000000000"]});
    let bad = [target(json!("everybody"), "-1"), target(nobody, "0")];
    for bad in bad {
        let submission = w.submission(json!({"type": "training", "model": {"target": bad}}));
        assert_eq!(w.refused(submission), "definition-invalid");
    }
    let good = target(json!({"accounts": [friend.to_string()]}), "250000");
    let task = w.task(json!({"type": "training", "model": {"target": good}}));
    w.finish(task, |_| json!({}));
    let model = w.state.tasks[&task].model.unwrap();
    let content = &w.state.contents[&model];
    assert_eq!(content.price, Amount(250_000));
    assert!(content.is_for(friend) && content.is_for(w.requester));
    let stranger = w.account("stranger");
    let base = json!({"model": {"base": model.to_string()}});
    let submission = submission_of(&mut w, stranger, base.clone());
    assert_eq!(w.refused(submission), "unknown-content");
    let submission = submission_of(&mut w, friend, base);
    w.ok(submission);
    w.check_replay();
}

/// Shares wait for the window as others do, and are paid though a verdict is overturned: the content was used.
#[test]
fn the_price_matures_with_the_verdict() {
    let mut w = windowed();
    w.node("a");
    let owner = w.account("owner");
    let offer = Offer {
        price: 500_000,
        ..Offer::default()
    };
    let set = offered(&mut w, owner, "set", &offer);
    let task = w.task(json!({"data": using(&[set])}));
    w.finish(task, |_| json!({}));
    let pending = LedgerAccount::Pending(owner);
    assert_eq!(w.state.ledger.balance(pending), Amount(600_000));
    assert_eq!(w.available(owner), 0);
    w.later(crate::world::WINDOW_MS.into());
    let events = w.ok(Command::Tick);
    assert!(events.iter().any(|e| matches!(e, Event::TaskMatured(_))));
    assert_eq!(w.available(owner), 600_000);
    w.check_replay();
}

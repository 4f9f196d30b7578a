//! Models pay royalties to what they were made of.

use aevir_platform::{
    amount::{Amount, split},
    command::{Command, Subject},
    content::{ANCESTORS_MAX, Access},
    event::{Event, ShareRole},
    ids::{AccountId, ContentId, TaskId},
    ledger::LedgerAccount,
};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    contents::{Offer, earned, offered, submission_of, using},
    sample::documents_agree,
    world::{World, task_of},
};

const PRICE: i64 = 1_000_000;

/// A model that an account trains on contents, for which each use costs an AEV.
fn trained(w: &mut World, by: AccountId, name: &str, parents: &[ContentId]) -> ContentId {
    let target = json!({"name": name, "version": "1", "outputs": ["out"], "licence": "MIT", "price": PRICE.to_string()});
    let economics = json!({"budget": "90000000", "pricing": {"mode": "fixed", "price": "1000"}});
    let training = json!({"type": "training", "model": {"target": target}, "data": using(parents), "economics": economics});
    let submission = submission_of(w, by, training);
    let task = task_of(&w.ok(submission));
    w.finish(task, |_| json!(name));
    w.state.tasks[&task].model.unwrap()
}

/// Uses contents once, for a price of 1 AEV.
fn used(w: &mut World, contents: &[ContentId]) -> TaskId {
    let task = w.task(json!({"data": using(contents), "economics": {"budget": "90000000", "pricing": {"mode": "fixed", "price": "1000000"}}}));
    w.finish(task, |_| json!({}));
    assert_eq!(w.phase(task), "settled");
    task
}

/// The amounts of each content, kept or as a royalty, in the order of the settlement.
fn amounts(w: &World, task: TaskId) -> Vec<(ShareRole, ContentId, i64)> {
    let earned = earned(w, task).into_iter();
    earned
        .map(|(role, id, _, amount)| (role, id, amount))
        .collect()
}

fn suspend(w: &mut World, content: ContentId) {
    w.ok(Command::Suspend {
        subject: Subject::Content(content),
        reason: "under inquiry".into(),
    });
}

/// A world with a node, and accounts.
fn world<const N: usize>(names: [&str; N]) -> (World, [AccountId; N]) {
    let mut w = World::new();
    w.node("a");
    let accounts = names.map(|name| w.account(name));
    (w, accounts)
}

/// A content with a price, contributors and an access list, a model made of it on changed terms, and a use of that.
pub fn handed_down(w: &mut World) {
    w.later(600_000);
    let [owner, ann, ben] = ["owner", "ann", "ben"].map(|name| w.account(name));
    let offer = Offer {
        price: 300_001,
        access: Access::Accounts([w.requester].into()),
        contributors: &[(ann, 2), (ben, 3)],
    };
    let set = offered(w, owner, "priced", &offer);
    let target = json!({"name": "m", "version": "1", "outputs": ["out"], "licence": "MIT", "price": "70007"});
    let mut training =
        json!({"type": "training", "model": {"target": target}, "data": using(&[set])});
    let task = w.task(training.clone());
    w.finish(task, |_| json!({"n": "first"}));
    let model = w.state.tasks[&task].model.unwrap();
    w.ok(Command::ChangeContentTerms {
        owner,
        content: set,
        price: Amount(7),
        access: Access::Everybody,
    });
    let trainer = w.account("trainer");
    training["model"]["target"]["outputs"] = json!(["weights"]);
    // Uses the content, and ends without a model.
    let submission = submission_of(w, trainer, training);
    let unmet = task_of(&w.ok(submission));
    w.finish(unmet, |_| json!({"n": "no weights"}));
    let next = json!({"name": "next", "version": "1", "outputs": ["out"], "licence": "MIT"});
    let base = json!({"base": model.to_string(), "target": next});
    let submission = submission_of(
        w,
        trainer,
        json!({"type": "training", "model": base, "data": [{"name": "x", "from": {"content": {"id": set.to_string()}}}]}),
    );
    let task = task_of(&w.ok(submission));
    w.finish(task, |_| json!({"n": "second"}));
    let next = w.state.tasks[&task].model.unwrap();
    let task = w.task(json!({"data": using(&[next, set])}));
    w.finish(task, |_| json!({"n": "used"}));
    assert_eq!(w.phase(task), "settled");
}

/// The example of the documents: a tenth of what the model earns goes to its base, and a tenth of that to what that was made of.
#[test]
fn each_generation_passes_on_a_part() {
    let (mut w, [data_owner, base_owner, model_owner]) = world(["data", "base", "model"]);
    let set = offered(&mut w, data_owner, "set", &Offer::default());
    let base = trained(&mut w, base_owner, "base", &[set]);
    let model = trained(&mut w, model_owner, "model", &[base]);
    let task = used(&mut w, &[model]);
    assert_eq!(
        amounts(&w, task),
        [
            (ShareRole::Content, model, 990_000),
            (ShareRole::Royalty, base, 99_000),
            (ShareRole::Royalty, set, 11_000),
        ]
    );
    w.check_replay();
}

/// What an ancestor earns is split as everything that it earns.
#[test]
fn royalties_go_to_contributors() {
    let (mut w, [owner, ann, ben, model_owner]) = world(["owner", "ann", "ben", "model"]);
    let offer = Offer {
        contributors: &[(ann, 2), (ben, 1)],
        ..Offer::default()
    };
    let set = offered(&mut w, owner, "set", &offer);
    let model = trained(&mut w, model_owner, "model", &[set]);
    let task = used(&mut w, &[model]);
    assert_eq!(
        earned(&w, task)[1..],
        [
            (ShareRole::Royalty, set, ann, 73_333),
            (ShareRole::Royalty, set, ben, 36_667)
        ]
    );
    documents_agree(&w, "royalties_go_to_contributors");
    w.check_replay();
}

/// Royalties ask for no leave: an ancestor whose access list was closed since earns by what was made of it.
#[test]
fn an_ancestor_that_only_few_may_use_earns_all_the_same() {
    let (mut w, [data_owner, model_owner]) = world(["data", "model"]);
    let set = offered(&mut w, data_owner, "set", &Offer::default());
    let model = trained(&mut w, model_owner, "model", &[set]);
    w.ok(Command::ChangeContentTerms {
        owner: data_owner,
        content: set,
        price: Amount(PRICE),
        access: Access::Accounts([].into()),
    });
    let refused = w.submission(json!({"data": using(&[set])}));
    assert_eq!(w.refused(refused), "unknown-content");
    let task = used(&mut w, &[model]);
    assert_eq!(amounts(&w, task)[1], (ShareRole::Royalty, set, 110_000));
    w.check_replay();
}

/// While a content is suspended it earns nothing: others of its generation share, and without any the content keeps it.
#[test]
fn a_suspended_ancestor_earns_nothing() {
    let (mut w, [one, two, model_owner]) = world(["one", "two", "model"]);
    let first = offered(&mut w, one, "first", &Offer::default());
    let second = offered(&mut w, two, "second", &Offer::default());
    let model = trained(&mut w, model_owner, "model", &[first, second]);
    let both = used(&mut w, &[model]);
    assert_eq!(
        amounts(&w, both)[1..],
        [
            (ShareRole::Royalty, first, 55_000),
            (ShareRole::Royalty, second, 55_000)
        ]
    );
    suspend(&mut w, first);
    let other = used(&mut w, &[model]);
    assert_eq!(
        amounts(&w, other),
        [
            (ShareRole::Content, model, 990_000),
            (ShareRole::Royalty, second, 110_000)
        ]
    );
    suspend(&mut w, second);
    let none = used(&mut w, &[model]);
    assert_eq!(amounts(&w, none), [(ShareRole::Content, model, 1_100_000)]);
    documents_agree(&w, "a_suspended_ancestor_earns_nothing");
    w.check_replay();
}

/// A trainer names contents of his own, and trains his own models in between: neither makes a stranger's part smaller.
#[test]
fn own_contents_take_nothing_from_ancestors() {
    let (mut w, [data_owner, trainer]) = world(["data", "trainer"]);
    let set = offered(&mut w, data_owner, "set", &Offer::default());
    let junk: Vec<ContentId> = (0..20)
        .map(|n| offered(&mut w, trainer, &format!("junk {n}"), &Offer::default()))
        .collect();
    let mut parents = junk.clone();
    parents.push(set);
    let mut model = trained(&mut w, trainer, "model 0", &parents);
    for n in 1..5 {
        model = trained(&mut w, trainer, &format!("model {n}"), &[model]);
    }
    let task = used(&mut w, &[model]);
    assert_eq!(
        amounts(&w, task),
        [
            (ShareRole::Content, model, 990_000),
            (ShareRole::Royalty, set, 110_000)
        ]
    );
    documents_agree(&w, "own_contents_take_nothing_from_ancestors");
    w.check_replay();
}

/// A crowd of ancestors shares one pot, of which only the oldest have a part; and a settlement that would have to pay too many is
/// refused before it is a task.
#[test]
fn a_crowd_of_ancestors_gets_no_more_than_one() {
    let (mut w, [crowd, trainer]) = world(["crowd", "trainer"]);
    let sets: Vec<ContentId> = (0..60)
        .map(|n| offered(&mut w, crowd, &format!("set {n}"), &Offer::default()))
        .collect();
    let models: Vec<ContentId> = (0..20)
        .map(|n| trained(&mut w, trainer, &format!("model {n}"), &sets))
        .collect();
    let task = used(&mut w, &models[..1]);
    let royalties = &amounts(&w, task)[1..];
    assert_eq!(royalties.len(), ANCESTORS_MAX);
    let parts = split(Amount(110_000), &[1; ANCESTORS_MAX]);
    for ((royalty, set), part) in royalties.iter().zip(&sets).zip(parts) {
        assert_eq!(*royalty, (ShareRole::Royalty, *set, part.0));
    }
    // 15 models with 16 ancestors each make 255.
    let fifteen = w.task(json!({"data": using(&models[..15]), "economics": {"budget": "90000000", "pricing": {"mode": "fixed", "price": "1000000"}}}));
    w.finish(fifteen, |_| json!({}));
    assert_eq!(amounts(&w, fifteen).len(), 255);
    let too_many = w.submission(json!({"data": using(&models[..16]), "economics": {"budget": "90000000", "pricing": {"mode": "fixed", "price": "1000000"}}}));
    assert_eq!(w.refused(too_many), "definition-invalid");
    let largest = w
        .log
        .iter()
        .map(|r| aevir_events::Entry::encode(r).unwrap().0.len())
        .max();
    assert!(largest.unwrap() < 65_535, "every event fits an entry");
    documents_agree(&w, "a_crowd_of_ancestors_gets_no_more_than_one");
    w.check_replay();
}

/// The policy says how far it goes; a policy without royalties pays none.
#[test]
fn a_policy_bounds_the_generations() {
    let mut w = World::new();
    w.node("a");
    let mut chain = Vec::new();
    for n in 0..4 {
        let owner = w.account(&format!("owner {n}"));
        let made = match chain.last() {
            None => offered(&mut w, owner, "set", &Offer::default()),
            Some(last) => trained(&mut w, owner, &format!("model {n}"), &[*last]),
        };
        chain.push(made);
    }
    let [set, one, two, model] = chain[..] else {
        unreachable!()
    };
    let mut policy = w.state.policy().unwrap().1.as_ref().clone();
    let task = used(&mut w, &[model]);
    assert_eq!(
        amounts(&w, task)[1..],
        [
            (ShareRole::Royalty, two, 99_000),
            (ShareRole::Royalty, one, 9_900),
            (ShareRole::Royalty, set, 1_100)
        ]
    );
    policy.contents.generations = 1;
    w.ok(Command::AdoptPolicy(policy.clone()));
    let task = used(&mut w, &[model]);
    assert_eq!(amounts(&w, task)[1..], [(ShareRole::Royalty, two, 110_000)]);
    policy.contents.royalty_ppm = 0;
    w.ok(Command::AdoptPolicy(policy.clone()));
    let task = used(&mut w, &[model]);
    assert_eq!(amounts(&w, task), [(ShareRole::Content, model, 1_100_000)]);
    policy.contents.royalty_ppm = 500_001;
    assert_eq!(w.refused(Command::AdoptPolicy(policy)), "policy-invalid");
    documents_agree(&w, "a_policy_bounds_the_generations");
    w.check_replay();
}

/// A refuted result costs its node the price; the contents that it was made with were used, and so were those that they were made of.
#[test]
fn an_overturned_verdict_leaves_royalties_with_their_earners() {
    let mut w = crate::world::windowed();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let [data_owner, model_owner] = ["data", "model"].map(|name| w.account(name));
    let set = offered(&mut w, data_owner, "set", &Offer::default());
    let model = trained(&mut w, model_owner, "model", &[set]);
    w.later(crate::world::WINDOW_MS.into());
    w.ok(Command::Tick);
    let before = w.available(data_owner);
    let task = w.task(json!({"data": using(&[model])}));
    w.finish(task, |_| json!("lie"));
    w.ok(Command::Dispute {
        account: w.requester,
        task,
        reason: "it does not add up".into(),
        bond: Amount(9_000_000),
    });
    let review = w.state.tasks[&task].review.by().unwrap();
    w.finish(review, |_| json!("truth"));
    assert_eq!(w.phase(task), "overturned");
    assert_eq!(w.available(data_owner) - before, 110_000);
    assert_eq!(
        w.state.ledger.balance(LedgerAccount::Pending(data_owner)),
        Amount::ZERO
    );
    documents_agree(
        &w,
        "an_overturned_verdict_leaves_royalties_with_their_earners",
    );
    w.check_replay();
}

/// What used a model rests on the task that trained it, as its dependents do, and whatever was made of either.
#[test]
fn what_used_an_overturned_model_is_tainted_by_its_task() {
    let mut w = crate::world::windowed();
    for name in ["a", "b", "c"] {
        w.node(name);
    }
    let target =
        |name: &str| json!({"name": name, "version": "1", "outputs": ["out"], "licence": "MIT"});
    let training = w.task(json!({"type": "training", "model": {"target": target("first")}}));
    w.finish(training, |_| json!("lie"));
    let first = w.state.tasks[&training].model.unwrap();
    let model = json!({"base": first.to_string(), "target": target("second")});
    let next = w.task(json!({"type": "training", "model": model}));
    w.finish(next, |_| json!("second"));
    let second = w.state.tasks[&next].model.unwrap();
    let by_data = w.task(json!({"data": using(&[second])}));
    w.finish(by_data, |_| json!({}));
    let after = w.task(json!({"depends_on": [{"task": by_data.to_string(), "output": "out"}]}));
    w.finish(after, |_| json!({}));
    let apart = w.task(json!({}));
    w.finish(apart, |_| json!({}));
    let tainted = |w: &World, task: TaskId| -> Vec<TaskId> {
        let task = &w.state.tasks[&task];
        w.state.tainted_by(task).collect()
    };
    assert!(tainted(&w, after).is_empty());
    w.ok(Command::Dispute {
        account: w.requester,
        task: training,
        reason: "it does not add up".into(),
        bond: Amount(9_000_000),
    });
    let review = w.state.tasks[&training].review.by().unwrap();
    w.finish(review, |_| json!("truth"));
    assert_eq!(w.phase(training), "overturned");
    for task in [next, by_data, after] {
        assert_eq!(tainted(&w, task), [training]);
    }
    for task in [training, apart] {
        assert!(tainted(&w, task).is_empty());
    }
    w.check_replay();
}

/// No event of an honest log can be bent: an audit finds the first royalty and the first price that is not what the rules say.
#[test]
fn an_audit_finds_a_bent_price_and_a_bent_royalty() {
    let (mut w, [data_owner, model_owner]) = world(["data", "model"]);
    let set = offered(&mut w, data_owner, "set", &Offer::default());
    let model = trained(&mut w, model_owner, "model", &[set]);
    used(&mut w, &[model]);
    let log = || w.log.clone();
    let bent = |change: &dyn Fn(&mut Event) -> bool| {
        let mut log = log();
        let at = log.iter_mut().position(|r| change(&mut r.event)).unwrap();
        let fault = crate::world::recompute(&log).unwrap_err();
        assert!(fault.position <= at as u64, "{fault}");
    };
    bent(&|event| match event {
        Event::TaskCreated(e) if !e.prices.is_empty() => {
            e.prices[0].price = Amount(PRICE - 1);
            true
        }
        _ => false,
    });
    bent(&|event| match event {
        Event::TaskSettled(e) if e.shares.iter().any(|s| s.role == ShareRole::Royalty) => {
            let [.., royalty, _] = &mut e.shares[..] else {
                unreachable!()
            };
            royalty.amount = Amount(royalty.amount.0 + 1);
            true
        }
        _ => false,
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was made of what by whom: what a task's contents and their ancestors get is what the requester pays for contents, to the
    /// last unit; nobody is paid for his own work's ancestors, and nobody twice of one content.
    #[test]
    fn royalties_are_parts_of_what_a_content_earns(
        makings in prop::collection::vec((0..4usize, prop::collection::btree_set(0..8usize, 1..4), any::<bool>()), 1..8),
        price in 0..5_000_000i64,
    ) {
        let (mut w, owners) = world(["a", "b", "c", "d"]);
        let mut made = vec![offered(&mut w, owners[0], "set", &Offer::default())];
        for (n, (owner, parents, is_suspended)) in makings.into_iter().enumerate() {
            let parents: std::collections::BTreeSet<ContentId> = parents.into_iter().map(|p| made[p % made.len()]).collect();
            let parents: Vec<ContentId> = parents.into_iter().filter(|p| w.state.contents[p].suspended.is_none()).collect();
            let model = trained(&mut w, owners[owner], &format!("model {n}"), &parents);
            if is_suspended {
                suspend(&mut w, model);
            }
            made.push(model);
        }
        let last = made.iter().rev().find(|id| w.state.contents[id].suspended.is_none());
        let last = *last.unwrap();
        let task = w.task(json!({"data": using(&[last]), "economics": {"budget": "90000000", "pricing": {"mode": "fixed", "price": price.to_string()}}}));
        w.finish(task, |_| json!({}));
        let earned = earned(&w, task);
        let total: i64 = earned.iter().map(|(.., amount)| amount).sum();
        let own_price = w.state.contents[&last].price.0;
        prop_assert_eq!(total, own_price + price / 10);
        let owner = w.state.contents[&last].owner;
        let mut seen = std::collections::BTreeSet::new();
        for (role, id, account, amount) in &earned {
            prop_assert!(seen.insert(*id));
            prop_assert!(*amount >= 0);
            match role {
                ShareRole::Content => prop_assert_eq!(*id, last),
                ShareRole::Royalty => {
                    prop_assert_ne!(*account, owner);
                    prop_assert!(w.state.contents[id].suspended.is_none());
                }
                _ => prop_assert!(false),
            }
        }
        let royalties = total - earned[0].3;
        prop_assert!(royalties <= total / 10);
        w.check_replay();
    }
}

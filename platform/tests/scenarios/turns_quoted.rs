//! What a quote takes to be before a task is what plans then serve before it: by turns, not by who has most or waits longest.

use std::collections::BTreeMap;

use aevir_events::{Context, LeaderSecret, Timestamp};
use aevir_platform::{
    command::{Command, Subject},
    ids::{AccountId, AssignmentId, TaskId},
    policy::AccountLimits,
    schedule::{Quote, quote},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, profile, task_of};

/// A market with so many slots on one node, where every run takes all its time.
struct Market {
    w: World,
    ends: BTreeMap<AssignmentId, i64>,
    /// What was placed, in its order.
    served: Vec<(TaskId, Timestamp)>,
}

fn of(runtime_s: u64, priority: i64) -> Value {
    json!({
        "limits": {"memory_mib": 256, "runtime_s": runtime_s},
        "qos": {"priority": priority},
        "economics": {"budget": "10000", "pricing": {"mode": "fixed", "price": "0"}},
    })
}

impl Market {
    fn new(slots: u32) -> Self {
        let mut w = World::new();
        let owner = w.account("owner");
        let mut machine = profile("one");
        machine.slots = slots;
        machine.cpu_cores = slots;
        machine.memory_mib = 256 * slots;
        machine.storage_mib = 1_024 * slots;
        w.node_of(owner, machine);
        Self {
            w,
            ends: BTreeMap::new(),
            served: Vec::new(),
        }
    }

    fn requester(&mut self, name: &str) -> AccountId {
        let account = self.w.account(name);
        self.w.deposit(account, 1_000_000_000);
        self.w.push_module(account);
        account
    }

    fn submit(&mut self, requester: AccountId, terms: Value) -> TaskId {
        let definition = Box::new(self.w.definition(terms));
        task_of(&self.w.ok(Command::SubmitTask {
            requester,
            definition,
        }))
    }

    fn quoted(&self, requester: AccountId, terms: Value) -> Quote {
        let context = Context {
            time: self.w.now,
            actor: format!("account/{requester}"),
            entropy: [0; 32],
            secret: LeaderSecret([0; 32]),
        };
        let definition = self.w.definition(terms);
        quote(&self.w.state, requester, &definition, &context).unwrap()
    }

    fn place(&mut self) {
        for (task, run, _) in self.w.plan() {
            self.w.start(run);
            let runtime_s = self.w.state.tasks[&task].definition.limits.runtime_s;
            let end = self.w.now.0 + i64::from(runtime_s) * 1_000;
            self.ends.insert(run, end);
            self.served.push((task, self.w.now));
        }
    }

    /// Time goes on to the next end of a run, of all runs that end then, and what waits is placed.
    fn step(&mut self) {
        let at = *self.ends.values().min().unwrap();
        self.w.later(at - self.w.now.0);
        let (now, later) = self.ends.iter().partition(|(_, end)| **end == at);
        self.ends = later;
        let now: BTreeMap<AssignmentId, i64> = now;
        for run in now.into_keys() {
            let done = self.w.run(run, json!({}), &[]);
            self.w.commit(&done);
            self.w.reveal(&done);
        }
        self.place();
    }

    /// How many others are placed before a task from now on, and when it is.
    fn before(&mut self, task: TaskId) -> (usize, Timestamp) {
        let since = self.served.len();
        self.place();
        loop {
            let mut placed = self.served[since..].iter();
            if let Some(before) = placed.position(|(id, _)| *id == task) {
                return (before, self.served[since + before].1);
            }
            self.step();
        }
    }
}

#[test]
fn a_strangers_hundreds_of_tasks_are_not_before_a_newcomers() {
    let mut market = Market::new(2);
    let [stranger, newcomer] = ["stranger", "newcomer"].map(|name| market.requester(name));
    for _ in 0..300 {
        market.submit(stranger, of(60, 0));
    }
    market.place();
    market.w.later(10_000);
    let quote = market.quoted(newcomer, of(60, 0));
    // The stranger's two runs have reserved a minute each, and the newcomer nothing.
    assert_eq!(quote.ahead, 0, "{quote:?}");
    assert_eq!(quote.starts_at.unwrap().0 - market.w.now.0, 50_000);
    let own = market.submit(newcomer, of(60, 0));
    assert_eq!(market.before(own), (0, quote.starts_at.unwrap()));
    // Each of one's own before it brings what the turns bring of the stranger's.
    for _ in 0..4 {
        market.w.later(1_000);
        market.submit(newcomer, of(60, 0));
    }
    market.w.later(1_000);
    let quote = market.quoted(newcomer, of(60, 0));
    assert!((6..=9).contains(&quote.ahead), "{quote:?}");
    let last = market.submit(newcomer, of(60, 0));
    assert_eq!(market.before(last), (quote.ahead, quote.starts_at.unwrap()));
}

#[test]
fn one_account_with_many_different_tasks_hides_no_other() {
    let mut market = Market::new(1);
    let [old, busy, newcomer] = ["old", "busy", "newcomer"].map(|name| market.requester(name));
    // More lines than a plan looks at.
    for n in 0..200 {
        market.submit(old, of(60 + n, 0));
    }
    market.place();
    (0..3).for_each(|_| {
        market.submit(busy, of(10, 0));
    });
    market.w.later(1_000);
    let quote = market.quoted(newcomer, of(60, 0));
    // One of the other who has used nothing, either, where its id is the smaller one.
    assert_eq!(quote.ahead, usize::from(busy < newcomer));
    let quote = market.quoted(old, of(60, 9));
    let task = market.submit(old, of(60, 9));
    assert_eq!(market.before(task), (quote.ahead, quote.starts_at.unwrap()));
}

#[test]
fn what_can_not_be_served_first_is_not_ahead() {
    let mut market = Market::new(1);
    let [a, b] = ["a", "b"].map(|name| market.requester(name));
    market.submit(b, of(60, 0));
    market.place();
    // Of this one only one task may run at once.
    let limits = AccountLimits {
        running_max: 1,
        ..market.w.state.limits_of(a)
    };
    market.w.ok(Command::SetLimits { account: a, limits });
    (0..5).for_each(|_| {
        market.submit(a, of(1, 0));
    });
    assert_eq!(market.quoted(b, of(60, 0)).ahead, 1, "as many as its quota");
    market.w.ok(Command::Suspend {
        subject: Subject::Account(a),
        reason: "for a while".into(),
    });
    assert_eq!(market.quoted(b, of(60, 0)).ahead, 0);
}

#[derive(Debug, Clone)]
struct Asked {
    who: usize,
    runtime_s: u64,
    priority: i64,
    /// How long before the next one comes, in ms: of those of one ms their ids tell which is first, and a quote has none.
    then_ms: i64,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0usize..4, 1u64..120, 0i64..10, 1i64..30_000).prop_map(
        |(who, runtime_s, priority, then_ms)| Asked {
            who,
            runtime_s,
            priority,
            then_ms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// In a market of one machine whose runs take the time that they reserve, with weights of their own.
    #[test]
    fn plans_serve_before_it_what_was_quoted_and_when(
        slots in prop::sample::select(vec![1u32, 2, 4]),
        weights in prop::collection::vec(1u32..400, 4),
        waiting in prop::collection::vec(asked(), 1..40),
        last in asked(),
    ) {
        let mut market = Market::new(slots);
        let accounts = ["a", "b", "c", "d"].map(|name| market.requester(name));
        for (account, weight) in accounts.into_iter().zip(weights) {
            let limits = AccountLimits { weight, ..market.w.state.limits_of(account) };
            market.w.ok(Command::SetLimits { account, limits });
        }
        for one in waiting {
            market.submit(accounts[one.who], of(one.runtime_s, one.priority));
            market.place();
            let next = market.ends.values().min().map_or(i64::MAX, |end| end - market.w.now.0 - 2);
            market.w.later(one.then_ms.min(next.max(0)));
        }
        // Not in the same ms as the last one.
        market.w.later(1);
        let terms = of(last.runtime_s, last.priority);
        let quote = market.quoted(accounts[last.who], terms.clone());
        let task = market.submit(accounts[last.who], terms);
        let (ahead, at) = market.before(task);
        prop_assert_eq!((quote.ahead, quote.starts_at), (ahead, Some(at)));
    }
}

//! Shares of the nodes' time: many slots, runs that reserve more than they use, late arrivals, and tasks that no node can take.

use std::collections::BTreeMap;

use aevir_platform::{
    amount::Count,
    command::Command,
    digest::Digest,
    ids::{AccountId, AssignmentId},
    report::BlobRef,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    sample::documents_agree,
    world::{World, profile, task_of},
};

const RESERVED_MS: i64 = 60_000;
const MIB: u64 = 1 << 20;

/// An input of so many bytes, which take a second for each MiB.
fn input(w: &mut World, account: AccountId, bytes: u64) -> Value {
    let digest = Digest::of(&bytes.to_be_bytes());
    let size = Count(bytes);
    let blob = BlobRef { digest, size };
    w.ok(Command::RecordUpload { account, blob });
    json!([{"name": "a", "from": {"blob": digest.to_string()}}])
}

/// A market with so many slots on one node, where every run ends after a time of its own.
struct Market {
    w: World,
    /// Those whose runs' time goes on fetching.
    fetching: Vec<AccountId>,
    /// When each run ends.
    ends: BTreeMap<AssignmentId, (i64, AccountId)>,
    /// Time that each requester's runs took.
    got_ms: BTreeMap<AccountId, i64>,
}

impl Market {
    fn new(slots: u32) -> Self {
        let mut w = World::new();
        let owner = w.account("owner");
        let mut machine = profile("many");
        machine.slots = slots;
        machine.cpu_cores = slots;
        machine.memory_mib = 256 * slots;
        machine.storage_mib = 1_024 * slots;
        w.node_of(owner, machine);
        Self {
            w,
            fetching: Vec::new(),
            ends: BTreeMap::new(),
            got_ms: BTreeMap::new(),
        }
    }

    fn requester(&mut self, name: &str) -> AccountId {
        let account = self.w.account(name);
        self.w.deposit(account, 1_000_000_000);
        self.w.push_module(account);
        self.got_ms.insert(account, 0);
        account
    }

    fn submit(&mut self, requester: AccountId, memory_mib: u32) {
        self.reserving(requester, memory_mib, RESERVED_MS);
    }

    fn reserving(&mut self, requester: AccountId, memory_mib: u32, reserved_ms: i64) {
        let definition = json!({"limits": {"memory_mib": memory_mib, "runtime_s": reserved_ms / 1_000},
            "economics": {"budget": "10000", "pricing": {"mode": "fixed", "price": "0"}}});
        self.put(requester, definition);
    }

    /// A task of a second that has a minute's inputs.
    fn loading(&mut self, requester: AccountId) {
        let blob = input(&mut self.w, requester, 60 * MIB);
        let definition = json!({"limits": {"memory_mib": 256, "runtime_s": 1}, "data": blob,
            "economics": {"budget": "10000", "pricing": {"mode": "fixed", "price": "0"}}});
        self.put(requester, definition);
    }

    fn put(&mut self, requester: AccountId, definition: Value) {
        let definition = Box::new(self.w.definition(definition));
        task_of(&self.w.ok(Command::SubmitTask {
            requester,
            definition,
        }));
    }

    /// Places what can be, each run for as long as `takes_ms` says.
    fn place(&mut self, takes_ms: &mut impl FnMut(AccountId) -> i64) {
        for (task, run, _) in self.w.plan() {
            let requester = self.w.state.tasks[&task].requester;
            if !self.fetching.contains(&requester) {
                self.w.start(run);
            }
            let ms = takes_ms(requester);
            self.ends.insert(run, (self.w.now.0 + ms, requester));
        }
    }

    /// Places what can be, and ends the run that ends first; answers whose it was.
    fn serve(&mut self, takes_ms: &mut impl FnMut(AccountId) -> i64) -> Option<AccountId> {
        self.place(takes_ms);
        self.step()
    }

    /// Time goes on to the next end of a run; answers whose it was.
    fn step(&mut self) -> Option<AccountId> {
        let ends = self.ends.iter().map(|(run, end)| (*run, *end));
        let (run, (at, requester)) = ends.min_by_key(|(run, (at, _))| (*at, *run))?;
        self.ends.remove(&run);
        self.w.later(at - self.w.now.0);
        let lease = self.w.state.assignment(run).unwrap().1.leased_at;
        *self.got_ms.get_mut(&requester).unwrap() += at - lease.0;
        if self.fetching.contains(&requester) {
            self.w.start(run);
        }
        let done = self.w.run(run, json!({}), &[]);
        self.w.commit(&done);
        self.w.reveal(&done);
        Some(requester)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// The bound of docs/economics.md: the one who is ahead by at most one charge of his own, and what the other's runs under way
    /// have reserved; here of equal weights, from when both wait.
    #[test]
    fn shares_stay_within_their_bound(slots in 1u32..4, begins in 0usize..20, times in prop::collection::vec(1i64..RESERVED_MS, 4..16)) {
        let mut market = Market::new(slots);
        let [a, b, stuck] = ["a", "b", "stuck"].map(|name| market.requester(name));
        // No node has so much: it waits for ever, and holds nobody up.
        market.submit(stuck, 4_000);
        let (mut n, mut since) = (0, BTreeMap::new());
        let mut takes = |who: AccountId| {
            n += 1;
            // One of them reserves a minute for what takes a moment.
            if who == a { times[n % times.len()] % 500 + 1 } else { times[n % times.len()] }
        };
        for turn in 0..120 {
            if turn == begins {
                since = market.got_ms.clone();
            }
            // Both always have something that waits, the second one from its begin on.
            let waiting = [Some(a), (turn >= begins).then_some(b)];
            for requester in waiting.into_iter().flatten() {
                for _ in 0..slots {
                    let open = market.w.state.tasks_of(requester).filter(|t| t.open_slots() > 0).count();
                    if open <= slots as usize {
                        market.submit(requester, 256);
                    }
                }
            }
            market.place(&mut takes);
            market.step();
            if turn > begins {
                let got = |who| market.got_ms[&who] - since[&who];
                let held = |who| market.ends.values().filter(|(_, of)| *of == who).count() as i64;
                // What runs counts by what it reserved: that is where the bound comes from.
                let most = (1 + i64::from(slots)) * RESERVED_MS;
                let apart = (got(a) - got(b)).abs();
                prop_assert!(apart <= most + held(a).max(held(b)) * RESERVED_MS, "{apart} ms apart");
            }
        }
    }
}

#[test]
fn a_task_that_no_node_can_take_saves_nothing_up() {
    let mut market = Market::new(1);
    let [a, b] = ["a", "b"].map(|name| market.requester(name));
    market.submit(b, 4_000);
    let mut takes = |_| 10_000;
    for _ in 0..8 {
        market.submit(a, 256);
        market.place(&mut takes);
        market.step();
    }
    // From here on both have what can be placed: they take turns, though one of them never got anything.
    for requester in [a, b] {
        (0..6).for_each(|_| market.submit(requester, 256));
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        order.extend(market.serve(&mut takes));
    }
    let of_b = order.iter().filter(|who| **who == b).count();
    assert!((3..=4).contains(&of_b), "{of_b} of 6");
    market.w.check_replay();
}

#[test]
fn what_runs_only_reserve_does_not_put_newcomers_back() {
    let mut market = Market::new(4);
    let a = market.requester("a");
    // Runs of a moment that reserve a minute each.
    (0..4).for_each(|_| market.submit(a, 256));
    market.place(&mut |_| 500);
    let b = market.requester("b");
    market.submit(b, 256);
    for _ in 0..4 {
        market.step();
    }
    let mut order = Vec::new();
    for requester in [a, b] {
        (0..8).for_each(|_| market.submit(requester, 256));
    }
    for _ in 0..12 {
        order.extend(market.serve(&mut |_| 500));
    }
    let of_b = order.iter().filter(|who| **who == b).count();
    assert!((5..=8).contains(&of_b), "{of_b} of 12");
    market.w.check_replay();
}

/// What a run holds its node for to fetch its inputs is paid for with turns, too.
#[test]
fn reserving_little_before_a_long_fetch_buys_no_more_turns() {
    let mut market = Market::new(1);
    let [a, b] = ["a", "b"].map(|name| market.requester(name));
    market.fetching.push(a);
    for _ in 0..20 {
        market.loading(a);
        market.reserving(b, 256, RESERVED_MS);
    }
    // Both hold the slot for a minute, whatever they reserved.
    let served: Vec<_> = (0..20)
        .filter_map(|_| market.serve(&mut |_| RESERVED_MS))
        .collect();
    let of_a = served.iter().filter(|who| **who == a).count();
    assert!((9..=11).contains(&of_a), "{of_a} of {}", served.len());
    market.w.check_replay();
    documents_agree(&market.w, "held-beyond");
}

/// How many ms a requester of weight 100 has used by a run of five seconds at most, with so many bytes of inputs, which begins and ends so
/// many ms after its lease.
fn used_by(bytes: u64, begun: i64, ended: i64) -> u64 {
    let mut w = World::new();
    w.node("a");
    let requester = w.requester;
    let data = input(&mut w, requester, bytes);
    w.task(json!({"limits": {"runtime_s": 5}, "data": data}));
    let (_, run, _) = w.plan()[0];
    w.later(begun);
    w.start(run);
    w.later(ended - begun);
    let done = w.run(run, json!({}), &[]);
    w.commit(&done);
    w.reveal(&done);
    w.check_replay();
    documents_agree(&w, "held-as-accounted-for");
    w.state.requesters[&requester].used / 10
}

/// A node can take as long as its lease lasts, and its requester is not charged for that.
#[test]
fn a_node_that_takes_its_time_uses_up_none_of_its_requesters() {
    assert_eq!(used_by(MIB, 20_000, 25_000), 25_000);
    assert_eq!(used_by(MIB, 900_000, 903_000), 30_000 + 1_000 + 3_000);
    // What its inputs account for is the requester's.
    assert_eq!(used_by(60 * MIB, 80_000, 83_000), 83_000);
    // So are outputs: these are some bytes, of a ms at most.
    let uploading = used_by(MIB, 0, 300_000);
    assert!((5_000..=5_001).contains(&uploading), "{uploading}");
}

/// A run that fills a node of four slots counts as four of those that take a slot.
#[test]
fn large_runs_have_no_more_of_the_nodes_than_small_ones() {
    let mut market = Market::new(4);
    let [large, small] = ["large", "small"].map(|name| market.requester(name));
    for _ in 0..10 {
        market.submit(large, 1_024);
    }
    for _ in 0..40 {
        market.submit(small, 256);
    }
    // Whenever the node is free, either the large one takes all of it or four small ones do, for as long.
    let mut of_large = 0;
    for _ in 0..10 {
        market.place(&mut |_| 10_000);
        let first = market.step();
        of_large += usize::from(first == Some(large));
        while market.step().is_some() {}
    }
    assert!((4..=6).contains(&of_large), "{of_large} of 10");
    market.w.check_replay();
    documents_agree(&market.w, "large-runs");
}

//! A naive model of money and points, written from `docs/economics.md` and from nothing else of the machine.
//!
//! It is told what was asked for, and of what followed the facts: who was leased what, what a verdict accepted, why a task closed. What
//! that moves it works out itself, in plain maps. Its arithmetic is its own.

mod begins;
mod commands;
mod contents;
mod ends;
mod epochs;
mod prices;
mod reviews;
mod verifiers;

use std::collections::{BTreeMap, BTreeSet};

use aevir_events::Timestamp;
use aevir_platform::{
    command::{Command, FailureClass, LossReason},
    definition::{DataSource, Method, TaskDefinition, TaskType},
    digest::Digest,
    event::{Event, Track, Trust},
    ids::{AccountId, AssignmentId, ContentId, NodeId, TaskId, WithdrawalId},
    ledger::LedgerAccount,
    policy::Policy,
    report::BlobRef,
};

/// What stands on a ledger account, in micro-AEV.
type Money = BTreeMap<LedgerAccount, i64>;

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Leased,
    Running,
    Sealed,
    Shown,
    Failed(FailureClass),
    /// Lost, given back, called off, judged.
    Over,
}

#[derive(Debug, Clone)]
struct Run {
    node: NodeId,
    round: u32,
    leased: Timestamp,
    started: Option<Timestamp>,
    sealed: Option<Timestamp>,
    doubles: Option<AssignmentId>,
    overtaken: bool,
    /// The run that it went on from.
    resumed: Option<AssignmentId>,
    /// What it saved.
    saved: Option<BlobRef>,
    stage: Stage,
    locked: i64,
    /// It had as much stake as the policy asks for, and earns something.
    backed: bool,
    /// It had as much, whatever it earns.
    staked: bool,
    /// What it earns in time, or the most where that goes by use.
    price: i64,
    used: Option<prices::Used>,
    /// What it brought, once that is open.
    seen: Option<Seen>,
}

/// What of a result others are held against.
#[derive(Debug, Clone)]
struct Seen {
    class: String,
    key: Digest,
}

impl Run {
    /// It brought one, and nobody has judged it.
    fn has_result(&self) -> bool {
        matches!(self.stage, Stage::Sealed | Stage::Shown)
    }
}

#[derive(Debug)]
struct Task {
    definition: TaskDefinition,
    policy: Policy,
    escrow: i64,
    /// What its contents cost.
    uses: BTreeMap<ContentId, i64>,
    queued: Option<(Timestamp, i64)>,
    round: u32,
    wanted: u32,
    verifying: bool,
    /// The result that could have stood alone, and was repeated.
    trusted: Option<AssignmentId>,
    runs: BTreeMap<AssignmentId, Run>,
    ended: bool,
    /// Pending shares, until they mature.
    immature: Option<Immature>,
    /// The result that stands alone.
    alone: Option<AssignmentId>,
    accepted: Vec<AssignmentId>,
    unspent: i64,
    /// Whose money the escrow is.
    payer: LedgerAccount,
    /// The task whose verdict this one looks at again.
    reviews: Option<TaskId>,
    /// The word that it looks at again is one of its quorum.
    counts: bool,
    /// The task whose result verifiers look at here, before its verdict, and what it may cost that they do.
    inspects: Option<(TaskId, i64)>,
    /// What of its escrow its own verifiers got, by what they are asked.
    passed_on: BTreeMap<verifiers::Question, i64>,
    /// Its own verdict is, or was, looked at again.
    reviewed: bool,
    /// The task that looks at it again because nothing vouched for it.
    unvouched: Option<TaskId>,
    /// What it cost, once that is known.
    fee: i64,
}

/// What an accepted run earns.
#[derive(Debug)]
struct Earned {
    owner: AccountId,
    amount: i64,
    /// It took too long.
    missed: bool,
    /// By which points are parted.
    price: i64,
}

#[derive(Debug)]
struct Immature {
    compute: Vec<Earned>,
    content: Vec<(AccountId, i64)>,
    platform: i64,
    /// Of the refund, what waits with it.
    held: i64,
    /// When it matures, if nobody looks at the verdict again.
    at: Timestamp,
}

#[derive(Debug, Default, Clone, Copy)]
struct Strikes {
    count: u32,
    last: i64,
}

/// What an epoch's points can claim.
#[derive(Debug)]
struct Pool {
    amount: i64,
    points: BTreeMap<AccountId, i64>,
    all: i64,
    /// The epoch with which it is over.
    until: u32,
}

/// The model.
#[derive(Debug, Default)]
pub struct Naive {
    pub money: Money,
    /// In thousandths of a point.
    pub points: BTreeMap<(AccountId, Track), i64>,
    /// Platform shares that matured since the open epoch began.
    collected: i64,
    pools: BTreeMap<u32, Pool>,
    /// The last epoch that closed, and up to which one accounts have claimed.
    last_closed: u32,
    claimed: BTreeMap<AccountId, u32>,
    /// Verdicts whose shares are pending, by when they mature.
    maturing: BTreeSet<(Timestamp, TaskId)>,
    references: BTreeSet<String>,
    withdrawals: BTreeMap<WithdrawalId, i64>,
    owners: BTreeMap<NodeId, AccountId>,
    strikes: BTreeMap<NodeId, Strikes>,
    /// Results of nodes that a quorum accepted.
    stood: BTreeMap<NodeId, u32>,
    /// When the last result of a node was sealed that was repeated by a draw, and stood.
    vouched: BTreeMap<NodeId, Timestamp>,
    /// When a quorum last agreed on another result than a node's.
    caught: BTreeMap<NodeId, Timestamp>,
    contents: BTreeMap<ContentId, contents::Content>,
    suspended: BTreeSet<ContentId>,
    asks: BTreeMap<(NodeId, TaskType), i64>,
    tasks: BTreeMap<TaskId, Task>,
    policy: Option<Policy>,
}

fn share(amount: i64, ppm: u32) -> i64 {
    (i128::from(amount) * i128::from(ppm) / 1_000_000) as i64
}

/// The largest-remainder method, the earlier first among equals.
fn divide(total: i64, weights: &[i64]) -> Vec<i64> {
    let all: i128 = weights.iter().map(|w| i128::from(*w)).sum();
    if all == 0 {
        return vec![0; weights.len()];
    }
    let exact = |w: &i64| i128::from(total) * i128::from(*w);
    let mut parts: Vec<i64> = weights.iter().map(|w| (exact(w) / all) as i64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| (-(exact(&weights[*i]) % all), *i));
    let left = total - parts.iter().sum::<i64>();
    for i in order.into_iter().take(left as usize) {
        parts[i] += 1;
    }
    parts
}

/// How many must agree.
fn quorum(definition: &TaskDefinition) -> u32 {
    let found = definition.verification.iter().find_map(|m| match m {
        Method::Sampling(s) => Some(s.quorum),
        Method::Check { .. } | Method::Attestation { .. } => None,
    });
    found.unwrap_or(1)
}

/// Most replicas, those of the first round, and whether one may do at first.
fn replicas(definition: &TaskDefinition) -> (u32, u32, bool) {
    let found = definition.verification.iter().find_map(|m| match m {
        Method::Sampling(s) => Some((s.replicas, s.initial.unwrap_or(s.quorum), s.adaptive)),
        Method::Check { .. } | Method::Attestation { .. } => None,
    });
    found.unwrap_or((1, 1, false))
}

fn used(definition: &TaskDefinition) -> BTreeSet<ContentId> {
    let data = definition.data.iter().filter_map(|d| match &d.from {
        DataSource::Content { id, .. } => Some(*id),
        DataSource::Blob(_) | DataSource::Inline(_) => None,
    });
    data.chain(definition.model.iter().filter_map(|m| m.base))
        .collect()
}

/// The worst case.
fn escrow(definition: &TaskDefinition, policy: &Policy, uses: &BTreeMap<ContentId, i64>) -> i64 {
    let (most, _, _) = replicas(definition);
    let compute = prices::most(definition) * i64::from(most);
    let content = match used(definition).is_empty() {
        true => 0,
        false => share(compute, policy.content_share_ppm),
    };
    let platform = share(compute, policy.platform_share_ppm);
    let paid = compute + content + platform + uses.values().sum::<i64>();
    let fee = policy.attempt_fee.0;
    paid.max(fee * i64::from(most))
        + fee * i64::from(definition.retry.max_attempts)
        + verifiers::worst(definition, policy)
}

impl Naive {
    pub fn balance(&self, account: LedgerAccount) -> i64 {
        self.money.get(&account).copied().unwrap_or(0)
    }

    fn transfer(&mut self, from: LedgerAccount, to: LedgerAccount, amount: i64) {
        for (account, amount) in [(from, -amount), (to, amount)] {
            let balance = self.money.entry(account).or_default();
            *balance += amount;
            if *balance == 0 {
                self.money.remove(&account);
            }
        }
    }

    /// Whole points.
    fn earn(&mut self, account: AccountId, track: Track, delta: i64) {
        let balance = self.points.entry((account, track)).or_default();
        *balance += delta * 1_000;
        assert!(*balance >= 0);
        if *balance == 0 {
            self.points.remove(&(account, track));
        }
    }

    /// What a node has pledged.
    pub fn locked(&self, node: NodeId) -> i64 {
        let runs = self.tasks.values().flat_map(|t| t.runs.values());
        runs.filter(|r| r.node == node).map(|r| r.locked).sum()
    }

    fn free_stake(&self, node: NodeId) -> i64 {
        self.balance(LedgerAccount::Stake(node)) - self.locked(node)
    }

    /// A command was granted: what follows from it, and from the facts that came with it.
    pub fn granted(&mut self, command: &Command, facts: &[Event], now: Timestamp) {
        self.asked(command, facts);
        let due = match command {
            // Where an epoch closes, nothing else is decided.
            Command::Tick if !facts.iter().any(closes_epoch) => self.due(facts, now),
            _ => Vec::new(),
        };
        let closed: BTreeSet<TaskId> = facts.iter().filter_map(closing).collect();
        for fact in facts {
            self.note(fact, &closed, now);
        }
        // What a verdict of the same tick costs comes before.
        due.into_iter().for_each(|id| self.mature(id));
    }

    fn note(&mut self, fact: &Event, closed: &BTreeSet<TaskId>, now: Timestamp) {
        match fact {
            Event::EpochClosed(e) => self.epoch_closed(e),
            Event::NodeRegistered(e) => drop(self.owners.insert(e.node, e.owner)),
            Event::NodeLeft(e) => {
                let (from, owner) = (LedgerAccount::Stake(e.node), self.owners[&e.node]);
                assert_eq!(self.locked(e.node), 0, "who leaves has nothing open");
                let amount = self.balance(from);
                self.transfer(from, LedgerAccount::Available(owner), amount);
            }
            Event::ContentRegistered(e) => {
                let content = contents::Content::of(e);
                self.contents.insert(e.content, content);
            }
            Event::ContentSuspended(e) => drop(self.suspended.insert(e.content)),
            Event::ContentReleased(e) => drop(self.suspended.remove(&e.content)),
            Event::TermsChanged(e) => {
                self.asks.retain(|(node, _), _| *node != e.node);
                let asks = e.terms.asks.iter();
                let asks = asks.map(|(kind, ask)| ((e.node, *kind), ask.0));
                self.asks.extend(asks);
            }
            Event::TaskCreated(e) => self.created(e),
            Event::TaskQueued(e) => self.task(e.task).queued = Some((now, begins::fetching_ms(e))),
            Event::TaskHastened(e) => {
                let task = self.task(e.task);
                task.wanted = task.wanted.max(replicas(&task.definition).1);
            }
            Event::TaskExtended(e) => {
                let task = self.task(e.task);
                (task.round, task.wanted, task.verifying) = (e.round, e.replicas, false);
            }
            Event::RoundClosed(e) => self.task(e.task).verifying = true,
            Event::TrustDecided(e) => {
                let task = self.task(e.task);
                let is_alone = matches!(e.trust, Trust::Drawn { repeated, .. } if !repeated);
                task.alone = is_alone.then_some(e.assignment);
                if is_alone {
                    assert!(task.may_stand(e.assignment), "nothing stands behind it");
                }
                if !is_alone {
                    task.wanted = replicas(&task.definition).1;
                    let drawn = matches!(e.trust, Trust::Drawn { .. });
                    task.trusted = drawn.then_some(e.assignment);
                }
            }
            Event::AssignmentLeased(e) => {
                let task = &self.tasks[&e.task];
                let per_result = task.policy.stake.per_result_ppm;
                let ask = self.asks.get(&(e.node, task.definition.kind));
                let (price, is_asked) = prices::leased(&task.definition, ask.copied());
                assert_eq!(e.price.map(|p| p.0), is_asked.then_some(price));
                let mut due = share(price.max(task.risk()), per_result);
                if replicas(&task.definition).2 {
                    due = due.max(reviews::cost(&task.definition, true, &task.policy));
                }
                let is_staked = due <= self.free_stake(e.node);
                let backed = is_staked && price > 0;
                let locked = if is_staked { due } else { 0 };
                let run = Run {
                    node: e.node,
                    round: e.round,
                    leased: now,
                    started: None,
                    sealed: None,
                    doubles: e.doubles,
                    overtaken: false,
                    resumed: task
                        .runs
                        .iter()
                        .find(|(_, run)| run.saved.is_some() && run.saved == e.resume)
                        .map(|(id, _)| *id),
                    saved: None,
                    stage: Stage::Leased,
                    locked,
                    backed,
                    staked: is_staked,
                    price,
                    used: None,
                    seen: None,
                };
                self.task(e.task).runs.insert(e.assignment, run);
            }
            Event::AssignmentStarted(e) => {
                let run = self.run(e.task, e.assignment);
                (run.stage, run.started) = (Stage::Running, Some(now));
            }
            Event::AssignmentCheckpointed(e) => {
                self.run(e.task, e.assignment).saved = Some(e.checkpoint);
            }
            Event::AssignmentCommitted(e) => {
                let run = self.run(e.task, e.assignment);
                (run.stage, run.sealed) = (Stage::Sealed, Some(now));
            }
            Event::AssignmentShown(e) => self.run(e.task, e.assignment).stage = Stage::Shown,
            Event::AssignmentRevealed(e) => {
                let (task, id) = (e.report.task, e.report.assignment);
                let used = prices::used(&e.report, &self.tasks[&task].definition);
                let seen = Seen {
                    class: e.report.class.clone(),
                    key: e.report.agreement_key(),
                };
                let run = self.run(task, id);
                (run.stage, run.used, run.seen) = (Stage::Shown, Some(used), Some(seen));
            }
            Event::AssignmentFailed(e) => self.over(e.task, e.assignment, Stage::Failed(e.class)),
            Event::AssignmentReturned(e) => self.over(e.task, e.assignment, Stage::Over),
            Event::AssignmentLost(e) => {
                self.over(e.task, e.assignment, Stage::Over);
                let task = &self.tasks[&e.task];
                let owner = self.owners[&task.runs[&e.assignment].node];
                let points = task.policy.points.clone();
                let track = task.track();
                let has = self.whole_points(owner, track);
                let loss = match e.reason {
                    LossReason::NotRevealed => refused(has, &points),
                    LossReason::NotStarted | LossReason::Silent | LossReason::Revoked => {
                        points.lost.0.min(has)
                    }
                };
                self.earn(owner, track, -loss);
                if e.reason == LossReason::NotRevealed {
                    self.unrevealed(e.task);
                }
            }
            // A task that closes withdraws the rest: who is paid for it is told by what they were before.
            Event::AssignmentWithdrawn(e) if closed.contains(&e.task) => {}
            Event::AssignmentWithdrawn(e) => self.called_off(e.task, e.assignment),
            Event::TaskVerified(e) => self.verified(e, now),
            Event::TaskSettled(e) => self.settled(e),
            Event::ReviewOpened(e) => self.review_opened(e, now),
            Event::TaskReviewed(e) => self.reviewed(e, now),
            Event::TaskClosed(e) => self.closed(e, now),
            _ => {}
        }
    }

    fn whole_points(&self, owner: AccountId, track: Track) -> i64 {
        let points = self.points.get(&(owner, track));
        points.copied().unwrap_or(0) / 1_000
    }

    fn task(&mut self, task: TaskId) -> &mut Task {
        self.tasks.get_mut(&task).unwrap()
    }

    fn run(&mut self, task: TaskId, run: AssignmentId) -> &mut Run {
        self.task(task).runs.get_mut(&run).unwrap()
    }

    /// A run ends without a result that counts.
    fn over(&mut self, task: TaskId, run: AssignmentId, stage: Stage) {
        let run = self.run(task, run);
        (run.stage, run.locked) = (stage, 0);
    }

    /// What was to stand alone was kept back: the next result of an adaptive sample is a first one.
    fn unrevealed(&mut self, task: TaskId) {
        let task = self.task(task);
        if task.alone.take().is_some() {
            task.wanted = 1;
        }
        task.verifying = task.runs.values().any(Run::has_result);
    }

    /// Another result was taken, or is about to be: what had begun is paid for.
    fn called_off(&mut self, task: TaskId, id: AssignmentId) {
        let of = self.task(task);
        let slot = of.runs[&id].doubles.unwrap_or(id);
        let mate = |(other, run): (&AssignmentId, &Run)| {
            *other != id && run.doubles.unwrap_or(*other) == slot && run.has_result()
        };
        let is_overtaken = of.verifying || of.runs.iter().any(mate);
        let run = self.run(task, id);
        run.overtaken = is_overtaken && run.started.is_some();
        (run.stage, run.locked) = (Stage::Over, 0);
    }
}

fn closes_epoch(fact: &Event) -> bool {
    matches!(fact, Event::EpochClosed(_))
}

fn closing(fact: &Event) -> Option<TaskId> {
    match fact {
        Event::TaskClosed(e) => Some(e.task),
        _ => None,
    }
}

fn refused(has: i64, points: &aevir_platform::policy::PointsPolicy) -> i64 {
    share(has, points.refused_ppm)
        .max(points.refused_min.0)
        .min(has)
}

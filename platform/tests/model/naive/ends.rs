//! How tasks end in the model: verdicts, closures, maturity, and what refused results cost.

use std::collections::BTreeSet;

use aevir_events::Timestamp;
use aevir_platform::{
    command::FailureClass,
    definition::{Method, Pricing, TaskDefinition},
    event::{
        CloseReason, Event, RefusalReason, TaskClosed, TaskSettled, TaskVerified, Track, Verdict,
    },
    ids::{AccountId, AssignmentId, NodeId, TaskId},
    ledger::LedgerAccount,
};

use super::{
    Earned, Immature, Naive, Run, Stage, Task, divide, prices, quorum, refused, replicas, reviews,
    share,
};

/// Verdicts that one tick matures.
const MATURED_MAX: usize = 64;

impl Immature {
    /// Whom it is owed to.
    fn pending(&self) -> Vec<(AccountId, i64)> {
        let compute = self.compute.iter().map(|run| (run.owner, run.amount));
        compute.chain(self.content.iter().copied()).collect()
    }
}

/// Where an account's money waits.
pub(super) fn pending_of(account: LedgerAccount) -> LedgerAccount {
    match account {
        LedgerAccount::Available(owner) => LedgerAccount::Pending(owner),
        other => other,
    }
}

/// Its replicas earn something, and its requester does not do without stake behind their quorum.
fn asks_for_stake(definition: &TaskDefinition) -> bool {
    let does_without = definition.verification.iter().any(|method| match method {
        Method::Sampling(sampling) => sampling.unstaked,
        Method::Check { .. } | Method::Attestation { .. } => false,
    });
    replicas(definition).0 > 1 && prices::most(definition) > 0 && !does_without
}

impl Task {
    /// Something must vouch for its one result before it matures.
    pub(super) fn must_be_vouched(&self) -> bool {
        let adaptive = self.policy.verification.adaptive;
        self.alone.is_some() && adaptive.vouched && self.policy.settlement.window_ms > 0
    }

    /// Its one word decides: with stake behind it, and a price that makes it a vote where those are asked for.
    pub(super) fn may_stand(&self, id: AssignmentId) -> bool {
        let votes = self
            .policy
            .verification
            .staked_votes
            .min(quorum(&self.definition));
        let run = &self.runs[&id];
        let is_vote = run.backed || votes == 0 || !asks_for_stake(&self.definition);
        run.staked && is_vote && !self.is_narrowed()
    }

    /// So many agree as it asked for, or the one that stands alone does for all of them. Of a review, what it counts is one.
    fn agreed_enough(&self, accepted: &[AssignmentId]) -> bool {
        match self.alone {
            _ if accepted.is_empty() => true,
            Some(alone) => accepted == [alone],
            None => accepted.len() + usize::from(self.counts) >= quorum(&self.definition) as usize,
        }
    }

    /// Results that differ from its verdict are shown to be wrong: where stake is asked for, by results that had some.
    fn may_blame(&self, agreed: &[AssignmentId]) -> bool {
        let quorum = self.alone.map_or(quorum(&self.definition), |_| 1);
        let votes = self.policy.verification.staked_votes.min(quorum) as usize;
        let is_asked = asks_for_stake(&self.definition);
        if is_asked && !agreed.is_empty() {
            // The one word that a review counts had some, too.
            let counted = usize::from(self.reviews.is_some());
            let backed = agreed.iter().filter(|id| self.runs[id].backed).count();
            assert!(backed + counted >= votes, "it would not have decided");
        }
        let is_one = replicas(&self.definition).0 == 1;
        is_one || !self.is_narrowed() && (votes == 0 || is_asked)
    }

    /// By what nodes say of themselves its requester chose who may run it.
    pub(super) fn is_narrowed(&self) -> bool {
        let by_ask = matches!(self.definition.economics.pricing, Pricing::Ask { .. });
        by_ask || !self.definition.qos.labels.is_empty()
    }
}

impl Naive {
    pub(super) fn verified(&mut self, e: &TaskVerified, now: Timestamp) {
        let task = &self.tasks[&e.task];
        assert!(!task.ended, "one settlement for each task");
        let (policy, definition) = (task.policy.clone(), task.definition.clone());
        let late = definition.qos.max_latency_ms;
        let took =
            |from: Timestamp, to: Timestamp| late.is_some_and(|ms| to.0 - from.0 > ms.into());
        assert_eq!(e.late, took(task.queued.unwrap().0, now));
        assert!(task.agreed_enough(&e.accepted), "no quorum: {e:?}");
        let fee = policy.attempt_fee.0;
        let less = |amount: i64| amount - share(amount, definition.economics.late_refund_ppm);
        let mut accepted = e.accepted.clone();
        accepted.sort_unstable();
        let of = |id: &AssignmentId| &task.runs[id];
        let missed = |id: &AssignmentId| took(of(id).leased, of(id).sealed.unwrap());
        let owner = |id: &AssignmentId| self.owners[&of(id).node];
        let pays = e.verdict != Verdict::Inconclusive;
        let mut immature = Immature {
            compute: Vec::new(),
            content: Vec::new(),
            platform: 0,
            held: 0,
            at: now,
        };
        let mut at_once: Vec<AccountId> = Vec::new();
        if pays {
            let used: Vec<_> = accepted.iter().map(|id| of(id).used.unwrap()).collect();
            let by_use = prices::by_use(&definition, &used);
            let p = |id: &AssignmentId| by_use.unwrap_or(of(id).price);
            let earned = |id: &AssignmentId| Earned {
                owner: owner(id),
                amount: if missed(id) { less(p(id)) } else { p(id) },
                missed: missed(id),
                price: of(id).price,
            };
            immature.compute = accepted.iter().map(earned).collect();
            let compute: i64 = accepted.iter().map(p).sum();
            let pool = share(compute, policy.content_share_ppm);
            immature.content = self.by_contents(&task.uses, pool, &policy);
            immature.platform = share(compute, policy.platform_share_ppm);
            if task.reviews.is_some() {
                // Neither contents nor the platform earn by a second look.
                (immature.content, immature.platform) = (Vec::new(), 0);
            }
            if e.late && !accepted.iter().any(missed) {
                immature.platform = less(immature.platform);
            }
        } else {
            // Not those whose result third parties refute.
            let refused = |id: &AssignmentId| e.refused.iter().any(|r| r.assignment == *id);
            let shown = task.runs.iter().filter(|(_, r)| r.stage == Stage::Shown);
            let shown = shown.filter(|(id, _)| !refused(id));
            at_once.extend(shown.map(|(id, _)| owner(id)));
        }
        let overtaken = task.runs.iter().filter(|(_, r)| r.overtaken);
        at_once.extend(overtaken.map(|(id, _)| owner(id)));
        let earned: Vec<i64> = immature
            .compute
            .iter()
            .map(|earned| earned.amount)
            .collect();
        let (payer, escrow, id) = (task.payer, task.held(), e.task);
        let from = LedgerAccount::Escrow(id);
        let pending = immature.pending();
        for (owner, amount) in pending {
            self.transfer(from, LedgerAccount::Pending(owner), amount);
        }
        at_once
            .into_iter()
            .for_each(|owner| self.transfer(from, LedgerAccount::Available(owner), fee));
        self.transfer(from, LedgerAccount::Treasury, immature.platform);
        let rest = self.balance(from);
        assert!((0..=escrow).contains(&rest), "the escrow covers its task");
        let task = &self.tasks[&id];
        if pays && task.must_be_vouched() {
            immature.held = reviews::cost(&definition, true, &policy).min(rest);
        }
        let waiting = pending_of(payer);
        self.transfer(from, waiting, immature.held);
        self.transfer(from, payer, rest - immature.held);
        // What earns its node too little shows nothing.
        let least = policy.scheduling.record_pay_min.0;
        let paid = accepted
            .iter()
            .zip(&earned)
            .filter(|(_, earned)| **earned >= least);
        let task = &self.tasks[&id];
        let shows = accepted.len() > 1 && task.may_blame(&accepted);
        for (run, _) in paid.filter(|_| shows) {
            let node = self.tasks[&id].runs[run].node;
            *self.stood.entry(node).or_default() += 1;
        }
        let task = &self.tasks[&id];
        let worth = |run: &AssignmentId| {
            accepted
                .iter()
                .zip(&earned)
                .any(|(a, n)| a == run && *n >= least)
        };
        if let Some(trusted) = task
            .trusted
            .filter(|run| worth(run) && task.may_blame(&accepted))
        {
            self.vouch(id, trusted);
        }
        self.punish(e, now);
        let task = self.task(id);
        task.ended = true;
        (task.accepted, task.fee) = (accepted, escrow - rest);
        if !pays {
            task.unspent = rest;
            task.runs.values_mut().for_each(|run| run.locked = 0);
            return;
        }
        immature.at = now.plus_ms(task.policy.settlement.window_ms.into());
        task.immature = Some(immature);
        let window = task.policy.settlement.window_ms;
        self.maturing.insert((now.plus_ms(window.into()), id));
        if window == 0 {
            self.mature(id);
        }
    }

    /// What refused results cost: points, strikes, and stake.
    fn punish(&mut self, e: &TaskVerified, now: Timestamp) {
        for refusal in &e.refused {
            let task = &self.tasks[&e.task];
            let is_told = refusal.reason == RefusalReason::Mismatch && !e.accepted.is_empty();
            if is_told && task.is_compared() {
                let is_shown = task.class_refutes(refusal.assignment, &e.accepted);
                assert!(is_shown, "nothing shows it to be wrong");
            }
            if refusal.reason == RefusalReason::Apart {
                assert!(task.is_compared() || e.accepted.is_empty());
                continue;
            }
            if is_told && !task.may_blame(&e.accepted) {
                continue;
            }
            let may_blame = e.accepted.is_empty() || task.may_blame(&e.accepted);
            let is_refuted = task.is_refuted_by(e) && may_blame;
            let (policy, gpu) = (task.policy.clone(), task.definition.qos.gpu.is_some());
            // Who could have stood alone pledged for it, and so does a verifier for a word.
            let pledged = task.trusted == Some(refusal.assignment) || task.inspects.is_some();
            let stood = pledged && !gpu;
            let track = task.track();
            let (node, locked) = (
                task.runs[&refusal.assignment].node,
                task.runs[&refusal.assignment].locked,
            );
            let owner = self.owners[&node];
            let loss = refused(self.whole_points(owner, track), &policy.points);
            self.earn(owner, track, -loss);
            let strikes = self.strike(e.task, node, now);
            if is_refuted {
                self.caught.insert(node, now);
            }
            let has_shown = self.stood.get(&node).copied().unwrap_or(0) >= policy.stake.free_after;
            let is_free = strikes <= policy.stake.strikes_free && has_shown && !stood;
            if is_refuted && !is_free && locked > 0 {
                self.transfer(LedgerAccount::Stake(node), LedgerAccount::Treasury, locked);
                self.run(e.task, refusal.assignment).locked = 0;
            }
        }
    }

    /// A refused result counts against its node; answers how many there are.
    pub(super) fn strike(&mut self, task: TaskId, node: NodeId, now: Timestamp) -> u32 {
        let policy = self.tasks[&task].policy.stake;
        let strikes = self.strikes.entry(node).or_default();
        if now.0 - strikes.last > i64::from(policy.strike_ms) {
            strikes.count = 0;
        }
        (strikes.count, strikes.last) = (strikes.count + 1, now.0);
        strikes.count
    }

    /// What the log says of a verdict's money is what was worked out.
    pub(super) fn settled(&self, e: &TaskSettled) {
        let task = &self.tasks[&e.task];
        assert!(task.ended);
        assert_eq!(e.fee.0 + e.refund.0, task.held());
    }

    pub(super) fn closed(&mut self, e: &TaskClosed, now: Timestamp) {
        let task = &self.tasks[&e.task];
        assert!(!task.ended, "one settlement for each task");
        let fee = task.policy.attempt_fee.0;
        let limit = i64::from(task.definition.limits.runtime_s) * 1_000;
        let deadline = task.definition.qos.deadline;
        let around = task.queued.map_or(0, |(_, fetching)| fetching) + 5_000;
        let mut paid: Vec<(NodeId, i64)> = Vec::new();
        paid.extend(
            task.runs
                .values()
                .filter(|r| r.overtaken)
                .map(|r| (r.node, fee)),
        );
        let mut live: Vec<(&AssignmentId, &Run)> = task.runs.iter().collect();
        live.retain(|(_, r)| match r.stage {
            Stage::Leased | Stage::Running => true,
            Stage::Shown => true,
            Stage::Sealed => r.round == task.round,
            Stage::Failed(_) | Stage::Over => false,
        });
        live.sort_by_key(|(id, r)| (!r.has_result(), r.leased, **id));
        for (n, (_, run)) in live.into_iter().enumerate() {
            let p = run.price;
            let had_all_time = e.reason == CloseReason::Expired
                && deadline.is_some_and(|at| at.0 - run.leased.0 >= limit + around);
            let until = run.sealed.unwrap_or(now);
            let earned = match (&run.stage, run.started) {
                (Stage::Sealed | Stage::Shown | Stage::Running, Some(from)) if !had_all_time => {
                    let ran = (until.0 - from.0).min(limit);
                    (i128::from(p) * i128::from(ran) / i128::from(limit)) as i64
                }
                _ => 0,
            };
            match e.reason {
                CloseReason::Cancelled | CloseReason::Expired if n < task.wanted as usize => {
                    paid.push((run.node, earned.max(fee)));
                }
                CloseReason::Cancelled | CloseReason::Expired => paid.push((run.node, fee)),
                CloseReason::AttemptsSpent if run.has_result() => paid.push((run.node, fee)),
                CloseReason::AttemptsSpent | CloseReason::DependencyFailed => {}
            }
        }
        if e.reason == CloseReason::AttemptsSpent {
            let blaming = self.blaming(task);
            paid.extend(blaming.into_iter().map(|node| (node, fee)));
        }
        let (from, payer, escrow) = (LedgerAccount::Escrow(e.task), task.payer, task.held());
        for (node, amount) in paid {
            let owner = self.owners[&node];
            self.transfer(from, LedgerAccount::Available(owner), amount);
        }
        for (account, owed) in self.held_up(e.task, now) {
            let part = owed.min(self.balance(from));
            self.transfer(from, LedgerAccount::Available(account), part);
        }
        let rest = self.balance(from);
        assert!((0..=escrow).contains(&rest), "the escrow covers its task");
        let told = (e.fee.0, e.refund.0);
        assert_eq!(
            told,
            (escrow - rest, rest),
            "{e:?} of {:?}",
            self.tasks[&e.task]
        );
        self.transfer(from, payer, rest);
        let task = self.task(e.task);
        task.ended = true;
        task.fee = escrow - rest;
        task.runs.values_mut().for_each(|run| run.locked = 0);
    }

    /// The nodes whose failures blame the module in the class that most name, the last class among equals; none where they are one
    /// owner's.
    fn blaming(&self, task: &Task) -> Vec<NodeId> {
        let classes = [
            FailureClass::GuestError,
            FailureClass::Trap,
            FailureClass::Limit,
        ];
        let of = |class: FailureClass| -> Vec<NodeId> {
            let failed = task
                .runs
                .values()
                .filter(|r| r.stage == Stage::Failed(class));
            failed.map(|r| r.node).collect()
        };
        let most = classes.map(of).into_iter().max_by_key(Vec::len).unwrap();
        let owners: BTreeSet<AccountId> = most.iter().map(|n| self.owners[n]).collect();
        if owners.len() < 2 { Vec::new() } else { most }
    }

    /// A tick matures the verdicts whose window has passed, the earliest first; no others.
    pub(super) fn due(&self, facts: &[Event], now: Timestamp) -> Vec<TaskId> {
        let due = self.maturing.iter().take_while(|(at, _)| *at <= now);
        let due = due
            .map(|(_, id)| *id)
            .filter(|id| !self.is_due_for_review(*id));
        // What it takes a second look at first does not mature, and nothing does with a verdict.
        let is_judged = facts.iter().any(|f| matches!(f, Event::TaskVerified(_)));
        let due = due.take(if is_judged { 0 } else { MATURED_MAX });
        let due: Vec<TaskId> = due.filter(|id| !self.is_unvouched(*id)).collect();
        let told = facts.iter().filter_map(|fact| match fact {
            Event::TaskMatured(e) => Some(e.task),
            _ => None,
        });
        let told: BTreeSet<TaskId> = told.collect();
        // With a window of 0 a verdict of this tick matures at once.
        let immediate = |id: &TaskId| self.tasks[id].immature.is_none();
        let told: BTreeSet<TaskId> = told.into_iter().filter(|id| !immediate(id)).collect();
        assert_eq!(told, due.iter().copied().collect());
        due
    }

    pub(super) fn mature(&mut self, id: TaskId) {
        self.maturing.retain(|(_, task)| *task != id);
        let task = self.task(id);
        task.runs.values_mut().for_each(|run| run.locked = 0);
        let immature = task.immature.take().unwrap();
        let (points, track) = (task.policy.points.clone(), task.track());
        self.collected += immature.platform;
        for (owner, amount) in immature.pending() {
            let (from, to) = (
                LedgerAccount::Pending(owner),
                LedgerAccount::Available(owner),
            );
            self.transfer(from, to, amount);
        }
        let task = &self.tasks[&id];
        let (payer, review) = (task.payer, task.unvouched);
        let cost = review.map_or(0, |review| self.tasks[&review].fee.min(immature.held));
        if let Some(alone) = self.tasks[&id].alone.filter(|_| cost > 0) {
            let node = self.tasks[&id].runs[&alone].node;
            self.transfer(pending_of(payer), LedgerAccount::Stake(node), cost);
        }
        self.transfer(pending_of(payer), payer, immature.held - cost);
        let minted = share(immature.platform, points.per_aev_of_platform_share);
        let is_used = immature.content.iter().any(|(_, amount)| *amount > 0);
        let of_content = if is_used {
            share(minted, points.content_ppm)
        } else {
            0
        };
        let work: Vec<i64> = immature.compute.iter().map(|run| run.price).collect();
        let compute = divide(minted - of_content, &work);
        let weights: Vec<i64> = immature.content.iter().map(|(_, amount)| *amount).collect();
        let content = divide(of_content, &weights);
        let is_alone = immature.compute.len() == 1;
        for (run, mut earned) in immature.compute.iter().zip(compute) {
            if is_alone {
                earned = share(earned, points.unrepeated_ppm);
            }
            if run.missed {
                earned = share(earned, points.late_ppm);
            }
            self.earn(run.owner, track, earned);
        }
        for ((owner, _), earned) in immature.content.iter().zip(content) {
            self.earn(*owner, Track::Content, earned);
        }
    }
}

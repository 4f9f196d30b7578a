//! Reviews in the model: a second look at a verdict, who pays for it, and what follows where it shows another result.

use aevir_events::Timestamp;
use aevir_platform::{
    definition::TaskDefinition,
    event::{Payer, ReviewCause, ReviewOpened, ReviewOrigin, ReviewOutcome, TaskReviewed, Track},
    ids::{AccountId, AssignmentId, TaskId},
    ledger::LedgerAccount,
    policy::Policy,
};

use super::{Naive, ends::pending_of, prices, refused, replicas};

/// What a second look may cost: a whole sample, or what is left of one of which the reviewed result counts.
pub(super) fn cost(definition: &TaskDefinition, counts: bool, policy: &Policy) -> i64 {
    let most = match replicas(definition).0 {
        0 | 1 => 3,
        most => most,
    };
    let most = i64::from(if counts { (most - 1).max(2) } else { most });
    let fee = policy.attempt_fee.0;
    (most * prices::most(definition)).max(most * fee)
        + fee * i64::from(definition.retry.max_attempts)
}

impl Naive {
    /// A task is created that looks at another's verdict: its policy, its escrow, and whose money that is.
    pub(super) fn second_look(&mut self, origin: ReviewOrigin) -> (Policy, i64, LedgerAccount) {
        self.maturing.retain(|(_, task)| *task != origin.task);
        let of = self.tasks.get_mut(&origin.task).unwrap();
        assert!(
            !std::mem::replace(&mut of.reviewed, true),
            "one review for each task"
        );
        let escrow = cost(&of.definition, origin.counts, &of.policy);
        let payer = match origin.payer {
            Payer::Account(account) => LedgerAccount::Available(account),
            Payer::Stake(node) => {
                // Out of what is locked for the one result.
                let run = of.runs.get_mut(&of.alone.unwrap()).unwrap();
                assert!(run.node == node && run.locked >= escrow);
                run.locked -= escrow;
                LedgerAccount::Stake(node)
            }
        };
        (of.policy.clone(), escrow, payer)
    }

    /// What is owed to those whose payment waited for a dispute that ends without a verdict: a thousandth of it a day, and for a result
    /// the attempt fee at least.
    pub(super) fn held_up(&self, id: TaskId, now: Timestamp) -> Vec<(AccountId, i64)> {
        let review = &self.tasks[&id];
        let Some(of) = review.reviews.filter(|_| !review.counts) else {
            return Vec::new();
        };
        let of = &self.tasks[&of];
        let waited = i128::from(now.0 - review.queued.unwrap().0.0);
        let part = |amount: i64| (i128::from(amount) * waited / 86_400_000_000) as i64;
        let immature = of.immature.as_ref().unwrap();
        let runs = immature.compute.iter();
        let runs = runs.map(|run| (run.owner, part(run.amount).max(of.policy.attempt_fee.0)));
        let contents = immature.content.iter();
        runs.chain(contents.map(|(account, amount)| (*account, part(*amount))))
            .collect()
    }

    /// The verdict rests on one word of a node of which another result was refused since, and nobody has looked at it again.
    pub(super) fn is_due_for_review(&self, id: TaskId) -> bool {
        let task = &self.tasks[&id];
        let run = task.alone.map(|alone| &task.runs[&alone]);
        run.is_some_and(|run| {
            let caught = self.caught.get(&run.node);
            !task.reviewed && caught.is_some_and(|at| *at >= run.sealed.unwrap())
        })
    }

    /// It is to mature, and its one result is later than all of its node's that were repeated by a draw and stood.
    pub(super) fn is_unvouched(&self, id: TaskId) -> bool {
        let task = &self.tasks[&id];
        let run = task.alone.map(|alone| &task.runs[&alone]);
        run.is_some_and(|run| {
            let vouched = self.vouched.get(&run.node).copied().unwrap_or_default();
            task.must_be_vouched() && !task.reviewed && vouched < run.sealed.unwrap()
        })
    }

    /// A result stood that was repeated though nobody doubted it.
    pub(super) fn vouch(&mut self, task: TaskId, run: AssignmentId) {
        let run = &self.tasks[&task].runs[&run];
        let (node, sealed) = (run.node, run.sealed.unwrap());
        let vouched = self.vouched.entry(node).or_default();
        *vouched = sealed.max(*vouched);
    }

    pub(super) fn review_opened(&mut self, e: &ReviewOpened, now: Timestamp) {
        if matches!(e.cause, ReviewCause::Unvouched { .. }) {
            assert!(self.maturing.contains(&(self.matures(e.task), e.task)));
            assert!(self.matures(e.task) <= now && self.is_unvouched(e.task));
            self.tasks.get_mut(&e.task).unwrap().unvouched = Some(e.review);
        }
    }

    fn matures(&self, task: TaskId) -> Timestamp {
        self.tasks[&task].immature.as_ref().unwrap().at
    }

    pub(super) fn reviewed(&mut self, e: &TaskReviewed, now: Timestamp) {
        assert_eq!(self.tasks[&e.review].reviews, Some(e.task));
        let of = &self.tasks[&e.task];
        if let (ReviewOutcome::Upheld, Some(_)) = (e.outcome, of.unvouched) {
            self.vouch(e.task, of.alone.unwrap());
        }
        match e.outcome {
            ReviewOutcome::Upheld | ReviewOutcome::Undecided => {
                let (mut left, payer) =
                    (self.tasks[&e.review].unspent, self.tasks[&e.review].payer);
                for (account, owed) in self.held_up(e.review, now) {
                    let part = owed.min(left);
                    left -= part;
                    self.transfer(payer, LedgerAccount::Available(account), part);
                }
                let at = self.tasks[&e.task].immature.as_ref().unwrap().at;
                self.maturing.insert((at, e.task));
            }
            ReviewOutcome::Overturned => {
                let accepted = self.tasks[&e.task].accepted.clone();
                self.overturned(e, &accepted, now);
            }
            ReviewOutcome::Unconfirmed => self.unconfirmed(e),
        }
    }

    /// No quorum: nobody is blamed, and nobody is paid.
    fn unconfirmed(&mut self, e: &TaskReviewed) {
        assert!(e.refused.is_empty());
        let review = &self.tasks[&e.review];
        let (fee, stake) = (review.fee, review.payer);
        let task = self.tasks.get_mut(&e.task).unwrap();
        task.runs.values_mut().for_each(|run| run.locked = 0);
        let (payer, is_unvouched) = (task.payer, task.unvouched.is_some());
        let immature = task.immature.take().unwrap();
        for run in &immature.compute {
            self.transfer(LedgerAccount::Pending(run.owner), payer, run.amount);
        }
        for (owner, amount) in &immature.content {
            let from = LedgerAccount::Pending(*owner);
            self.transfer(from, LedgerAccount::Available(*owner), *amount);
        }
        let back = if is_unvouched {
            fee.min(immature.held)
        } else {
            0
        };
        self.transfer(pending_of(payer), stake, back);
        self.transfer(pending_of(payer), payer, immature.held - back);
        let returned = immature.platform.min(self.balance(LedgerAccount::Treasury));
        self.transfer(LedgerAccount::Treasury, payer, returned);
    }

    /// Fresh results agree on another one: its makers lose what they locked, and the money goes back.
    fn overturned(&mut self, e: &TaskReviewed, refuted: &[AssignmentId], now: Timestamp) {
        let review = &self.tasks[&e.review];
        let by_nobody = matches!(review.payer, LedgerAccount::Stake(_)) || refuted.is_empty();
        let (mut owed, payer) = (if by_nobody { 0 } else { review.fee }, review.payer);
        let requester = self.tasks[&e.task].payer;
        assert_eq!(e.refused, refuted);
        let to_blame: Vec<AssignmentId> =
            refuted.iter().map(|id| self.author(e.task, *id)).collect();
        let told: Vec<AssignmentId> = e.blamed.iter().map(|run| run.assignment).collect();
        assert_eq!(told, to_blame);
        let treasury = self.balance(LedgerAccount::Treasury);
        for id in &to_blame {
            let node = self.tasks[&e.task].runs[id].node;
            let strikes = self.strike(e.task, node, now);
            let task = self.tasks.get_mut(&e.task).unwrap();
            let locked = std::mem::take(&mut task.runs.get_mut(id).unwrap().locked);
            // Of a GPU one mismatch never costs stake.
            let (policy, gpu) = (task.policy.stake, task.definition.qos.gpu.is_some());
            let has_shown = self.stood.get(&node).copied().unwrap_or(0) >= policy.free_after;
            let is_free = gpu && strikes <= policy.strikes_free && has_shown;
            let lost = if is_free { 0 } else { locked };
            let back = owed.min(lost);
            owed -= back;
            self.transfer(LedgerAccount::Stake(node), payer, back);
            self.transfer(
                LedgerAccount::Stake(node),
                LedgerAccount::Treasury,
                lost - back,
            );
            self.caught.insert(node, now);
        }
        let task = self.tasks.get_mut(&e.task).unwrap();
        task.runs.values_mut().for_each(|run| run.locked = 0);
        let immature = task.immature.take().unwrap();
        let points = task.policy.points.clone();
        for run in &immature.compute {
            let back = owed.min(run.amount);
            owed -= back;
            let from = LedgerAccount::Pending(run.owner);
            self.transfer(from, payer, back);
            self.transfer(from, requester, run.amount - back);
        }
        let back = immature.platform.min(treasury);
        self.transfer(LedgerAccount::Treasury, requester, back);
        self.transfer(pending_of(requester), requester, immature.held);
        for (owner, amount) in &immature.content {
            let from = LedgerAccount::Pending(*owner);
            self.transfer(from, LedgerAccount::Available(*owner), *amount);
        }
        for id in to_blame {
            let owner = self.owners[&self.tasks[&e.task].runs[&id].node];
            let loss = refused(self.whole_points(owner, Track::Compute), &points);
            self.earn(owner, Track::Compute, -loss);
        }
    }

    /// Whose fault a refuted result is: of what others made before it the first run's, whose checkpoint no other run makes here.
    fn author(&self, task: TaskId, refuted: AssignmentId) -> AssignmentId {
        let runs = &self.tasks[&task].runs;
        let mut first = refuted;
        while let Some(before) = runs[&first].resumed {
            first = before;
        }
        if runs[&first].node == runs[&refuted].node {
            return refuted;
        }
        first
    }
}

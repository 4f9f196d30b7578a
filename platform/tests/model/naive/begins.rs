//! Tasks begin in the model: by whose policy, and out of whose money.

use std::collections::BTreeMap;

use aevir_platform::{
    event::{TaskCreated, TaskQueued},
    ledger::LedgerAccount,
};

use super::{Naive, Task, escrow, replicas};

/// A second for each MiB of its inputs.
pub(super) fn fetching_ms(e: &TaskQueued) -> i64 {
    let mib = e.inputs.iter().map(|input| input.size.0.div_ceil(1 << 20));
    mib.sum::<u64>() as i64 * 1_000
}

impl Naive {
    pub(super) fn created(&mut self, e: &TaskCreated) {
        let policy = self.policy.clone().unwrap();
        let definition = (*e.definition).clone();
        let mut uses = self.uses(&definition);
        let requester = LedgerAccount::Available(e.requester);
        let (policy, escrow, from, payer) = match (e.review, e.inspection) {
            (None, None) => {
                assert!(self.may_use(e.requester, &definition));
                let escrow = escrow(&definition, &policy, &uses);
                (policy, escrow, requester, requester)
            }
            (Some(origin), None) => {
                uses.clear();
                let (policy, escrow, payer) = self.second_look(origin);
                (policy, escrow, payer, payer)
            }
            (None, Some(origin)) => {
                uses.clear();
                let (policy, escrow) = self.third_look(origin);
                // What they do not cost is the requester's.
                let from = LedgerAccount::Escrow(origin.task);
                (policy, escrow, from, requester)
            }
            (Some(_), Some(_)) => unreachable!("a task has one reason"),
        };
        assert!(escrow <= definition.economics.budget.0);
        self.transfer(from, LedgerAccount::Escrow(e.task), escrow);
        let (_, initial, adaptive) = replicas(&definition);
        let task = Task {
            definition,
            policy,
            escrow,
            uses,
            queued: None,
            round: 1,
            wanted: if adaptive { 1 } else { initial },
            verifying: false,
            trusted: None,
            runs: BTreeMap::new(),
            ended: false,
            immature: None,
            alone: None,
            accepted: Vec::new(),
            unspent: 0,
            payer,
            reviews: e.review.map(|origin| origin.task),
            counts: e.review.is_some_and(|origin| origin.counts),
            inspects: e.inspection.as_ref().map(|of| (of.task, self.at_risk(of))),
            passed_on: BTreeMap::new(),
            reviewed: false,
            unvouched: None,
            fee: 0,
        };
        assert!(self.tasks.insert(e.task, task).is_none());
    }
}

//! A task whose results drawn verifiers compare, played from its first replica to its verdict.

use std::collections::BTreeMap;

use aevir_platform::{
    command::Command,
    event::{Event, RefusalReason},
    ids::{AssignmentId, TaskId},
};
use serde_json::{Value, json};

use crate::{verifiers::verifiers, world::World};

/// A sample in a profile in which right results may differ, which a module compares.
pub fn compared(w: &mut World, quorum: u32, replicas: u32) -> Value {
    let module = w.push_comparator().to_string();
    let comparator =
        json!({"module": {"module": module, "params": {"most": 1}, "verifiers": verifiers()}});
    let method = json!({"method": "sampling", "quorum": quorum, "replicas": replicas, "comparator": comparator});
    json!({
        "runtime": "fast/1",
        "verification": [method],
        "economics": {"budget": "20000000", "pricing": {"mode": "fixed", "price": "1000000"}},
    })
}

/// The n'th replica says the n'th number.
pub struct Play<'a> {
    pub task: TaskId,
    numbers: &'a [i64],
}

impl<'a> Play<'a> {
    pub fn new(task: TaskId, numbers: &'a [i64]) -> Self {
        Self { task, numbers }
    }

    /// What each replica says, in the order of their leases.
    pub fn said(&self, w: &World) -> BTreeMap<AssignmentId, i64> {
        let runs = w.state.tasks[&self.task].assignments.values();
        let mut runs: Vec<_> = runs.map(|a| (a.leased_at, a.id)).collect();
        runs.sort_unstable();
        let said = runs.into_iter().zip(self.numbers);
        said.map(|((_, id), number)| (id, *number)).collect()
    }

    /// All of a round is run, sealed and revealed; answers the events of the last reveal.
    pub fn round(&self, w: &mut World) -> Vec<Event> {
        let mut events = Vec::new();
        while matches!(w.phase(self.task), "queued" | "running") {
            w.later(1);
            let (of, run, _) = w.plan()[0];
            assert_eq!(of, self.task);
            w.start(run);
            let sealed = w.run(run, json!(self.said(w)[&run]), &[]);
            w.commit(&sealed);
        }
        let sealed = w.state.tasks[&self.task].assignments.values();
        let sealed = sealed.filter(|a| a.state_name() == "committed");
        let sealed: Vec<AssignmentId> = sealed.map(|a| a.id).collect();
        for run in sealed {
            let run = w.run(run, json!(self.said(w)[&run]), &[]);
            events = w.reveal(&run);
        }
        events
    }

    /// Open comparisons, and whether their numbers differ by one at most.
    pub fn open(&self, w: &World) -> Vec<(TaskId, bool)> {
        let said = self.said(w);
        let open = w.state.tasks[&self.task].inspections.iter();
        let open = open.filter(|i| i.outcome.is_none());
        let near = |one: AssignmentId, two: AssignmentId| said[&one].abs_diff(said[&two]) <= 1;
        open.map(|i| (i.by, i.against.is_none_or(|two| near(i.assignment, two))))
            .collect()
    }

    /// All that is open is compared, on whatever nodes come; answers whether anything was.
    pub fn compare(&self, w: &mut World) -> bool {
        let words = self.open(w);
        loop {
            let runs = words.iter().flat_map(|(look, word)| {
                let runs = w.state.tasks[look].assignments.values();
                runs.map(move |a| (*look, a.id, a.state_name(), json!(word)))
            });
            let runs: Vec<_> = runs.collect();
            for (look, id, stage, word) in runs {
                let run = w.run(id, word, &[]);
                match stage {
                    "leased" => {
                        w.start(id);
                        w.commit(&run);
                    }
                    "committed" if w.phase(look) == "verifying" => drop(w.reveal(&run)),
                    _ => {}
                }
            }
            let is_open = |(look, _): &(TaskId, bool)| !w.state.tasks[look].phase.is_final();
            if !words.iter().any(is_open) {
                return !words.is_empty();
            }
            w.plan();
        }
    }

    /// Runs it to its end; answers the last events.
    pub fn to_the_end(&self, w: &mut World) -> Vec<Event> {
        let mut last = Vec::new();
        while !w.state.tasks[&self.task].phase.is_final() {
            if w.phase(self.task) != "inspecting" {
                last = self.round(w);
            }
            if self.compare(w) {
                last = w.ok(Command::Tick);
            }
        }
        last
    }

    /// The numbers that were accepted, that of the agreed result first.
    pub fn accepted(&self, w: &World) -> Vec<i64> {
        let said = self.said(w);
        let verdict = w.state.tasks[&self.task].verdict.as_ref().unwrap();
        verdict.accepted.iter().map(|id| said[id]).collect()
    }

    /// The numbers that were refused, and why.
    pub fn refused(&self, w: &World) -> Vec<(i64, RefusalReason)> {
        let said = self.said(w);
        let verdict = w.state.tasks[&self.task].verdict.as_ref().unwrap();
        let refused = verdict.refused.iter();
        refused.map(|r| (said[&r.assignment], r.reason)).collect()
    }
}

pub fn comparisons(w: &World, task: TaskId) -> usize {
    let looks = w.state.tasks[&task].inspections.iter();
    looks.filter(|i| i.against.is_some()).count()
}

//! What is going on, on standard error: bars on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use aevir_wire::Task;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The whole of a task's progress.
const WHOLE_PPM: u64 = 1_000_000;
/// Steps of progress that are worth a plain line.
const LINE_EVERY_PPM: u64 = 250_000;
const TICK: Duration = Duration::from_millis(120);

/// Shows the demo's progress.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    /// On a terminal.
    bars: Option<MultiProgress>,
    tasks: BTreeMap<String, Row>,
}

/// One task's bar or last line.
#[derive(Debug)]
struct Row {
    bar: Option<ProgressBar>,
    shown: (String, u64),
}

impl Progress {
    pub(super) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            started: Instant::now(),
            bars: terminal.then(MultiProgress::new),
            tasks: BTreeMap::new(),
        }
    }

    /// Says something.
    pub(super) fn say(&self, text: &str) {
        let line = format!("[{:>5.1} s] {text}", self.started.elapsed().as_secs_f64());
        match &self.bars {
            // A closed terminal is no reason to stop.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// Shows how a task stands.
    pub(super) fn task(&mut self, task: &Task) {
        let ppm = if task.ended {
            WHOLE_PPM
        } else {
            task.progress.as_ref().map_or(0, |p| p.ppm.into())
        };
        let who = on_whom(task);
        let bars = self.bars.as_ref();
        let row = self.tasks.entry(task.id.clone()).or_insert_with(|| Row {
            bar: bars.map(|bars| new_bar(bars, &task.kind)),
            shown: (String::new(), 0),
        });
        match &row.bar {
            Some(bar) => {
                bar.set_position(ppm);
                bar.set_message(format!("{} {who}", task.state));
                if task.ended && !bar.is_finished() {
                    bar.finish();
                }
            }
            None => {
                let moved = ppm >= row.shown.1 + LINE_EVERY_PPM;
                if row.shown.0 == task.state && (!moved || task.ended) {
                    return;
                }
                row.shown = (task.state.clone(), ppm);
                let line = format!(
                    "{:<15} {:<9} {:>3} % {who}",
                    task.kind,
                    task.state,
                    ppm / 10_000
                );
                self.say(&line);
            }
        }
    }

    /// Leaves the bars as they are.
    pub(super) fn end(&self) {
        for row in self.tasks.values() {
            if let Some(bar) = row.bar.as_ref().filter(|bar| !bar.is_finished()) {
                bar.abandon();
            }
        }
    }
}

fn new_bar(bars: &MultiProgress, kind: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:<15} {bar:28.cyan/blue} {percent:>3} % {spinner} {msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bars.add(ProgressBar::new(WHOLE_PPM));
    bar.set_style(style);
    bar.set_prefix(kind.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// The nodes that a task is on: `north 40 %, south lost`.
fn on_whom(task: &Task) -> String {
    let shown = task
        .assignments
        .iter()
        .map(|a| match (&a.progress, a.state.as_str()) {
            (Some(progress), "running") => format!("{} {} %", a.node_name, progress.ppm / 10_000),
            (_, state) => format!("{} {state}", a.node_name),
        });
    shown.collect::<Vec<_>>().join(", ")
}

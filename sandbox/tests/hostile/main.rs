//! The hostile corpus: modules and kernels made to harm their host, each with the outcome that it must have and bounds on
//! what it may cost. `README.md` beside this file describes the cases' format.
//!
//! Each case is judged as an upload is, then run in an executor all the same (a node must not rest on the platform's
//! judgement), and then the same executor must still run a small task right. Cases run one after the other, so that memory is
//! theirs alone. Part of a case's name as an argument runs only that: `cargo test -p aevir-sandbox --test hostile -- memory`.
#![allow(clippy::unwrap_used)]

mod case;
mod damaged;
mod generators;
mod kernel;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use aevir_sandbox::{End, NotTaken, Outcome, RunEvent};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use case::{Bounds, Case, Ended, Upload};
use support::{Bench, Ran, guest};

const MIB: u64 = 1024 * 1024;
/// How often a module that took too long is tried again: what it needs is the least of the times, what the machine was busy
/// with is not its doing.
const TRIES: usize = 3;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = Case::all().into_iter().map(|case| {
        let name = case.name.clone();
        Trial::test(name, move || case.run())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// What one module of a case cost.
struct Cost {
    upload: Duration,
    upload_peak_bytes: u64,
    run: Duration,
    peak_bytes: u64,
}

impl Case {
    fn run(&self) -> Result<(), Failed> {
        let runtime = Runtime::new()?;
        let modules = self.modules();
        let members = modules.len();
        let mut worst = Cost {
            upload: Duration::ZERO,
            upload_peak_bytes: 0,
            run: Duration::ZERO,
            peak_bytes: 0,
        };
        let mut end = String::new();
        for (label, module) in modules {
            let judged = runtime.block_on(self.within_bounds(&module));
            let (ended, cost) = judged.map_err(|text| format!("{label}: {text}"))?;
            end = ended;
            worst.upload = worst.upload.max(cost.upload);
            worst.upload_peak_bytes = worst.upload_peak_bytes.max(cost.upload_peak_bytes);
            worst.run = worst.run.max(cost.run);
            worst.peak_bytes = worst.peak_bytes.max(cost.peak_bytes);
        }
        let of = if members > 1 {
            format!(" (the most of {members} modules)")
        } else {
            String::new()
        };
        println!(
            "{}: {end}; upload {} ms and {} MiB, run {} ms and {} MiB{of}",
            self.name,
            worst.upload.as_millis(),
            worst.upload_peak_bytes / MIB,
            worst.run.as_millis(),
            worst.peak_bytes / MIB
        );
        Ok(())
    }

    /// Judges and runs one module, again if it was only slow.
    async fn within_bounds(&self, module: &[u8]) -> Result<(String, Cost), String> {
        let (mut end, mut least) = self.one(module).await?;
        for _ in 1..TRIES {
            if self.bounds.hold(&least).is_ok() {
                break;
            }
            let cost;
            (end, cost) = self.one(module).await?;
            least.upload = least.upload.min(cost.upload);
            least.upload_peak_bytes = least.upload_peak_bytes.max(cost.upload_peak_bytes);
            least.run = least.run.min(cost.run);
            least.peak_bytes = least.peak_bytes.max(cost.peak_bytes);
        }
        self.bounds.hold(&least)?;
        Ok((end, least))
    }

    /// Judges and runs one module, and then a small task on the same executor.
    async fn one(&self, module: &[u8]) -> Result<(String, Cost), String> {
        let watching = watch::Peak::start();
        let started = Instant::now();
        let inspected = support::judge(module).await;
        let (upload, upload_peak_bytes) = (started.elapsed(), watching.stop());
        let inspected = match inspected {
            Err(NotTaken::Machine(text)) => return Err(format!("the judge failed: {text}")),
            judged => judged.map(drop).map_err(|error| error.to_string()),
        };
        self.expect.upload(&inspected)?;

        let mut bench = Bench::new(module);
        let before = match self.before() {
            Some(before) => Some(before.precede(&mut bench).await?),
            None => None,
        };
        self.prepare(&mut bench);
        let watching = watch::Peak::start();
        let started = Instant::now();
        let ran = bench.run().await;
        let cost = Cost {
            upload,
            upload_peak_bytes,
            run: started.elapsed(),
            peak_bytes: watching.stop(),
        };
        self.expect.outcome(&ran.outcome)?;
        if let Some((pid, lives)) = before
            && lives != (pid == pid_of(&ran))
        {
            return Err(format!("the process before is used again: {}", !lives));
        }
        still_alive(bench).await?;
        Ok((said(&inspected, &ran.outcome), cost))
    }
}

impl Case {
    /// Runs the case's module on the executor of another that comes after it; the process, and whether it serves on.
    async fn precede(&self, bench: &mut Bench) -> Result<(Option<u32>, bool), String> {
        let modules = self.modules();
        let [(_, module)] = &modules[..] else {
            return Err("a case that comes before has one module".into());
        };
        let mut own = Bench::new(module);
        self.prepare(&mut own);
        let spec = std::mem::replace(&mut bench.spec, own.spec.clone());
        let ran = bench.run().await;
        bench.spec = spec;
        self.expect.outcome(&ran.outcome)?;
        // A process ends with a run that did not return.
        let lives = matches!(ran.outcome.end, End::Ok | End::GuestError { .. });
        Ok((pid_of(&ran), lives))
    }
}

/// The executor process that a run was in.
fn pid_of(ran: &Ran) -> Option<u32> {
    ran.events.iter().find_map(|event| match event {
        RunEvent::Started { pid } => Some(*pid),
        _ => None,
    })
}

/// The executor that ran the case runs a small task, and right.
async fn still_alive(mut bench: Bench) -> Result<(), String> {
    let fresh = Bench::new(&guest("ok"));
    bench.spec = fresh.spec.clone();
    let ran = bench.run().await;
    if ran.outcome.end == End::Ok && ran.outcome.result.as_deref() == Some("\"ok\"") {
        return Ok(());
    }
    Err(format!("the next small task went wrong: {:?}", ran.outcome))
}

fn said(inspected: &Result<(), String>, outcome: &Outcome) -> String {
    let refused = inspected.as_ref().err().map(|text| {
        let text: String = text.chars().take(120).collect();
        format!("refused at upload: {text}; ")
    });
    let end = match &outcome.end {
        End::Ok => format!("ok {}", outcome.result.as_deref().unwrap_or_default()),
        End::GuestError { text } => format!("guest error: {}", first_line(text)),
        End::Trap { kind, text } => format!("trap {kind:?}: {}", first_line(text)),
        End::Limit { limit, value } => format!("limit {limit} ({value})"),
        End::HostError { text } => format!("host error: {}", first_line(text)),
        End::Cancelled => "cancelled".into(),
    };
    let end: String = end.chars().take(160).collect();
    refused.unwrap_or_default() + &end
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl case::Expect {
    fn upload(&self, inspected: &Result<(), String>) -> Result<(), String> {
        match (self.upload, inspected) {
            (Upload::Accepted, Ok(())) | (Upload::Either, _) => Ok(()),
            (Upload::Refused, Err(text)) if text.contains(&self.upload_says) => Ok(()),
            (Upload::Refused, Err(text)) => Err(format!(
                "the refusal does not say `{}`: {text}",
                self.upload_says
            )),
            (Upload::Refused, Ok(())) => Err("the upload was accepted".into()),
            (Upload::Accepted, Err(text)) => Err(format!("the upload was refused: {text}")),
        }
    }

    fn outcome(&self, outcome: &Outcome) -> Result<(), String> {
        let end = &outcome.end;
        let wrong = || Err(format!("{self:?} was expected, and the run ended {end:?}"));
        let text = match end {
            End::GuestError { text } | End::Trap { text, .. } | End::HostError { text } => text,
            End::Ok | End::Limit { .. } | End::Cancelled => "",
        };
        let fits = match (self.end, end) {
            (Ended::Ok, End::Ok) => {
                let result = self.result.as_deref();
                result.is_none() || result == outcome.result.as_deref()
            }
            (Ended::GuestError, End::GuestError { .. }) => true,
            (Ended::Trap, End::Trap { kind, .. }) => self.kind.is_none_or(|wanted| wanted == *kind),
            (Ended::Limit, End::Limit { limit, value }) => {
                self.limit.as_deref().is_none_or(|wanted| wanted == limit)
                    && self.value.is_none_or(|wanted| wanted == *value)
            }
            // The module's doing, whatever it did: never an error of the host.
            (Ended::Contained, end) => !matches!(end, End::HostError { .. } | End::Cancelled),
            _ => false,
        };
        if fits && text.contains(&self.says) {
            Ok(())
        } else {
            wrong()
        }
    }
}

impl Bounds {
    fn hold(&self, cost: &Cost) -> Result<(), String> {
        let rows = [
            ("upload_ms", cost.upload.as_millis() as u64, self.upload_ms),
            ("upload_mib", cost.upload_peak_bytes / MIB, self.upload_mib),
            ("run_ms", cost.run.as_millis() as u64, self.run_ms),
            ("peak_mib", cost.peak_bytes / MIB, self.peak_mib),
        ];
        match rows.into_iter().find(|(_, cost, bound)| cost > bound) {
            None => Ok(()),
            Some((what, cost, bound)) => Err(format!("{what} is {cost}, over its bound {bound}")),
        }
    }
}

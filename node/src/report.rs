//! From a run's outcome to the report that is sealed and revealed, or to the failure that is told instead.

use aevir_sandbox::{End, MetricValue as RunMetric, Outcome};
use aevir_wire::{
    Artifact, BlobRef, Commit, FAST_CLASS_MARK, Fail, Lease, MetricValue, RUNTIME_FAST, Report,
    Usage, commit_message, digest,
};
use serde_json::Value;

use crate::{admissible, fault, identity::NodeKey, journal::Sealed};

/// The class of runs that may not use a GPU.
const CPU_CLASS: &str = "cpu";

/// What the platform is told of a failure of this machine.
const MACHINE_FAILED: &str =
    "the node's machine failed at the run; its operator finds the reason in its log";

/// Failure classes of the node protocol.
pub(crate) mod class {
    pub(crate) const GUEST_ERROR: &str = "guest-error";
    pub(crate) const TRAP: &str = "trap";
    pub(crate) const LIMIT: &str = "limit";
    pub(crate) const HOST_ERROR: &str = "host-error";
    pub(crate) const NOT_COMPILED: &str = "not-compiled";
}

/// A failure that the platform is told of.
pub(crate) fn failure(class: &str, message: impl Into<String>) -> Fail {
    Fail {
        class: class.to_owned(),
        message: message.into(),
    }
}

/// What the node says of itself in a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author<'a> {
    pub(crate) node: &'a str,
    pub(crate) key: &'a NodeKey,
    /// The class of the node's GPU, for runs that were given one and did not use it.
    pub(crate) gpu_class: Option<&'a str>,
    /// Alter the result on purpose.
    pub(crate) spoil: bool,
}

/// Seals a run that went well; anything else is a failure with its class.
pub(crate) fn seal(lease: &Lease, outcome: &Outcome, author: Author<'_>) -> Result<Sealed, Fail> {
    expect_ok(&outcome.end)?;
    let result = inline_result(outcome)?;
    let result = if author.spoil {
        fault::spoil(result)
    } else {
        result
    };
    let bytes = admissible::canonical_result(&result)?;
    let report = Report {
        task: lease.task.clone(),
        assignment: lease.assignment.clone(),
        node: author.node.to_owned(),
        outputs: if lease.word_only {
            Vec::new()
        } else {
            outputs(outcome)
        },
        result: BlobRef {
            digest: digest(&bytes),
            size: bytes.len().to_string(),
        },
        metrics: if lease.word_only {
            Vec::new()
        } else {
            metrics(outcome)
        },
        usage: usage(lease, outcome),
        trace_root: lease.gpu.is_some().then(|| outcome.trace_root.clone()),
        class: class_of_run(lease, outcome, author),
        resumed_from: lease.checkpoint.as_ref().map(|c| c.digest.clone()),
        salt: hex::encode(rand::random::<[u8; 32]>()),
    };
    admissible::entries(&report.outputs, &report.metrics)?;
    let commit = sign(&report, author.key)?;
    Ok(Sealed {
        report,
        result,
        commit,
    })
}

/// Why no node would seal what a run brought that ended well; `None` where each would.
pub fn refusal(outcome: &Outcome) -> Option<String> {
    let refused = inline_result(outcome)
        .and_then(|result| admissible::canonical_result(&result))
        .and_then(|_| admissible::entries(&outputs(outcome), &metrics(outcome)));
    refused.err().map(|fail| fail.message)
}

/// The commitment to a report with the node's signature.
pub(crate) fn sign(report: &Report, key: &NodeKey) -> Result<Commit, Fail> {
    let commitment = report.commitment().map_err(|e| {
        failure(
            class::HOST_ERROR,
            format!("the report has no JSON form: {e}"),
        )
    })?;
    Ok(Commit {
        commitment: hex::encode(commitment),
        signature: key.sign_hex(&commit_message(commitment)),
    })
}

/// What the platform is told of a run that did not end well.
pub(crate) fn ended(end: &End) -> Fail {
    match end {
        End::Ok => failure(class::HOST_ERROR, MACHINE_FAILED),
        End::GuestError { text } => failure(class::GUEST_ERROR, text),
        End::Trap { kind, text } => {
            let kind = serde_json::to_value(kind).unwrap_or_default();
            let kind = kind.as_str().unwrap_or("other").to_owned();
            failure(class::TRAP, format!("{kind}: {text}"))
        }
        End::Limit { limit, value } => failure(
            class::LIMIT,
            format!("the run passed its limit `{limit}` of {value}"),
        ),
        // What exactly is this node's own affair: its log may name other tenants' runs and files, and a failure's message stays in the platform's.
        End::HostError { text } => {
            tracing::error!(text, "this machine failed at the run");
            failure(class::HOST_ERROR, MACHINE_FAILED)
        }
        End::Cancelled => failure(class::HOST_ERROR, "the node stopped the run"),
    }
}

/// How compiling a module ended that was compiled when it was uploaded, within half of what there is for it here: that this machine can't is
/// its own inability, and says nothing of the module. What it lacks besides (a disk, a process) is its fault.
pub(crate) fn not_compiled(end: &End) -> Fail {
    let why = match end {
        End::Limit { limit, value } => {
            format!("this node could not compile the module within its limit `{limit}` of {value}")
        }
        End::Trap { text, .. } => format!("this node could not compile the module: {text}"),
        End::Ok | End::GuestError { .. } | End::HostError { .. } | End::Cancelled => {
            return ended(end);
        }
    };
    failure(class::NOT_COMPILED, why)
}

fn expect_ok(end: &End) -> Result<(), Fail> {
    match end {
        End::Ok => Ok(()),
        End::GuestError { .. }
        | End::Trap { .. }
        | End::Limit { .. }
        | End::HostError { .. }
        | End::Cancelled => Err(ended(end)),
    }
}

fn inline_result(outcome: &Outcome) -> Result<Value, Fail> {
    let text = outcome.result.as_deref().unwrap_or("null");
    serde_json::from_str(text)
        .map_err(|e| failure(class::GUEST_ERROR, format!("the result is no JSON: {e}")))
}

fn outputs(outcome: &Outcome) -> Vec<Artifact> {
    let mut outputs: Vec<Artifact> = outcome
        .outputs
        .iter()
        .map(|output| Artifact {
            name: output.name.clone(),
            digest: output.digest.clone(),
            size: output.size.to_string(),
        })
        .collect();
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    outputs
}

fn metrics(outcome: &Outcome) -> Vec<MetricValue> {
    let mut metrics: Vec<MetricValue> = outcome.metrics.iter().map(metric).collect();
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    metrics
}

/// A run's metric as it travels.
pub(crate) fn metric(metric: &RunMetric) -> MetricValue {
    MetricValue {
        name: metric.name.clone(),
        step: metric.step.to_string(),
        value: metric.micro.to_string(),
    }
}

/// What the run used. Of one that compares what is closed nothing is said but its fuel: how long it took, and how much memory, could be
/// what it compares.
fn usage(lease: &Lease, outcome: &Outcome) -> Usage {
    let usage = &outcome.usage;
    if lease.word_only {
        return Usage {
            fuel: usage.fuel.to_string(),
            ..Usage::default()
        };
    }
    Usage {
        fuel: usage.fuel.to_string(),
        wall_ms: usage.wall_ms.to_string(),
        peak_memory_bytes: usage.peak_memory_bytes.to_string(),
        gpu_dispatches: usage.gpu_dispatches.to_string(),
        gpu_workgroups: usage.gpu_workgroups.to_string(),
        gpu_bytes_in: usage.gpu_bytes_in.to_string(),
        gpu_bytes_out: usage.gpu_bytes_out.to_string(),
        gpu_time_ns: usage.gpu_time_ns.to_string(),
    }
}

/// The hardware's class; a run that can't be repeated bit by bit has its profile beside it.
fn class_of_run(lease: &Lease, outcome: &Outcome, author: Author<'_>) -> String {
    let hardware = match lease.gpu {
        None => CPU_CLASS,
        Some(_) => {
            let used = outcome.adapter.as_ref().map(|a| a.class.as_str());
            used.or(author.gpu_class).unwrap_or(CPU_CLASS)
        }
    };
    if lease.runtime == RUNTIME_FAST {
        format!("{hardware}{FAST_CLASS_MARK}")
    } else {
        hardware.to_owned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use aevir_sandbox::{OutputFile, TrapKind};
    use aevir_wire::{Limits, RUNTIME_REPRODUCIBLE};
    use serde_json::json;

    use super::*;

    /// A report of which every field is set.
    pub(crate) fn report() -> Report {
        seal(&lease(), &outcome(), author(&key())).unwrap().report
    }

    fn key() -> NodeKey {
        NodeKey::from_seed([7; 32])
    }

    fn author(key: &NodeKey) -> Author<'_> {
        Author {
            node: "01JNODE",
            key,
            gpu_class: Some("card-0123456789abcdef"),
            spoil: false,
        }
    }

    fn lease() -> Lease {
        Lease {
            assignment: "01JASSIGNMENT".into(),
            task: "01JTASK".into(),
            task_type: "evaluation".into(),
            tenant: "a".into(),
            module: BlobRef {
                digest: "ab".repeat(32),
                size: "10".into(),
            },
            compile_mib: 256,
            reserve_mib: 64,
            code_mib: 1,
            runtime: RUNTIME_REPRODUCIBLE.into(),
            params: "{}".into(),
            seed: "1".into(),
            inputs: Vec::new(),
            limits: Limits {
                fuel: "1000".into(),
                memory_mib: 16,
                runtime_s: 10,
                output_mib: 1,
            },
            gpu: None,
            checkpoint: None,
            expects: None,
            pay: None,
            word_only: false,
            lease_ms: 6_000,
            accept_ms: 6_000,
            reveal_ms: 6_000,
        }
    }

    fn outcome() -> Outcome {
        let file = |name: &str| OutputFile {
            name: name.into(),
            digest: "cd".repeat(32),
            size: 5,
            path: "/nowhere".into(),
        };
        let mut outcome = Outcome::empty(End::Ok);
        outcome.result = Some(r#"{"b": 1.50, "a": "x"}"#.into());
        outcome.outputs = vec![file("weights"), file("curve")];
        outcome.metrics = vec![RunMetric {
            name: "accuracy".into(),
            step: 3,
            micro: -950_000,
        }];
        outcome.usage.fuel = u64::MAX;
        outcome
    }

    #[test]
    fn a_report_says_what_happened() {
        let sealed = seal(&lease(), &outcome(), author(&key())).unwrap();
        let report = &sealed.report;
        let names: Vec<_> = report.outputs.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["curve", "weights"]);
        let bytes = br#"{"a":"x","b":1.5}"#;
        assert_eq!(report.result.digest, digest(bytes));
        assert_eq!(report.result.size, bytes.len().to_string());
        assert_eq!(report.metrics[0].value, "-950000");
        assert_eq!(report.usage.fuel, u64::MAX.to_string());
        assert_eq!((report.class.as_str(), &report.trace_root), ("cpu", &None));
        assert_eq!(report.salt.len(), 64);
        let again = seal(&lease(), &outcome(), author(&key())).unwrap();
        assert_ne!(again.report.salt, report.salt);
    }

    #[test]
    fn a_fast_run_says_so() {
        let mut lease = lease();
        lease.runtime = RUNTIME_FAST.into();
        let sealed = seal(&lease, &outcome(), author(&key())).unwrap();
        assert_eq!(sealed.report.class, "cpu+fast/1");
    }

    #[test]
    fn of_a_comparison_nothing_is_said_but_its_result_and_fuel() {
        let mut lease = lease();
        lease.word_only = true;
        let mut outcome = outcome();
        (outcome.usage.wall_ms, outcome.usage.peak_memory_bytes) = (5, 6);
        let report = seal(&lease, &outcome, author(&key())).unwrap().report;
        assert!(report.outputs.is_empty() && report.metrics.is_empty());
        let fuel = outcome.usage.fuel.to_string();
        let only_fuel = Usage {
            fuel,
            ..Usage::default()
        };
        assert_eq!(report.usage, only_fuel);
    }

    #[test]
    fn a_run_with_a_gpu_has_its_class_and_trace() {
        let mut lease = lease();
        lease.gpu = Some(aevir_wire::GpuNeed {
            memory_mib: 16,
            buffer_mib: None,
            features: Vec::new(),
        });
        let report = seal(&lease, &outcome(), author(&key())).unwrap().report;
        assert_eq!(report.class, "card-0123456789abcdef");
        assert_eq!(report.trace_root, Some(outcome().trace_root));
    }

    #[test]
    fn the_commitment_is_signed_over_the_canonical_report() {
        let mut report = report();
        report.salt = "00".repeat(32);
        let commit = sign(&report, &key()).unwrap();
        let json = serde_json_canonicalizer::to_string(&report).unwrap();
        assert!(json.starts_with(r#"{"assignment":"01JASSIGNMENT","class":"cpu","metrics":[{"#));
        let expected = digest(format!("aevir.report/1\n{json}").as_bytes());
        assert_eq!(commit.commitment, expected);
        let message = [
            b"aevir.commit/1\n".as_slice(),
            &hex::decode(expected).unwrap(),
        ]
        .concat();
        assert_eq!(commit.signature, key().sign_hex(&message));
    }

    #[test]
    fn a_spoilt_result_is_sealed_like_a_right_one() {
        let key = key();
        let right = seal(&lease(), &outcome(), author(&key)).unwrap();
        let cheat = Author {
            spoil: true,
            ..author(&key)
        };
        let wrong = seal(&lease(), &outcome(), cheat).unwrap();
        assert_ne!(wrong.report.result, right.report.result);
        let bytes = aevir_wire::canonical(&wrong.result).unwrap();
        assert_eq!(wrong.report.result.digest, digest(&bytes));
    }

    #[test]
    fn each_end_has_its_class() {
        let trap = End::Trap {
            kind: TrapKind::StackOverflow,
            text: "deep".into(),
        };
        let limit = End::Limit {
            limit: "fuel".into(),
            value: 5,
        };
        let guest = End::GuestError {
            text: "no data".into(),
        };
        let host = End::HostError {
            text: "no disk".into(),
        };
        for (end, class, message) in [
            (trap, "trap", "stack-overflow: deep"),
            (limit, "limit", "the run passed its limit `fuel` of 5"),
            (guest, "guest-error", "no data"),
            (host, "host-error", MACHINE_FAILED),
            (End::Cancelled, "host-error", "the node stopped the run"),
        ] {
            let failed = seal(&lease(), &Outcome::empty(end), author(&key())).unwrap_err();
            assert_eq!(
                (failed.class.as_str(), failed.message.as_str()),
                (class, message)
            );
        }
    }

    #[test]
    fn a_result_that_is_no_json_is_the_guests_fault() {
        let mut outcome = outcome();
        outcome.result = Some("{".into());
        let failed = seal(&lease(), &outcome, author(&key())).unwrap_err();
        assert_eq!(failed.class, "guest-error");
        for (result, fits) in [
            (json!("text"), true),
            (json!([9_007_199_254_740_991_u64]), true),
            (json!({"a": [9_007_199_254_740_992_u64]}), false),
            (json!(i64::MIN), false),
            (json!(1e17), false),
            (json!(1e300), true),
        ] {
            outcome.result = Some(result.to_string());
            let sealed = seal(&lease(), &outcome, author(&key()));
            assert_eq!(sealed.is_ok(), fits, "{result}");
        }
    }

    fn class_of(outcome: &Outcome) -> Option<String> {
        let sealed = seal(&lease(), outcome, author(&key()));
        sealed.err().map(|fail| fail.class)
    }

    #[test]
    fn a_result_that_could_not_be_revealed_fails_before_the_seal() {
        let mut outcome = outcome();
        // Two bytes and more of canonical JSON for each of text.
        outcome.result = Some(format!("[{}1]", "1e20,".repeat(2_000)));
        assert!(outcome.result.as_ref().unwrap().len() < admissible::RESULT_BYTES_MAX);
        assert_eq!(class_of(&outcome).as_deref(), Some("guest-error"));
        outcome.result = Some(format!("[{}1]", "1e-6,".repeat(5_000)));
        assert!(outcome.result.as_ref().unwrap().len() < admissible::RESULT_BYTES_MAX);
        assert_eq!(class_of(&outcome).as_deref(), Some("limit"));
        let nested = |levels: usize| Some("[".repeat(levels) + &"]".repeat(levels));
        outcome.result = nested(admissible::RESULT_DEPTH_MAX);
        assert_eq!(class_of(&outcome), None);
        outcome.result = nested(admissible::RESULT_DEPTH_MAX + 1);
        assert_eq!(class_of(&outcome).as_deref(), Some("guest-error"));
    }

    #[test]
    fn names_and_counts_that_could_not_be_revealed_fail_before_the_seal() {
        let long = "x".repeat(65);
        for bad in [".", "..", "", "a b", "ä", &long] {
            let mut named = outcome();
            named.outputs[0].name = bad.into();
            assert_eq!(class_of(&named).as_deref(), Some("guest-error"), "{bad}");
            let mut named = outcome();
            named.metrics[0].name = bad.into();
            assert_eq!(class_of(&named).as_deref(), Some("guest-error"), "{bad}");
        }
        let mut twice = outcome();
        twice.metrics.push(twice.metrics[0].clone());
        assert_eq!(class_of(&twice).as_deref(), Some("guest-error"));
        let mut many = outcome();
        many.metrics = (0..=admissible::ENTRIES_MAX)
            .map(|n| RunMetric {
                name: format!("m{n}"),
                step: 0,
                micro: 0,
            })
            .collect();
        assert_eq!(class_of(&many).as_deref(), Some("limit"));
        many.metrics.pop();
        assert_eq!(class_of(&many), None, "and they are sorted");
    }
}

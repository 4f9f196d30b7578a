//! Guests on the GPU: the examples, one after the other, on this machine's adapter (SwiftShader where there is no hardware; set it
//! up with `cargo xtask setup`).
#![allow(clippy::unwrap_used)]

mod support;

use aevir_sandbox::End;
use support::{Bench, Ran, digits, example};

fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.outcome.end, End::Ok, "{:?}", ran.events);
    ran
}

#[tokio::test]
async fn the_digits_are_prepared_learnt_and_told_apart() {
    let mut prepare = Bench::new(&example("digits-prepare"))
        .gpu()
        .input("digits.csv.gz", &digits());
    let prepared = ok(prepare.run().await);
    let usage = &prepared.outcome.usage;
    assert!(
        usage.gpu_dispatches > 0 && usage.gpu_workgroups > 0,
        "{usage:?}"
    );
    assert!(
        usage.gpu_bytes_in > 0 && usage.gpu_bytes_out > 0 && usage.gpu_time_ns > 0,
        "{usage:?}"
    );
    let again = ok(prepare.run().await);
    assert_eq!(
        prepared.outcome.outputs[0].digest,
        again.outcome.outputs[0].digest
    );
    assert_eq!(prepared.outcome.trace_root, again.outcome.trace_root);
    assert_eq!(prepared.outcome.adapter, again.outcome.adapter);
    assert_eq!(usage.fuel, again.outcome.usage.fuel);

    let mut train = Bench::new(&example("mlp-train"))
        .gpu()
        .params(r#"{"epochs": 8}"#)
        .input("train", &prepared.output("train"));
    let trained = ok(train.run().await);
    let mut evaluate = Bench::new(&example("mlp-evaluate"))
        .gpu()
        .input("weights", &trained.output("weights"))
        .input("heldout", &prepared.output("heldout"));
    let evaluated = ok(evaluate.run().await);
    let accuracy = evaluated
        .outcome
        .metrics
        .iter()
        .find(|metric| metric.name == "accuracy")
        .unwrap();
    assert!(accuracy.micro > 900_000, "{accuracy:?}");
}

#[tokio::test]
async fn without_the_gpu_asked_for_compute_is_unavailable() {
    let mut prepare = Bench::new(&example("digits-prepare")).input("digits.csv.gz", &digits());
    let ran = prepare.run().await;
    assert!(
        matches!(ran.outcome.end, End::GuestError { .. }),
        "{:?}",
        ran.outcome.end
    );
    assert_eq!(ran.outcome.adapter, None);
}

#[tokio::test]
async fn gpu_limits_reach_the_guest_and_the_outcome() {
    let mut small = Bench::new(&example("digits-prepare"))
        .gpu()
        .limits(|limits| limits.gpu.memory_bytes = 1024)
        .input("digits.csv.gz", &digits());
    let ran = small.run().await;
    let expected = End::Limit {
        limit: "gpu-memory".into(),
        value: 1024,
    };
    assert_eq!(ran.outcome.end, expected);

    let mut looping = Bench::new(&example("digits-prepare"))
        .gpu()
        .limits(|limits| limits.gpu.loop_budget = 3)
        .input("digits.csv.gz", &digits());
    let ran = looping.run().await;
    let expected = End::Limit {
        limit: "gpu-loop-budget".into(),
        value: 3,
    };
    assert_eq!(ran.outcome.end, expected);
}

#[tokio::test]
async fn the_gpu_is_probed_in_a_process_of_its_own() {
    let bench = Bench::guest("ok");
    let adapter = bench.executor.probe_gpu(&Default::default()).await.unwrap();
    assert!(
        !adapter.name.is_empty() && adapter.class.contains('-'),
        "{adapter:?}"
    );
    assert!(adapter.compute.is_some(), "{adapter:?}");
    let wanting = aevir_gpu::GpuLimits {
        features: vec!["time-travel".into()],
        ..Default::default()
    };
    let refused = bench.executor.probe_gpu(&wanting).await.unwrap_err();
    assert!(refused.to_string().contains("time-travel"), "{refused}");
}

#[tokio::test]
async fn a_run_gets_the_adapter_that_it_was_placed_for_or_none() {
    let mut prepare = Bench::new(&example("digits-prepare"))
        .gpu()
        .input("digits.csv.gz", &digits());
    let there = prepare.executor.probe_gpu(&Default::default()).await;
    prepare.spec.gpu_class = Some(there.unwrap().class);
    let ran = ok(prepare.run().await);
    let used = ran.outcome.adapter.map(|adapter| adapter.class);
    assert_eq!(used, prepare.spec.gpu_class);
    // Also where the process keeps a device of the run before.
    prepare.spec.gpu_class = Some("hardcard-0123456789abcdef".into());
    let ran = prepare.run().await;
    let End::HostError { text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert!(
        text.contains("placed for hardcard-0123456789abcdef"),
        "{text}"
    );
}

//! The committed guests of `examples/`, run by the executor on the machine's adapter (SwiftShader where there is no GPU).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aevir_sandbox::{
    End, Executor, ExecutorConfig, Input, Limits, Outcome, Profile, RunEvent, RunSpec, TraceIds,
    TrapKind,
};
use serde_json::{Value, json};
use support::keep_checkpoint;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Passes over the data: enough for the accuracy that the demo demands, in a part of its time.
const EPOCHS: u32 = 20;
/// The epoch after which the interrupted training goes on.
const RESUMED_AFTER: usize = 13;
const SEED: u64 = 1797;

/// A finished run; its files live as long as it does.
struct Run {
    outcome: Outcome,
    events: Vec<RunEvent>,
    _folder: TempDir,
}

impl Run {
    #[track_caller]
    fn result(&self) -> Value {
        assert_eq!(self.outcome.end, End::Ok, "{:#?}", self.events.last());
        serde_json::from_str(self.outcome.result.as_deref().unwrap()).unwrap()
    }

    #[track_caller]
    fn output(&self, name: &str) -> PathBuf {
        let output = self
            .outcome
            .outputs
            .iter()
            .find(|output| output.name == name);
        output
            .unwrap_or_else(|| panic!("no output {name}: {:?}", self.outcome))
            .path
            .clone()
    }

    fn digests(&self) -> BTreeMap<&str, &str> {
        let outputs = self.outcome.outputs.iter();
        outputs
            .map(|output| (output.name.as_str(), output.digest.as_str()))
            .collect()
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        let path = |event: &RunEvent| match event {
            RunEvent::Checkpoint { path, .. } => Some(path.clone()),
            RunEvent::Started { .. }
            | RunEvent::Log { .. }
            | RunEvent::Progress { .. }
            | RunEvent::Metric(_) => None,
        };
        self.events.iter().filter_map(path).collect()
    }

    fn logged(&self, wanted: &str) -> bool {
        let has =
            |event: &RunEvent| matches!(event, RunEvent::Log { text, .. } if text.contains(wanted));
        self.events.iter().any(has)
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("examples")
}

/// A task as the tests vary it.
struct Task<'a> {
    module: &'a str,
    params: Value,
    inputs: &'a [(&'a str, &'a Path)],
    checkpoint: Option<PathBuf>,
    limits: Limits,
    gpu: bool,
}

impl<'a> Task<'a> {
    fn new(module: &'a str, params: Value, inputs: &'a [(&'a str, &'a Path)]) -> Self {
        let limits = Limits {
            memory_bytes: 64 << 20,
            ..Limits::default()
        };
        Self {
            module,
            params,
            inputs,
            checkpoint: None,
            limits,
            gpu: true,
        }
    }

    /// Runs the committed component, checked against `digests.json` by the executor.
    async fn run(&self) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let out_dir = folder.path().join("out");
        std::fs::create_dir(&out_dir).unwrap();
        let digests = std::fs::read_to_string(examples().join("modules/digests.json")).unwrap();
        let digests: Value = serde_json::from_str(&digests).unwrap();
        let input = |&(name, path): &(&str, &Path)| Input {
            name: name.into(),
            path: path.into(),
            size: std::fs::metadata(path).unwrap().len(),
        };
        let spec = RunSpec {
            module: examples().join(format!("modules/{}.wasm", self.module)),
            module_digest: digests["modules"][self.module]["sha256"]
                .as_str()
                .unwrap()
                .into(),
            profile: Profile::default(),
            params: self.params.to_string(),
            seed: SEED,
            inputs: self.inputs.iter().map(input).collect(),
            checkpoint: self.checkpoint.clone(),
            out_dir,
            limits: self.limits.clone(),
            gpu: self.gpu,
            gpu_class: None,
            tenant: "tests".into(),
            trace: TraceIds::default(),
        };
        let executor = Executor::new(ExecutorConfig {
            program: env!("CARGO_BIN_EXE_aevir-executor").into(),
            args: Vec::new(),
            cache_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            env: BTreeMap::new(),
            log: None,
        });
        let (sender, mut receiver) = mpsc::channel(1);
        let kept = folder.path().to_owned();
        let collect = async {
            let mut events = Vec::new();
            while let Some(event) = receiver.recv().await {
                events.push(keep_checkpoint(event, &kept));
            }
            events
        };
        let run = executor.run(spec, sender, CancellationToken::new());
        let (outcome, events) = tokio::join!(run, collect);
        eprintln!(
            "{}: {} ms, {} dispatches, {} fuel",
            self.module, outcome.usage.wall_ms, outcome.usage.gpu_dispatches, outcome.usage.fuel
        );
        Run {
            outcome,
            events,
            _folder: folder,
        }
    }
}

/// The `params` of an example's manifest.
fn manifest_params(example: &str) -> Value {
    let text = std::fs::read_to_string(examples().join(example).join("task.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["params"].take()
}

#[tokio::test]
async fn the_digits_are_prepared_learnt_scored_and_read() {
    let digits = examples().join("data/digits.csv.gz");
    let inputs = [("digits.csv.gz", digits.as_path())];
    let prepare = Task::new(
        "digits-prepare",
        manifest_params("data-processing"),
        &inputs,
    );
    let prepared = prepare.run().await;
    assert_eq!(prepared.result()["train"], 1438);
    assert_eq!(prepared.result()["held_out"], 359);
    let again = prepare.run().await;
    assert_eq!(prepared.digests(), again.digests());
    assert_eq!(prepared.outcome.trace_root, again.outcome.trace_root);

    let train_file = prepared.output("train");
    let inputs = [("train", train_file.as_path())];
    let mut params = manifest_params("training");
    params["epochs"] = EPOCHS.into();
    let mut training = Task::new("mlp-train", params, &inputs);
    let trained = training.run().await;
    assert!(
        trained.result()["final_loss"].as_f64().unwrap() < 0.2,
        "{}",
        trained.result()
    );
    let again = training.run().await;
    assert_eq!(
        trained.digests(),
        again.digests(),
        "two runs on one adapter differ"
    );
    assert_eq!(trained.outcome.result, again.outcome.result);
    assert_eq!(trained.outcome.trace_root, again.outcome.trace_root);

    let checkpoints = trained.checkpoints();
    assert_eq!(checkpoints.len(), EPOCHS as usize);
    training.checkpoint = Some(checkpoints[RESUMED_AFTER - 1].clone());
    let resumed = training.run().await;
    assert!(resumed.logged("resuming after epoch 13"));
    assert_eq!(
        trained.digests(),
        resumed.digests(),
        "a resumed run differs"
    );
    assert_eq!(trained.outcome.result, resumed.outcome.result);

    let (weights, held_out) = (trained.output("weights"), prepared.output("heldout"));
    let inputs = [
        ("weights", weights.as_path()),
        ("heldout", held_out.as_path()),
    ];
    let scored = Task::new("mlp-evaluate", json!({}), &inputs).run().await;
    let accuracy = scored.result()["accuracy"].as_f64().unwrap();
    eprintln!("accuracy {accuracy}");
    assert!(accuracy >= 0.95, "{}", scored.result());
    assert_eq!(scored.outcome.metrics[0].name, "accuracy");
    assert_eq!(
        scored.outcome.metrics[0].micro,
        (accuracy * 1e6).round() as i64
    );

    let inputs = [("weights", weights.as_path())];
    let read = Task::new("mlp-infer", manifest_params("inference"), &inputs)
        .run()
        .await;
    for (digit, image) in read.result()["images"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert_eq!(image["class"], digit, "{image}");
        let sum: f64 = image["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_f64)
            .sum();
        assert!((sum - 1.0).abs() < 1e-4, "{image}");
    }
}

#[tokio::test]
async fn images_can_come_as_an_input_and_bad_inputs_are_the_guests_errors() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    std::fs::write(&weights, constant_network()).unwrap();
    let images = folder.path().join("images");
    std::fs::write(&images, [[16u8; 2], [0; 2]].concat()).unwrap();
    let inputs = [("weights", weights.as_path()), ("images", images.as_path())];
    let read = Task::new("mlp-infer", json!({}), &inputs).run().await;
    // With all weights zero the output biases decide: equal probabilities, and the first class wins.
    let halves = json!({"class": 0, "probabilities": [0.5, 0.5]});
    assert_eq!(read.result(), json!({"images": [halves.clone(), halves]}));

    let guest_error = |run: &Run, wanted: &str| match &run.outcome.end {
        End::GuestError { text } => assert!(text.contains(wanted), "{text}"),
        end => panic!("{end:?}"),
    };
    let three = Task::new("mlp-infer", json!({"images": [[1, 2, 3]]}), &inputs)
        .run()
        .await;
    guest_error(&three, "image 0 has 3 pixels, the network takes 2");
    let unknown = Task::new("mlp-infer", json!({"pictures": []}), &inputs)
        .run()
        .await;
    guest_error(&unknown, "unknown field `pictures`");
    let swapped = [("weights", images.as_path())];
    guest_error(
        &Task::new("mlp-infer", json!({}), &swapped).run().await,
        "no `AVNN` file",
    );
    guest_error(
        &Task::new("mlp-infer", json!({}), &[]).run().await,
        "no input or output `weights`",
    );
    let mut without_gpu = Task::new("mlp-infer", json!({}), &inputs);
    without_gpu.gpu = false;
    guest_error(&without_gpu.run().await, "no GPU");
}

/// A network file of 2 inputs, 1 hidden unit and 2 classes whose parameters are all zero.
fn constant_network() -> Vec<u8> {
    let mut bytes = b"AVNN".to_vec();
    for word in [1u32, 2, 1, 2] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([0u8; 4 * (2 + 2 + (2 + 1) + (2 + 2))]);
    bytes
}

#[tokio::test]
async fn the_echo_guest_echoes_spins_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    std::fs::write(&note, vec![7u8; 3_000_000]).unwrap();
    let inputs = [("note", note.as_path())];
    let params = json!({"message": {"a": [1, "b"]}, "copy": ["note"], "spin": 5, "metrics": {"score": -0.5}});
    let mut echo = Task::new("echo", params, &inputs);
    echo.gpu = false;
    let whole = echo.run().await;
    assert_eq!(whole.result()["params"]["message"], json!({"a": [1, "b"]}));
    assert_eq!(whole.result()["seed"], SEED.to_string());
    assert_eq!(whole.result()["inputs"]["note"], 3_000_000);
    assert_eq!(
        std::fs::read(whole.output("note")).unwrap(),
        std::fs::read(&note).unwrap()
    );
    assert_eq!(whole.outcome.metrics[0].micro, -500_000);
    let again = echo.run().await;
    assert_eq!(
        whole.outcome.usage.fuel, again.outcome.usage.fuel,
        "fuel is deterministic"
    );
    assert_eq!(whole.outcome.result, again.outcome.result);

    echo.checkpoint = whole.checkpoints().get(2).cloned();
    let resumed = echo.run().await;
    assert!(resumed.logged("resuming after unit 3"));
    assert_eq!(whole.outcome.result, resumed.outcome.result);
}

#[tokio::test]
async fn the_echo_guest_fails_as_told() {
    let fail = async |how: &str, change: fn(&mut Limits)| {
        let mut echo = Task::new("echo", json!({"fail": how}), &[]);
        echo.gpu = false;
        change(&mut echo.limits);
        echo.run().await
    };
    let error = fail("error", |_| {}).await;
    assert_eq!(
        error.outcome.end,
        End::GuestError {
            text: "failed as asked".into()
        }
    );
    let trap = fail("trap", |_| {}).await;
    assert!(
        matches!(
            trap.outcome.end,
            End::Trap {
                kind: TrapKind::Unreachable,
                ..
            }
        ),
        "{:?}",
        trap.outcome.end
    );
    assert!(
        trap.logged("trapped as asked"),
        "the panic's message is logged: {:?}",
        trap.events
    );
    let limit_of = |run: &Run| match &run.outcome.end {
        End::Limit { limit, .. } => limit.clone(),
        end => panic!("{end:?}"),
    };
    assert_eq!(
        limit_of(&fail("loop", |limits| limits.fuel = 100_000_000).await),
        "fuel"
    );
    assert_eq!(
        limit_of(&fail("loop", |limits| limits.wall_ms = 500).await),
        "wall"
    );
    assert_eq!(limit_of(&fail("memory", |_| {}).await), "memory");
}

/// Bytes of `f32`s behind a head of four bytes.
fn floats(numbers: &[f32]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
    b"HEAD".iter().copied().chain(numbers).collect()
}

#[tokio::test]
async fn a_check_judges_and_a_comparator_compares() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, numbers: &[f32]| {
        let path = folder.path().join(name);
        std::fs::write(&path, floats(numbers)).unwrap();
        path
    };
    let good = write("good", &[1.0, -2.0, 3.5]);
    let close = write("close", &[1.0, -2.000_01, 3.5]);
    let far = write("far", &[1.0, -2.1, 3.5]);
    let broken = write("broken", &[1.0, f32::NAN, 3.5]);
    let verdict = async |module: &str, params: Value, inputs: &[(&str, &Path)]| {
        let mut task = Task::new(module, params, inputs);
        task.gpu = false;
        task.run().await
    };

    let params = json!({"outputs": ["weights"], "skip": 4, "magnitude_max": 10.0});
    let check = async |weights: &Path, params: Value| {
        verdict("finite", params, &[("weights", weights)]).await
    };
    assert_eq!(check(&good, params.clone()).await.result(), true);
    let run = check(&broken, params.clone()).await;
    assert_eq!(run.result(), false);
    assert!(run.logged("number 1 of `weights` is NaN"));
    let tight = json!({"outputs": ["weights"], "skip": 4, "magnitude_max": 3.0});
    assert_eq!(check(&good, tight).await.result(), false);
    let run = check(&good, json!({"outputs": [], "magnitude_max": 1.0})).await;
    assert!(matches!(run.outcome.end, End::GuestError { .. }));

    let compare = async |a: &Path, b: &Path| {
        let params = json!({"outputs": ["weights"], "skip": 4, "absolute": 0.0, "relative": 1e-4});
        let inputs = [("a/weights", a), ("b/weights", b)];
        verdict("tolerance", params, &inputs).await.result()
    };
    assert_eq!(compare(&good, &good).await, true);
    assert_eq!(compare(&good, &close).await, true);
    assert_eq!(compare(&good, &far).await, false);
    assert_eq!(compare(&good, &broken).await, false);
}

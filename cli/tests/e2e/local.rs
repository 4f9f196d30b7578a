//! What works without a platform: `run-local` and `doctor`.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::platform::AEVIR;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

fn aevir(cache: &Path, args: &[&str]) -> Output {
    Command::new(AEVIR)
        .args(args)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        let words = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text} {words}")
    })
}

#[test]
fn a_task_runs_without_a_platform_and_comes_out_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let module = examples().join("modules/echo.wasm");
    let task = examples().join("testing/echo/task.json");
    let run = |out: &str| {
        let out = folder.path().join(out);
        let output = aevir(
            folder.path(),
            &[
                "run-local",
                module.to_str().unwrap(),
                "--task",
                task.to_str().unwrap(),
                "--out",
                out.to_str().unwrap(),
                "--json",
            ],
        );
        assert!(output.status.success(), "{output:?}");
        (document(&output), std::fs::read(out.join("note")).unwrap())
    };
    let ((one, note), (two, _)) = (run("one"), run("two"));
    assert_eq!(note, b"a small input");
    assert_eq!(one["end"], "ok");
    assert_eq!(one["outputs"][0]["name"], "note");
    assert_eq!(
        one["metrics"][0],
        json!({"name": "score", "step": "0", "value": "0.5"})
    );
    for field in ["result", "module", "seed", "metrics"] {
        assert_eq!(one[field], two[field], "{field}");
    }
    assert!(one["usage"]["fuel"].as_u64().unwrap() > 0);
    assert_eq!(one["usage"]["fuel"], two["usage"]["fuel"]);
    assert_eq!(one["outputs"][0]["digest"], two["outputs"][0]["digest"]);

    let panics = folder.path().join("panics.json");
    std::fs::write(&panics, r#"{"params": {"fail": "trap"}}"#).unwrap();
    let (module, panics) = (module.to_str().unwrap(), panics.to_str().unwrap());
    let panicked = document(&aevir(
        folder.path(),
        &["run-local", module, "--task", panics, "--json"],
    ));
    assert_eq!(panicked["end"], "trap");
    assert_eq!(panicked["log"][0]["level"], "error");
    let said = panicked["log"][0]["text"].as_str().unwrap();
    assert!(said.contains("trapped as asked"), "{said}");
    assert_eq!(panicked["log_lines_dropped"], "0");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let echo = examples().join("modules/echo.wasm");
    let echo = echo.to_str().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let elsewhere = file(
        "elsewhere.json",
        r#"{"data": [{"name": "digits", "from": {"content": {"id": "@digits"}}}]}"#,
    );
    let small = file(
        "small.json",
        r#"{"params": {"spin": 5}, "limits": {"fuel": "1000"}}"#,
    );
    let text = file("text.wasm", "no module");
    let rows: [(&[&str], &str); 4] = [
        (
            &["run-local", echo, "--task", &elsewhere],
            "--input digits=PATH",
        ),
        (
            &["run-local", echo, "--task", &small],
            "limit `fuel` of 1000",
        ),
        (&["run-local", &text], "not a WebAssembly component"),
        (&["run-local", "/nonexistent.wasm"], "/nonexistent.wasm"),
    ];
    for (args, expected) in rows {
        let output = aevir(folder.path(), args);
        assert!(!output.status.success(), "{args:?}");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(expected), "{args:?}: {words}");
    }
}

/// A comparator gets what it compares under the names that the platform gives them, and no task can have such names.
#[test]
fn a_comparator_runs_without_a_platform() {
    let folder = tempfile::tempdir().unwrap();
    let module = |name: &str| {
        let path = examples().join(format!("modules/{name}.wasm"));
        path.to_str().unwrap().to_owned()
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let task = file(
        "task.json",
        br#"{"params": {"outputs": ["x"], "skip": 0, "absolute": 0.1, "relative": 0.0}}"#,
    );
    let (one, other) = (
        format!("b/x={}", file("one", &1.0_f32.to_le_bytes())),
        format!("b/x={}", file("other", &2.0_f32.to_le_bytes())),
    );
    let same = format!("a/x={}", folder.path().join("one").display());
    let run = |module: &str, b: &str| {
        let args = [
            "run-local",
            module,
            "--task",
            &task,
            "--input",
            &same,
            "--input",
            b,
            "--json",
        ];
        aevir(folder.path(), &args)
    };
    assert_eq!(document(&run(&module("tolerance"), &one))["result"], true);
    assert_eq!(
        document(&run(&module("tolerance"), &other))["result"],
        false
    );
    let refused = run(&module("echo"), &one);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        words.contains("`a/x` is no input name of a task"),
        "{words}"
    );
}

/// What a task definition, an argument or a module's file has wrong is said of it, and never blamed on the machine.
#[test]
fn a_wrong_definition_is_not_this_machines_fault() {
    let folder = tempfile::tempdir().unwrap();
    let echo = examples().join("modules/echo.wasm");
    let echo = echo.to_str().unwrap();
    let here = folder.path().to_str().unwrap();
    let task = |text: &str| {
        let path = folder
            .path()
            .join(format!("{}.json", aevir_wire::digest(text.as_bytes())));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown = task(r#"{"parms": {}, "limit": {}}"#);
    let no_list = task(r#"{"depends_on": 7}"#);
    let fuel = task(r#"{"limits": {"fuel": "1000000000000001"}}"#);
    let path = task(r#"{"data": [{"name": "../../x y", "from": {"inline": ""}}]}"#);
    let twice = format!("a={echo}");
    let rows: [(&[&str], &str); 9] = [
        (&[echo, "--task", &unknown], "unknown field"),
        (&[echo, "--task", &no_list], "expected a sequence"),
        (&[echo, "--task", &fuel], "/limits/fuel"),
        (&[echo, "--task", &path], "is no input name"),
        (&[echo, "--input", &twice, "--input", &twice], "given twice"),
        (
            &[echo, "--checkpoint", "/nonexistent"],
            "the checkpoint `/nonexistent`",
        ),
        (&[echo, "--checkpoint", here], "is no file"),
        (&["/dev/zero"], "is no regular file"),
        (&[here], "is no regular file"),
    ];
    for (args, expected) in rows {
        let output = aevir(folder.path(), &[&["run-local"], args].concat());
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {words}");
        assert!(words.contains(expected), "{args:?}: {words}");
        assert!(!words.contains("this machine failed"), "{args:?}: {words}");
    }
    let output = aevir(folder.path(), &["module", "inspect", "/dev/zero"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no regular file"));
}

/// Outputs overwrite nothing, which is found out before the run and not after it.
#[test]
fn a_folder_with_something_in_it_takes_no_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("note"), "mine").unwrap();
    let echo = examples().join("modules/echo.wasm");
    let task = examples().join("testing/echo/task.json");
    let args = [
        "run-local",
        echo.to_str().unwrap(),
        "--task",
        task.to_str().unwrap(),
    ];
    let output = aevir(
        folder.path(),
        &[&args[..], &["--out", out.to_str().unwrap()]].concat(),
    );
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains("is not empty") && output.stdout.is_empty(),
        "{words}"
    );
    assert_eq!(std::fs::read(out.join("note")).unwrap(), b"mine");
}

/// What a guest says commands no terminal, and that nobody listens is no reason to fail.
#[test]
fn what_a_guest_says_is_shown_and_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let echo = examples().join("modules/echo.wasm");
    let task = folder.path().join("task.json");
    // A name that is none is repeated in the text of the trap.
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\nerror: forged";
    let params = json!({"params": {"metrics": {hostile: 1}}});
    std::fs::write(&task, params.to_string()).unwrap();
    let args = [
        "run-local",
        echo.to_str().unwrap(),
        "--task",
        task.to_str().unwrap(),
    ];
    let output = aevir(folder.path(), &args);
    assert!(!output.status.success(), "{output:?}");
    let said = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("u{1b}]0;title"), "{text}");
    assert!(!said.contains(&0x1b) && !said.contains(&0x07), "{text}");
    std::fs::write(&task, r#"{"params": {"spin": 2}}"#).unwrap();
    let mut closed = Command::new(AEVIR)
        .args(args)
        .env("XDG_CACHE_HOME", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
        .spawn()
        .unwrap();
    assert_eq!(closed.wait().unwrap().code(), Some(0));
}

/// Memory that the machine does not give is the machine's fault, in running, loading and compiling, and the doctor says so before.
#[test]
fn what_the_machine_lacks_is_not_the_modules_fault() {
    let folder = tempfile::tempdir().unwrap();
    let echo = examples().join("modules/echo.wasm");
    let limited = |kib: u64, args: &str| {
        Command::new("sh")
            .args(["-c", &format!("ulimit -v {kib}; exec {AEVIR} {args}")])
            .env("XDG_CACHE_HOME", folder.path())
            .output()
            .unwrap()
    };
    let run = format!("run-local {} --json", echo.display());
    // Room for the program, and not for a guest's memory, which reserves some gigabytes of addresses.
    for kib in [2_000_000, 1_000_000] {
        let output = limited(kib, &run);
        assert_eq!(document(&output)["end"], "host-error", "{kib}: {output:?}");
    }
    let output = limited(
        2_000_000,
        &format!("doctor --json --data {}", folder.path().display()),
    );
    let report = document(&output);
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["name"] == "a run")
        .unwrap();
    assert_eq!(check["grade"], "bad", "{check}");
    assert!(!output.status.success());
}

#[test]
fn the_doctor_refuses_folders_that_a_node_could_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for data in [file.to_str().unwrap(), "/nonexistent", "/proc"] {
        let output = aevir(folder.path(), &["doctor", "--data", data]);
        assert!(!output.status.success(), "{data}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("nothing can be written in"), "{data}: {text}");
    }
    let output = Command::new(AEVIR)
        .args(["doctor", "--json"])
        .env("TMPDIR", "/nonexistent")
        .output()
        .unwrap();
    let report = document(&output);
    assert_eq!(
        report["checks"].as_array().unwrap().last().unwrap()["grade"],
        "bad"
    );
}

#[test]
fn the_doctor_looks_at_all_that_a_node_needs() {
    let folder = tempfile::tempdir().unwrap();
    let output = aevir(
        folder.path(),
        &[
            "doctor",
            "--json",
            "--data",
            folder.path().to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{output:?}");
    let report = document(&output);
    let checks = report["checks"].as_array().unwrap();
    for name in [
        "cores",
        "memory",
        "disk",
        "executor",
        "compiler",
        "address space",
        "a run",
        "confinement",
        "GPU",
    ] {
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no check `{name}`: {report}"));
        assert_ne!(check["grade"], "bad", "{check}");
        let has_remedy = !check["remedy"].is_null();
        assert_eq!(check["grade"] == "good", !has_remedy, "{check}");
    }
    let roles: Vec<_> = report["confinement"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["role"])
        .collect();
    assert_eq!(roles, ["cpu", "compile", "gpu"]);
    // A folder that is not there is said to be.
    let output = aevir(folder.path(), &["doctor", "--data", "/nonexistent"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("name another with --data"), "{text}");
}

/// However a run is ended from outside, nothing of it stays: it removes its folder itself, or the next run does.
#[test]
fn a_run_that_is_ended_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, temporary) = (folder.path().join("cache"), folder.path().join("tmp"));
    std::fs::create_dir(&temporary).unwrap();
    let task = folder.path().join("task.json");
    let inside = |folder: &Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let run = |spin: u32| {
        let definition =
            json!({"params": {"spin": spin}, "data": [{"name": "note", "from": {"inline": "x"}}]});
        std::fs::write(&task, definition.to_string()).unwrap();
        Command::new(AEVIR)
            .arg("run-local")
            .arg(examples().join("modules/echo.wasm"))
            .args(["--json", "--profile", "fast/1", "--task"])
            .arg(&task)
            .env("XDG_CACHE_HOME", &cache)
            .env("TMPDIR", &temporary)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (runs, processes) = (
        cache.join("aevir/runs"),
        cache.join("aevir/compiled/processes"),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        // Hours of work.
        let running = run(1_000_000);
        wait_until(|| inside(&runs) == 1 && inside(&processes) > 0);
        kill(Pid::from_raw(running.id() as i32), signal).unwrap();
        let output = running.wait_with_output().unwrap();
        if signal == Signal::SIGKILL {
            assert_eq!(inside(&runs), 1);
        } else {
            assert_eq!(document(&output)["end"], "cancelled", "{output:?}");
            assert_eq!((inside(&runs), inside(&processes)), (0, 0), "{signal}");
        }
    }
    let output = run(0).wait_with_output().unwrap();
    let report = document(&output);
    assert_eq!(
        (&report["end"], &report["profile"]),
        (&json!("ok"), &json!("fast/1"))
    );
    assert_eq!((inside(&runs), inside(&temporary)), (0, 0), "{output:?}");
}

fn wait_until(is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < patience, "it did not come to pass");
        std::thread::sleep(Duration::from_millis(20));
    }
}

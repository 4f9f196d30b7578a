//! Executor processes: reuse, replacement, isolation between runs, and that none is left behind.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aevir_sandbox::{
    End, Executor, ExecutorConfig, PoolConfig, ProbeError, RunEvent, TrapKind, Tuning,
};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Bench, Ran};

/// Set for the process that plays the parent.
const PARENT_VAR: &str = "AEVIR_TEST_PARENT";
/// Longest wait for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(bench: &Bench) -> ExecutorConfig {
    ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        cache_dir: bench.dir.path().join("cache"),
        env: Default::default(),
        log: None,
    }
}

/// A bench whose executor has a pool of its own.
fn pooled(mut bench: Bench, pool: PoolConfig) -> Bench {
    let tuning = Tuning {
        pool,
        ..Tuning::default()
    };
    bench.executor = Executor::tuned(config(&bench), tuning);
    bench
}

/// Nothing in advance, so that what is reused was used.
fn cold() -> PoolConfig {
    PoolConfig {
        warm: 0,
        ..PoolConfig::default()
    }
}

fn pid(ran: &Ran) -> u32 {
    match ran.events.first() {
        Some(RunEvent::Started { pid }) => *pid,
        other => panic!("not started: {other:?}, {:?}", ran.outcome.end),
    }
}

fn is_gone(pid: u32) -> bool {
    kill(Pid::from_raw(pid as i32), None) == Err(Errno::ESRCH)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_process_is_reused_by_its_tenant_and_by_nobody_else() {
    let mut bench = pooled(Bench::guest("ok"), cold());
    let first = pid(&bench.run().await);
    assert_eq!(pid(&bench.run().await), first, "the same tenant");
    bench.spec.tenant = "another".into();
    let other = pid(&bench.run().await);
    assert_ne!(other, first);
    bench.spec.tenant = "tests".into();
    assert_eq!(pid(&bench.run().await), first, "it has waited");
    bench.spec.tenant = String::new();
    let nobodys = pid(&bench.run().await);
    assert!(nobodys != first && nobodys != other);
    assert!(is_gone(nobodys), "a run of nobody's leaves no process");
    bench.executor.close().await;
    assert!(is_gone(first) && is_gone(other));
}

#[tokio::test]
async fn a_process_that_waits_for_anybody_becomes_the_first_ones() {
    let mut bench = pooled(Bench::guest("ok"), PoolConfig::default());
    bench.run().await;
    bench.spec.tenant = "another".into();
    // The next one is being started; whichever comes, tenants do not share it.
    let other = pid(&bench.run().await);
    bench.spec.tenant = "tests".into();
    assert_ne!(pid(&bench.run().await), other);
    bench.spec.tenant = "another".into();
    assert_eq!(pid(&bench.run().await), other);
}

#[tokio::test]
async fn every_end_but_a_return_is_a_processs_last() {
    let rows = [
        ("ok", true),
        ("guest-error", true),
        ("trap", false),
        ("long-result", false),
        ("spin", false),
        ("nan-metric", false),
    ];
    for (guest, stays) in rows {
        let mut bench = pooled(Bench::guest(guest), cold());
        bench.spec.limits.fuel = 1_000_000;
        let ran = bench.run().await;
        let pid = pid(&ran);
        assert_eq!(!is_gone(pid), stays, "{guest}: {:?}", ran.outcome.end);
        bench.executor.close().await;
        assert!(is_gone(pid), "{guest}");
    }
}

#[tokio::test]
async fn use_is_bounded_in_runs_age_and_idle_time() {
    let runs = PoolConfig {
        runs_max: 2,
        ..cold()
    };
    let mut bench = pooled(Bench::guest("ok"), runs);
    let (one, two) = (pid(&bench.run().await), pid(&bench.run().await));
    assert_eq!(one, two);
    assert!(is_gone(one), "after its second run");

    let age = PoolConfig {
        age_max: Duration::ZERO,
        ..cold()
    };
    let mut bench = pooled(Bench::guest("ok"), age);
    assert!(is_gone(pid(&bench.run().await)));

    let idle = PoolConfig {
        idle_age_max: Duration::from_millis(50),
        ..cold()
    };
    let mut bench = pooled(Bench::guest("ok"), idle);
    let waiting = pid(&bench.run().await);
    let deadline = Instant::now() + PATIENCE;
    while !is_gone(waiting) {
        assert!(Instant::now() < deadline, "an idle process is not ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let few = PoolConfig {
        idle_max: 1,
        ..cold()
    };
    let mut bench = pooled(Bench::guest("ok"), few);
    let first = pid(&bench.run().await);
    bench.spec.tenant = "another".into();
    bench.run().await;
    let deadline = Instant::now() + PATIENCE;
    while !is_gone(first) {
        assert!(
            Instant::now() < deadline,
            "the one that waited longest stays"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sixteen pages are filled by one run; the next run, in the same process and the same slot of the pool, reads all of them, and
/// what it grows by, as zeros.
#[tokio::test]
async fn a_run_sees_nothing_of_the_memory_of_the_one_before() {
    for (guest, expected) in [("stain", "\"clean\""), ("stain-grown", "\"clean\"")] {
        let mut bench = pooled(Bench::guest(guest), cold());
        let mut pids = Vec::new();
        for _ in 0..3 {
            let ran = bench.run().await;
            assert_eq!(ran.result(), expected, "{guest}");
            pids.push(pid(&ran));
        }
        assert!(pids.iter().all(|pid| *pid == pids[0]), "one process");
    }
}

#[tokio::test]
async fn what_a_run_wrote_is_gone_before_the_next() {
    let mut bench = pooled(Bench::new(&support::example("echo")), cold())
        .params(r#"{"copy": ["a"], "spin": 2}"#)
        .input("a", b"bytes");
    let (one, two) = (bench.run().await, bench.run().await);
    assert_eq!(pid(&one), pid(&two), "the same names in the same process");
    assert_eq!(
        (one.output("a"), two.output("a")),
        (b"bytes".to_vec(), b"bytes".to_vec())
    );
    let folders = std::fs::read_dir(bench.dir.path().join("cache/processes")).unwrap();
    for folder in folders {
        for kind in ["outputs", "checkpoints"] {
            let files = std::fs::read_dir(folder.as_ref().unwrap().path().join(kind)).unwrap();
            assert_eq!(files.count(), 0, "{kind}");
        }
    }
    bench.executor.close().await;
    let left = std::fs::read_dir(bench.dir.path().join("cache/processes")).unwrap();
    assert_eq!(left.count(), 0, "a process's folder goes with it");
}

/// A good run, a killed one and a cancelled one leave no process, not even one that only waits to be waited for.
#[tokio::test]
async fn no_zombies() {
    let mut pids = Vec::new();
    for (guest, wall_ms) in [("ok", 60_000), ("spin", 50), ("trap", 60_000)] {
        let mut bench = pooled(Bench::guest(guest), cold());
        bench.spec.limits.wall_ms = wall_ms;
        for _ in 0..3 {
            pids.push(pid(&bench.run().await));
        }
        bench.executor.close().await;
    }
    // A dropped future: nobody waits for its process by name.
    let mut bench = pooled(Bench::guest("spin"), cold());
    let (started, mut starting) = tokio::sync::mpsc::channel(1);
    let run = bench.run_with(Default::default(), move |event| {
        if let RunEvent::Started { pid } = event {
            let _ = started.try_send(*pid);
        }
    });
    tokio::select! {
        ran = run => panic!("it ended: {:?}", ran.outcome.end),
        pid = starting.recv() => pids.push(pid.unwrap()),
    }
    let deadline = Instant::now() + PATIENCE;
    while !pids.iter().all(|pid| is_gone(*pid)) {
        assert!(Instant::now() < deadline, "{pids:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Plays the parent in a process of its own: runs a guest that never ends, says its process's id, and waits to be killed.
#[tokio::test]
#[ignore = "started by the next test"]
async fn parent() {
    assert!(
        std::env::var_os(PARENT_VAR).is_some(),
        "by hand it never ends"
    );
    let mut bench = pooled(Bench::guest("spin"), PoolConfig::default());
    bench.spec.limits.fuel = aevir_sandbox::limits::ceiling::FUEL;
    bench
        .run_with(Default::default(), |event| {
            if let RunEvent::Started { pid } = event {
                println!("child {pid}");
            }
        })
        .await;
}

#[test]
fn it_dies_with_its_parent_in_the_middle_of_a_run() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["parent", "--exact", "--ignored", "--nocapture"])
        .env(PARENT_VAR, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let child: u32 = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("child ")?.1.parse().ok())
        .expect("the run starts");
    assert!(!is_gone(child));
    kill(Pid::from_raw(parent.id() as i32), Signal::SIGKILL).unwrap();
    parent.wait().unwrap();
    wait_until("the executor's end", || is_gone(child) || is_zombie(child));
}

/// Where nobody reaps orphans (a container without an init), one that has ended stays as a zombie of the first process.
fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim().starts_with('Z'))
    })
}

#[tokio::test]
async fn a_module_is_compiled_once_whoever_asks() {
    let bench = Bench::guest("ok");
    let executor = Executor::new(config(&bench));
    let mut runs = tokio::task::JoinSet::new();
    for n in 0..6 {
        let mut bench = Bench::guest("ok");
        bench.executor = executor.clone();
        bench.spec.tenant = format!("tenant-{n}");
        runs.spawn(async move { bench.run().await.outcome.end });
    }
    while let Some(end) = runs.join_next().await {
        assert_eq!(end.unwrap(), End::Ok);
    }
    let cache = std::fs::read_dir(bench.dir.path().join("cache")).unwrap();
    let names: Vec<_> = cache.map(|entry| entry.unwrap().file_name()).collect();
    let artefacts = names
        .iter()
        .filter(|name| name.to_string_lossy().ends_with(".cwasm"));
    assert_eq!(artefacts.count(), 1, "{names:?}");
}

#[tokio::test]
async fn compiling_is_bounded_in_time_and_memory() {
    let many = many_functions(20_000);
    let bench = Bench::new(&many);
    let mut bench = limited(bench, |limits| limits.memory_bytes = 128 << 20);
    let end = bench.run().await.outcome.end;
    let expected = End::Limit {
        limit: "compile-memory".into(),
        value: 128 << 20,
    };
    assert_eq!(end, expected);
    let long = many_functions(90_000);
    let mut bench = limited(Bench::new(&long), |limits| limits.cpu_s = 1);
    let end = bench.run().await.outcome.end;
    let expected = End::Limit {
        limit: "compile-time".into(),
        value: 1_000,
    };
    assert_eq!(end, expected);
    // By the clock a slow or busy machine takes long, too, which is no module's fault.
    let mut bench = limited(Bench::new(&long), |limits| limits.wall_ms = 1_000);
    let end = bench.run().await.outcome.end;
    assert!(
        matches!(&end, End::HostError { text } if text.contains("1000 ms")),
        "{end:?}"
    );
    // And whoever comes next is served.
    assert_eq!(Bench::guest("ok").run().await.outcome.end, End::Ok);
}

fn limited(mut bench: Bench, set: impl FnOnce(&mut aevir_sandbox::CompileLimits)) -> Bench {
    let mut tuning = Tuning::default();
    set(&mut tuning.compile);
    bench.executor = Executor::tuned(config(&bench), tuning);
    bench
}

/// A task with so many functions beside its own.
fn many_functions(count: usize) -> Vec<u8> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/ok.wat"))
        .unwrap();
    let body =
        "(func (param i32 i32) (result i32) local.get 0 local.get 1 i32.mul local.get 0 i32.add)";
    let marker = "(core module $m";
    let text = text.replacen(
        marker,
        &format!("(core module $many {})\n{marker}", body.repeat(count)),
        1,
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_program_that_is_no_executor_is_named() {
    let bench = Bench::guest("ok");
    for (program, text) in [
        ("/bin/false", "exited with code 1"),
        ("/nonexistent/executor", "could not start"),
    ] {
        let mut config = config(&bench);
        config.program = program.into();
        let executor = Executor::new(config);
        let error = executor
            .try_start(aevir_sandbox::Role::Cpu)
            .await
            .unwrap_err();
        assert!(matches!(error, ProbeError::Executor(_)));
        let error = error.to_string();
        assert!(error.contains(program) && error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn its_log_lines_carry_the_ids_and_nothing_of_the_params() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["logged", "--exact", "--ignored", "--nocapture"])
        .env(PARENT_VAR, "1")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(!text.contains("swordfish"), "{text}");
    let ended = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|line| line["message"] == "run ended")
        .unwrap_or_else(|| panic!("no such line: {text}"));
    assert_eq!(ended["span"]["task"], "task-1");
    assert_eq!(ended["span"]["assignment"], "assignment-2");
    assert_eq!(ended["span"]["node"], "node-3");
}

/// A run whose executor logs; in a process of its own, for the lines go to standard error.
#[tokio::test]
#[ignore = "started by the test before"]
async fn logged() {
    let mut bench = Bench::guest("ok").params(r#"{"secret": "swordfish"}"#);
    let mut config = config(&bench);
    config.log = Some(aevir_sandbox::LogFormat::Json);
    config.env.insert("RUST_LOG".into(), "info".into());
    bench.executor = Executor::new(config);
    bench.spec.trace.task = "task-1".into();
    bench.spec.trace.assignment = "assignment-2".into();
    bench.spec.trace.node = "node-3".into();
    assert_eq!(bench.run().await.outcome.end, End::Ok);
    bench.executor.close().await;
}

#[tokio::test]
async fn a_module_that_no_pool_holds_is_refused_and_not_the_hosts_fault() {
    // More tables than the ceiling of instances, memories and tables.
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/ok.wat"))
        .unwrap();
    let marker = "(core module $m";
    let tables = "(table 0 funcref)".repeat(300);
    let many =
        format!("(core module $many {tables})\n(core instance (instantiate $many))\n{marker}");
    let text = text.replacen(marker, &many, 1);
    let ran = Bench::new(&wat::parse_str(text).unwrap()).run().await;
    assert!(
        matches!(&ran.outcome.end, End::Trap { kind: TrapKind::Module, text } if text.contains("tables")),
        "{:?}",
        ran.outcome.end
    );
}

/// Whatever a process takes beyond what its limits grant, by whatever way, ends the run with a limit, and the node goes on.
#[tokio::test]
async fn a_process_that_takes_too_much_memory_is_ended() {
    let mut bench = Bench::guest("spin").limits(|limits| {
        limits.memory_bytes = 1 << 20;
        limits.fuel = 1_000_000_000_000_000;
        limits.wall_ms = 30_000;
    });
    let tuning = Tuning {
        host_bytes_max: 0, // less than any process takes
        ..Tuning::default()
    };
    bench.executor = Executor::tuned(config(&bench), tuning);
    let ran = bench.run().await;
    let expected = End::Limit {
        limit: "host-memory".into(),
        value: 1 << 20,
    };
    assert_eq!(ran.outcome.end, expected);
    assert!(is_gone(pid(&ran)));
}

/// Code that is larger than the whole cache drives nothing out of it, and is the node's fault and not the module's.
#[tokio::test]
async fn code_that_never_fits_the_cache_is_a_host_error() {
    let mut bench = Bench::guest("ok");
    let tuning = Tuning {
        cache_bytes_max: 1,
        ..Tuning::default()
    };
    bench.executor = Executor::tuned(config(&bench), tuning);
    let ran = bench.run().await;
    let End::HostError { text } = &ran.outcome.end else {
        panic!("{:?}", ran.outcome.end);
    };
    assert!(text.contains("at most 1 are kept"), "{text}");
}

/// Compiled code that is gone when a process is to get it (another run's took its place) is made again.
#[tokio::test]
async fn code_that_is_driven_out_before_its_run_is_compiled_again() {
    let mut bench = Bench::guest("ok");
    let mut config = config(&bench);
    // The first process that is to run something removes all compiled code before it starts.
    let (script, once) = (
        bench.dir.path().join("executor"),
        bench.dir.path().join("once"),
    );
    let text = format!(
        "#!/bin/sh\nif [ $AEVIR_EXECUTOR_ROLE = cpu ] && [ ! -e {once} ]; then touch {once}; rm {cache}/*.cwasm; fi\nexec {program}\n",
        once = once.display(),
        cache = config.cache_dir.display(),
        program = config.program.display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    config.program = script;
    bench.executor = Executor::tuned(config, Tuning::one_run());
    let ran = bench.run().await;
    assert_eq!(ran.outcome.end, End::Ok);
    assert!(once.exists(), "nothing was removed");
}

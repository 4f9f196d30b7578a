//! What is refused at upload, and how it is said.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use aevir_sandbox::limits::{COMPILE_MIB_MIN, COMPILE_MIB_STEP};
use aevir_sandbox::{
    CompileLimits, End, Executor, ExecutorConfig, InspectError, Judge, NotTaken, Refusal, Refused,
    Tuning, World, inspect,
};
use support::{Bench, example, guest};

#[test]
fn worlds_are_told_by_their_export() {
    assert_eq!(inspect(&guest("ok")).unwrap().world, World::Task);
    assert_eq!(inspect(&guest("verdict")).unwrap().world, World::Check);
    let comparator = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let comparator = wat::parse_str(comparator.replace("\"verify\"", "\"equal\"")).unwrap();
    assert_eq!(inspect(&comparator).unwrap().world, World::Comparator);
}

#[test]
fn the_examples_pass() {
    for name in [
        "digits-prepare",
        "mlp-train",
        "mlp-evaluate",
        "mlp-infer",
        "echo",
    ] {
        let module = example(name);
        let info = inspect(&module).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(info.world, World::Task);
        assert_eq!(info.size, module.len() as u64);
        assert_eq!(info.wants_compute(), name != "echo", "{name}");
    }
}

#[test]
fn what_the_host_lacks_is_refused_by_name() {
    let refused = |name| inspect(&guest(name)).unwrap_err();
    let import = refused("foreign-import");
    assert_eq!(
        import,
        InspectError::UnknownImport("wasi:http/outgoing-handler@0.2.0".into())
    );
    assert!(
        import
            .to_string()
            .contains("wasi:http/outgoing-handler@0.2.0")
    );
    let function = refused("foreign-function").to_string();
    assert!(function.contains("`format-disk`"), "{function}");
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    assert_eq!(inspect(&guest("core")), Err(InspectError::CoreModule));
    for bytes in [&b""[..], b"\0asm", b"#!/bin/sh\n", &[0; 100]] {
        assert_eq!(inspect(bytes), Err(InspectError::NotWasm), "{bytes:?}");
    }
    assert_eq!(
        inspect(&guest("wrong-type")),
        Err(InspectError::WrongType("run", "result<string, string>"))
    );
    let empty = wat::parse_str("(component)").unwrap();
    assert_eq!(inspect(&empty), Err(InspectError::NoWorld));
    let huge = vec![0; 64 * 1024 * 1024 + 1];
    assert!(matches!(inspect(&huge), Err(InspectError::TooLarge { .. })));
}

#[test]
fn a_check_may_not_compute_on_the_gpu() {
    let text = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let import = "(component (import \"aevir:task/compute@1.0.0\" (instance))";
    let module = wat::parse_str(text.replacen("(component", import, 1)).unwrap();
    assert_eq!(
        inspect(&module),
        Err(InspectError::ComputeOutsideTask(World::Check))
    );
}

#[test]
fn two_worlds_in_one_module_are_refused() {
    let text = String::from_utf8(include_bytes!("guests/verdict.wat").to_vec()).unwrap();
    let twice = text.replace(
        "(export \"verify\" (func $verify))",
        "(export \"verify\" (func $verify)) (export \"equal\" (func $verify))",
    );
    assert_eq!(
        inspect(&wat::parse_str(twice).unwrap()),
        Err(InspectError::TwoWorlds)
    );
}

#[test]
fn features_that_break_determinism_are_refused() {
    for body in ["(memory i64 1)", "(memory 1 1 shared)"] {
        let text = format!("(component (core module $m {body}))");
        let module = wat::parse_str(text).unwrap();
        assert!(
            matches!(inspect(&module), Err(InspectError::Invalid(_))),
            "{body}"
        );
    }
}

/// Every cut and many single-byte changes of a good module are judged without a panic.
#[test]
fn damaged_modules_are_judged_and_never_panic() {
    let module = guest("ranges");
    for len in 0..module.len() {
        // A cut at a section's end may leave a good module.
        let _ = inspect(&module[..len]);
    }
    let mut changed = module.clone();
    for at in 0..module.len() {
        for bits in [0x01, 0x80, 0xff] {
            changed[at] = module[at] ^ bits;
            let _ = inspect(&changed);
        }
        changed[at] = module[at];
    }
}

/// A judge with other limits than an upload's.
fn judge(change: impl FnOnce(&mut CompileLimits)) -> (tempfile::TempDir, Judge) {
    let folder = tempfile::tempdir().unwrap();
    let config = ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        cache_dir: folder.path().to_owned(),
        env: Default::default(),
        log: None,
    };
    let mut limits = CompileLimits::upload();
    change(&mut limits);
    (folder, Judge::new(&config, limits).unwrap())
}

/// A task with so many functions beside its own: a second of processor time or more for 20,000.
fn many_functions(count: usize) -> Vec<u8> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/ok.wat"));
    let marker = "(core module $m";
    let functions = "(func (param i32) (result i32) local.get 0)".repeat(count);
    let many = format!("(core module $many {functions})\n{marker}");
    wat::parse_str(text.unwrap().replacen(marker, &many, 1)).unwrap()
}

#[tokio::test]
async fn an_upload_is_judged_in_another_process() {
    let (_folder, judge) = judge(|_| ());
    let accepted = judge.judge(guest("ok")).await.unwrap();
    assert_eq!(accepted.info, inspect(&guest("ok")).unwrap());
    assert_eq!(accepted.adapted, None);
    let program = judge.judge(guest("hello-preview1")).await.unwrap();
    let adapted = program.adapted.unwrap();
    assert_eq!(program.info, inspect(&adapted).unwrap());
    for (name, kind) in [
        ("core", Refusal::NotAComponent),
        ("foreign-import", Refusal::ForbiddenImport),
        ("wrong-type", Refusal::WrongWorld),
    ] {
        let refused = judge.judge(guest(name)).await.unwrap_err();
        assert!(
            matches!(&refused, NotTaken::Refused(Refused { kind: found, .. }) if *found == kind),
            "{name}: {refused}"
        );
    }
}

#[tokio::test]
async fn what_no_node_could_compile_is_not_taken() {
    let many = many_functions(60_000);
    let refused = |refused: NotTaken, part: &str| match refused {
        NotTaken::Refused(Refused {
            kind: Refusal::TooHeavy,
            text,
        }) => assert!(text.contains(part), "{text}"),
        other => panic!("{other}"),
    };
    let (_folder, slow) = judge(|limits| limits.cpu_s = 1);
    refused(
        slow.judge(many.clone()).await.unwrap_err(),
        "1 s of processor time",
    );
    let (_folder, small) = judge(|limits| limits.memory_bytes = 64 << 20);
    refused(
        small.judge(many.clone()).await.unwrap_err(),
        "64 MiB of memory",
    );
    // By the clock the machine is to blame.
    let (_folder, busy) = judge(|limits| limits.wall_ms = 100);
    let not_judged = busy.judge(many).await.unwrap_err();
    assert!(matches!(not_judged, NotTaken::Machine(_)), "{not_judged}");
}

/// What judging measured is enough for a node, and says the same twice; what is less than that fails as the module's limit.
#[tokio::test]
async fn what_compiling_takes_is_measured() {
    let (_folder, judge) = judge(|_| ());
    let small = judge.measured(guest("ok")).await;
    assert_eq!(small.verdict.unwrap().compile_mib, COMPILE_MIB_MIN);
    assert!(
        small.cpu_ms > 0 && small.cpu_ms < 60_000,
        "{}",
        small.cpu_ms
    );
    let adapted = judge.adapt(guest("hello-preview1")).await.unwrap();
    assert!(adapted.adapted.is_some() && adapted.compile_mib == 0);
    let refused = judge.measured(guest("core")).await;
    assert!(refused.verdict.is_err() && refused.cpu_ms < 60_000);

    let large = many_functions(60_000);
    let first = judge.judge(large.clone()).await.unwrap().compile_mib;
    let second = judge.judge(large.clone()).await.unwrap().compile_mib;
    assert!(
        first > COMPILE_MIB_MIN && first % COMPILE_MIB_STEP == 0,
        "{first}"
    );
    assert!(
        first.abs_diff(second) <= COMPILE_MIB_STEP,
        "{first} {second}"
    );
    let compile = async |mib: u32| {
        // In a cache of its own, so that it is compiled.
        let folder = tempfile::tempdir().unwrap();
        let executor = executor(folder.path());
        let bench = Bench::new(&large);
        let compiled = executor.compile(&bench.spec, u64::from(mib) << 20);
        compiled.await.map(drop)
    };
    assert_eq!(compile(first).await, Ok(()));
    let value = 64 << 20;
    let limit = "compile-memory".into();
    assert_eq!(compile(64).await, Err(End::Limit { limit, value }));
}

/// With a cache of its own, so that everything is compiled.
fn executor(cache: &std::path::Path) -> Executor {
    let config = ExecutorConfig {
        program: env!("CARGO_BIN_EXE_aevir-executor").into(),
        args: Vec::new(),
        cache_dir: cache.to_owned(),
        env: Default::default(),
        log: None,
    };
    Executor::tuned(config, Tuning::one_run())
}

/// Who holds the memory for it waits for nobody: the last of one requester's modules begins as soon as the first.
#[tokio::test]
async fn whoever_holds_room_has_his_modules_compiled_at_once() {
    const AT_ONCE: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let executor = executor(folder.path());
    let mut compiling = tokio::task::JoinSet::new();
    for n in 0..AT_ONCE {
        let mut bench = Bench::new(&many_functions(20_000 + n));
        bench.spec.tenant = "one".into();
        let executor = executor.clone();
        compiling.spawn(async move {
            // All of it, for the module lies in its folder.
            let Bench { spec, dir, .. } = bench;
            let compiled = executor.compile(&spec, 1 << 30).await;
            drop(dir);
            compiled.map(drop)
        });
    }
    let processes = folder.path().join("processes");
    let under_way = || std::fs::read_dir(&processes).map_or(0, Iterator::count);
    let mut most = 0;
    while !compiling.is_empty() {
        most = most.max(under_way());
        let next = tokio::time::timeout(Duration::from_millis(5), compiling.join_next());
        if let Ok(Some(ended)) = next.await {
            assert_eq!(ended.unwrap(), Ok(()));
        }
    }
    assert_eq!(most, AT_ONCE);
}

/// What was compiled for a run is there when it begins, whatever else needs the room meanwhile.
#[tokio::test]
async fn compiled_code_stays_for_whoever_waits_for_it() {
    let (folder, bench) = (tempfile::tempdir().unwrap(), Bench::guest("ok"));
    let executor = executor(folder.path());
    let compiled = executor.compile(&bench.spec, 1 << 30).await.unwrap();
    assert!(executor.bound_compiled(0) > 0);
    let found = executor.compiled(&bench.spec).await;
    assert!(found.is_some());
    drop(compiled);
    assert!(executor.bound_compiled(0) > 0, "another one waits for it");
    drop(found);
    assert_eq!(executor.bound_compiled(0), 0);
    assert!(executor.compiled(&bench.spec).await.is_none());
}

/// Compilers of this process's that run now, by how nice they are.
fn niceness() -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.ok()?.path().join("stat")).ok());
    let own = std::process::id().to_string();
    let nice = stats.filter_map(|stat| {
        // The name, which stands in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let is_child = fields.get(1) == Some(&own.as_str());
        is_child.then(|| fields.get(16)?.parse().ok()).flatten()
    });
    nice.collect()
}

#[tokio::test]
async fn compilers_stand_back() {
    let (_folder, judge) = judge(|_| ());
    let own = || std::fs::read_to_string("/proc/self/stat").unwrap();
    let before = own();
    let mut judging = Box::pin(judge.judge(many_functions(60_000)));
    for _ in 0..200 {
        let waited = tokio::time::timeout(Duration::from_millis(10), &mut judging).await;
        assert!(waited.is_err(), "it was there before: make it longer");
        if niceness().into_iter().any(|nice| nice >= 5) {
            let nice = |stat: &str| {
                let rest = stat.rsplit_once(')').unwrap().1;
                rest.split_whitespace().nth(16).map(str::to_owned)
            };
            assert_eq!(nice(&before), nice(&own()), "the server itself does not");
            return;
        }
    }
    panic!("no child stands back: {:?}", niceness());
}

/// Whoever does not wait for the answer does not leave the work behind.
#[tokio::test]
async fn a_judgement_that_nobody_waits_for_ends() {
    let (folder, judge) = judge(|_| ());
    let judging = judge.judge(many_functions(60_000));
    let waited = tokio::time::timeout(Duration::from_millis(700), judging).await;
    assert!(waited.is_err(), "it was there before: make it longer");
    let processes = folder.path().join("processes");
    let left = || std::fs::read_dir(&processes).unwrap().count();
    for _ in 0..100 {
        if left() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} folders of processes are left", left());
}

#[test]
fn values_that_pass_for_a_byte_are_counted() {
    let wide = |body: &str| {
        let values = "i32 ".repeat(1_000);
        let locals: String = (0..1_000).map(|n| format!("local.get {n} ")).collect();
        let text = format!(
            "(component (core module (func (param {values}) (result {values}) {locals} {body})))"
        );
        inspect(&wat::parse_str(text).unwrap())
    };
    // It is nothing but a component without a world.
    assert_eq!(wide(""), Err(InspectError::NoWorld));
    assert_eq!(wide("call 0 call 0"), Err(InspectError::NoWorld));
    for body in [
        "call 0 ".repeat(50),
        format!("i32.const 0 br_table {} 0", "0 ".repeat(100)),
        "(block (type 0)) ".repeat(40),
    ] {
        let refused = wide(&body);
        assert!(
            matches!(refused, Err(InspectError::TooComplex(_))),
            "{refused:?}"
        );
    }
}

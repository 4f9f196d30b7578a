//! Large modules on a node that has the memory to compile one of them at a time.

use serde_json::json;

use crate::platform::{TestPlatform, echo, echo_definition};

/// Functions of which compiling takes more than the least that is kept for any module.
const FUNCTIONS: u32 = 60_000;
/// What the runs take, in MiB.
const RUN_MIB: u32 = 64;

/// A number as WebAssembly writes it (LEB128).
fn number(mut n: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 127 {
        bytes.push((n & 127) as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let length = number(content.len().try_into().unwrap());
    [&[id][..], &length, content].concat()
}

/// The module `echo` with a part beside it that nobody uses: so many functions that answer their argument.
fn large(functions: u32) -> Vec<u8> {
    let count = number(functions);
    let all = |one: &[u8]| [count.clone(), one.repeat(functions as usize)].concat();
    let part = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]), // one type: i32 to i32
        section(3, &all(&[0])),
        section(10, &all(&[4, 0, 0x20, 0, 0x0b])), // `local.get 0`
    ];
    [echo(), section(1, &part.concat())].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_large_modules_are_compiled_where_there_is_memory_for_one() {
    let mut platform = TestPlatform::start().await;
    let mut modules = Vec::new();
    for n in 0..2 {
        let pushed = platform
            .requester
            .push_module("large", large(FUNCTIONS + n));
        modules.push(pushed.await.unwrap());
    }
    let most = modules.iter().map(|module| module.compile_mib).max();
    let least = modules.iter().map(|module| module.compile_mib).min();
    let (most, least) = (most.unwrap(), least.unwrap());
    assert!(least > RUN_MIB * 2 && 2 * least > most + RUN_MIB);
    // One is compiled while the other runs, and there is no room for more.
    let memory_mib = (most + RUN_MIB).to_string();
    let node = platform
        .node(&["--memory-mib", &memory_mib, "--slots", "2"])
        .await;
    let mut tasks = Vec::new();
    for module in &modules {
        let definition = echo_definition(&module.digest, json!({"spin": 200}), json!({}));
        let submitted = platform.requester.submit_task(&definition, None).await;
        tasks.push(submitted.unwrap().id);
    }
    let mut times = Vec::new();
    for id in &tasks {
        let task = platform.ended(id).await;
        assert_eq!(task.state, "settled", "{task:#?}\n{}", node.log());
        let [run] = &task.assignments[..] else {
            panic!("one of its leases was lost: {task:#?}\n{}", node.log())
        };
        times.push((run.leased_at.clone(), run.started_at.clone().unwrap()));
    }
    times.sort();
    assert!(
        times[1].0 >= times[0].1,
        "the second was leased before the first was compiled: {times:?}"
    );
}

//! What is worth publishing of a real GPU only: how long a dispatch takes, and matrices a second in single and half precision,
//! beside native wgpu and beside cuBLAS, called by PyTorch where that can be imported.

use std::process::Command;

use anyhow::Result;

use super::{Bench, PEER, Pair, Work, plan};
use crate::figure::Figure;

/// Products of one round: milliseconds each on a small GPU.
const REPEAT: usize = 200;

/// Prints seconds of one product, the middle of five rounds.
const TORCH: &str = "
import sys, time
try:
    import torch
except ImportError:
    sys.exit('torch can not be imported')
if not torch.cuda.is_available():
    sys.exit('torch has no CUDA')
side, repeat, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# Single precision as WebGPU has it, not TF32.
torch.backends.cuda.matmul.allow_tf32 = False
a, b = (torch.rand(side, side, device='cuda', dtype=getattr(torch, kind)) for _ in range(2))
rounds = []
for _ in range(6):
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeat):
        a @ b
        torch.cuda.synchronize()
    rounds.append((time.perf_counter() - start) / repeat)
print(sorted(rounds[1:])[2])
";

/// Adds the figures; says in a few words what became of them.
pub(super) async fn measure(bench: &mut Bench) -> Result<String> {
    if bench.is_software() {
        return Ok("skipped: no hardware adapter".into());
    }
    let mut said = vec!["measured".to_owned()];
    let work = |name: &str, guest, plan, repeat| Work {
        name: name.into(),
        guest,
        dispatches: 1,
        plan,
        repeat,
        target: None,
    };
    let latency = work(
        "hardware.dispatch-latency",
        "empty",
        plan::empty(1),
        10 * REPEAT,
    );
    let Pair { guest_s, native_s } = bench.measure(&latency).await?;
    bench.add(
        Figure::of(super::BENCH, latency.name, guest_s * 1e6, "us").beside(PEER, native_s * 1e6),
    );
    let mut kinds = vec![("f32", "float32", "matmul", plan::matmul())];
    if bench
        .adapter
        .features
        .iter()
        .any(|name| name == "shader-f16")
    {
        kinds.push(("f16", "float16", "matmul-f16", plan::matmul_f16()));
    } else {
        said.push("no f16: the adapter lacks shader-f16".into());
    }
    for (kind, dtype, guest, plan) in kinds {
        let gflops = plan.flops / 1e9;
        let work = work(&format!("hardware.matmul-{kind}"), guest, plan, REPEAT);
        let Pair { guest_s, native_s } = bench.measure(&work).await?;
        let figure = |peer: &str, peer_s: f64| {
            Figure::of(super::BENCH, work.name.clone(), gflops / guest_s, "GFLOP/s")
                .beside(peer, gflops / peer_s)
        };
        bench.add(figure(PEER, native_s));
        match torch(dtype) {
            Ok(torch_s) => bench.add(figure("cuBLAS by PyTorch", torch_s)),
            Err(reason) => said.push(format!("no cuBLAS: {reason}")),
        }
    }
    Ok(said.join("; "))
}

/// Seconds of one product by PyTorch, or why not.
fn torch(dtype: &str) -> Result<f64, String> {
    let arguments = [&plan::SIDE.to_string(), &REPEAT.to_string(), dtype];
    let output = Command::new("python3")
        .args(["-c", TORCH])
        .args(arguments)
        .output()
        .map_err(|error| format!("python3 can't be started ({error})"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => text(&output.stdout)
            .parse()
            .map_err(|_| "torch answered nonsense".to_owned()),
        false => Err(text(&output.stderr)),
    }
}

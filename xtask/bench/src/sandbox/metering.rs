//! What metering and determinism cost loops that do nothing else: the same code compiled with and without, in turns.

use std::time::Instant;

use aevir_sandbox::{limits::ceiling, measure::engine};
use anyhow::{Result, ensure};
use wasmtime::{Instance, Module, Store, TypedFunc};

use super::{BENCH, Bench, plain_error};
use crate::figure::{Figure, Target, median};

const KERNELS: &str = include_str!("kernels.wat");
/// The most that metering may cost.
const METERED_AT_MOST: f64 = 1.3;

/// A function of `kernels.wat`, how often it does its work for about 20 ms, and what its cost is held to.
struct Kernel {
    name: &'static str,
    times: i32,
    target: Option<Target>,
}

const fn metered(name: &'static str, times: i32) -> Kernel {
    Kernel {
        name,
        times,
        target: Some(Target::RatioAtMost(METERED_AT_MOST)),
    }
}

const INTEGERS: [Kernel; 3] = [
    metered("sha256", 60),
    metered("matmul-i32", 10),
    metered("sort", 4),
];
const FLOATS: [Kernel; 2] = [
    Kernel {
        name: "mandelbrot-f64",
        times: 20,
        target: None,
    },
    Kernel {
        name: "axpy-f32",
        times: 1_000,
        target: None,
    },
];

/// The kernels under one configuration.
struct Compiled {
    store: Store<()>,
    instance: Instance,
    is_metered: bool,
}

impl Compiled {
    fn new(wasm: &[u8], is_metered: bool, is_canonical: bool) -> wasmtime::Result<Self> {
        let engine = &engine(is_metered, is_canonical)?;
        let module = Module::new(engine, wasm)?;
        let mut store = Store::new(engine, ());
        if is_metered {
            store.set_fuel(ceiling::FUEL)?;
        }
        let instance = Instance::new(&mut store, &module, &[])?;
        Ok(Self {
            store,
            instance,
            is_metered,
        })
    }

    /// Seconds, and the check of the result.
    fn time(&mut self, kernel: &Kernel) -> wasmtime::Result<(f64, i32)> {
        let run: TypedFunc<i32, i32> =
            self.instance.get_typed_func(&mut self.store, kernel.name)?;
        if self.is_metered {
            self.store.set_fuel(ceiling::FUEL)?;
        }
        let started = Instant::now();
        let check = run.call(&mut self.store, kernel.times)?;
        Ok((started.elapsed().as_secs_f64(), check))
    }

    /// Fuel of the last call.
    fn fuel(&self) -> wasmtime::Result<u64> {
        Ok(ceiling::FUEL - self.store.get_fuel()?)
    }
}

pub(super) fn measure(bench: &mut Bench) -> Result<()> {
    bench.say("metering and determinism");
    let wasm = wat::parse_str(KERNELS)?;
    let mut plain = plain_error(Compiled::new(&wasm, false, false))?;
    let mut metered = plain_error(Compiled::new(&wasm, true, false))?;
    let mut full = plain_error(Compiled::new(&wasm, true, true))?;
    for kernel in INTEGERS.iter().chain(&FLOATS) {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..bench.rounds(40) {
            let (plain_s, expected) = plain_error(plain.time(kernel))?;
            let (metered_s, check) = plain_error(metered.time(kernel))?;
            ensure!(check == expected, "{} computes otherwise", kernel.name);
            let fuel = plain_error(metered.fuel())?;
            let (full_s, check) = plain_error(full.time(kernel))?;
            ensure!(check == expected, "{} computes otherwise", kernel.name);
            ensure!(
                plain_error(full.fuel())? == fuel,
                "{}: the fuel differs",
                kernel.name
            );
            for (times, seconds) in times.iter_mut().zip([plain_s, metered_s, full_s]) {
                times.push(seconds * 1e3);
            }
        }
        let [plain_ms, metered_ms, full_ms] = times.map(median);
        let name = kernel.name;
        let figure = Figure::of(BENCH, format!("metering.{name}"), metered_ms, "ms")
            .beside("without fuel", plain_ms);
        bench.add(match kernel.target {
            Some(target) => figure.target(target),
            None => figure,
        });
        bench.add(
            Figure::of(BENCH, format!("deterministic.{name}"), full_ms, "ms")
                .beside("without fuel and canonical NaNs", plain_ms),
        );
    }
    Ok(())
}

//! `aevir:task/context`: inputs, outputs, and everything a guest says.

use std::time::{Duration, Instant};

use aevir_gpu::error::cut;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

use super::bindings::context::{IoError, Level};
use super::files::is_name;
use super::{Answer, CONTEXT, Host, Stop, charge, price, push};
use crate::limits::CHUNK_BYTES_MAX;
use crate::outcome::{self, MetricValue, RunEvent};

/// Least time between two progress reports that are passed on; the newest is never lost.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Most bytes of a name that is repeated to the guest that said it.
const ECHO_BYTES_MAX: usize = 256;
/// Millionths in a whole.
const MICRO: f64 = 1_000_000.0;
/// Magnitude from which a metric in millionths no longer fits 64 bits.
const METRIC_MICRO_END: f64 = 9_223_372_036_854_775_808.0;

/// A handle of an input: its number in the run's files.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Input(usize);

/// A handle of an output.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Output(usize);

/// Holds progress back that comes too fast.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    last: Option<Instant>,
    held: Option<RunEvent>,
}

type Store<'a> = StoreContextMut<'a, Host>;

/// Registers the interface.
pub(crate) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance(CONTEXT.name)?;
    i.resource("input", ResourceType::host::<Input>(), |mut s, rep| {
        s.data_mut().table.delete(Resource::<Input>::new_own(rep))?;
        Ok(())
    })?;
    i.resource("output", ResourceType::host::<Output>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<Output>::new_own(rep))?;
        Ok(())
    })?;
    i.func_wrap("params", |mut s: Store<'_>, (): ()| {
        let len = s.data().spec.params.len() as u64;
        charge(&mut s, price::CALL + len / price::READ_BYTES_PER_UNIT)?;
        Ok((s.data().spec.params.clone(),))
    })?;
    i.func_wrap("seed", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((s.data().spec.seed,))
    })?;
    i.func_wrap("now", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((s.data().spec.limits.fuel.saturating_sub(s.get_fuel()?),))
    })?;
    i.func_wrap("[static]input.open", |s: Store<'_>, (name,): (String,)| {
        open(s, name)
    })?;
    i.func_wrap(
        "[method]input.size",
        |mut s: Store<'_>, (this,): (Resource<Input>,)| {
            charge(&mut s, price::CALL)?;
            let host = s.data();
            Ok((host.files.input_size(host.table.get(&this)?.0),))
        },
    )?;
    i.func_wrap(
        "[method]input.read",
        |s: Store<'_>, (this, offset, len): (Resource<Input>, u64, u32)| {
            read(s, &this, offset, len)
        },
    )?;
    i.func_wrap(
        "[static]output.create",
        |s: Store<'_>, (name,): (String,)| create(s, name),
    )?;
    i.func_wrap(
        "[method]output.write",
        |s: Store<'_>, (this, bytes): (Resource<Output>, WasmList<u8>)| write(s, &this, &bytes),
    )?;
    i.func_wrap("log", |s: Store<'_>, (level, text): (Level, String)| {
        log(s, level, text)
    })?;
    i.func_wrap("progress", |s: Store<'_>, (ppm, note): (u32, String)| {
        progress(s, ppm, note)
    })?;
    i.func_wrap(
        "metric",
        |s: Store<'_>, (name, step, value): (String, u64, f64)| metric(s, name, step, value),
    )?;
    i.func_wrap(
        "save-checkpoint",
        |s: Store<'_>, (bytes,): (WasmList<u8>,)| save_checkpoint(s, &bytes),
    )?;
    i.func_wrap("last-checkpoint", |s: Store<'_>, (): ()| last_checkpoint(s))
}

fn open(mut s: Store<'_>, name: String) -> Answer<Result<Resource<Input>, IoError>> {
    charge(&mut s, price::OPEN + price::WRITE_BYTE * name.len() as u64)?;
    let host = s.data_mut();
    Ok((match host.files.open_input(&name) {
        Some(index) => Ok(push(host, Input(index))?),
        None => Err(IoError::NotFound(echo(name))),
    },))
}

fn read(
    mut s: Store<'_>,
    this: &Resource<Input>,
    offset: u64,
    len: u32,
) -> Answer<Result<Vec<u8>, IoError>> {
    charge(&mut s, price::CALL)?;
    let host = s.data();
    let index = host.table.get(this)?.0;
    let Some(rest) = host.files.input_size(index).checked_sub(offset) else {
        return Ok((Err(IoError::OutOfRange),));
    };
    if len as usize > CHUNK_BYTES_MAX {
        return Ok((Err(IoError::OutOfRange),));
    }
    let len = u64::from(len).min(rest);
    charge(&mut s, len / price::READ_BYTES_PER_UNIT)?;
    // At most CHUNK_BYTES_MAX, so it fits.
    Ok((Ok(s.data().files.read_input(
        index,
        offset,
        len as usize,
    )?),))
}

fn create(mut s: Store<'_>, name: String) -> Answer<Result<Resource<Output>, IoError>> {
    charge(&mut s, price::OPEN + price::WRITE_BYTE * name.len() as u64)?;
    let host = s.data_mut();
    if !is_name(&name) {
        return Ok((Err(IoError::InvalidName(echo(name))),));
    }
    Ok((match new_output(host, &name)? {
        Some(index) => Ok(push(host, Output(index))?),
        None => Err(IoError::InvalidName(name)),
    },))
}

/// Makes an output; answers its number, or nothing if the name is taken. The name was checked.
pub(crate) fn new_output(host: &mut Host, name: &str) -> Result<Option<usize>, Stop> {
    if host.files.outputs() >= host.spec.limits.outputs as usize {
        return Err(Stop::limit("outputs", host.spec.limits.outputs.into()));
    }
    host.files.create_output(name)
}

fn write(
    mut s: Store<'_>,
    this: &Resource<Output>,
    bytes: &WasmList<u8>,
) -> Answer<Result<(), IoError>> {
    charge(&mut s, price::CALL)?;
    if bytes.len() > CHUNK_BYTES_MAX {
        return Ok((Err(IoError::OutOfRange),));
    }
    charge(&mut s, price::WRITE_BYTE * bytes.len() as u64)?;
    let bytes = bytes.as_le_slice(&s).to_vec();
    let host = s.data_mut();
    let index = host.table.get(this)?.0;
    host.files
        .write_output(index, &bytes, host.spec.limits.output_bytes)?;
    Ok((Ok(()),))
}

fn log(mut s: Store<'_>, level: Level, text: String) -> wasmtime::Result<()> {
    charge(
        &mut s,
        price::MESSAGE + price::WRITE_BYTE * text.len() as u64,
    )?;
    let level = match level {
        Level::Debug => outcome::Level::Debug,
        Level::Info => outcome::Level::Info,
        Level::Warn => outcome::Level::Warn,
        Level::Error => outcome::Level::Error,
    };
    Ok(say(s.data_mut(), level, text)?)
}

/// Passes a log line on, or counts it where there were enough.
pub(crate) fn say(host: &mut Host, level: outcome::Level, text: String) -> Result<(), Stop> {
    host.said.count();
    if host.counts.log_lines >= host.spec.limits.log_lines {
        host.counts.log_lines_dropped += 1;
        return Ok(());
    }
    host.counts.log_lines += 1;
    let text = cut(text, host.spec.limits.log_line_bytes as usize);
    host.emit(RunEvent::Log { level, text })
}

fn progress(mut s: Store<'_>, ppm: u32, note: String) -> wasmtime::Result<()> {
    charge(
        &mut s,
        price::MESSAGE + price::WRITE_BYTE * note.len() as u64,
    )?;
    let host = s.data_mut();
    host.throttle.held = Some(RunEvent::Progress {
        ppm: ppm.min(1_000_000),
        note: cut(note, host.spec.limits.log_line_bytes as usize),
    });
    let due = host
        .throttle
        .last
        .is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL);
    if due && host.counts.progress_events < host.spec.limits.progress_events {
        host.throttle.last = Some(Instant::now());
        flush_progress(host)?;
    }
    Ok(())
}

/// Passes on the newest progress report, if it was held back.
pub(crate) fn flush_progress(host: &mut Host) -> Result<(), Stop> {
    match host.throttle.held.take() {
        Some(event) => {
            host.counts.progress_events += 1;
            host.emit(event)
        }
        None => Ok(()),
    }
}

fn metric(mut s: Store<'_>, name: String, step: u64, value: f64) -> wasmtime::Result<()> {
    charge(
        &mut s,
        price::MESSAGE + price::WRITE_BYTE * name.len() as u64,
    )?;
    let host = s.data_mut();
    if !is_name(&name) {
        let name = echo(name);
        return Err(Stop::Interface(format!(
            "`{name}` is no name for a metric: use [A-Za-z0-9._-]{{1,64}}"
        ))
        .into());
    }
    let micro = (value * MICRO).round();
    if !(-METRIC_MICRO_END..METRIC_MICRO_END).contains(&micro) {
        return Err(Stop::Interface(format!(
            "the metric `{name}` is not a finite number in range: {value}"
        ))
        .into());
    }
    if host.counts.metric_events >= host.spec.limits.metric_events {
        return Err(Stop::limit("metrics", host.spec.limits.metric_events).into());
    }
    host.counts.metric_events += 1;
    if !host.metrics.contains_key(&name)
        && host.metrics.len() >= host.spec.limits.metric_names as usize
    {
        return Err(Stop::limit("metric-names", host.spec.limits.metric_names.into()).into());
    }
    let metric = MetricValue {
        name: name.clone(),
        step,
        micro: micro as i64, // in range, and a whole number
    };
    host.metrics.insert(name, metric.clone());
    Ok(host.emit(RunEvent::Metric(metric))?)
}

fn save_checkpoint(mut s: Store<'_>, bytes: &WasmList<u8>) -> Answer<Result<(), IoError>> {
    charge(&mut s, price::MESSAGE)?;
    if bytes.len() as u64 > s.data().spec.limits.checkpoint_bytes {
        return Ok((Err(IoError::OutOfRange),));
    }
    charge(&mut s, price::WRITE_BYTE * bytes.len() as u64)?;
    let bytes = bytes.as_le_slice(&s).to_vec();
    let host = s.data_mut();
    if host.files.checkpoints_saved() >= host.spec.limits.checkpoints {
        return Err(Stop::limit("checkpoints", host.spec.limits.checkpoints.into()).into());
    }
    let total_max = host.spec.limits.checkpoint_total_bytes;
    let saved = host.files.save_checkpoint(&bytes, total_max)?;
    host.emit(RunEvent::Checkpoint {
        path: saved.path,
        digest: saved.digest,
        size: saved.size,
    })?;
    Ok((Ok(()),))
}

fn last_checkpoint(mut s: Store<'_>) -> Answer<Option<Vec<u8>>> {
    charge(&mut s, price::CALL)?;
    let Some(size) = s.data().files.checkpoint_size()? else {
        return Ok((None,));
    };
    let max = s.data().spec.limits.checkpoint_bytes;
    if size > max {
        return Err(Stop::Host(format!(
            "the checkpoint is {size} bytes; at most {max} are allowed"
        ))
        .into());
    }
    charge(&mut s, size / price::READ_BYTES_PER_UNIT)?;
    Ok((s.data().files.read_checkpoint()?,))
}

/// A name as it is repeated in an answer: nobody needs megabytes of it to know which was meant.
fn echo(name: String) -> String {
    cut(name, ECHO_BYTES_MAX)
}

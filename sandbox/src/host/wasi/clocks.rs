//! `wasi:clocks` and `wasi:io/poll`: time is the fuel used, a unit a nanosecond, and begins at 1970-01-01. Who waits pays for the
//! time as if it had been worked; the host never sleeps.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::bindings::Datetime;
use crate::host::{Host, Stop, charge, price, push};

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// What can be waited for.
#[derive(Debug, Clone, Copy)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Pollable {
    /// Streams are always ready: files and messages don't wait.
    Ready,
    /// A moment of virtual time.
    At(u64),
}

type Store<'a> = StoreContextMut<'a, Host>;

/// Registers the interfaces.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:io/poll@0.2.12")?;
    i.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete(Resource::<Pollable>::new_own(rep))?;
            Ok(())
        },
    )?;
    i.func_wrap(
        "[method]pollable.ready",
        |mut s: Store<'_>, (this,): (Resource<Pollable>,)| {
            charge(&mut s, price::CALL)?;
            let pollable = *s.data().table.get(&this)?;
            Ok((is_ready(pollable, now(&s)?),))
        },
    )?;
    i.func_wrap(
        "[method]pollable.block",
        |mut s: Store<'_>, (this,): (Resource<Pollable>,)| {
            charge(&mut s, price::CALL)?;
            let pollable = *s.data().table.get(&this)?;
            wait(&mut s, pollable)
        },
    )?;
    i.func_wrap(
        "poll",
        |s: Store<'_>, (pollables,): (Vec<Resource<Pollable>>,)| poll(s, &pollables),
    )?;

    let mut i = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    i.func_wrap("now", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((now(&s)?,))
    })?;
    i.func_wrap("resolution", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((1_u64,))
    })?;
    i.func_wrap("subscribe-instant", |mut s: Store<'_>, (when,): (u64,)| {
        charge(&mut s, price::CALL)?;
        Ok((push(s.data_mut(), Pollable::At(when))?,))
    })?;
    i.func_wrap("subscribe-duration", |mut s: Store<'_>, (span,): (u64,)| {
        charge(&mut s, price::CALL)?;
        let when = now(&s)?.saturating_add(span);
        Ok((push(s.data_mut(), Pollable::At(when))?,))
    })?;

    let mut i = linker.instance("wasi:clocks/wall-clock@0.2.12")?;
    i.func_wrap("now", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((datetime(now(&s)?),))
    })?;
    i.func_wrap("resolution", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        Ok((datetime(1),))
    })
}

fn datetime(nanoseconds: u64) -> Datetime {
    Datetime {
        seconds: nanoseconds / NANOSECONDS_PER_SECOND,
        // Below a billion, so it fits.
        nanoseconds: (nanoseconds % NANOSECONDS_PER_SECOND) as u32,
    }
}

/// The fuel used so far.
fn now(s: &Store<'_>) -> wasmtime::Result<u64> {
    Ok(s.data().spec.limits.fuel.saturating_sub(s.get_fuel()?))
}

fn is_ready(pollable: Pollable, now: u64) -> bool {
    match pollable {
        Pollable::Ready => true,
        Pollable::At(when) => when <= now,
    }
}

/// Lets time pass until `pollable` is ready.
fn wait(s: &mut Store<'_>, pollable: Pollable) -> wasmtime::Result<()> {
    match pollable {
        Pollable::Ready => Ok(()),
        Pollable::At(when) => {
            let span = when.saturating_sub(now(s)?);
            charge(s, span)
        }
    }
}

/// The numbers of those that are ready; if none is, after waiting for the first.
fn poll(mut s: Store<'_>, waited: &[Resource<Pollable>]) -> wasmtime::Result<(Vec<u32>,)> {
    charge(&mut s, price::CALL + price::HANDLE * waited.len() as u64)?;
    let get = |handle| s.data().table.get(handle).copied();
    let pollables: Vec<Pollable> = waited.iter().map(get).collect::<Result<_, _>>()?;
    let moment = |pollable: &Pollable| match pollable {
        Pollable::Ready => 0,
        Pollable::At(when) => *when,
    };
    let Some(first) = pollables.iter().min_by_key(|p| moment(p)) else {
        return Err(Stop::Interface("`poll` of nothing would wait for ever".into()).into());
    };
    wait(&mut s, *first)?;
    let now = now(&s)?;
    let ready = (0_u32..)
        .zip(&pollables)
        .filter(|(_, p)| is_ready(**p, now));
    Ok((ready.map(|(i, _)| i).collect(),))
}

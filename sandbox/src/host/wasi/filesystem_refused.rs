//! The functions of `wasi:filesystem/types` that change what a program may only read.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use super::bindings::files::{ErrorCode, NewTimestamp, PathFlags};
use super::filesystem::Descriptor;
use crate::host::{Answer, Host, charge, price};

type Store<'a> = StoreContextMut<'a, Host>;
type This = Resource<Descriptor>;

/// Registers them: each answers `read-only`.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:filesystem/types@0.2.12")?;
    i.func_wrap(
        "[method]descriptor.set-size",
        |s: Store<'_>, (this, _): (This, u64)| refuse(s, &this),
    )?;
    i.func_wrap(
        "[method]descriptor.set-times",
        |s: Store<'_>, (this, _, _): (This, NewTimestamp, NewTimestamp)| refuse(s, &this),
    )?;
    i.func_wrap(
        "[method]descriptor.set-times-at",
        |s: Store<'_>,
         (this, _, _, _, _): (This, PathFlags, String, NewTimestamp, NewTimestamp)| {
            refuse(s, &this)
        },
    )?;
    for name in [
        "create-directory-at",
        "remove-directory-at",
        "unlink-file-at",
    ] {
        i.func_wrap(
            &format!("[method]descriptor.{name}"),
            |s: Store<'_>, (this, _): (This, String)| refuse(s, &this),
        )?;
    }
    i.func_wrap(
        "[method]descriptor.link-at",
        |s: Store<'_>, (this, _, _, _, _): (This, PathFlags, String, This, String)| {
            refuse(s, &this)
        },
    )?;
    i.func_wrap(
        "[method]descriptor.rename-at",
        |s: Store<'_>, (this, _, _, _): (This, String, This, String)| refuse(s, &this),
    )?;
    i.func_wrap(
        "[method]descriptor.symlink-at",
        |s: Store<'_>, (this, _, _): (This, String, String)| refuse(s, &this),
    )
}

fn refuse(mut s: Store<'_>, this: &This) -> Answer<Result<(), ErrorCode>> {
    charge(&mut s, price::CALL)?;
    s.data().table.get(this)?;
    Ok((Err(ErrorCode::ReadOnly),))
}

//! `aevir:task/compute`: the guest's GPU objects, over one [`aevir_gpu::Session`].

use aevir_gpu::error::limit;
use aevir_gpu::{Buffer, GpuError, Kernel, Session};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

use super::bindings::compute::{Constant, DeviceLimits, Error};
use super::{Answer, COMPUTE, Host, charge, price, push};
use crate::limits::CHUNK_BYTES_MAX;

/// A handle of a batch; empty once it was submitted.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Batch(Option<aevir_gpu::Batch>);

type Store<'a> = StoreContextMut<'a, Host>;
type Bindings = Vec<Resource<Buffer>>;
type CopyArguments = (
    Resource<Batch>,
    Resource<Buffer>,
    u64,
    Resource<Buffer>,
    u64,
    u64,
);

/// Registers the interface.
pub(crate) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance(COMPUTE.name)?;
    i.resource("buffer", ResourceType::host::<Buffer>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<Buffer>::new_own(rep))?;
        Ok(())
    })?;
    i.resource("kernel", ResourceType::host::<Kernel>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<Kernel>::new_own(rep))?;
        Ok(())
    })?;
    i.resource("batch", ResourceType::host::<Batch>(), |mut s, rep| {
        s.data_mut().table.delete(Resource::<Batch>::new_own(rep))?;
        Ok(())
    })?;
    i.func_wrap("limits", |s: Store<'_>, (): ()| limits(s))?;
    i.func_wrap("features", |s: Store<'_>, (): ()| features(s))?;
    i.func_wrap("[static]buffer.new", |s: Store<'_>, (size,): (u64,)| {
        new_buffer(s, size)
    })?;
    i.func_wrap(
        "[method]buffer.size",
        |mut s: Store<'_>, (this,): (Resource<Buffer>,)| {
            charge(&mut s, price::CALL)?;
            Ok((s.data().table.get(&this)?.size(),))
        },
    )?;
    i.func_wrap(
        "[method]buffer.write",
        |s: Store<'_>, (this, offset, bytes): (Resource<Buffer>, u64, WasmList<u8>)| {
            write(s, &this, offset, &bytes)
        },
    )?;
    i.func_wrap(
        "[method]buffer.read",
        |s: Store<'_>, (this, offset, len): (Resource<Buffer>, u64, u32)| {
            read(s, &this, offset, len)
        },
    )?;
    i.func_wrap(
        "[static]kernel.new",
        |s: Store<'_>, (wgsl, entry, constants): (String, String, Vec<Constant>)| {
            new_kernel(s, &wgsl, &entry, constants)
        },
    )?;
    i.func_wrap("[static]batch.new", |s: Store<'_>, (): ()| new_batch(s))?;
    i.func_wrap(
        "[method]batch.dispatch",
        |s: Store<'_>,
         (this, kernel, bindings, x, y, z): (
            Resource<Batch>,
            Resource<Kernel>,
            Bindings,
            u32,
            u32,
            u32,
        )| { dispatch(s, &this, &kernel, &bindings, [x, y, z]) },
    )?;
    i.func_wrap(
        "[method]batch.copy",
        |s: Store<'_>, arguments: CopyArguments| copy(s, &arguments),
    )?;
    i.func_wrap(
        "[method]batch.submit",
        |s: Store<'_>, (this,): (Resource<Batch>,)| submit(s, &this),
    )
}

/// The interface's error for a session's.
fn error(error: GpuError) -> Error {
    match error {
        GpuError::Validation(text) => Error::Validation(text),
        GpuError::OutOfMemory
        | GpuError::Limit {
            limit: limit::MEMORY,
            ..
        } => Error::OutOfMemory,
        GpuError::Limit { limit, .. } => Error::Limit(limit.to_owned()),
        GpuError::Timeout { .. } => Error::Timeout,
        GpuError::DeviceLost(_) => Error::DeviceLost,
    }
}

fn session(host: &mut Host) -> Result<&mut Session, Error> {
    host.gpu.as_deref_mut().ok_or(Error::Unavailable)
}

fn limits(mut s: Store<'_>) -> Answer<Result<DeviceLimits, Error>> {
    charge(&mut s, price::CALL)?;
    Ok((session(s.data_mut()).map(|session| {
        let limits = session.device_limits();
        DeviceLimits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffers_per_kernel: limits.max_storage_buffers_per_kernel,
            max_workgroup_size_x: limits.max_workgroup_size_x,
            max_workgroup_size_y: limits.max_workgroup_size_y,
            max_workgroup_size_z: limits.max_workgroup_size_z,
            max_invocations_per_workgroup: limits.max_invocations_per_workgroup,
            max_workgroups_per_dimension: limits.max_workgroups_per_dimension,
            max_workgroup_storage_size: limits.max_workgroup_storage_size,
        }
    }),))
}

fn features(mut s: Store<'_>) -> Answer<Result<Vec<String>, Error>> {
    charge(&mut s, price::CALL)?;
    let granted = |session: &mut Session| session.features().map(str::to_owned).collect();
    Ok((session(s.data_mut()).map(granted),))
}

fn new_buffer(mut s: Store<'_>, size: u64) -> Answer<Result<Resource<Buffer>, Error>> {
    charge(&mut s, price::BUFFER)?;
    let host = s.data_mut();
    let made = session(host).and_then(|session| session.create_buffer(size).map_err(error));
    Ok((match made {
        Ok(buffer) => Ok(push(host, buffer)?),
        Err(error) => Err(error),
    },))
}

fn write(
    mut s: Store<'_>,
    this: &Resource<Buffer>,
    offset: u64,
    bytes: &WasmList<u8>,
) -> Answer<Result<(), Error>> {
    charge(&mut s, price::CALL)?;
    if bytes.len() > CHUNK_BYTES_MAX {
        return Ok((Err(too_long(bytes.len())),));
    }
    charge(&mut s, price::WRITE_BYTE * bytes.len() as u64)?;
    let buffer = s.data().table.get(this)?.clone();
    // Out of the store while the bytes are borrowed from it, which spares a copy of them.
    let Some(mut session) = s.data_mut().gpu.take() else {
        return Ok((Err(Error::Unavailable),));
    };
    let written = session.write(&buffer, offset, bytes.as_le_slice(&s));
    s.data_mut().gpu = Some(session);
    Ok((written.map_err(error),))
}

fn read(
    mut s: Store<'_>,
    this: &Resource<Buffer>,
    offset: u64,
    len: u32,
) -> Answer<Result<Vec<u8>, Error>> {
    charge(&mut s, price::CALL)?;
    if len as usize > CHUNK_BYTES_MAX {
        return Ok((Err(too_long(len as usize)),));
    }
    charge(&mut s, u64::from(len) / price::READ_BYTES_PER_UNIT)?;
    let host = s.data_mut();
    let buffer = host.table.get(this)?.clone();
    Ok((session(host).and_then(|session| session.read(&buffer, offset, len).map_err(error)),))
}

fn too_long(len: usize) -> Error {
    Error::Validation(format!(
        "{len} bytes in one call; at most {CHUNK_BYTES_MAX} are allowed"
    ))
}

fn new_kernel(
    mut s: Store<'_>,
    wgsl: &str,
    entry: &str,
    constants: Vec<Constant>,
) -> Answer<Result<Resource<Kernel>, Error>> {
    let names = constants
        .iter()
        .fold(entry.len(), |sum, constant| sum + constant.name.len());
    let names = price::WRITE_BYTE * names as u64 + price::HANDLE * constants.len() as u64;
    charge(&mut s, price::CALL + names)?;
    // A longer source is refused before it is looked at, and costs no more than its copy.
    let most = s.data().spec.limits.gpu.source_bytes as usize;
    let source = price::KERNEL_BYTE * wgsl.len().min(most) as u64;
    charge(&mut s, source + price::WRITE_BYTE * wgsl.len() as u64)?;
    let constants: Vec<_> = constants
        .into_iter()
        .map(|Constant { name, value }| aevir_gpu::Constant { name, value })
        .collect();
    let host = s.data_mut();
    let made = session(host).and_then(|session| {
        session
            .create_kernel(wgsl, entry, &constants)
            .map_err(error)
    });
    Ok((match made {
        Ok(kernel) => Ok(push(host, kernel)?),
        Err(error) => Err(error),
    },))
}

fn new_batch(mut s: Store<'_>) -> Answer<Result<Resource<Batch>, Error>> {
    charge(&mut s, price::CALL)?;
    let host = s.data_mut();
    Ok((match session(host).map(|session| session.create_batch()) {
        Ok(batch) => Ok(push(host, Batch(Some(batch)))?),
        Err(error) => Err(error),
    },))
}

/// Adds to the batch behind a handle, unless it was submitted; a limit that refuses the command is remembered.
fn add_command(
    host: &mut Host,
    this: &Resource<Batch>,
    command: impl FnOnce(&mut aevir_gpu::Batch) -> Result<(), GpuError>,
) -> Answer<Result<(), Error>> {
    let Some(batch) = host.table.get_mut(this)?.0.as_mut() else {
        return Ok((Err(submitted()),));
    };
    let added = command(batch);
    Ok((session(host).and_then(|session| {
        session.note(&added);
        added.map_err(error)
    }),))
}

fn submitted() -> Error {
    Error::Validation("the batch was submitted already".into())
}

fn dispatch(
    mut s: Store<'_>,
    this: &Resource<Batch>,
    kernel: &Resource<Kernel>,
    bindings: &[Resource<Buffer>],
    groups: [u32; 3],
) -> Answer<Result<(), Error>> {
    charge(
        &mut s,
        price::COMMAND + price::HANDLE * bindings.len() as u64,
    )?;
    let host = s.data_mut();
    let kernel = host.table.get(kernel)?.clone();
    if bindings.len() != kernel.bindings() {
        let text = format!(
            "the kernel binds {} buffers, and {} were given",
            kernel.bindings(),
            bindings.len()
        );
        return Ok((Err(Error::Validation(text)),));
    }
    let buffers: Vec<Buffer> = bindings
        .iter()
        .map(|buffer| host.table.get(buffer).cloned())
        .collect::<Result<_, _>>()?;
    let buffers: Vec<&Buffer> = buffers.iter().collect();
    add_command(host, this, |batch| {
        batch.dispatch(&kernel, &buffers, groups)
    })
}

fn copy(mut s: Store<'_>, arguments: &CopyArguments) -> Answer<Result<(), Error>> {
    let (this, src, src_offset, dst, dst_offset, len) = arguments;
    charge(&mut s, price::COMMAND)?;
    let host = s.data_mut();
    let (src, dst) = (host.table.get(src)?.clone(), host.table.get(dst)?.clone());
    add_command(host, this, |batch| {
        batch.copy(&src, *src_offset, &dst, *dst_offset, *len)
    })
}

fn submit(mut s: Store<'_>, this: &Resource<Batch>) -> Answer<Result<(), Error>> {
    charge(&mut s, price::COMMAND)?;
    let host = s.data_mut();
    let Some(batch) = host.table.get_mut(this)?.0.take() else {
        return Ok((Err(submitted()),));
    };
    Ok((session(host).and_then(|session| session.submit(batch).map_err(error)),))
}

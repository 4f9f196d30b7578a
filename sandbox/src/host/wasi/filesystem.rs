//! `wasi:filesystem`: the run's inputs and outputs as files. One folder is given, `/`; in it are `inputs`, to be read at random, and
//! `outputs`, where a new file is written from its beginning to its end. Files have no times, and nothing of the machine's own
//! file system shows.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

use super::bindings::files::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    MetadataHashValue, OpenFlags, PathFlags,
};
use super::filesystem_refused;
use super::streams::{Failure, InputStream, OutputStream};
use super::tree::{self, Lost, Node};
use crate::host::files::is_name;
use crate::host::{Answer, Host, charge, context, price, push};
use crate::limits::CHUNK_BYTES_MAX;

/// An open file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Descriptor {
    /// A folder: its path from the root.
    Folder(String),
    /// An input: its number in the run's files.
    Input(usize),
    /// An output: its number in the run's files.
    Output(usize),
}

/// What is in a folder; `true` for folders. Shared by all who read it: what a run has of names is held once, however many ask.
pub(super) type Listing = Arc<[(String, bool)]>;

/// A folder's list, and how far it was read.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Entries {
    listing: Listing,
    next: usize,
}

type Store<'a> = StoreContextMut<'a, Host>;
type This = Resource<Descriptor>;
type Filed<T> = Answer<Result<T, ErrorCode>>;

/// Registers the interfaces.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:filesystem/preopens@0.2.12")?;
    i.func_wrap("get-directories", |mut s: Store<'_>, (): ()| {
        charge(&mut s, price::CALL)?;
        let root = push(s.data_mut(), Descriptor::Folder(String::new()))?;
        Ok((vec![(root, "/".to_owned())],))
    })?;
    let mut i = linker.instance("wasi:filesystem/types@0.2.12")?;
    i.resource(
        "descriptor",
        ResourceType::host::<Descriptor>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete(Resource::<Descriptor>::new_own(rep))?;
            Ok(())
        },
    )?;
    let entries = ResourceType::host::<Entries>();
    i.resource("directory-entry-stream", entries, |mut s, rep| {
        s.data_mut()
            .table
            .delete(Resource::<Entries>::new_own(rep))?;
        Ok(())
    })?;
    add_folders(linker)?;
    add_contents(linker)?;
    add_facts(linker)?;
    filesystem_refused::add(linker)
}

fn add_folders(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:filesystem/types@0.2.12")?;
    i.func_wrap(
        "[method]descriptor.open-at",
        |s: Store<'_>,
         (this, _, path, open, flags): (This, PathFlags, String, OpenFlags, DescriptorFlags)| {
            open_at(s, &this, &path, open, flags)
        },
    )?;
    i.func_wrap(
        "[method]descriptor.read-directory",
        |s: Store<'_>, (this,): (This,)| read_directory(s, &this),
    )?;
    i.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut s: Store<'_>, (this,): (Resource<Entries>,)| -> Filed<Option<DirectoryEntry>> {
            charge(&mut s, price::CALL)?;
            let entries = s.data_mut().table.get_mut(&this)?;
            let entry = entries.listing.get(entries.next);
            let entry = entry.map(|(name, folder)| DirectoryEntry {
                type_: if *folder {
                    DescriptorType::Directory
                } else {
                    DescriptorType::RegularFile
                },
                name: name.clone(),
            });
            // Past the end it stays there.
            entries.next += usize::from(entry.is_some());
            Ok((Ok(entry),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.readlink-at",
        |mut s: Store<'_>, (this, path): (This, String)| -> Filed<String> {
            // There are no links.
            let found = lookup(&mut s, &this, &path)?;
            Ok((Err(found.err().unwrap_or(ErrorCode::Invalid)),))
        },
    )
}

fn add_contents(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:filesystem/types@0.2.12")?;
    i.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut s: Store<'_>, (this, offset): (This, u64)| -> Filed<Resource<InputStream>> {
            charge(&mut s, price::CALL)?;
            let host = s.data_mut();
            Ok((match *host.table.get(&this)? {
                Descriptor::Input(input) => Ok(push(host, InputStream::File { input, offset })?),
                Descriptor::Output(_) => Err(ErrorCode::BadDescriptor),
                Descriptor::Folder(_) => Err(ErrorCode::IsDirectory),
            },))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.write-via-stream",
        |s: Store<'_>, (this, offset): (This, u64)| append(s, &this, Some(offset)),
    )?;
    i.func_wrap(
        "[method]descriptor.append-via-stream",
        |s: Store<'_>, (this,): (This,)| append(s, &this, None),
    )?;
    i.func_wrap(
        "[method]descriptor.read",
        |s: Store<'_>, (this, len, offset): (This, u64, u64)| read(s, &this, len, offset),
    )?;
    i.func_wrap(
        "[method]descriptor.write",
        |s: Store<'_>, (this, bytes, offset): (This, WasmList<u8>, u64)| {
            write(s, &this, &bytes, offset)
        },
    )?;
    for name in ["sync", "sync-data"] {
        i.func_wrap(
            &format!("[method]descriptor.{name}"),
            |mut s: Store<'_>, (this,): (This,)| -> Filed<()> {
                charge(&mut s, price::CALL)?;
                s.data().table.get(&this)?;
                Ok((Ok(()),))
            },
        )?;
    }
    i.func_wrap(
        "[method]descriptor.advise",
        |mut s: Store<'_>, (this, _, _, _): (This, u64, u64, Advice)| -> Filed<()> {
            charge(&mut s, price::CALL)?;
            s.data().table.get(&this)?;
            Ok((Ok(()),))
        },
    )
}

fn add_facts(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let mut i = linker.instance("wasi:filesystem/types@0.2.12")?;
    i.func_wrap(
        "[method]descriptor.get-flags",
        |mut s: Store<'_>, (this,): (This,)| -> Filed<DescriptorFlags> {
            charge(&mut s, price::CALL)?;
            Ok((Ok(match s.data().table.get(&this)? {
                Descriptor::Folder(_) | Descriptor::Input(_) => DescriptorFlags::READ,
                Descriptor::Output(_) => DescriptorFlags::WRITE,
            }),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.get-type",
        |mut s: Store<'_>, (this,): (This,)| -> Filed<DescriptorType> {
            charge(&mut s, price::CALL)?;
            let host = s.data();
            Ok((Ok(stat(host, host.table.get(&this)?).type_),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.stat",
        |mut s: Store<'_>, (this,): (This,)| -> Filed<DescriptorStat> {
            charge(&mut s, price::CALL)?;
            let host = s.data();
            Ok((Ok(stat(host, host.table.get(&this)?)),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.stat-at",
        |mut s: Store<'_>, (this, _, path): (This, PathFlags, String)| -> Filed<DescriptorStat> {
            let found = lookup(&mut s, &this, &path)?;
            Ok((found.map(|descriptor| stat(s.data(), &descriptor)),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.is-same-object",
        |mut s: Store<'_>, (this, other): (This, This)| {
            charge(&mut s, price::CALL)?;
            let table = &s.data().table;
            Ok((table.get(&this)? == table.get(&other)?,))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.metadata-hash",
        |mut s: Store<'_>, (this,): (This,)| -> Filed<MetadataHashValue> {
            charge(&mut s, price::CALL)?;
            Ok((Ok(metadata_hash(s.data().table.get(&this)?)),))
        },
    )?;
    i.func_wrap(
        "[method]descriptor.metadata-hash-at",
        |mut s: Store<'_>,
         (this, _, path): (This, PathFlags, String)|
         -> Filed<MetadataHashValue> {
            let found = lookup(&mut s, &this, &path)?;
            Ok((found.map(|descriptor| metadata_hash(&descriptor)),))
        },
    )?;
    i.func_wrap(
        "filesystem-error-code",
        |mut s: Store<'_>, (error,): (Resource<Failure>,)| -> Answer<Option<ErrorCode>> {
            charge(&mut s, price::CALL)?;
            s.data().table.get(&error)?;
            Ok((None,))
        },
    )
}

/// What `path` leads to from the open folder `this`. An output that does not exist is `no-entry`.
fn lookup(
    s: &mut Store<'_>,
    this: &This,
    path: &str,
) -> wasmtime::Result<Result<Descriptor, ErrorCode>> {
    let node = match resolve(s, this, path)? {
        Ok(node) => node,
        Err(error) => return Ok(Err(error)),
    };
    let host = s.data_mut();
    let found = match node {
        Node::Folder(path) => Some(Descriptor::Folder(path)),
        Node::Input(name) => host.files.open_input(&name).map(Descriptor::Input),
        Node::Output(name) => host.files.output_named(&name).map(Descriptor::Output),
    };
    Ok(found.ok_or(ErrorCode::NoEntry))
}

fn resolve(
    s: &mut Store<'_>,
    this: &This,
    path: &str,
) -> wasmtime::Result<Result<Node, ErrorCode>> {
    let inputs = s.data().files.input_names().count() as u64;
    charge(s, price::OPEN + path.len() as u64 + price::HANDLE * inputs)?;
    let host = s.data();
    let Descriptor::Folder(base) = host.table.get(this)? else {
        return Ok(Err(ErrorCode::NotDirectory));
    };
    let node = tree::resolve(base, path, host.files.input_names());
    Ok(node.map_err(|lost| match lost {
        Lost::TooLong => ErrorCode::NameTooLong,
        Lost::NotPermitted => ErrorCode::NotPermitted,
        Lost::NoEntry => ErrorCode::NoEntry,
        Lost::NotFolder => ErrorCode::NotDirectory,
    }))
}

fn open_at(
    mut s: Store<'_>,
    this: &This,
    path: &str,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> Filed<This> {
    let creates = open.contains(OpenFlags::CREATE);
    let writes = flags.contains(DescriptorFlags::WRITE) || open.contains(OpenFlags::TRUNCATE);
    let descriptor = match lookup(&mut s, this, path)? {
        Ok(_) if creates && open.contains(OpenFlags::EXCLUSIVE) => {
            return Ok((Err(ErrorCode::Exist),));
        }
        // An output is a new file: one that was written can't be opened to be written anew.
        Ok(Descriptor::Output(_)) if writes => return Ok((Err(ErrorCode::Exist),)),
        Ok(Descriptor::Input(_)) if writes => return Ok((Err(ErrorCode::ReadOnly),)),
        Ok(Descriptor::Folder(_)) if writes => return Ok((Err(ErrorCode::IsDirectory),)),
        Ok(descriptor) => descriptor,
        Err(ErrorCode::NoEntry) if creates => match create(&mut s, this, path)? {
            Ok(descriptor) => descriptor,
            Err(error) => return Ok((Err(error),)),
        },
        Err(error) => return Ok((Err(error),)),
    };
    let is_folder = matches!(descriptor, Descriptor::Folder(_));
    if open.contains(OpenFlags::DIRECTORY) && !is_folder {
        return Ok((Err(ErrorCode::NotDirectory),));
    }
    Ok((Ok(push(s.data_mut(), descriptor)?),))
}

fn create(
    s: &mut Store<'_>,
    this: &This,
    path: &str,
) -> wasmtime::Result<Result<Descriptor, ErrorCode>> {
    let name = match resolve(s, this, path)? {
        Ok(Node::Output(name)) if is_name(&name) => name,
        Ok(Node::Output(_)) => return Ok(Err(ErrorCode::Invalid)),
        // Nothing can be made outside of `/outputs`.
        Ok(_) | Err(_) => return Ok(Err(ErrorCode::ReadOnly)),
    };
    let made = context::new_output(s.data_mut(), &name)?;
    Ok(made.map(Descriptor::Output).ok_or(ErrorCode::Exist))
}

fn read_directory(mut s: Store<'_>, this: &This) -> Filed<Resource<Entries>> {
    let files = &s.data().files;
    let count = files.input_names().count() + files.outputs();
    charge(&mut s, price::OPEN + price::HANDLE * count as u64)?;
    let host = s.data_mut();
    let Descriptor::Folder(folder) = host.table.get(this)? else {
        return Ok((Err(ErrorCode::NotDirectory),));
    };
    let files = &host.files;
    let listing = host.wasi.listings.get(folder, files.outputs(), || {
        tree::entries(folder, files.input_names(), files.output_names())
    });
    Ok((Ok(push(host, Entries { listing, next: 0 })?),))
}

/// A stream that appends to an output. `offset`: where the program thinks that its end is.
fn append(mut s: Store<'_>, this: &This, offset: Option<u64>) -> Filed<Resource<OutputStream>> {
    charge(&mut s, price::CALL)?;
    let host = s.data_mut();
    Ok((match *host.table.get(this)? {
        Descriptor::Output(output) => {
            let end = host.files.output_size(output);
            if offset.is_none_or(|offset| offset == end) {
                Ok(push(host, OutputStream::File(output))?)
            } else {
                Err(ErrorCode::InvalidSeek)
            }
        }
        Descriptor::Input(_) => Err(ErrorCode::ReadOnly),
        Descriptor::Folder(_) => Err(ErrorCode::IsDirectory),
    },))
}

fn read(mut s: Store<'_>, this: &This, len: u64, offset: u64) -> Filed<(Vec<u8>, bool)> {
    charge(&mut s, price::CALL)?;
    let input = match *s.data().table.get(this)? {
        Descriptor::Input(input) => input,
        Descriptor::Output(_) => return Ok((Err(ErrorCode::BadDescriptor),)),
        Descriptor::Folder(_) => return Ok((Err(ErrorCode::IsDirectory),)),
    };
    let rest = s.data().files.input_size(input).saturating_sub(offset);
    let len = len.min(rest).min(CHUNK_BYTES_MAX as u64);
    charge(&mut s, len / price::READ_BYTES_PER_UNIT)?;
    // At most a chunk, so it fits.
    let bytes = s.data().files.read_input(input, offset, len as usize)?;
    Ok((Ok((bytes, len == rest)),))
}

fn write(mut s: Store<'_>, this: &This, bytes: &WasmList<u8>, offset: u64) -> Filed<u64> {
    charge(&mut s, price::CALL)?;
    let output = match *s.data().table.get(this)? {
        Descriptor::Output(output) => output,
        Descriptor::Input(_) => return Ok((Err(ErrorCode::ReadOnly),)),
        Descriptor::Folder(_) => return Ok((Err(ErrorCode::IsDirectory),)),
    };
    if bytes.len() > CHUNK_BYTES_MAX {
        return Ok((Err(ErrorCode::Invalid),));
    }
    if offset != s.data().files.output_size(output) {
        return Ok((Err(ErrorCode::InvalidSeek),));
    }
    let len = bytes.len() as u64;
    charge(&mut s, price::WRITE_BYTE * len)?;
    let bytes = bytes.as_le_slice(&s).to_vec();
    let host = s.data_mut();
    let total_max = host.spec.limits.output_bytes;
    host.files.write_output(output, &bytes, total_max)?;
    Ok((Ok(len),))
}

fn stat(host: &Host, descriptor: &Descriptor) -> DescriptorStat {
    let (type_, size) = match *descriptor {
        Descriptor::Folder(_) => (DescriptorType::Directory, 0),
        Descriptor::Input(input) => (DescriptorType::RegularFile, host.files.input_size(input)),
        Descriptor::Output(output) => (DescriptorType::RegularFile, host.files.output_size(output)),
    };
    DescriptorStat {
        type_,
        link_count: 1,
        size,
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    }
}

/// Tells files apart, as an inode's number would.
fn metadata_hash(descriptor: &Descriptor) -> MetadataHashValue {
    let text = match descriptor {
        Descriptor::Folder(path) => format!("folder {path}"),
        Descriptor::Input(input) => format!("input {input}"),
        Descriptor::Output(output) => format!("output {output}"),
    };
    let digest = Sha256::digest(text);
    let half = |from: usize| u64::from_be_bytes(std::array::from_fn(|i| digest[from + i]));
    MetadataHashValue {
        lower: half(0),
        upper: half(8),
    }
}

//! Uploads, modules and contents.

use aevir_events::Context;

use super::{
    Decision,
    account::{active_account, check_name},
    validate::{FILES_MAX, is_file_name},
};
use crate::{
    command::{RegisterContent, RegisterModule},
    event::{BlobUploaded, ContentRegistered, ModuleRegistered},
    ids::{AccountId, ContentId},
    rejection::Rejection,
    report::BlobRef,
    state::State,
};

/// A content's weight among the contents of a task.
const WEIGHT_MAX: u32 = 1_000;

pub(super) fn record_upload(state: &State, account: AccountId, blob: BlobRef) -> Decision {
    active_account(state, account)?;
    if state.may_read_blob(account, blob.digest) {
        return Ok(Vec::new());
    }
    if state
        .blobs
        .get(&blob.digest)
        .is_some_and(|known| known.size != blob.size)
    {
        return Err(Rejection::BlobSizeMismatch {
            digest: blob.digest,
        });
    }
    Ok(vec![BlobUploaded { account, blob }.into()])
}

pub(super) fn register_module(state: &State, command: &RegisterModule) -> Decision {
    active_account(state, command.owner)?;
    check_name("a module's name", &command.name)?;
    let known = state.modules.get(&command.blob.digest);
    if known.is_some_and(|module| module.names.contains_key(&command.owner)) {
        return Err(Rejection::ModuleExists {
            digest: command.blob.digest,
        });
    }
    let registered = ModuleRegistered {
        owner: command.owner,
        name: command.name.clone(),
        blob: command.blob,
        world: command.world,
        imports: command.imports.clone(),
    };
    Ok(vec![registered.into()])
}

pub(super) fn register_content(
    state: &State,
    command: &RegisterContent,
    context: &Context,
) -> Decision {
    active_account(state, command.owner)?;
    check_name("a content's name", &command.name)?;
    check_name("a content's version", &command.version)?;
    check_name("a content's licence", &command.licence)?;
    let invalid = |detail: String| Err(Rejection::ContentInvalid { detail });
    if command.files.is_empty() || command.files.len() > FILES_MAX {
        return invalid(format!("it must have 1 to {FILES_MAX} files"));
    }
    if !(1..=WEIGHT_MAX).contains(&command.weight) {
        return invalid(format!("its weight must be 1 to {WEIGHT_MAX}"));
    }
    for (at, file) in command.files.iter().enumerate() {
        if !is_file_name(&file.name) || command.files[..at].iter().any(|f| f.name == file.name) {
            return invalid(format!(
                "file name `{}` is not [A-Za-z0-9._-]{{1,64}}, or stands twice",
                file.name
            ));
        }
        match state.blobs.get(&file.digest) {
            Some(blob) if blob.owners.contains(&command.owner) && blob.size == file.size => {}
            Some(blob) if blob.owners.contains(&command.owner) => {
                return Err(Rejection::BlobSizeMismatch {
                    digest: file.digest,
                });
            }
            Some(_) | None => {
                return Err(Rejection::BlobUnknown {
                    digest: file.digest,
                });
            }
        }
    }
    if state
        .content_named(command.owner, &command.name, &command.version)
        .is_some()
    {
        return Err(Rejection::ContentExists {
            name: command.name.clone(),
            version: command.version.clone(),
        });
    }
    let registered = ContentRegistered {
        content: ContentId(context.ids().ulid()),
        owner: command.owner,
        kind: command.kind,
        name: command.name.clone(),
        version: command.version.clone(),
        files: command.files.clone(),
        licence: command.licence.clone(),
        weight: command.weight,
        lineage: None,
    };
    Ok(vec![registered.into()])
}

//! Uploads, modules and contents.

use std::collections::BTreeSet;

use aevir_events::Context;

use super::{
    Decision,
    account::{active_account, check_name, known_account},
    validate::{FILES_MAX, is_file_name},
};
use crate::{
    amount::Amount,
    command::{
        CODE_MIB_MAX, CODE_MIB_MIN, COMPILE_MIB_MAX, COMPILE_MIB_MIN, RegisterContent,
        RegisterModule,
    },
    content::{
        ACCESS_MAX, Access, CONTRIBUTORS_MAX, Contributor, LICENCE_CHARS_MAX, PRICE_MAX, WEIGHT_MAX,
    },
    event::{BlobUploaded, ContentRegistered, ContentTermsChanged, ModuleRegistered},
    ids::{AccountId, ContentId},
    rejection::Rejection,
    report::{Artifact, BlobRef},
    state::State,
};

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

/// Whether an account may register a module under a name, whichever it is: what can be told before anybody looks into it.
///
/// # Errors
/// What its registration would be refused for.
pub fn may_register_module(state: &State, owner: AccountId, name: &str) -> Result<(), Rejection> {
    active_account(state, owner)?;
    check_name("a module's name", name)
}

pub(super) fn register_module(state: &State, command: &RegisterModule) -> Decision {
    may_register_module(state, command.owner, &command.name)?;
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
        compile_mib: command.compile_mib.clamp(COMPILE_MIB_MIN, COMPILE_MIB_MAX),
        code_mib: command.code_mib.clamp(CODE_MIB_MIN, CODE_MIB_MAX),
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
    let invalid = |detail: String| Rejection::ContentInvalid { detail };
    check_licence(&command.licence).map_err(invalid)?;
    if !(1..=WEIGHT_MAX).contains(&command.weight) {
        let detail = format!("its weight must be 1 to {WEIGHT_MAX}");
        return Err(invalid(detail));
    }
    check_terms(state, command.price, &command.access).map_err(invalid)?;
    check_contributors(state, &command.contributors).map_err(invalid)?;
    check_files(state, command.owner, &command.files)?;
    if state
        .content_named(command.owner, &command.name, &command.version)
        .is_some()
    {
        return Err(Rejection::ContentExists {
            name: command.name.clone(),
            version: command.version.clone(),
        });
    }
    let policy = state.policy().map(|(_, policy)| policy.contents);
    if policy.unwrap_or_default().first_registrant
        && let Some(file) = of_others(state, command.owner, &command.files).next()
    {
        let file = file.name.clone();
        return Err(Rejection::ContentKnown { file });
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
        price: command.price,
        access: command.access.clone(),
        contributors: command.contributors.clone(),
        lineage: None,
    };
    Ok(vec![registered.into()])
}

/// The owner sets what later tasks pay, and who may submit them.
pub(super) fn change_terms(
    state: &State,
    owner: AccountId,
    id: ContentId,
    price: Amount,
    access: &Access,
) -> Decision {
    let content = state.contents.get(&id).filter(|c| c.owner == owner);
    let content = content.ok_or(Rejection::UnknownContent { content: id })?;
    active_account(state, owner)?;
    if content.price == price && content.access == *access {
        return Ok(Vec::new());
    }
    check_terms(state, price, access).map_err(|detail| Rejection::ContentInvalid { detail })?;
    let changed = ContentTermsChanged {
        content: id,
        price,
        access: access.clone(),
    };
    Ok(vec![changed.into()])
}

/// The first thing that is wrong with a licence, as far as the machine looks at it.
pub(super) fn check_licence(licence: &str) -> Result<(), String> {
    let length = licence.chars().count();
    let printable = !licence.chars().any(char::is_control) && licence.trim() == licence;
    if (1..=LICENCE_CHARS_MAX).contains(&length) && printable {
        return Ok(());
    }
    Err(format!(
        "its licence must have 1 to {LICENCE_CHARS_MAX} printable characters"
    ))
}

/// The first thing that is wrong with a price and an access list.
pub(super) fn check_terms(state: &State, price: Amount, access: &Access) -> Result<(), String> {
    if price < Amount::ZERO || price > PRICE_MAX {
        return Err(format!("its price must be 0 to {PRICE_MAX} micro-AEV"));
    }
    let accounts = match access {
        Access::Everybody => return Ok(()),
        Access::Accounts(accounts) => accounts,
    };
    if accounts.len() > ACCESS_MAX {
        return Err(format!(
            "its access list must name at most {ACCESS_MAX} accounts"
        ));
    }
    let unknown = accounts.iter().find(|a| known_account(state, **a).is_err());
    unknown.map_or(Ok(()), |account| {
        Err(format!(
            "its access list names {account}, and there is no such account"
        ))
    })
}

fn check_contributors(state: &State, contributors: &[Contributor]) -> Result<(), String> {
    if contributors.len() > CONTRIBUTORS_MAX {
        return Err(format!(
            "it must have at most {CONTRIBUTORS_MAX} contributors"
        ));
    }
    let mut seen = BTreeSet::new();
    for contributor in contributors {
        let account = contributor.account;
        if known_account(state, account).is_err() {
            return Err(format!(
                "there is no account {account} that could contribute to it"
            ));
        }
        if !seen.insert(account) {
            return Err(format!("contributor {account} stands twice"));
        }
        if !(1..=WEIGHT_MAX).contains(&contributor.weight) {
            return Err(format!("a contributor's weight must be 1 to {WEIGHT_MAX}"));
        }
    }
    Ok(())
}

fn check_files(state: &State, owner: AccountId, files: &[Artifact]) -> Result<(), Rejection> {
    let invalid = |detail: String| Err(Rejection::ContentInvalid { detail });
    if files.is_empty() || files.len() > FILES_MAX {
        return invalid(format!("it must have 1 to {FILES_MAX} files"));
    }
    for (at, file) in files.iter().enumerate() {
        if !is_file_name(&file.name) || files[..at].iter().any(|f| f.name == file.name) {
            return invalid(format!(
                "file name `{}` is not [A-Za-z0-9._-]{{1,64}}, or stands twice",
                file.name
            ));
        }
        match state.blobs.get(&file.digest) {
            Some(blob) if blob.owners.contains(&owner) && blob.size == file.size => {}
            Some(blob) if blob.owners.contains(&owner) => {
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
    Ok(())
}

/// The files that other accounts have registered, and this one has not.
fn of_others<'a>(
    state: &'a State,
    owner: AccountId,
    files: &'a [Artifact],
) -> impl Iterator<Item = &'a Artifact> {
    files.iter().filter(move |file| {
        let mut registrants = state.registrants(file.digest).peekable();
        file.size.0 > 0
            && registrants.peek().is_some()
            && registrants.all(|(_, c)| c.owner != owner)
    })
}

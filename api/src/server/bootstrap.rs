//! The first start: an empty log gets a policy and the operator's account.
//!
//! The key is written to its file before the account is opened with it, so that a crash in between leaves no
//! account whose key nobody has; the next start goes on from there.

use std::{
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aevir_events::{Handle, Request, SubmitError};
use aevir_platform::{
    Actor, Platform,
    command::{Command, OpenAccount, Scope},
    digest::Digest,
    rejection::Rejection,
};
use aevir_wire::Secret;

use super::Bootstrap;

/// Name of the first account.
const OPERATOR: &str = "operator";
/// Who the log says did it.
/// What the operator's key may do besides what every owner may.
const OPERATOR_SCOPES: [Scope; 2] = [Scope::Admin, Scope::Audit];

/// Why an empty platform could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("the operator's key can't be kept in `{path}`")]
    KeyFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the machine refused it")]
    Refused(#[source] SubmitError<Rejection>),
}

/// Does what is missing of the set-up.
pub(super) async fn bootstrap(
    log: &Handle<Platform>,
    bootstrap: &Bootstrap,
) -> Result<(), BootstrapError> {
    let (has_policy, has_accounts) =
        log.read(|state, _| (state.policy().is_some(), !state.accounts.is_empty()));
    if !has_policy {
        submit(log, Command::AdoptPolicy(bootstrap.policy.clone())).await?;
    }
    if !has_accounts {
        let secret = key_file(&bootstrap.admin_key_file)?;
        let command = Command::OpenAccount(OpenAccount {
            name: OPERATOR.into(),
            key_hash: Digest::of(secret.expose().as_bytes()),
            scopes: [Scope::OWNER.as_slice(), &OPERATOR_SCOPES].concat(),
        });
        submit(log, command).await?;
        let path = bootstrap.admin_key_file.display();
        tracing::info!(%path, "the platform is set up; the operator's key is in its file");
    }
    Ok(())
}

async fn submit(log: &Handle<Platform>, command: Command) -> Result<(), BootstrapError> {
    let request = Request {
        actor: Actor::System.to_string(),
        key: None,
        command,
    };
    let submitted = log.submit(request).await;
    submitted.map(|_| ()).map_err(BootstrapError::Refused)
}

/// The key in the file: a fresh one, or the one that an interrupted start left there.
fn key_file(path: &Path) -> Result<Secret, BootstrapError> {
    let failed = |source| BootstrapError::KeyFile {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::from_text(text.trim())),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let secret = Secret::new_key();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let written = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", secret.expose())?;
        file.sync_all()?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(failed)?;
    Ok(secret)
}

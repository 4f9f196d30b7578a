//! A platform in this process: log, objects and server, put together from settings.

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use aevir_api::{
    Bootstrap, Config, Limits, RunningServer, Server,
    objects::{FileStore, ObjectStore, S3Config, S3Store},
};
use aevir_events::{Log, Options, PostgresLog, SqliteLog};
use aevir_platform::policy::Policy;
use aevir_wire::{Client, Secret};
use anyhow::{Context, Result, bail};

use crate::{inspector::SandboxInspector, secrets};

/// The operator's key, in the data folder.
pub(crate) const ADMIN_KEY_FILE: &str = "admin.key";

/// What a platform is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The operator's key, and whatever is not kept elsewhere.
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    /// `postgres://...`; SQLite in the data folder when absent.
    pub(crate) database: Option<String>,
    /// Files in the data folder when absent.
    pub(crate) s3: Option<S3Config>,
    /// What an empty platform starts with.
    pub(crate) policy: Policy,
}

/// Keeps other servers off an SQLite log's folder for as long as the answer lives: they would depose each other over
/// and over. A PostgreSQL log may have a second server that waits for its turn.
///
/// # Errors
/// When another server uses the folder, or it can't be made.
pub(crate) fn lock(setup: &Setup) -> Result<Option<File>> {
    if setup.database.is_some() {
        return Ok(None);
    }
    let folder = setup.data.display();
    secrets::private_folder(&setup.data).with_context(|| format!("`{folder}` can't be made"))?;
    let file = File::create(setup.data.join("server.lock"))
        .with_context(|| format!("`{folder}` can't be locked"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => bail!("another server uses the data folder `{folder}`"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("`{folder}` can't be locked"))
        }
    }
}

/// Starts it.
///
/// # Errors
/// When the data folder, the database or the port can't be used, or the log is damaged.
pub(crate) async fn start(setup: &Setup) -> Result<RunningServer> {
    secrets::private_folder(&setup.data)
        .with_context(|| format!("`{}` can't be made", setup.data.display()))?;
    let log: Arc<dyn Log> = match &setup.database {
        Some(url) => Arc::new(
            PostgresLog::open(url)
                .await
                .context("the PostgreSQL database can't be used")?,
        ),
        None => {
            let file = setup.data.join("log.sqlite");
            let opened = SqliteLog::open(&file).await;
            Arc::new(opened.with_context(|| format!("`{}` can't be used", file.display()))?)
        }
    };
    let objects: Arc<dyn ObjectStore> = match &setup.s3 {
        Some(config) => Arc::new(S3Store::new(config)?),
        None => Arc::new(FileStore::open(setup.data.join("objects")).await?),
    };
    Ok(Server::start(Config {
        listen: setup.listen,
        log,
        executor: Options::default(),
        objects,
        inspector: Arc::new(SandboxInspector),
        bootstrap: Some(Bootstrap {
            policy: setup.policy.clone(),
            admin_key_file: setup.data.join(ADMIN_KEY_FILE),
        }),
        limits: Limits::default(),
    })
    .await?)
}

/// A client with the operator's key.
///
/// # Errors
/// When the key is not there: the platform was set up elsewhere.
pub(crate) fn admin(url: &str, data: &Path) -> Result<Client> {
    let file = data.join(ADMIN_KEY_FILE);
    let key: Secret = secrets::read(&file)?
        .with_context(|| format!("the operator's key is not in `{}`", file.display()))?;
    Ok(Client::new(url, Some(key))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_data_folder_has_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Setup {
            data: folder.path().join("data"),
            listen: ([127, 0, 0, 1], 0).into(),
            database: None,
            s3: None,
            policy: Policy::default(),
        };
        let first = lock(&setup).unwrap();
        let error = lock(&setup).unwrap_err().to_string();
        assert!(error.contains("another server"), "{error}");
        drop(first);
        assert!(lock(&setup).unwrap().is_some());
        setup.database = Some("postgres://elsewhere".into());
        assert!(lock(&setup).unwrap().is_none());
    }
}

//! A platform in this process: log, objects and server, put together from settings.

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use aevir_api::{
    Bootstrap, Config, Limits, Publishing, RunningServer, Server,
    objects::{FileStore, FileTiles, ObjectStore, S3Config, S3Store, S3Tiles},
};
use aevir_events::{
    LeaderSecret, Log, Options, PostgresLog, SqliteLog,
    projection::{ProjectionOptions, ViewStore},
    tlog::{CheckpointTable, TileStore},
};
use aevir_platform::policy::Policy;
use aevir_wire::{Client, Secret};
use anyhow::{Context, Result, bail};

use crate::{
    inspector::SandboxInspector,
    log_key::{self, LOG_KEY_FILE},
    secrets,
};

/// What the secret of draws is derived from the log's key for: whoever may sign the log may draw for it, so that replicas
/// share it, restarts keep it, and there is no second file to lose.
const DRAW_SECRET: &str = "aevir.draw-secret/1";

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
    pub(crate) log: LogSetup,
    /// What an empty platform starts with.
    pub(crate) policy: Policy,
}

/// How the log is signed and published.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogSetup {
    /// The file with the log's key; `log.key` in the data folder when absent.
    pub(crate) key: Option<PathBuf>,
    /// The name of a new log; `aevir.local/<id>` when absent.
    pub(crate) origin: Option<String>,
    /// Everybody may read the entries.
    pub(crate) public: bool,
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
    let (log, checkpoints) = open_log(setup).await?;
    let views = open_views(setup).await?;
    let (objects, tiles): (Arc<dyn ObjectStore>, Arc<dyn TileStore>) = match &setup.s3 {
        Some(config) => (
            Arc::new(S3Store::new(config)?),
            Arc::new(S3Tiles::new(config)?),
        ),
        None => (
            Arc::new(FileStore::open(setup.data.join("objects")).await?),
            Arc::new(FileTiles::open(setup.data.join("log")).await?),
        ),
    };
    let is_published =
        tiles.checkpoint().await?.is_some() || checkpoints.latest_checkpoint().await?.is_some();
    let key_file = setup.log.key.clone();
    let key_file = key_file.unwrap_or_else(|| setup.data.join(LOG_KEY_FILE));
    let key = log_key::load_or_create(&key_file, setup.log.origin.as_deref(), is_published)?;
    Ok(Server::start(Config {
        listen: setup.listen,
        log,
        executor: Options {
            secret: LeaderSecret(key.derive(DRAW_SECRET)),
            ..Options::default()
        },
        views,
        projections: ProjectionOptions::default(),
        objects,
        publishing: Publishing {
            checkpoints,
            tiles,
            key: Arc::new(key),
            public: setup.log.public,
        },
        inspector: Arc::new(SandboxInspector::new(&setup.data)?),
        bootstrap: Some(Bootstrap {
            policy: setup.policy.clone(),
            admin_key_file: setup.data.join(ADMIN_KEY_FILE),
        }),
        limits: Limits::default(),
    })
    .await?)
}

/// The log, and the table of checkpoints beside it.
async fn open_log(setup: &Setup) -> Result<(Arc<dyn Log>, Arc<dyn CheckpointTable>)> {
    match &setup.database {
        Some(url) => {
            let opened = PostgresLog::open(url).await;
            let log = Arc::new(opened.context("the PostgreSQL database can't be used")?);
            Ok((log.clone(), log))
        }
        None => {
            let file = setup.data.join("log.sqlite");
            let opened = SqliteLog::open(&file).await;
            let named = || format!("`{}` can't be used", file.display());
            let log = Arc::new(opened.with_context(named)?);
            Ok((log.clone(), log))
        }
    }
}

/// The views, which are folded from the log.
async fn open_views(setup: &Setup) -> Result<ViewStore> {
    match &setup.database {
        Some(url) => {
            let opened = ViewStore::postgres(url).await;
            opened.context("the PostgreSQL database can't be used for views")
        }
        None => {
            let file = setup.data.join("views.sqlite");
            ViewStore::sqlite(&file).await.with_context(|| {
                let file = file.display();
                format!("`{file}` can't be used; it holds nothing that the log does not, and may be deleted")
            })
        }
    }
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
            log: LogSetup::default(),
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

//! Starting and stopping the server.

mod accept;
mod bootstrap;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use aevir_events::{
    Executor, Handle, Log, Options,
    projection::{ProjectionError, ProjectionOptions, Projections, ViewStore},
    tlog::{
        CheckpointTable, LogKey, PublishError, Publisher, PublisherConfig, PublisherHandle,
        TileStore,
    },
};
use aevir_platform::{Platform, policy::Policy};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{App, Parts, now},
    driver,
    inspect::ModuleInspector,
    judging::Judging,
    live::Live,
    objects::ObjectStore,
    router::router,
    schema::{SchemaError, TaskSchema},
    tlog::Published,
    views::projections,
};

pub use bootstrap::BootstrapError;

/// How long connections may take to finish their requests at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What a server is made of.
pub struct Config {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub log: Arc<dyn Log>,
    pub executor: Options,
    /// Where the views are kept that lists are served from.
    pub views: ViewStore,
    pub projections: ProjectionOptions,
    pub objects: Arc<dyn ObjectStore>,
    pub publishing: Publishing,
    pub inspector: Arc<dyn ModuleInspector>,
    /// How to set an empty platform up; a replica of one that is set up needs nothing.
    pub bootstrap: Option<Bootstrap>,
    pub limits: Limits,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("bootstrap", &self.bootstrap)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How the log is published.
#[derive(Clone)]
pub struct Publishing {
    /// In the log's database.
    pub checkpoints: Arc<dyn CheckpointTable>,
    /// Where tiles and checkpoint go, and are served from.
    pub tiles: Arc<dyn TileStore>,
    /// The log's key: one for all replicas, for ever.
    pub key: Arc<LogKey>,
    /// Whether everybody may read the entries, and not only auditors.
    pub public: bool,
}

impl std::fmt::Debug for Publishing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publishing")
            .field("key", &self.key)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// What an empty platform starts with: a policy, and the account `operator` with a key of the scopes `admin`
/// and `audit`.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub policy: Policy,
    /// Where the key goes, readable by its owner only.
    pub admin_key_file: PathBuf,
}

/// Bounds of what the server takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more wait in the listener's queue. Each node holds one or two.
    pub connections_max: usize,
    /// A request's headers must be complete by then.
    pub header_time_max: Duration,
    /// Largest blob, in bytes.
    pub blob_bytes_max: u64,
    /// Largest module, in bytes. It is held in memory while it is inspected.
    pub module_bytes_max: usize,
}

impl Default for Limits {
    /// 4,096 connections, 10 s for headers, blobs of 8 GiB, modules of 64 MiB.
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            header_time_max: Duration::from_secs(10),
            blob_bytes_max: 8 << 30,
            module_bytes_max: 64 << 20,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the log can't be led")]
    Log(#[from] aevir_events::StartError),
    #[error("the log can't be published")]
    Publish(#[from] PublishError),
    #[error("can't listen on {listen}")]
    Listen {
        listen: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("the empty platform can't be set up")]
    Bootstrap(#[from] BootstrapError),
    #[error("the views can't be folded")]
    Views(#[from] ProjectionError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Takes leadership of the log, sets an empty platform up, and serves until it is shut down.
    ///
    /// # Errors
    /// See [`StartError`]; nothing goes on running then.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        let listen = config.listen;
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let task_schema = TaskSchema::new()?;
        let publisher = PublisherConfig {
            log: Arc::clone(&config.log),
            checkpoints: config.publishing.checkpoints,
            store: Arc::clone(&config.publishing.tiles),
            key: config.publishing.key,
            clock: Arc::new(now),
        };
        // Before leadership is taken: a server with a stale log deposes nobody.
        let publisher = Publisher::open(publisher).await?;
        let log: Handle<Platform> = Executor::start(config.log, config.executor).await?;
        if let Some(bootstrap) = &config.bootstrap {
            bootstrap::bootstrap(&log, bootstrap).await?;
        }
        let publisher = publisher.start().await?;
        let source = Arc::new(log.clone());
        let views = Projections::start(config.views, source, projections(), &config.projections)?;
        let stopping = CancellationToken::new();
        let app = App::new(Parts {
            state_hash: Default::default(),
            live: Live::new(log.clone()),
            log: log.clone(),
            views,
            objects: config.objects,
            published: Published {
                publisher: publisher.clone(),
                tiles: config.publishing.tiles,
                public: config.publishing.public,
            },
            inspector: config.inspector,
            judging: Judging::default(),
            limits: config.limits.clone(),
            task_schema,
            stopping: stopping.clone(),
        });
        // What was leased before is known before anybody asks.
        let from = driver::recover(&app);
        let driver = tokio::spawn(driver::run(app.clone(), from));
        let accepting = accept::accept(
            listener,
            router(app.clone()),
            config.limits,
            stopping.clone(),
        );
        let accepting = tokio::spawn(accepting);
        tracing::info!(%addr, "serving");
        Ok(RunningServer {
            addr,
            handle: log,
            publisher,
            app,
            stopping,
            driver,
            accepting,
        })
    }
}

/// A server that runs. Dropping it does not stop it.
#[derive(Debug)]
pub struct RunningServer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The way to the log, for programs that embed the server.
    pub handle: Handle<Platform>,
    /// The way to the published log.
    pub publisher: PublisherHandle,
    app: App,
    stopping: CancellationToken,
    driver: JoinHandle<()>,
    accepting: JoinHandle<()>,
}

impl RunningServer {
    /// The server's address as clients name it.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops taking connections, lets requests finish for some seconds, stops the log's writer with all that was
    /// queued done, and publishes the log's end.
    pub async fn shutdown(self) {
        self.stopping.cancel();
        if tokio::time::timeout(DRAIN_TIME, self.accepting)
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time");
        }
        // It ends by itself, unless it panicked, which was logged where it happened.
        let _ = self.driver.await;
        self.app.views.shutdown().await;
        let status = self.handle.shutdown().await;
        self.publisher.shutdown().await;
        tracing::info!(?status, "stopped");
    }

    /// Waits until the log's writer has ended, and says how: a server without it can only be started again.
    pub async fn log_ended(&self) -> aevir_events::Status {
        self.handle.ended().await
    }
}

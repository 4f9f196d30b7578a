//! A platform per test, with accounts, nodes and tasks to act on it.

mod inspector;
pub(crate) mod node;
pub(crate) mod task;

use std::{net::SocketAddr, path::Path, sync::Arc};

use aevir_api::{
    Bootstrap, Config, Limits, Publishing, RunningServer, Server, StartError,
    objects::{FileStore, FileTiles},
};
use aevir_events::{
    Entry, LeaderSecret, Log, Options, PostgresLog, SqliteLog,
    projection::{ProjectionOptions, ViewStore},
    state_hash,
    testing::{FaultyLog, PrivatePostgres},
    tlog::{CheckpointTable, LogKey, TileStore},
};
use aevir_platform::{
    Platform,
    policy::{Policy, SettlementPolicy, VerificationPolicy},
};
use aevir_wire::{Client, ClientError, Deposit, OpenAccount, Problem, Secret};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use inspector::FakeInspector;
pub(crate) use node::FakeNode;
pub(crate) use task::single;

/// Projections of the platform's views.
const PROJECTIONS: usize = 3;

/// What an ordinary test account can spend.
pub(crate) const FUNDS: &str = "1000000000";
/// Bytes that the fake inspector takes for a module of the world `task`.
pub(crate) const MODULE: &[u8] = b"task module";

/// Builds a [`TestPlatform`].
pub(crate) struct Builder {
    postgres: bool,
    policy: Policy,
    limits: Limits,
    executor: Options,
    faulty: bool,
    public: bool,
    tiles: Option<Arc<dyn TileStore>>,
}

/// The origin of every test's log.
pub(crate) const ORIGIN: &str = "log.test/platform";

impl Builder {
    /// Publishes the log there instead of in files.
    pub(crate) fn tiles(mut self, tiles: Arc<dyn TileStore>) -> Self {
        self.tiles = Some(tiles);
        self
    }

    /// Everybody may read the log's entries.
    pub(crate) fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// The log fails on demand, through [`TestPlatform::faults`].
    pub(crate) fn faulty(mut self) -> Self {
        self.faulty = true;
        self
    }

    pub(crate) fn postgres(mut self) -> Self {
        self.postgres = true;
        self
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn executor(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.executor);
        self
    }

    pub(crate) async fn start(self) -> TestPlatform {
        let dir = tempfile::tempdir().unwrap();
        let database = match self.postgres {
            true => Some(PrivatePostgres::start().await),
            false => None,
        };
        let (policy, limits) = (self.policy, self.limits);
        let (mut log, checkpoints) = open_log(dir.path(), database.as_ref()).await;
        let mut faults = None;
        if self.faulty {
            let faulty = FaultyLog::new(log);
            faults = Some(Arc::clone(&faulty));
            log = faulty;
        }
        let tiles = match self.tiles {
            Some(tiles) => tiles,
            None => Arc::new(FileTiles::open(dir.path().join("log")).await.unwrap()),
        };
        let publishing = publishing(checkpoints, Arc::clone(&tiles), self.public);
        let views = open_views(dir.path(), database.as_ref()).await;
        let server = serve(
            dir.path(),
            (log, views),
            self.executor,
            publishing,
            &policy,
            &limits,
        )
        .await;
        let server = server.unwrap();
        let key = std::fs::read_to_string(dir.path().join("admin.key")).unwrap();
        let admin = Client::new(&server.url(), Some(Secret::from_text(key.trim()))).unwrap();
        let platform = TestPlatform {
            faults,
            server,
            admin,
            dir,
            database,
            policy,
            limits,
            public: self.public,
            tiles,
        };
        // Policy, account and key are there; the driver opens the first epoch in moments.
        while platform.size() < SET_UP_ENTRIES {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        platform
    }
}

async fn open_log(
    dir: &Path,
    database: Option<&PrivatePostgres>,
) -> (Arc<dyn Log>, Arc<dyn CheckpointTable>) {
    match database {
        Some(database) => {
            let log = Arc::new(PostgresLog::open_with(database.options()).await.unwrap());
            (log.clone(), log)
        }
        None => {
            let log = Arc::new(SqliteLog::open(dir.join("log.sqlite")).await.unwrap());
            (log.clone(), log)
        }
    }
}

fn publishing(
    checkpoints: Arc<dyn CheckpointTable>,
    tiles: Arc<dyn TileStore>,
    public: bool,
) -> Publishing {
    Publishing {
        checkpoints,
        tiles,
        key: Arc::new(LogKey::generate(ORIGIN, [7; 32]).unwrap()),
        public,
    }
}

async fn open_views(dir: &Path, database: Option<&PrivatePostgres>) -> ViewStore {
    match database {
        Some(database) => ViewStore::postgres_with(database.options()).await,
        None => ViewStore::sqlite(dir.join("views.sqlite")).await,
    }
    .unwrap()
}

async fn serve(
    dir: &Path,
    (log, views): (Arc<dyn Log>, ViewStore),
    executor: Options,
    publishing: Publishing,
    policy: &Policy,
    limits: &Limits,
) -> Result<RunningServer, StartError> {
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        log,
        executor,
        views,
        projections: ProjectionOptions::default(),
        objects: Arc::new(FileStore::open(dir.join("objects")).await.unwrap()),
        publishing,
        inspector: Arc::new(FakeInspector::default()),
        bootstrap: Some(Bootstrap {
            policy: policy.clone(),
            admin_key_file: dir.join("admin.key"),
        }),
        limits: limits.clone(),
    };
    Server::start(config).await
}

/// A platform of one test: own data folder, own database, free port.
pub(crate) struct TestPlatform {
    pub(crate) server: RunningServer,
    /// A client with the operator's key.
    pub(crate) admin: Client,
    /// There where the platform was built to be faulty.
    pub(crate) faults: Option<Arc<FaultyLog>>,
    dir: TempDir,
    database: Option<PrivatePostgres>,
    policy: Policy,
    limits: Limits,
    public: bool,
    tiles: Arc<dyn TileStore>,
}

/// An account of a test.
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) client: Client,
    pub(crate) key: String,
}

impl TestPlatform {
    pub(crate) fn builder() -> Builder {
        Builder {
            postgres: false,
            policy: Policy {
                settlement: SettlementPolicy::IMMEDIATE,
                // Its nodes put no stake up.
                verification: VerificationPolicy {
                    staked_votes: 0,
                    ..VerificationPolicy::default()
                },
                ..Policy::default()
            },
            limits: Limits::default(),
            executor: executor(),
            faulty: false,
            public: false,
            tiles: None,
        }
    }

    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    /// A second way to the same log, as another replica would have it.
    pub(crate) async fn second_log(&self) -> Arc<dyn Log> {
        open_log(self.dir.path(), self.database.as_ref()).await.0
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the server and starts another one on the same data.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(async |_| {}).await.unwrap()
    }

    /// Stops the server, changes its data, and starts another one.
    pub(crate) async fn restart_with(
        self,
        change: impl AsyncFnOnce(&Path),
    ) -> Result<Self, StartError> {
        let Self {
            server,
            admin,
            dir,
            database,
            policy,
            limits,
            public,
            tiles,
            faults: _,
        } = self;
        server.shutdown().await;
        change(dir.path()).await;
        let (log, checkpoints) = open_log(dir.path(), database.as_ref()).await;
        let publishing = publishing(checkpoints, Arc::clone(&tiles), public);
        let views = open_views(dir.path(), database.as_ref()).await;
        let server = serve(
            dir.path(),
            (log, views),
            executor(),
            publishing,
            &policy,
            &limits,
        )
        .await?;
        let key = std::fs::read_to_string(dir.path().join("admin.key")).unwrap();
        drop(admin);
        let admin = Client::new(&server.url(), Some(Secret::from_text(key.trim()))).unwrap();
        Ok(Self {
            faults: None,
            server,
            admin,
            dir,
            database,
            policy,
            limits,
            public,
            tiles,
        })
    }

    /// Waits until lists show what the log has now: what one client did is not waited for by another's.
    pub(crate) async fn level(&self) {
        let size = self.size();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let all = self.admin.projections().await.unwrap().projections;
            let level = all
                .iter()
                .filter(|p| p.state == "live" && p.position.parse::<u64>().unwrap() >= size);
            // One that has just been begun is not there yet, or not live.
            if level.count() == PROJECTIONS {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{all:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// The operator's key.
    pub(crate) fn admin_key(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("admin.key")).unwrap();
        text.trim().to_owned()
    }

    /// A client of this server with another key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.server.url(), Some(Secret::from_text(key))).unwrap()
    }

    /// An account without money.
    pub(crate) async fn poor_account(&self, name: &str) -> Account {
        let request = OpenAccount {
            name: name.into(),
            scopes: None,
        };
        let opened = self.admin.open_account(&request).await.unwrap();
        Account {
            id: opened.account,
            client: self.client(&opened.key),
            key: opened.key,
        }
    }

    /// An account with money to spend.
    pub(crate) async fn account(&self, name: &str) -> Account {
        let account = self.poor_account(name).await;
        let deposit = Deposit {
            amount: FUNDS.into(),
            reference: format!("funds of {name}"),
        };
        self.admin.deposit(&account.id, &deposit).await.unwrap();
        account
    }

    /// A requester who has pushed the test module; answers the module's digest too.
    pub(crate) async fn requester(&self) -> (Account, String) {
        let requester = self.account("requester").await;
        let module = requester.client.push_module("test", MODULE).await.unwrap();
        (requester, module.digest)
    }

    /// A node of an account of its own.
    pub(crate) async fn node(&self, name: &str) -> FakeNode {
        let owner = self.poor_account(&format!("owner of {name}")).await;
        FakeNode::join(&self.server.url(), &owner.client, name).await
    }

    /// All entries of the log from a position on.
    pub(crate) async fn entries(&self, from: u64) -> Vec<Value> {
        let mut lines = self.admin.events(from, None, false).await.unwrap();
        let mut entries = Vec::new();
        while let Some(line) = lines.next_line().await {
            entries.push(serde_json::from_slice(&line.unwrap()).unwrap());
        }
        entries
    }

    pub(crate) fn size(&self) -> u64 {
        self.server.handle.head().size
    }

    /// Replays the exported log from position 0 and compares state hash, root and the ledger's sum.
    pub(crate) async fn check_replay(&self) {
        let mut lines = self.admin.events(0, None, false).await.unwrap();
        let mut entries = Vec::new();
        while let Some(line) = lines.next_line().await {
            entries.push(Entry(line.unwrap()));
        }
        let replayed = aevir_events::replay::<Platform>(entries).unwrap();
        let head = self.admin.log_head(true).await.unwrap();
        assert_eq!(head.size, replayed.size.to_string());
        assert_eq!(head.root, replayed.root.to_string());
        assert_eq!(head.state_hash, Some(state_hash(&replayed.state).unwrap()));
        assert_eq!(self.admin.ledger().await.unwrap().sum, "0");
    }

    /// Sends a request as it is; answers status and body.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, reqwest::header::HeaderMap, Bytes) {
        // Any client of ours installs the TLS provider that reqwest wants.
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .build()
            .unwrap();
        let mut request = http
            .request(method, format!("{}{path}", self.server.url()))
            .body(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap())
    }

    /// Sends a request that must be refused: with this status and code, as a problem document, leaving no event.
    /// Answers the problem.
    pub(crate) async fn refuse(
        &self,
        (method, path): (Method, &str),
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
        (status, code): (u16, &str),
    ) -> Problem {
        let before = self.size();
        let (found, headers, body) = self.raw(method, path, key, body).await;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(found.as_u16(), status, "{text}");
        assert_eq!(headers["content-type"], "application/problem+json");
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_problem(&problem, status, code);
        self.assert_quiet_since(before).await;
        problem
    }

    /// Nobody but the platform itself caused an event.
    pub(crate) async fn assert_quiet_since(&self, position: u64) {
        let entries = self.entries(position).await;
        let caused: Vec<_> = entries.iter().filter(|e| e["actor"] != "system").collect();
        assert!(
            caused.is_empty(),
            "a refused request left events: {caused:?}"
        );
    }

    /// Asserts that a call of the client was refused, leaving no event.
    pub(crate) async fn refused<T: std::fmt::Debug>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
        status: u16,
        code: &str,
    ) -> Problem {
        let before = self.size();
        let problem = match call.await {
            Err(ClientError::Problem(problem)) => *problem,
            other => panic!("expected `{code}`, got {other:?}"),
        };
        assert_problem(&problem, status, code);
        self.assert_quiet_since(before).await;
        problem
    }
}

/// Entries of a log that was just set up: policy, account, key, epoch.
const SET_UP_ENTRIES: u64 = 4;

/// With the same secret after a restart, as a server with its key file has it.
fn executor() -> Options {
    Options {
        secret: LeaderSecret([7; 32]),
        ..Options::default()
    }
}

fn assert_problem(problem: &Problem, status: u16, code: &str) {
    assert_eq!(problem.code, code, "{problem:?}");
    assert_eq!(problem.status, status, "{problem:?}");
    assert_eq!(problem.kind, format!("urn:aevir:problem:{code}"));
    assert!(!problem.detail.is_empty());
}

//! A platform for one test: `aevir serve` on a free port with its own folder, nodes as child processes, all gone
//! with the test.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use aevir_wire::{
    Client, Deposit, IssueJoinToken, OpenAccount, Policy, Secret, SettlementPolicy, StakePolicy,
    SubmittedTask, Task, VerificationPolicy,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

pub(crate) const AEVIR: &str = env!("CARGO_BIN_EXE_aevir");
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// Where a platform keeps its log and objects, as `aevir serve` is told.
#[derive(Default)]
pub(crate) struct Stores {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// The platform, with an operator and a requester who has money.
pub(crate) struct TestPlatform {
    folder: tempfile::TempDir,
    server: Option<Child>,
    stores: Stores,
    pub(crate) url: String,
    pub(crate) admin: Client,
    pub(crate) requester: Client,
    pub(crate) requester_key: String,
    nodes: u32,
}

impl TestPlatform {
    /// Starts one with a market of strangers and leases that are lost after a few seconds.
    pub(crate) async fn start() -> Self {
        Self::start_on(Stores::default()).await
    }

    /// The same on other stores than SQLite and files.
    pub(crate) async fn start_on(stores: Stores) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, url) = serve(folder.path(), "127.0.0.1:0", &stores);
        let key = std::fs::read_to_string(folder.path().join("admin.key")).unwrap();
        let admin = Client::new(&url, Some(Secret::from_text(key.trim()))).unwrap();
        let policy = admin.policy().await.unwrap().policy;
        admin
            .adopt_policy(&Policy {
                lease_ms: 4_000,
                accept_ms: 10_000,
                reveal_ms: 60_000,
                offline_ms: 10_000,
                backoff_ms: 1_000,
                settlement: SettlementPolicy { window_ms: 0 },
                // Most nodes of tests put no stake up.
                verification: VerificationPolicy {
                    staked_votes: 0,
                    ..policy.verification
                },
                stake: StakePolicy {
                    free_after: 0,
                    ..policy.stake
                },
                ..policy
            })
            .await
            .unwrap();
        let opened = admin.open_account(&account("requester")).await.unwrap();
        let deposit = Deposit {
            amount: "1000000000".into(),
            reference: "test".into(),
        };
        admin.deposit(&opened.account, &deposit).await.unwrap();
        Self {
            folder,
            server: Some(server),
            stores,
            requester: admin.with_key(Secret::from_text(opened.key.clone())),
            requester_key: opened.key,
            url,
            admin,
            nodes: 0,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server without warning.
    pub(crate) fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Starts the server again where it was.
    pub(crate) fn start_server(&mut self) {
        let listen = self.url.trim_start_matches("http://");
        let (server, _) = serve(self.folder.path(), listen, &self.stores);
        self.server = Some(server);
    }

    /// Starts a node of an owner of its own, without GPU, and waits until it joined.
    pub(crate) async fn node(&mut self, more: &[&str]) -> TestNode {
        self.nodes += 1;
        let name = format!("node-{}", self.nodes);
        let owner = self.admin.open_account(&account(&name)).await.unwrap();
        let owner = self.admin.with_key(Secret::from_text(owner.key));
        let token = owner
            .issue_join_token(&IssueJoinToken { ttl_s: None })
            .await
            .unwrap();
        let mut node = TestNode {
            folder: self.folder.path().join(&name),
            owner,
            url: self.url.clone(),
            token: token.token,
            more: more.iter().map(|&arg| arg.to_owned()).collect(),
            id: String::new(),
            child: None,
        };
        std::fs::create_dir(&node.folder).unwrap();
        node.start();
        let started = Instant::now();
        let registration = node.folder.join("node.json");
        while !registration.exists() {
            assert!(
                started.elapsed() < PATIENCE,
                "{name} did not join:\n{}",
                node.log()
            );
            tokio::time::sleep(POLL).await;
        }
        let document: Value =
            serde_json::from_slice(&std::fs::read(registration).unwrap()).unwrap();
        node.id = document["node"].as_str().unwrap().to_owned();
        node
    }

    /// Pushes the module `echo`; answers its digest.
    pub(crate) async fn push_echo(&self) -> String {
        self.requester
            .push_module("echo", echo())
            .await
            .unwrap()
            .digest
    }

    /// Submits an echo task.
    pub(crate) async fn echo(&self, params: Value, changes: Value) -> SubmittedTask {
        let module = self.push_echo().await;
        let definition = echo_definition(&module, params, changes);
        self.requester.submit_task(&definition, None).await.unwrap()
    }

    /// The task once `wanted` holds.
    pub(crate) async fn task_when(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Task) -> bool,
    ) -> Task {
        let started = Instant::now();
        loop {
            let task = self.requester.task(id).await.unwrap();
            if wanted(&task) {
                return task;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "not {what} in time: {task:#?}"
            );
            assert!(!task.ended, "ended before {what}: {task:#?}");
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn ended(&self, id: &str) -> Task {
        self.task_when(id, "ended", |task| task.ended).await
    }

    /// Runs `aevir` with the requester's key; answers its standard output.
    pub(crate) fn aevir(&self, args: &[&str]) -> Result<String, String> {
        self.aevir_with(&self.requester_key, args)
    }

    /// Runs `aevir` with a key.
    pub(crate) fn aevir_with(&self, key: &str, args: &[&str]) -> Result<String, String> {
        let output = Command::new(AEVIR)
            .args(args)
            .env("AEVIR_SERVER", &self.url)
            .env("AEVIR_KEY", key)
            .env("AEVIR_KNOWN_LOGS", self.folder().join("known-logs"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    pub(crate) fn admin_key(&self) -> String {
        let key = std::fs::read_to_string(self.folder().join("admin.key")).unwrap();
        key.trim().to_owned()
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The module `echo`.
pub(crate) fn echo() -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/modules/echo.wasm");
    std::fs::read(file).unwrap()
}

/// A definition of an echo task for one node, with fields replaced by `changes`.
pub(crate) fn echo_definition(module: &str, params: Value, changes: Value) -> Value {
    let mut definition = json!({
        "type": "data-processing",
        "module": module,
        "params": params,
        "limits": {"fuel": "1000000000000", "memory_mib": 64, "runtime_s": 60, "output_mib": 8},
        "economics": {"budget": "1000000", "pricing": {"mode": "fixed", "price": "100000"}},
        "privacy": {"publish": "full"},
    });
    for (field, value) in changes.as_object().unwrap() {
        definition[field] = value.clone();
    }
    definition
}

fn account(name: &str) -> OpenAccount {
    OpenAccount {
        name: name.into(),
        scopes: None,
    }
}

/// Starts `aevir serve` and reads where it listens.
fn serve(folder: &Path, listen: &str, stores: &Stores) -> (Child, String) {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("server.log"))
        .unwrap();
    let mut child = Command::new(AEVIR)
        .args(["serve", "--lifeline", "--listen", listen, "--data"])
        .arg(folder)
        .args(&stores.args)
        .envs(stores.env.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let url = line.trim().strip_prefix("listening on ");
    let url = url.unwrap_or_else(|| panic!("the server did not start: {line}{said}"));
    (child, url.to_owned())
}

/// A node's process and folder.
pub(crate) struct TestNode {
    pub(crate) folder: PathBuf,
    /// Its owner's client.
    pub(crate) owner: Client,
    url: String,
    token: String,
    more: Vec<String>,
    pub(crate) id: String,
    child: Option<Child>,
}

impl TestNode {
    pub(crate) fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("node.log"))
            .unwrap();
        let named = |option: &str| self.more.iter().any(|arg| arg == option);
        let grace: &[&str] = if named("--grace-s") {
            &[]
        } else {
            &["--grace-s", "1"]
        };
        let child = Command::new(AEVIR)
            .args(["node", "--lifeline", "--gpu", "off", "--data"])
            .arg(&self.folder)
            .args(grace)
            .args(&self.more)
            .env("AEVIR_SERVER", &self.url)
            .env("AEVIR_JOIN_TOKEN", &self.token)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Kills it without warning.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits until it ends by itself; answers its exit status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        // Waiting closes the child's input, and the end of its lifeline would stop it.
        let _lifeline = child.stdin.take();
        child.wait().unwrap().code()
    }

    /// Tells it to stop, as a service manager would, and waits until it has; answers whether it exited with zero.
    pub(crate) fn stop(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        // The end of its lifeline is handled like SIGTERM.
        let mut stdin = child.stdin.take().unwrap();
        stdin.flush().unwrap();
        drop(stdin);
        child.wait().unwrap().success()
    }

    /// Puts its folder into the state before the answer to its registration.
    pub(crate) fn forget_registration(&self) {
        let registration = self.folder.join("node.json");
        let document: Value =
            serde_json::from_slice(&std::fs::read(&registration).unwrap()).unwrap();
        let key = document["api_key"].as_str().unwrap();
        std::fs::write(self.folder.join("joining.key"), key).unwrap();
        std::fs::remove_file(registration).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

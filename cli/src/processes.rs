//! Node agents as child processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use aevir_node::Registration;
use aevir_wire::{JoinToken, Secret};
use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::node::GONE;

/// How long a node may take to join: opening and probing a GPU takes seconds on a busy machine.
const JOIN_PATIENCE: Duration = Duration::from_secs(90);
/// How long a node that is told to end may take.
const END_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a failed node's log that are shown.
const LOG_LINES_SHOWN: usize = 8;

/// One agent: `aevir node`, with its own folder.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    pub(crate) name: String,
    /// The node's id; known once it joined.
    pub(crate) id: String,
    folder: PathBuf,
    server: String,
    args: Vec<String>,
    token: Secret,
    child: Option<Child>,
}

/// What became of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Runs,
    /// Its node may go on with the next process.
    Ended,
    /// Its node has left, or is not known any more.
    Gone,
}

/// The folder of the agent with this name under `data`.
pub(crate) fn folder(data: &Path, name: &str) -> PathBuf {
    data.join("nodes").join(name)
}

impl NodeProcess {
    /// Starts an agent with its own folder under `data`; it is yet to join.
    ///
    /// # Errors
    /// When the process can't be started.
    pub(crate) fn start(
        data: &Path,
        server: &str,
        name: &str,
        token: &JoinToken,
        args: &[&str],
    ) -> Result<Self> {
        let folder = folder(data, name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("`{}` can't be made", folder.display()))?;
        let mut node = Self {
            name: name.to_owned(),
            id: String::new(),
            folder,
            server: server.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            token: Secret::from_text(token.token.as_str()),
            child: None,
        };
        node.spawn()?;
        Ok(node)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    fn spawn(&mut self) -> Result<()> {
        let program = std::env::current_exe().context("this program's own file can't be found")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .context("the node's log can't be written")?;
        let mut command = Command::new(program);
        command
            .args(["node", "--lifeline", "--name", &self.name, "--data"])
            .arg(&self.folder)
            .args(&self.args)
            .env("AEVIR_SERVER", &self.server)
            .env("AEVIR_JOIN_TOKEN", self.token.expose())
            .env_remove("AEVIR_KEY")
            // The other end is ours: when this process dies, so does the node.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // An interrupt on the terminal is for us; we end the nodes.
            .process_group(0)
            .kill_on_drop(true);
        self.child = Some(command.spawn().context("a node can't be started")?);
        Ok(())
    }

    /// Waits until the node has joined.
    ///
    /// # Errors
    /// When it ends before, or takes too long; with the last lines of its log.
    pub(crate) async fn joined(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(registration) = Registration::read(&self.folder)? {
                self.id = registration.node;
                return Ok(());
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended || started.elapsed() > JOIN_PATIENCE {
                bail!(
                    "the node {} did not join:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What became of its process.
    pub(crate) fn fate(&mut self) -> Fate {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Fate::Runs,
            Some(Ok(Some(status))) if status.code() == Some(GONE.into()) => Fate::Gone,
            Some(_) | None => Fate::Ended,
        }
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Kills it, without a chance to say anything.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the node is not running")?;
        child.kill().await.context("the node can't be killed")
    }

    /// Starts it again with the same folder: the same node.
    ///
    /// # Errors
    /// When the process can't be started.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.spawn()
    }

    /// Ends it in order, or else by force.
    pub(crate) async fn end(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // The end of its standard input tells it.
        drop(child.stdin.take());
        if tokio::time::timeout(END_PATIENCE, child.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                node = self.name,
                "the node did not end in time and is killed"
            );
            let _ = child.kill().await;
        }
    }
}

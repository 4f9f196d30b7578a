//! A private PostgreSQL for a test process: own data, own socket, unprivileged, gone with the process.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, geteuid},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

/// What the panic says where the server's programs are missing.
const REMEDY: &str = "PostgreSQL is needed for this test: `apt-get install postgresql-15` (or newer), \
                      or put `initdb` and `postgres` into PATH";
/// How long `initdb` and the first start may take on a busy machine.
const START: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Only names the socket file: nothing listens on TCP.
const PORT: u16 = 5432;

/// Runs beside the test process and holds the server. Its input is a pipe whose other end only the test process has:
/// at its end, however it came, the server is stopped and the folder removed.
///
/// No syncing: the data need not survive a loss of power, and killed server processes leave the page cache alone.
const GUARD: &str = r#"
trap '' INT TERM HUP
"$BIN/initdb" -D "$DIR/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions || exit 1
# Started again whenever it ends: tests crash it.
(
    while [ ! -e "$DIR/stop" ]; do
        "$BIN/postgres" -D "$DIR/data" -k "$DIR" -h '' -c max_connections=300 $SETTINGS
        sleep 0.1
    done
    : >"$DIR/stopped"
) &
cat >/dev/null
: >"$DIR/stop"
while [ ! -e "$DIR/stopped" ]; do
    kill -INT "$(head -n 1 "$DIR/data/postmaster.pid")"
    sleep 0.1
done 2>/dev/null
rm -rf "$DIR"
"#;

/// What a private server's commits survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Killed processes, but no loss of power: nothing is synced, which is what tests need.
    #[default]
    Processes,
    /// All that PostgreSQL's defaults promise: every commit is synced to the disk.
    Disk,
}

impl Durability {
    fn settings(self) -> &'static str {
        match self {
            Self::Processes => "-c fsync=off -c full_page_writes=off",
            Self::Disk => "-c fsync=on -c full_page_writes=on -c synchronous_commit=on",
        }
    }
}

/// How a server is crashed. Either way it is started again at once, and recovers from its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// As `pg_ctl stop -m immediate`: all server processes end at once, without a checkpoint.
    Immediate,
    /// SIGKILL for the server's main process; the others notice.
    Kill,
}

/// A fresh, empty database on a PostgreSQL server that belongs to this test process alone.
///
/// The server is started at first use (`initdb` into a temporary folder, Unix socket only, as user `postgres` or
/// `nobody` when run as root) and ends with the process, leaving nothing behind.
///
/// # Panics
/// Where PostgreSQL is not installed or does not start: a test that needs it must not pass without it.
#[derive(Debug, Clone)]
pub struct PrivatePostgres {
    cluster: Arc<Cluster>,
    database: String,
}

/// A server.
#[derive(Debug)]
struct Cluster {
    dir: PathBuf,
    /// Never read or written; closed by the operating system at the end of the process.
    _lifeline: ChildStdin,
}

impl PrivatePostgres {
    /// Creates a database. The first call in a process takes a second or two.
    pub async fn start() -> Self {
        Self::start_with(Durability::default()).await
    }

    /// Creates a database on a server whose commits survive that much; the process has one server of each kind.
    #[allow(clippy::expect_used, reason = "a test without its database must fail")]
    pub async fn start_with(durability: Durability) -> Self {
        static SHARED: [OnceLock<Arc<Cluster>>; 2] = [OnceLock::new(), OnceLock::new()];
        let shared = move || {
            let server = &SHARED[durability as usize];
            Arc::clone(server.get_or_init(|| Arc::new(start_cluster(durability))))
        };
        let cluster = tokio::task::spawn_blocking(shared).await;
        Self::on(cluster.expect("PostgreSQL starts")).await
    }

    /// A database on a server of its own, which [`Self::crash`] may crash, and which ends with the last clone of this.
    #[allow(clippy::expect_used, reason = "a test without its database must fail")]
    pub async fn alone() -> Self {
        let cluster =
            tokio::task::spawn_blocking(|| Arc::new(start_cluster(Durability::default()))).await;
        Self::on(cluster.expect("PostgreSQL starts")).await
    }

    #[allow(clippy::expect_used, reason = "a test without its database must fail")]
    async fn on(cluster: Arc<Cluster>) -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let maintenance = Self {
            cluster,
            database: "postgres".to_owned(),
        };
        let mut connection = PgConnection::connect_with(&maintenance.options())
            .await
            .expect("the private PostgreSQL answers");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}")))
            .execute(&mut connection)
            .await
            .expect("a database can be created");
        Self {
            database,
            ..maintenance
        }
    }

    /// Crashes the server under everybody who uses it, and waits until it takes connections again.
    #[allow(clippy::expect_used, reason = "a test without its database must fail")]
    pub async fn crash(&self, how: Crash) {
        let cluster = Arc::clone(&self.cluster);
        let crashing = tokio::task::spawn_blocking(move || cluster.crash(how));
        crashing.await.expect("PostgreSQL starts again");
    }

    /// How to connect.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.cluster.dir)
            .port(PORT)
            .username("postgres")
            .database(&self.database)
    }

    /// How to connect, as a URL that sqlx and libpq understand.
    pub fn url(&self) -> String {
        let dir = self
            .cluster
            .dir
            .to_string_lossy()
            .replace('%', "%25")
            .replace('/', "%2F");
        format!(
            "postgres://postgres@localhost:{PORT}/{}?host={dir}",
            self.database
        )
    }
}

impl Cluster {
    #[allow(
        clippy::expect_used,
        clippy::panic,
        reason = "a test without its database must fail"
    )]
    fn crash(&self, how: Crash) {
        let process = ready_process(&self.dir).expect("the server runs");
        let signal = match how {
            Crash::Immediate => Signal::SIGQUIT,
            Crash::Kill => Signal::SIGKILL,
        };
        kill(Pid::from_raw(process), signal).expect("the server can be killed");
        let started = Instant::now();
        while ready_process(&self.dir).is_none_or(|now| now == process) {
            assert!(started.elapsed() < START, "PostgreSQL did not start again");
            std::thread::sleep(POLL);
        }
    }
}

/// The server's main process, once it takes connections: it writes `ready` as the last line of its pid file.
fn ready_process(dir: &Path) -> Option<i32> {
    let pid_file = fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
    let mut lines = pid_file.lines();
    let process = lines.next()?.trim().parse().ok()?;
    (lines.nth(6)?.trim() == "ready").then_some(process)
}

#[allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test without its database must fail"
)]
fn start_cluster(durability: Durability) -> Cluster {
    let bin = find_programs().expect(REMEDY);
    // The path of a Unix socket has at most 107 bytes, so not below a long TMPDIR.
    let parent = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() < 60);
    let dir = tempfile::Builder::new()
        .prefix("aevir-pg-")
        .tempdir_in(parent.unwrap_or_else(|| PathBuf::from("/tmp")))
        .expect("a temporary folder can be created");
    let output =
        File::create(dir.path().join("output")).expect("the temporary folder can be written to");
    let mut guard = Command::new("/bin/sh");
    guard
        .args(["-c", GUARD])
        .env("BIN", &bin)
        .env("DIR", dir.path())
        .env("SETTINGS", durability.settings())
        .env("LC_ALL", "C")
        .current_dir(dir.path());
    guard
        .stdin(Stdio::piped())
        .stdout(output.try_clone().expect("a file has two handles"))
        .stderr(output);
    // Of its own group, so that an interrupt from the keyboard does not reach it before it has cleaned up.
    guard.process_group(0);
    if geteuid().is_root() {
        let user = unprivileged_user().expect("the machine has a user `postgres` or `nobody`");
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        chown(dir.path(), Some(uid), Some(gid)).expect("root may change owners");
        guard.uid(uid).gid(gid);
    }
    let mut guard = guard.spawn().expect("/bin/sh can be started");
    let lifeline = guard.stdin.take().expect("the pipe was asked for");
    wait_until_ready(&mut guard, dir.path());
    // From here on the guard removes it.
    Cluster {
        dir: dir.keep(),
        _lifeline: lifeline,
    }
}

#[allow(clippy::panic, reason = "a test without its database must fail")]
fn wait_until_ready(guard: &mut Child, dir: &Path) {
    let started = Instant::now();
    loop {
        if ready_process(dir).is_some() {
            return;
        }
        let ended = guard.try_wait().is_ok_and(|status| status.is_some());
        if ended || started.elapsed() > START {
            let output = fs::read_to_string(dir.join("output")).unwrap_or_default();
            panic!("PostgreSQL did not start; it said:\n{output}");
        }
        std::thread::sleep(POLL);
    }
}

/// The folder with the newest server's programs: of Debian's versions, else from PATH.
fn find_programs() -> Option<PathBuf> {
    let complete = |dir: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| dir.join(program).is_file())
    };
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .filter_map(|version| {
            Some((
                version.file_name().to_str()?.parse::<u32>().ok()?,
                version.path().join("bin"),
            ))
        })
        .filter(|(_, dir)| complete(dir))
        .max();
    if let Some((_, dir)) = newest {
        return Some(dir);
    }
    std::env::split_paths(
        std::env::var_os("PATH")
            .as_deref()
            .unwrap_or(OsStr::new("")),
    )
    .find(complete)
}

fn unprivileged_user() -> Option<User> {
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
}

//! The thin HTTP client: one typed method for every route, streaming transfers, and retries where they are safe.
//!
//! A call is repeated after a transport error or a 429, 502, 503 or 504 only where repeating can't do harm: reads,
//! content-addressed uploads, the node protocol's calls, and calls that carry an idempotency key.
//!
//! A client reads what it wrote: it remembers the positions of the log that answers name, and asks for lists that are
//! not older.

mod accounts;
mod call;
mod error;
mod ledger;
mod log;
mod node;
mod node_life;
mod objects;
mod points;
mod projections;
mod stream;
mod tasks;

use std::{
    sync::{Arc, Once, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

pub use error::ClientError;
pub use ledger::{EntryFilter, StatementFilter};
pub use node::NodeFilter;
pub use stream::{NdjsonStream, TaskUpdates};
pub use tasks::{AssignmentFilter, TaskFilter};

use crate::secret::Secret;

/// A server that does not accept a connection by then is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence before and within an answer: above the longest long poll (30 s) and the streams' keep-alive (15 s). With a body the time to
/// send it comes on top.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one server with one API key. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    key: Arc<RwLock<Option<Secret>>>,
    /// Where the key is kept, and may be another one by now.
    kept: Option<KeptKeys>,
    /// The highest position of the log that an answer named: lists are asked for with it, so that they show what this
    /// client and its clones did. A list of a server whose log went back, from a backup, is refused then.
    seen: Arc<AtomicU64>,
}

/// Answers the keys that a client may have instead of the one that it has, the likeliest first: of who keeps them where they can change
/// while the client works. Asked when the server does not know the one that it has.
pub type KeptKeys = Arc<dyn Fn() -> Vec<Secret> + Send + Sync>;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the server at `base_url` (such as `http://127.0.0.1:8080`). Without a key only the open
    /// routes and joining work.
    ///
    /// # Errors
    /// When the URL is no http(s) URL, or TLS can't be set up.
    pub fn new(base_url: &str, key: Option<Secret>) -> Result<Self, ClientError> {
        Ok(Self {
            http: http(base_url, READ_TIMEOUT)?,
            base_url: base_url.trim_end_matches('/').to_owned(),
            key: Arc::new(RwLock::new(key)),
            kept: None,
            seen: Arc::default(),
        })
    }

    /// The same connections with another key.
    pub fn with_key(&self, key: Secret) -> Self {
        Self {
            key: Arc::new(RwLock::new(Some(key))),
            kept: None,
            ..self.clone()
        }
    }

    /// The same client, which looks for another key where its own is not known any more: a call that the server does not take for that
    /// reason has done nothing, and is made again with each of those. The one that is taken is the client's, and its clones', from then on.
    #[must_use]
    pub fn with_kept_keys(mut self, kept: KeptKeys) -> Self {
        self.kept = Some(kept);
        self
    }

    fn key(&self) -> Option<Secret> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        key.clone()
    }

    fn take_key(&self, key: Secret) {
        let mut known = self.key.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(key);
    }

    /// The server's address, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }
}

/// Connections to the server at `base_url` that bear such a silence.
fn http(base_url: &str, read_timeout: Duration) -> Result<reqwest::Client, ClientError> {
    install_crypto();
    let url = reqwest::Url::parse(base_url)
        .map_err(|e| ClientError::Url(base_url.to_owned(), e.to_string()))?;
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(read_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("aevir/", env!("CARGO_PKG_VERSION")));
    // Elsewhere the system's own limit on what is not acknowledged holds, some minutes.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(READ_TIMEOUT);
    let builder = match url.scheme() {
        "https" => builder,
        // A machine that only talks to loopback need not have certificate authorities installed.
        "http" => builder.tls_certs_only([]),
        other => {
            let reason = format!("`{other}` is neither http nor https");
            return Err(ClientError::Url(base_url.to_owned(), reason));
        }
    };
    builder.build().map_err(ClientError::Transport)
}

/// rustls comes without a default provider; ring is the project's.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the program has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

//! `aevir serve`: the server. Flags win over the environment, and the environment over the configuration file.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use aevir_api::{RunningServer, objects::S3Config};
use aevir_platform::policy::{Market, Policy};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{
    args::DEFAULT_LISTEN,
    lifeline,
    platform::{self, LogSetup, Setup},
};

/// Where everything is kept when nothing else is said.
pub(crate) const DEFAULT_DATA: &str = "aevir-data";

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// A TOML file with the same settings: `data`, `listen`, `database`, `s3`, `log_key`, `log_origin`, `log_public`,
    /// `policy`.
    #[arg(long, env = "AEVIR_CONFIG")]
    config: Option<PathBuf>,
    /// The data folder: SQLite log, objects and the operator's key, as far as they are not kept elsewhere
    /// [default: ./aevir-data].
    #[arg(long, env = "AEVIR_DATA")]
    data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7700].
    #[arg(long, env = "AEVIR_LISTEN")]
    listen: Option<SocketAddr>,
    /// Keep the log in PostgreSQL, at this postgres:// URL, instead of SQLite.
    #[arg(long, env = "AEVIR_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// Keep objects in this S3 bucket instead of files; credentials come from AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY.
    #[arg(long, env = "AEVIR_S3", value_name = "BUCKET")]
    s3: Option<String>,
    /// The S3 server, such as http://127.0.0.1:9000; AWS when left out.
    #[arg(long, env = "AEVIR_S3_ENDPOINT", requires = "s3")]
    s3_endpoint: Option<String>,
    #[arg(long, env = "AEVIR_S3_REGION", requires = "s3")]
    s3_region: Option<String>,
    /// In front of every object's name.
    #[arg(long, env = "AEVIR_S3_PREFIX", requires = "s3")]
    s3_prefix: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    /// Who may take part in a new platform's market [default: open].
    #[arg(long, value_enum)]
    market: Option<MarketArg>,
    /// End when standard input ends.
    #[arg(long, hide = true)]
    lifeline: bool,
}

/// How the log is signed and published.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogArgs {
    /// The file with the key that signs the log's checkpoints, the same for all replicas; it is made at the first start
    /// [default: `log.key` in the data folder].
    #[arg(long, env = "AEVIR_LOG_KEY", value_name = "FILE")]
    log_key: Option<PathBuf>,
    /// The name of a new log, which it keeps for ever, such as example.com/aevir [default: aevir.local/ and an id].
    #[arg(long, env = "AEVIR_LOG_ORIGIN", value_name = "NAME")]
    log_origin: Option<String>,
    /// Let everybody read the log's entries, and not only who has the scope `audit`.
    #[arg(long, env = "AEVIR_LOG_PUBLIC")]
    log_public: bool,
}

impl LogArgs {
    pub(crate) fn setup(self) -> LogSetup {
        LogSetup {
            key: self.log_key,
            origin: self.log_origin,
            public: self.log_public,
        }
    }
}

/// Who may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MarketArg {
    /// Strangers: a task never runs on its requester's node, nor twice with one owner.
    Open,
    /// One owner runs everything.
    Private,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    database: Option<String>,
    s3: Option<S3File>,
    log_key: Option<PathBuf>,
    log_origin: Option<String>,
    log_public: Option<bool>,
    market: Option<MarketArg>,
    /// The whole policy of a new platform.
    policy: Option<Policy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct S3File {
    bucket: String,
    region: Option<String>,
    endpoint: Option<String>,
    prefix: Option<String>,
}

pub(crate) async fn serve(args: ServeArgs) -> Result<()> {
    let shutdown = lifeline::shutdown(args.lifeline);
    let setup = settle(args)?;
    let _lock = platform::lock(&setup)?;
    let server = platform::start(&setup).await?;
    {
        // For people and for programs that started us with port 0.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "listening on {}", server.url())?;
        stdout.flush()?;
    }
    until_ended(server, shutdown.cancelled()).await
}

/// Serves until told to stop.
///
/// # Errors
/// When the log's writer ends by itself: this process can do nothing more then.
pub(crate) async fn until_ended(
    server: RunningServer,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let status = tokio::select! {
        () = stop => None,
        status = server.log_ended() => Some(status),
    };
    server.shutdown().await;
    match status {
        None => Ok(()),
        Some(status) => bail!("the log's writer ended ({status:?}): start the server again"),
    }
}

/// Flags and environment over the file, the file over defaults.
fn settle(args: ServeArgs) -> Result<Setup> {
    let file = match &args.config {
        None => File::default(),
        Some(path) => read(path)?,
    };
    let s3 = match (&args.s3, file.s3) {
        (None, None) => None,
        (None, Some(s3)) => Some(s3),
        (Some(bucket), _) => Some(S3File {
            bucket: bucket.clone(),
            region: args.s3_region,
            endpoint: args.s3_endpoint,
            prefix: args.s3_prefix,
        }),
    };
    let market = args.market.or(file.market).map(|market| match market {
        MarketArg::Open => Market::Open,
        MarketArg::Private => Market::Private,
    });
    let policy = match (file.policy, market) {
        (Some(policy), Some(market)) => Policy { market, ..policy },
        (Some(policy), None) => policy,
        (None, Some(Market::Private)) => Policy::private(),
        (None, Some(Market::Open) | None) => Policy::default(),
    };
    let listen = args.listen.or(file.listen);
    Ok(Setup {
        data: args.data.or(file.data).unwrap_or(DEFAULT_DATA.into()),
        listen: listen.map_or_else(|| DEFAULT_LISTEN.parse().context("the address"), Ok)?,
        database: args.database.or(file.database),
        s3: s3.map(with_credentials).transpose()?,
        log: LogSetup {
            key: args.log.log_key.or(file.log_key),
            origin: args.log.log_origin.or(file.log_origin),
            public: args.log.log_public || file.log_public.unwrap_or(false),
        },
        policy,
    })
}

fn read(path: &Path) -> Result<File> {
    let named = || format!("`{}` can't be used as configuration", path.display());
    let text = std::fs::read_to_string(path).with_context(named)?;
    toml::from_str(&text).with_context(named)
}

fn with_credentials(s3: S3File) -> Result<S3Config> {
    let var = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set; S3 needs credentials"))
    };
    Ok(S3Config {
        bucket: s3.bucket,
        region: s3.region.unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint: s3.endpoint,
        access_key: var("AWS_ACCESS_KEY_ID")?,
        secret_key: var("AWS_SECRET_ACCESS_KEY")?,
        prefix: s3.prefix.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn settled(line: &[&str]) -> Result<Setup> {
        settle(Line::parse_from([&["serve"], line].concat()).args)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aevir.toml");
        std::fs::write(
            &path,
            "data = \"/srv/aevir\"\nlisten = \"0.0.0.0:80\"\nmarket = \"private\"\nlog_public = true\n\
             log_origin = \"example.com/file\"\nlog_key = \"/etc/aevir/log.key\"\n",
        )
        .unwrap();
        let path = path.to_str().unwrap();
        let origin = ["--log-origin", "example.com/flag"];
        let line = [&["--config", path, "--listen", "127.0.0.1:1"], &origin[..]].concat();
        let setup = settled(&line).unwrap();
        assert_eq!(setup.log.origin.as_deref(), Some("example.com/flag"));
        assert_eq!(
            setup.log.key.as_deref(),
            Some(Path::new("/etc/aevir/log.key"))
        );
        assert!(setup.log.public);
        assert_eq!(setup.data, Path::new("/srv/aevir"));
        assert_eq!(setup.listen.to_string(), "127.0.0.1:1");
        assert_eq!(setup.policy.market, Market::Private);
        let setup = settled(&[]).unwrap();
        assert_eq!(setup.listen.to_string(), DEFAULT_LISTEN);
        assert_eq!(setup.policy.market, Market::Open);
    }

    #[test]
    fn unknown_settings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aevir.toml");
        std::fs::write(&path, "dato = 1\n").unwrap();
        let error = settled(&["--config", path.to_str().unwrap()]).unwrap_err();
        assert!(
            crate::output::sentence(&error).contains("dato"),
            "{error:?}"
        );
    }
}

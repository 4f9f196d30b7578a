//! The log's signing key: made at the first start, in a file that only its owner reads, with its public half beside.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use aevir_events::tlog::LogKey;
use aevir_wire::Secret;
use anyhow::{Context, Result, bail};
use ulid::Ulid;

use crate::secrets;

/// In the data folder, where no other file is named.
pub(crate) const LOG_KEY_FILE: &str = "log.key";
/// What the public half's file is called, beside the key's.
const PUBLIC_EXTENSION: &str = "pub";

/// The key in the file; a new one where there is none and nothing was published with another one. `origin` names a
/// new log, and must be the name of one that is there.
///
/// # Errors
/// When the file can't be used, is another log's, or is missing although the log is published.
pub(crate) fn load_or_create(
    file: &Path,
    origin: Option<&str>,
    is_published: bool,
) -> Result<LogKey> {
    let shown = file.display();
    let key = match secrets::read(file)? {
        Some(secret) => LogKey::parse(secret.expose())
            .with_context(|| format!("`{shown}` can't be used: restore it from a backup"))?,
        None if is_published => bail!(
            "this log is published already, and its key is not in `{shown}`: bring the key file that it was published \
             with, or name it with --log-key"
        ),
        None => {
            let fresh = format!("aevir.local/{}", new_id());
            let key = LogKey::generate(origin.unwrap_or(&fresh), rand::random())?;
            secrets::write(file, &Secret::from_text(key.expose()))?;
            tracing::info!(origin = key.origin(), file = %shown, "the log has a new key");
            key
        }
    };
    if let Some(origin) = origin
        && origin != key.origin()
    {
        bail!(
            "the log is called `{}`, not `{origin}`: leave --log-origin out; a log keeps its name for ever",
            key.origin()
        );
    }
    let public = file.with_extension(PUBLIC_EXTENSION);
    std::fs::write(&public, format!("{}\n", key.verifier()))
        .with_context(|| format!("`{}` can't be written", public.display()))?;
    Ok(key)
}

fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    Ulid::from_parts(millis, rand::random())
        .to_string()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(LOG_KEY_FILE);
        let made = load_or_create(&file, None, false).unwrap();
        assert!(made.origin().starts_with("aevir.local/"), "{made:?}");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let public = std::fs::read_to_string(folder.path().join("log.pub")).unwrap();
        assert_eq!(public.trim(), made.verifier().to_string());
        assert!(!public.contains("PRIVATE"));
        let read = load_or_create(&file, Some(made.origin()), true).unwrap();
        assert_eq!(read.verifier(), made.verifier());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(LOG_KEY_FILE);
        let refused = |origin, is_published| {
            let error = load_or_create(&file, origin, is_published).unwrap_err();
            crate::output::sentence(&error)
        };
        assert!(refused(None, true).contains("--log-key"));
        assert!(!file.exists(), "no key is made where one is missing");
        assert!(refused(Some("two words"), false).contains("origin"));
        load_or_create(&file, Some("example.com/log"), false).unwrap();
        assert!(refused(Some("example.org/log"), false).contains("leave --log-origin out"));
        std::fs::write(&file, "PRIVATE+KEY+secret").unwrap();
        let said = refused(None, false);
        assert!(
            said.contains("restore it") && !said.contains("secret"),
            "{said}"
        );
    }
}

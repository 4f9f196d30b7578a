//! Checkpoints: origin, size and root of the log as a signed note, <https://c2sp.org/tlog-checkpoint>.

use tlog_tiles::Checkpoint as Body;

use super::key::{LogKey, VerifierKey};
use crate::merkle::Hash;

/// A checkpoint whose signature was verified, or made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of entries that it covers.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
    /// The signed note, as it is published.
    note: String,
}

/// Why a note is no checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint is not signed by the log's key `{key}`: it says to be of `{origin}`")]
    Signature { key: String, origin: String },
    #[error("the checkpoint is of the log `{found}`, not of `{expected}`")]
    Origin { expected: String, found: String },
    #[error(
        "the checkpoint's text is not that of a checkpoint: origin, size and root, a line each"
    )]
    Malformed,
}

impl Checkpoint {
    /// Signs a size and a root.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`] for an origin that makes no checkpoint.
    pub(super) fn sign(key: &LogKey, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let body = Body::new(key.origin(), size, tlog_tiles::Hash(root.0), "")
            .map_err(|_| malformed.clone())?;
        let text = String::from_utf8(body.to_bytes()).map_err(|_| malformed.clone())?;
        let note = key.sign(&text).map_err(|_| malformed.clone())?;
        let note = String::from_utf8(note).map_err(|_| malformed)?;
        Ok(Self { size, root, note })
    }

    /// Reads a signed note and verifies that the log's key signed it. Further signatures (witnesses') may stand beside.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, CheckpointError> {
        let text = key.open(note).ok_or_else(|| CheckpointError::Signature {
            key: key.to_string(),
            origin: String::from_utf8_lossy(note)
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
        })?;
        let body = Body::from_bytes(&text).map_err(|_| CheckpointError::Malformed)?;
        if body.origin() != key.origin() {
            return Err(CheckpointError::Origin {
                expected: key.origin().to_owned(),
                found: body.origin().to_owned(),
            });
        }
        let note = String::from_utf8(note.to_vec()).map_err(|_| CheckpointError::Malformed)?;
        Ok(Self {
            size: body.size(),
            root: Hash(body.hash().0),
            note,
        })
    }

    /// The signed note, as it is published.
    pub fn note(&self) -> &str {
        &self.note
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_checkpoint_is_signed_and_opened() {
        let key = LogKey::generate("example.com/log", [3; 32]).unwrap();
        let root = Hash::of(b"root");
        let signed = Checkpoint::sign(&key, 20_852_163, root).unwrap();
        let mut lines = signed.note().lines();
        assert_eq!(lines.next(), Some("example.com/log"));
        assert_eq!(lines.next(), Some("20852163"));
        let opened = Checkpoint::open(signed.note().as_bytes(), key.verifier()).unwrap();
        assert_eq!(opened, signed);
        let witnessed = format!(
            "{}— witness.example/w {}\n",
            signed.note(),
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        );
        let opened = Checkpoint::open(witnessed.as_bytes(), key.verifier()).unwrap();
        assert_eq!((opened.size, opened.root), (20_852_163, root));
    }

    #[test]
    fn a_forged_or_foreign_checkpoint_is_refused() {
        let key = LogKey::generate("example.com/log", [3; 32]).unwrap();
        let other = LogKey::generate("example.com/log", [4; 32]).unwrap();
        let signed = Checkpoint::sign(&key, 5, Hash::of(b"root")).unwrap();
        let open = |note: &str, key: &LogKey| Checkpoint::open(note.as_bytes(), key.verifier());
        let forged = signed.note().replace("\n5\n", "\n6\n");
        assert!(matches!(
            open(&forged, &key),
            Err(CheckpointError::Signature { .. })
        ));
        assert!(matches!(
            open(signed.note(), &other),
            Err(CheckpointError::Signature { .. })
        ));
        assert!(matches!(
            open("", &key),
            Err(CheckpointError::Signature { .. })
        ));
        // Signed by the key, but no checkpoint, or another log's.
        let text = |text: &str| String::from_utf8(key.sign(text).unwrap()).unwrap();
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for body in [
            "hello\n".to_owned(),
            format!("example.com/log\n05\n{root}\n"),
        ] {
            assert_eq!(
                open(&text(&body), &key),
                Err(CheckpointError::Malformed),
                "{body}"
            );
        }
        let elsewhere = text(&format!("example.org/log\n5\n{root}\n"));
        assert!(matches!(
            open(&elsewhere, &key),
            Err(CheckpointError::Origin { .. })
        ));
    }
}

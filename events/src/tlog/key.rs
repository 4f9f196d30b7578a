//! The log's Ed25519 key, in the text forms of <https://c2sp.org/signed-note>. Its name is the log's origin.

use std::{fmt, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use signed_note::{
    Note, StandardSigner, StandardVerifier, Verifier as _, VerifierList, is_key_name_valid, key_id,
};

/// The signature type of Ed25519.
const ED25519: u8 = 1;
const SECRET_PREFIX: &str = "PRIVATE+KEY+";
/// Longest origin, in bytes: it is a line of every checkpoint and part of every file's path that pins it.
const ORIGIN_BYTES_MAX: usize = 200;

/// A text that is no key. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "a log's origin has 1 to {ORIGIN_BYTES_MAX} visible characters and no `+`, such as `example.com/log`"
    )]
    Origin,
    #[error("this is no private log key: it looks like `PRIVATE+KEY+<origin>+<id>+<base64>`")]
    Secret,
    #[error("this is no log key: it looks like `<origin>+<id>+<base64>`, as in `log.pub`")]
    Public,
}

/// The key that signs checkpoints. Its secret half is never shown.
pub struct LogKey {
    signer: StandardSigner,
    seed: [u8; 32],
    secret: String,
    verifier: VerifierKey,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogKey").field(&self.verifier).finish()
    }
}

impl LogKey {
    /// A new key for a log called `origin`, from 32 random bytes.
    ///
    /// # Errors
    /// [`KeyError::Origin`].
    pub fn generate(origin: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let is_plain = !origin.chars().any(char::is_control);
        if !is_key_name_valid(origin) || !is_plain || origin.len() > ORIGIN_BYTES_MAX {
            return Err(KeyError::Origin);
        }
        let public = public_part(&seed);
        let id = key_id(origin, &public);
        let secret = BASE64_STANDARD.encode([[ED25519].as_slice(), &seed].concat());
        Self::parse(&format!("{SECRET_PREFIX}{origin}+{id:08x}+{secret}"))
    }

    /// Reads the private form.
    ///
    /// # Errors
    /// [`KeyError::Secret`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let signer = StandardSigner::new(text).map_err(|_| KeyError::Secret)?;
        let mut parts = text.strip_prefix(SECRET_PREFIX).into_iter();
        let mut parts = parts.next().ok_or(KeyError::Secret)?.splitn(3, '+');
        let (Some(origin), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyError::Secret);
        };
        let secret = BASE64_STANDARD
            .decode(secret)
            .map_err(|_| KeyError::Secret)?;
        let seed: Option<&[u8; 32]> = secret.get(1..).and_then(|seed| seed.try_into().ok());
        let seed = seed.ok_or(KeyError::Secret)?;
        let public = BASE64_STANDARD.encode(public_part(seed));
        let verifier = format!("{origin}+{id}+{public}");
        Ok(Self {
            signer,
            seed: *seed,
            secret: text.to_owned(),
            verifier: verifier.parse().map_err(|_| KeyError::Secret)?,
        })
    }

    /// The private form, for the key's file and nothing else.
    pub fn expose(&self) -> &str {
        &self.secret
    }

    /// A secret for another purpose, which tells nothing of the key: HMAC-SHA-256 of the purpose, keyed with the key's
    /// 32 secret bytes. Whoever has the key file has it.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.seed);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.verifier.origin()
    }

    /// A signed note over `text`, which ends with a line feed.
    pub(super) fn sign(&self, text: &str) -> Result<Vec<u8>, signed_note::NoteError> {
        let mut note = Note::new(text.as_bytes(), &[])?;
        note.add_sigs(&[&self.signer])?;
        Ok(note.to_bytes())
    }
}

/// The signature type and the public key that belong to a seed.
fn public_part(seed: &[u8; 32]) -> Vec<u8> {
    let public = SigningKey::from_bytes(seed).verifying_key();
    [[ED25519].as_slice(), public.as_bytes()].concat()
}

/// The public half of a log's key, with the log's origin: what clients pin. Also called a vkey.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    /// Large, for the curve's points in it.
    verifier: Arc<StandardVerifier>,
}

impl VerifierKey {
    /// The log's name.
    pub fn origin(&self) -> &str {
        self.verifier.name()
    }

    /// The text of a note that this key signed. Signatures of others are left aside.
    pub(super) fn open(&self, note: &[u8]) -> Option<Vec<u8>> {
        let note = Note::from_bytes(note).ok()?;
        let known = VerifierList::new(vec![Box::new(StandardVerifier::clone(&self.verifier))]);
        note.verify(&known).ok()?;
        Some(note.text().to_vec())
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = KeyError;

    /// Reads `<origin>+<id>+<base64>`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let verifier = StandardVerifier::new(text).map_err(|_| KeyError::Public)?;
        Ok(Self {
            text: text.to_owned(),
            verifier: Arc::new(verifier),
        })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VerifierKey {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The key and note of the C2SP signed-note specification.
    const SECRET: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
         then you don't know what your problem is.\n\
         \n\
         — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_specification_s_note_is_signed_and_verified() {
        let key = LogKey::parse(SECRET).unwrap();
        assert_eq!(key.verifier().to_string(), PUBLIC);
        assert_eq!(key.origin(), "PeterNeumann");
        assert_eq!(key.sign(TEXT).unwrap(), NOTE.as_bytes());
        let public: VerifierKey = PUBLIC.parse().unwrap();
        assert_eq!(public.open(NOTE.as_bytes()).unwrap(), TEXT.as_bytes());
        let forged = NOTE.replace("answer", "cause");
        assert_eq!(public.open(forged.as_bytes()), None);
    }

    #[test]
    fn a_new_key_is_read_back_and_shows_only_its_public_half() {
        let key = LogKey::generate("example.com/log", [7; 32]).unwrap();
        let again = LogKey::parse(&format!("{}\n", key.expose())).unwrap();
        assert_eq!(again.verifier(), key.verifier());
        assert!(!format!("{key:?}").contains("PRIVATE"));
        let other = LogKey::generate("example.com/log", [8; 32]).unwrap();
        assert_ne!(other.verifier(), key.verifier());
        assert_eq!(other.verifier().open(&key.sign("a\n").unwrap()), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for origin in ["", "with space", "a+b", "line\nfeed", "nul\0"] {
            let refused = LogKey::generate(origin, [0; 32]).unwrap_err();
            assert_eq!(refused, KeyError::Origin, "{origin:?}");
        }
        assert!(LogKey::generate(&"x".repeat(201), [0; 32]).is_err());
        for text in ["", PUBLIC, &SECRET[..60], &SECRET.replace("c74f", "c74e")] {
            assert_eq!(LogKey::parse(text).unwrap_err(), KeyError::Secret);
        }
        for text in ["", SECRET, &PUBLIC[..40], &PUBLIC.replace("Peter", "Petra")] {
            assert_eq!(text.parse::<VerifierKey>(), Err(KeyError::Public));
        }
    }
}

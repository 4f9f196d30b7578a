//! Secrets: API keys and join tokens, 256 random bits each. Only their SHA-256 is ever stored.

use sha2::{Digest as _, Sha256};

/// What an API key begins with, so that a leaked one is found by scanners.
pub const KEY_PREFIX: &str = "aevk_";
/// What a join token begins with.
pub const TOKEN_PREFIX: &str = "aevj_";

/// A bearer secret: prefix and 64 hex digits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A fresh API key.
    pub fn new_key() -> Self {
        Self::fresh(KEY_PREFIX)
    }

    /// The API key that belongs to 32 bytes.
    pub fn key_of(bytes: [u8; 32]) -> Self {
        Self(format!("{KEY_PREFIX}{}", hex::encode(bytes)))
    }

    /// A fresh join token.
    pub fn new_token() -> Self {
        Self::fresh(TOKEN_PREFIX)
    }

    fn fresh(prefix: &str) -> Self {
        Self(format!(
            "{prefix}{}",
            hex::encode(rand::random::<[u8; 32]>())
        ))
    }

    /// A secret that was stored or handed over.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the `Authorization` header or a file that only its owner reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 over the whole text, in hex: what the platform stores and looks up.
    pub fn hash(&self) -> String {
        hex::encode(self.hash_bytes())
    }

    /// The same as bytes.
    pub fn hash_bytes(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_fresh_and_stay_out_of_logs() {
        let (a, b) = (Secret::new_key(), Secret::new_key());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), KEY_PREFIX.len() + 64);
        assert_ne!(a.hash(), b.hash());
        assert_eq!(format!("{a:?}"), "Secret(..)");
        assert_eq!(Secret::from_text(a.expose()).hash(), a.hash());
    }
}

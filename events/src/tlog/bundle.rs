//! Entry bundles: up to 256 entries, each behind its length in 16 bits, big-endian.

use crate::entry::MAX_ENTRY_BYTES;

/// Bytes of a length.
const LENGTH_BYTES: usize = 2;
const _: () = assert!(MAX_ENTRY_BYTES <= u16::MAX as usize);

/// Bytes that are no bundle of the expected number of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("the bundle ends in the middle of entry {entry}")]
    Cut { entry: usize },
    #[error("the bundle has {found} entries, not {expected}")]
    Count { expected: usize, found: usize },
}

/// Adds an entry. One that is longer than the log takes is a bug of the caller's.
pub(super) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    debug_assert_eq!(usize::from(length), entry.len());
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle that must have `expected` of them.
///
/// # Errors
/// [`BundleError`].
pub fn decode_bundle(mut bundle: &[u8], expected: usize) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(expected);
    while !bundle.is_empty() {
        let cut = BundleError::Cut {
            entry: entries.len(),
        };
        let (length, rest) = bundle
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(cut.clone())?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(cut)?;
        entries.push(entry);
        bundle = rest;
    }
    let found = entries.len();
    if found == expected {
        Ok(entries)
    } else {
        Err(BundleError::Count { expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let entries: [&[u8]; 4] = [b"one", b"", &[0; MAX_ENTRY_BYTES], b"four"];
        let mut bundle = Vec::new();
        for entry in entries {
            push_entry(&mut bundle, entry);
        }
        assert_eq!(bundle[..5], [0, 3, b'o', b'n', b'e']);
        assert_eq!(decode_bundle(&bundle, 4), Ok(entries.to_vec()));
        assert_eq!(
            decode_bundle(&bundle, 3),
            Err(BundleError::Count {
                expected: 3,
                found: 4
            })
        );
        for cut in [1, 4, bundle.len() - 1] {
            assert!(matches!(
                decode_bundle(&bundle[..cut], 4),
                Err(BundleError::Cut { .. })
            ));
        }
    }
}

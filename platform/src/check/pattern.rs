//! Which patterns a schema may have: those that are quick whatever they are held against.
//!
//! The validator's engine makes a pattern's automaton a state at a time, as a text asks for it, and takes linear time for a small one: one step
//! a byte. One with very many states (`[ab]*a[ab]{200}c` has 2^200) takes a thousand times that for each byte, so that all of it is made once,
//! within a bound, when the schema is submitted.

use regex_automata::{
    MatchKind,
    dfa::{
        StartKind,
        dense::{Builder, Config},
    },
    nfa::thompson,
    util::syntax,
};

/// Bytes of the automata of all patterns of a schema: `^[0-9a-f]{64}$` takes some 4 KiB.
const AUTOMATA_BYTES_MAX: usize = 128 * 1024;
/// Bytes of what one is made from: more than of any whose automata fit.
const NFA_BYTES_MAX: usize = 512 * 1024;

/// Bytes of all patterns of a schema: each is parsed several times, again for each result, and some parts of it again for each of its bytes.
const PATTERN_BYTES_MAX: usize = 1024;
/// Patterns of a schema: each is compiled anew for each result.
const PATTERNS_MAX: usize = 32;
/// Classes of Unicode (`\p{..}`) in all patterns of a schema: each is hundreds of ranges that are written out for it.
const CLASSES_MAX: usize = 16;

/// Holds all patterns of a schema to what they may take.
///
/// # Errors
/// The first that takes too much, or can't be a pattern.
pub(super) fn check(patterns: &[&str]) -> Result<(), String> {
    if patterns.len() > PATTERNS_MAX {
        return Err(format!(
            "it has {} patterns, and {PATTERNS_MAX} are the most",
            patterns.len()
        ));
    }
    let bytes: usize = patterns.iter().map(|pattern| pattern.len()).sum();
    if bytes > PATTERN_BYTES_MAX {
        return Err(format!(
            "its patterns have {bytes} bytes together, and {PATTERN_BYTES_MAX} are the most: write alternatives of fixed texts as `enum`"
        ));
    }
    let classes = |pattern: &&str| pattern.matches("\\p").count() + pattern.matches("\\P").count();
    let classes: usize = patterns.iter().map(classes).sum();
    if classes > CLASSES_MAX {
        return Err(format!(
            "its patterns have {classes} classes of Unicode (`\\p{{..}}`), and {CLASSES_MAX} are the most"
        ));
    }
    let mut left = AUTOMATA_BYTES_MAX;
    for pattern in patterns {
        left = after(pattern, left)?;
    }
    Ok(())
}

/// What begins with `(?` in a pattern and may stand in none: flags, which are no part of ECMA 262, and with which a class of two characters is
/// folded one by one over all that lies between them; and what looks around, for which there is no automaton.
fn refused_group(pattern: &str) -> Option<&'static str> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['\\', '(']) {
        let (from, is_escape) = (&rest[at..], rest[at..].starts_with('\\'));
        let after = from.get(1..).unwrap_or_default();
        let skipped = after.chars().next().filter(|_| is_escape);
        rest = &after[skipped.map_or(0, char::len_utf8)..];
        let Some(group) = after.strip_prefix('?').filter(|_| !is_escape) else {
            continue;
        };
        let looks = ["=", "!", "<=", "<!"].iter().any(|l| group.starts_with(l));
        if looks {
            return Some(
                "looks ahead or behind, for which there is no automaton: say it by `not`, `allOf` or another pattern beside it",
            );
        }
        if !group.starts_with([':', '<']) {
            return Some(
                "has flags, which no pattern of a JSON Schema has: write both cases, as in `[Aa]`",
            );
        }
    }
    None
}

/// What is left after a pattern's automata, which texts are run through forwards, and from the end backwards.
fn after(pattern: &str, mut left: usize) -> Result<usize, String> {
    let shown: String = pattern.chars().take(80).collect();
    let translated = jsonschema_regex::to_rust_regex(pattern)
        .map_err(|()| format!("the pattern `{shown}` is none"))?;
    if let Some(why) = refused_group(pattern).or_else(|| refused_group(&translated)) {
        return Err(format!("the pattern `{shown}` {why}"));
    }
    for is_reverse in [false, true] {
        let (matches, starts) = match is_reverse {
            false => (MatchKind::LeftmostFirst, StartKind::Both),
            true => (MatchKind::All, StartKind::Anchored),
        };
        let made = Builder::new()
            .syntax(syntax::Config::new().utf8(true))
            .thompson(
                thompson::Config::new()
                    .reverse(is_reverse)
                    .nfa_size_limit(Some(NFA_BYTES_MAX)),
            )
            .configure(
                Config::new()
                    .match_kind(matches)
                    .start_kind(starts)
                    .dfa_size_limit(Some(left))
                    .determinize_size_limit(Some(left)),
            )
            .build(&translated);
        let made = made.map_err(|e| match e.is_size_limit_exceeded() {
            true => format!(
                "the pattern `{shown}` takes too much of {AUTOMATA_BYTES_MAX} bytes for the automata of a schema's patterns: write it with fewer repetitions, lengths as `minLength` and `maxLength`, and ranges of letters in place of classes of Unicode"
            ),
            false if translated.contains("\\b") || translated.contains("\\B") => format!(
                "the pattern `{shown}` has word boundaries, which can't be bounded: write `(^|[^A-Za-z0-9_])` or `($|[^A-Za-z0-9_])`"
            ),
            false => format!("the pattern `{shown}` is refused: {e}"),
        })?;
        left = left.saturating_sub(made.memory_usage());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn usual_patterns_are_small() {
        let usual = [
            "^[0-9a-f]{64}$",
            "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89ab][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$",
            r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
            r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
            "^(cat|dog|bird)$",
            "error",
            r"^https?://[^/]+/.*$",
            "^[^/]{1,16}$",
            "",
        ];
        check(&usual).unwrap();
    }

    #[test]
    fn large_automata_are_refused_whichever_way_a_text_is_run_through() {
        for pattern in [
            "[ab]*a[ab]{200}c",
            "^[ab]*a[ab]{20}c",
            "c[ab]{40}a[ab]*$",
            "(.*a.{18})",
            "^.{1,100}$",
        ] {
            let error = check(&[pattern]).unwrap_err();
            assert!(error.contains("takes too much"), "{pattern}: {error}");
        }
        let many = vec!["^[0-9a-f]{128}$"; 32];
        assert!(check(&many).unwrap_err().contains("takes too much"));
        check(&many[..8]).unwrap();
        let ahead = check(&["a(?=b)"]).unwrap_err();
        assert!(ahead.contains("looks ahead"), "{ahead}");
        let bounded = check(&[r"\bcat\b"]).unwrap_err();
        assert!(bounded.contains("word boundaries"), "{bounded}");
        assert!(check(&["(a"]).unwrap_err().contains("is none"));
    }

    #[test]
    fn what_takes_long_to_read_is_refused_before_it_is_read() {
        let folded = format!("(?i)a(?:{}){{0}}", "[!-\u{10fffd}]".repeat(60));
        for pattern in [&*folded, "a(?i:b)", "(?-u)a", r"\\(?x) a", "(?P<n>a)"] {
            let error = check(&[pattern]).unwrap_err();
            assert!(error.contains("has flags"), "{pattern}: {error}");
        }
        check(&[r"\(?i", "(?:a|b)", "(?<name>a)", r"^[a-z .'-]+$"]).unwrap();
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert!(check(&[&long]).unwrap_err().contains("1025 bytes"));
        let halves = [&long[..600], &long[..600]];
        assert!(check(&halves).unwrap_err().contains("1200 bytes"));
        let classes = format!("a[{}]{{0}}", r"\pL".repeat(CLASSES_MAX + 1));
        assert!(
            check(&[&classes])
                .unwrap_err()
                .contains("classes of Unicode")
        );
        assert!(check(&["a"; 33]).unwrap_err().contains("33 patterns"));
    }
}

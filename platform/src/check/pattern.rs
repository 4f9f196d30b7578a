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
use regex_syntax::ast::{self, Ast, ErrorKind, GroupKind, Visitor, parse::Parser};

/// Bytes of the automata of all patterns of a task's schemas: `^[0-9a-f]{64}$` takes some 4 KiB.
const AUTOMATA_BYTES_MAX: usize = 128 * 1024;
/// Bytes of what one is made from: more than of any whose automata fit.
const NFA_BYTES_MAX: usize = 512 * 1024;
/// Bytes of all patterns: each is parsed several times, again for each result, and some parts of it again for each of its bytes.
const PATTERN_BYTES_MAX: usize = 1024;
/// Patterns in all: each is compiled anew for each result.
const PATTERNS_MAX: usize = 32;
/// Classes in all patterns that are written out for them, as hundreds of ranges or over all of Unicode.
const CLASSES_MAX: usize = 32;
/// How they are written.
const CLASSES: [&str; 6] = [r"\p", r"\P", r"\s", r"\S", r"\D", r"\W"];

/// What the patterns of a task's schemas take so far.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    count: usize,
    bytes: usize,
    classes: usize,
    automata: usize,
}

impl Patterns {
    /// Takes those of one more schema.
    ///
    /// # Errors
    /// All of them take too much, or one of these can't be a pattern.
    pub(super) fn take(&mut self, patterns: &[&str]) -> Result<(), String> {
        self.count += patterns.len();
        if self.count > PATTERNS_MAX {
            let count = self.count;
            return Err(format!(
                "a task's schemas have {PATTERNS_MAX} patterns at most, and these {count} or more"
            ));
        }
        self.bytes += patterns.iter().map(|pattern| pattern.len()).sum::<usize>();
        if self.bytes > PATTERN_BYTES_MAX {
            let bytes = self.bytes;
            return Err(format!(
                "the patterns of a task's schemas have {PATTERN_BYTES_MAX} bytes together at most, and these {bytes} or more: write alternatives of fixed texts as `enum`"
            ));
        }
        let of = |pattern: &&str| CLASSES.map(|class| pattern.matches(class).count());
        self.classes += patterns.iter().flat_map(of).sum::<usize>();
        if self.classes > CLASSES_MAX {
            let classes = self.classes;
            return Err(format!(
                "the patterns of a task's schemas have {CLASSES_MAX} classes such as `\\p{{..}}` and `\\S` at most, and these {classes} or more"
            ));
        }
        for pattern in patterns {
            let left = AUTOMATA_BYTES_MAX.saturating_sub(self.automata);
            self.automata += automata(pattern, left)?;
        }
        Ok(())
    }
}

/// Finds flags, which are no part of ECMA 262, and with which a class of two characters is folded one by one over all that lies between them.
struct Flags;

impl Visitor for Flags {
    type Output = ();
    type Err = ();

    fn finish(self) -> Result<(), ()> {
        Ok(())
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), ()> {
        match part {
            Ast::Flags(_) => Err(()),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) if !flags.items.is_empty() => Err(()),
                GroupKind::NonCapturing(_)
                | GroupKind::CaptureIndex(_)
                | GroupKind::CaptureName { .. } => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Why a pattern is refused by what stands in it, before its classes are written out.
fn refused(translated: &str) -> Option<String> {
    match Parser::new().parse(translated) {
        Ok(ast) => ast::visit(&ast, Flags).err().map(|()| {
            "has flags, which no pattern of a JSON Schema has: write both cases, as in `[Aa]`".into()
        }),
        Err(error) if *error.kind() == ErrorKind::UnsupportedLookAround => Some(
            "looks ahead or behind, for which there is no automaton: say it by `not`, `allOf` or another pattern beside it".into(),
        ),
        Err(error) => Some(format!("is refused: {}", error.kind())),
    }
}

/// Bytes of a pattern's automata, which texts are run through forwards, and from the end backwards.
fn automata(pattern: &str, most: usize) -> Result<usize, String> {
    let mut bytes = 0;
    let shown: String = pattern.chars().take(80).collect();
    let translated = jsonschema_regex::to_rust_regex(pattern)
        .map_err(|()| format!("the pattern `{shown}` is none"))?;
    if let Some(why) = refused(&translated) {
        return Err(format!("the pattern `{shown}` {why}"));
    }
    for is_reverse in [false, true] {
        let left = most.saturating_sub(bytes);
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
                "the pattern `{shown}` takes too much of {AUTOMATA_BYTES_MAX} bytes for the automata of all of a task's patterns: write it with fewer repetitions, lengths as `minLength` and `maxLength`, and ranges of letters in place of classes of Unicode"
            ),
            false if translated.contains("\\b") || translated.contains("\\B") => format!(
                "the pattern `{shown}` has word boundaries, which can't be bounded: write `(^|[^A-Za-z0-9_])` or `($|[^A-Za-z0-9_])`"
            ),
            false => format!("the pattern `{shown}` is refused: {e}"),
        })?;
        bytes += made.memory_usage();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(patterns: &[&str]) -> Result<(), String> {
        Patterns::default().take(patterns)
    }

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
        for pattern in [
            &*folded,
            "a(?i:b)",
            "(?-u)a",
            r"\\(?x) a",
            "[[](?i)a",
            "(?<n>(?i)a)",
        ] {
            let error = check(&[pattern]).unwrap_err();
            assert!(error.contains("has flags"), "{pattern}: {error}");
        }
        check(&[
            r"\(?i",
            "[(?i]",
            "^[(?!.a-z]+$",
            "(?:a|b)",
            "(?<name>a)",
            r"^[a-z .'-]+$",
        ])
        .unwrap();
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert!(check(&[&long]).unwrap_err().contains("1025 or more"));
        let mut all = Patterns::default();
        let half = format!("[{}]", &long[..598]);
        all.take(&[&half]).unwrap();
        let error = all.take(&[&half]).unwrap_err();
        assert!(error.contains("1200 or more"), "{error}");
        for class in [r"\pL", r"\S"] {
            let many = format!("a[{}]{{0}}", class.repeat(CLASSES_MAX + 1));
            let error = check(&[&many]).unwrap_err();
            assert!(error.contains("33 or more"), "{error}");
        }
        assert!(check(&["a"; 33]).unwrap_err().contains("33 or more"));
    }
}

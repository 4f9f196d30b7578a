//! How deep a kernel nests. Compilers, naga's and the drivers', descend by recursion, and what overflows their stack takes the
//! process with it: so depth is bounded before they see it.
//!
//! naga itself bounds parentheses and braces (200 and 127 deep), but not what the eye does not take for nesting: `a + a + a + ...` is
//! a tree as deep as it is long, and so is a row of `else if`. [`check_source`] bounds these in the text; [`check_module`]
//! bounds what shows only in the parsed module.

use naga::{Block, Module, Statement, TypeInner};

use crate::error::{GpuError, limit};

/// Operators of one statement. The largest written by people have dozens; a chain of this length takes naga about ten
/// megabytes of stack.
pub const OPERATORS_MAX: u32 = 4_096;
/// `else` in a row, over all levels of nesting at a place.
pub const ELSE_MAX: u32 = 256;
/// Functions that call each other in a row.
pub const CALLS_MAX: u32 = 255;
/// Arrays, structs, vectors in each other: WGSL's own limit (section "Limits").
pub const TYPES_MAX: u32 = 15;
/// Loops in each other, also through calls: twice what convolutions in three dimensions have. Drivers' compilers take minutes for a
/// hundred.
pub const LOOPS_MAX: u32 = 16;
/// Cases of one `switch`: WGSL's own limit (section "Limits").
pub const CASES_MAX: usize = 1_023;

/// Bounds the chains of a source text. Comments are left out; what is no WGSL is the parser's business.
pub(super) fn check_source(wgsl: &str) -> Result<(), GpuError> {
    let mut scan = Scan::default();
    let mut rest = wgsl.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'/', [b'/', ..]) => after_line(tail),
            (b'/', [b'*', ..]) => after_comment(tail),
            (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' | 0x80.., _) => {
                let word = rest.iter().take_while(|byte| is_word(**byte)).count();
                scan.word(&rest[..word]);
                &rest[word..]
            }
            _ => {
                scan.mark(*byte);
                tail
            }
        };
        if scan.operators > OPERATORS_MAX {
            return Err(GpuError::limit(limit::OPERATORS, OPERATORS_MAX));
        }
        if scan.elses.iter().sum::<u32>() > ELSE_MAX {
            return Err(GpuError::limit(limit::ELSE, ELSE_MAX));
        }
    }
    Ok(())
}

/// What was counted so far.
#[derive(Debug)]
struct Scan {
    /// Operators since the statement began.
    operators: u32,
    /// `else` in the row that is open, for each level of braces.
    elses: Vec<u32>,
    /// The last token was a closing brace: an `else` would continue its row.
    closed: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            operators: 0,
            elses: vec![0],
            closed: false,
        }
    }
}

impl Scan {
    fn word(&mut self, word: &[u8]) {
        let Some(row) = self.elses.last_mut() else {
            return;
        };
        match word == b"else" && self.closed {
            true => *row += 1,
            false if self.closed => *row = 0,
            false => {}
        }
        self.closed = false;
    }

    fn mark(&mut self, mark: u8) {
        if mark.is_ascii_whitespace() {
            return;
        }
        let closed = std::mem::take(&mut self.closed);
        match mark {
            b';' => self.operators = 0,
            b'{' => {
                self.operators = 0;
                self.elses.push(0);
            }
            b'}' => {
                self.operators = 0;
                if self.elses.len() > 1 {
                    self.elses.pop();
                }
                self.closed = true;
                return;
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'~' | b'!' | b'<' | b'>'
            | b'=' | b'.' | b'[' => self.operators += 1,
            _ => {}
        }
        if closed && let Some(row) = self.elses.last_mut() {
            *row = 0;
        }
    }
}

/// Numbers take their sign of an exponent and their point along: `1.5e-3` is a word and not three operators.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn after_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == b'\n');
    end.map_or(&[], |end| &text[end..])
}

/// What follows a comment that begins at the `*`; comments nest.
fn after_comment(mut text: &[u8]) -> &[u8] {
    let mut depth = 1;
    text = &text[1..];
    while depth > 0 {
        text = match text {
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                rest
            }
            [_, rest @ ..] => rest,
            [] => return text,
        };
    }
    text
}

/// Bounds nested types, cases and calls of a validated module, in which everything comes after what it uses.
pub(super) fn check_module(module: &Module) -> Result<(), GpuError> {
    let mut types: Vec<u32> = Vec::with_capacity(module.types.len());
    for (_, ty) in module.types.iter() {
        let of = |types: &[u32], handle: naga::Handle<naga::Type>| {
            types.get(handle.index()).copied().unwrap_or(u32::MAX)
        };
        let depth = match &ty.inner {
            TypeInner::Vector { .. } => 1,
            TypeInner::Matrix { .. } => 2,
            TypeInner::Array { base, .. } => of(&types, *base).saturating_add(1),
            TypeInner::Struct { members, .. } => {
                let members = members.iter().map(|member| of(&types, member.ty));
                members.max().unwrap_or(0).saturating_add(1)
            }
            _ => 0,
        };
        if depth > TYPES_MAX {
            return Err(GpuError::limit(limit::TYPES, TYPES_MAX));
        }
        types.push(depth);
    }
    let mut functions = Vec::with_capacity(module.functions.len());
    for (_, function) in module.functions.iter() {
        let depth = depth(&function.body, &functions)?;
        functions.push(depth);
    }
    for entry in &module.entry_points {
        depth(&entry.function.body, &functions)?;
    }
    Ok(())
}

/// How deep calls and loops of a block go.
#[derive(Debug, Clone, Copy, Default)]
struct Depth {
    calls: u32,
    loops: u32,
}

impl Depth {
    fn max(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            loops: self.loops.max(other.loops),
        }
    }

    fn check(self) -> Result<Self, GpuError> {
        if self.calls > CALLS_MAX {
            return Err(GpuError::limit(limit::CALLS, CALLS_MAX));
        }
        if self.loops > LOOPS_MAX {
            return Err(GpuError::limit(limit::LOOPS, LOOPS_MAX));
        }
        Ok(self)
    }
}

/// The depth of a block, given that of the functions before; cases are counted on the way.
fn depth(block: &Block, functions: &[Depth]) -> Result<Depth, GpuError> {
    let mut deepest = Depth::default();
    for statement in block {
        let found = match statement {
            Statement::Block(body) => depth(body, functions)?,
            Statement::If { accept, reject, .. } => {
                depth(accept, functions)?.max(depth(reject, functions)?)
            }
            Statement::Switch { cases, .. } => {
                if cases.len() > CASES_MAX {
                    return Err(GpuError::limit(limit::CASES, CASES_MAX as u64));
                }
                let mut deepest = Depth::default();
                for case in cases {
                    deepest = deepest.max(depth(&case.body, functions)?);
                }
                deepest
            }
            Statement::Loop {
                body, continuing, ..
            } => {
                let mut inside = depth(body, functions)?.max(depth(continuing, functions)?);
                inside.loops += 1;
                inside
            }
            Statement::Call { function, .. } => {
                // A function that is not before this one is not in a valid module.
                let mut below = functions.get(function.index()).copied().unwrap_or_default();
                below.calls += 1;
                below
            }
            _ => Depth::default(),
        };
        deepest = deepest.max(found.check()?);
    }
    Ok(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(wgsl: &str) -> Option<&'static str> {
        match check_source(wgsl) {
            Err(GpuError::Limit { limit, .. }) => Some(limit),
            _ => None,
        }
    }

    #[test]
    fn chains_are_counted_by_statement() {
        let sum = |terms: usize| format!("x = {};", vec!["a"; terms].join(" + "));
        assert_eq!(passed(&sum(4_000)), None);
        assert_eq!(passed(&sum(4_000).repeat(3)), None);
        assert_eq!(passed(&sum(5_000)), Some(limit::OPERATORS));
        assert_eq!(
            passed(&format!("x = {}a;", "~".repeat(5_000))),
            Some(limit::OPERATORS)
        );
        assert_eq!(passed(&format!("// {}", sum(5_000))), None);
        assert_eq!(passed(&format!("/* /* */ {} */", sum(5_000))), None);
        assert_eq!(passed("/* "), None);
        let table = format!("const t = array({});", vec!["1"; 9_000].join(", "));
        assert_eq!(passed(&table), None);
    }

    #[test]
    fn rows_of_else_are_counted_over_their_levels() {
        let row =
            |length: usize| format!("if a {{ b(); }}{}", " else if a { b(); }".repeat(length));
        assert_eq!(passed(&row(200)), None);
        assert_eq!(passed(&row(200).repeat(5)), None);
        assert_eq!(passed(&row(300)), Some(limit::ELSE));
        let inside = format!(
            "if a {{ }} {} else {{ {} }}",
            "else if a { }".repeat(200),
            row(100)
        );
        assert_eq!(passed(&inside), Some(limit::ELSE));
    }
}

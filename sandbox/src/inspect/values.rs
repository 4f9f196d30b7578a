//! How many values a function passes on for its size: what a validator, and a compiler after it, does for a byte.

use wasmparser::{ModuleArity, Operator};

use crate::complexity::TooMany;

/// Values that the calls, jumps and blocks of a function may take and leave for each byte of it. A value that one of them takes was put there by
/// an instruction of a byte or more, so that compilers make less than one for a byte; what passes a thousand values on and on takes two
/// thousand for two bytes, and a compiler some microseconds for each.
const VALUES_PER_BYTE_MAX: u64 = 2;
/// Such values beyond that, of all functions of a module together.
const VALUES_FREE_MAX: u64 = 65_536;

/// What the calls, jumps and blocks of functions take and leave, counted before a validator does it.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Of the function that is read: what there may still be.
    left: u64,
    /// Of all functions: what there was beyond.
    beyond: u64,
}

impl Values {
    /// Begins a function of so many bytes.
    pub(super) fn begin(&mut self, bytes: u64) {
        self.left = bytes.saturating_mul(VALUES_PER_BYTE_MAX);
    }

    pub(super) fn count(
        &mut self,
        operator: &Operator<'_>,
        function: &impl ModuleArity,
    ) -> Result<(), TooMany> {
        let times = match operator {
            Operator::BrTable { targets } => u64::from(targets.len()).saturating_add(1),
            Operator::Block { .. }
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::Else
            | Operator::End
            | Operator::If { .. }
            | Operator::Loop { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => 1,
            // Others take and leave a handful.
            _ => return Ok(()),
        };
        // What can't be known is not valid, and refused for that.
        let (takes, leaves) = operator.operator_arity(function).unwrap_or_default();
        // A table's own operand is its index.
        let takes = u64::from(takes.saturating_sub(u32::from(times > 1)));
        let values = takes.saturating_add(leaves.into()).saturating_mul(times);
        let covered = values.min(self.left);
        self.left -= covered;
        self.beyond = self.beyond.saturating_add(values - covered);
        if self.beyond <= VALUES_FREE_MAX {
            return Ok(());
        }
        Err(TooMany {
            what: "values passed by calls, jumps and blocks beyond two for each byte of a function",
            count: self.beyond,
            max: VALUES_FREE_MAX,
        })
    }
}

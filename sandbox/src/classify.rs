//! Whose fault it is when wasmtime fails, and what the run's end is called.

use wasmtime::Trap;

use crate::host::Stop;
use crate::outcome::{End, TrapKind};
use crate::run::CALL_BYTES_MAX;
use aevir_gpu::error::cut;

/// Most bytes of an error text in an outcome.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// How wasmtime says that a call hands over more than it may; the error has no public type.
const CALL_BYTES_USED_UP: &str = "too much data is being copied between the host and the guest: \
                                  fuel allocated for hostcalls has been exhausted";

/// Whether the operating system refused something: memory, a file. Never a module's fault, whatever it asked for: its limits are kept
/// before the system is asked.
pub(crate) fn is_systems(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<std::io::Error>()
            || cause.is::<rustix::io::Errno>()
            || cause.is::<wasmtime::error::OutOfMemory>()
    })
}

/// The end for an error out of wasmtime.
pub(crate) fn classify(error: &wasmtime::Error, fuel: u64) -> End {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return from_stop(stop.clone());
    }
    if is_systems(error) {
        return End::HostError {
            text: cut(format!("{error:#}"), TEXT_BYTES_MAX),
        };
    }
    if error.root_cause().to_string() == CALL_BYTES_USED_UP {
        return End::Limit {
            limit: "call-bytes".into(),
            value: CALL_BYTES_MAX as u64,
        };
    }
    let kind = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            return End::Limit {
                limit: "fuel".into(),
                value: fuel,
            };
        }
        Some(Trap::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(Trap::StackOverflow) => TrapKind::StackOverflow,
        Some(
            Trap::MemoryOutOfBounds
            | Trap::TableOutOfBounds
            | Trap::ArrayOutOfBounds
            | Trap::StringOutOfBounds
            | Trap::ListOutOfBounds,
        ) => TrapKind::OutOfBounds,
        Some(
            Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger,
        ) => TrapKind::Arithmetic,
        Some(Trap::IndirectCallToNull | Trap::BadSignature | Trap::NullReference) => {
            TrapKind::IndirectCall
        }
        // Rules of the component model: calls at the wrong time, values that are none.
        Some(
            Trap::CannotEnterComponent
            | Trap::CannotLeaveComponent
            | Trap::InvalidChar
            | Trap::InvalidDiscriminant
            | Trap::UnalignedPointer,
        ) => TrapKind::Interface,
        Some(_) => TrapKind::Other,
        // Errors that are no trap come from moving values between guest and host: bad handles, bad text, too many bytes.
        None => TrapKind::Interface,
    };
    End::Trap {
        kind,
        text: cut(format!("{error:?}"), TEXT_BYTES_MAX),
    }
}

pub(crate) fn from_stop(stop: Stop) -> End {
    match stop {
        Stop::Limit { limit, value } => End::Limit {
            limit: limit.into(),
            value,
        },
        Stop::Interface(text) => End::Trap {
            kind: TrapKind::Interface,
            text: cut(text, TEXT_BYTES_MAX),
        },
        Stop::Params(text) => End::GuestError {
            text: cut(text, TEXT_BYTES_MAX),
        },
        Stop::Host(text) => End::HostError { text },
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Trap, format_err};

    use super::{End, TrapKind, classify};

    #[test]
    fn what_the_system_refuses_is_not_the_modules_fault() {
        let refused = wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap failed");
        assert!(matches!(classify(&refused, 1), End::HostError { .. }));
        let missing = wasmtime::Error::from(std::io::Error::from(std::io::ErrorKind::NotFound));
        assert!(matches!(classify(&missing, 1), End::HostError { .. }));
        // A module's names stand in error texts: words alone blame nobody.
        let words = format_err!("the export `Cannot allocate memory (os error 12)` is missing");
        let kind = |end| match end {
            End::Trap { kind, .. } => Some(kind),
            _ => None,
        };
        assert_eq!(kind(classify(&words, 1)), Some(TrapKind::Interface));
        let trap = wasmtime::Error::from(Trap::MemoryOutOfBounds);
        assert_eq!(kind(classify(&trap, 1)), Some(TrapKind::OutOfBounds));
    }
}

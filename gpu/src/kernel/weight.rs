//! What kinds of expressions and statements weigh beside the scalars that they compute: the drivers' compilers take longer for some than for
//! others, by two orders of magnitude.
//!
//! Measured on SwiftShader by `gpu/tests/compile_cost.rs`: the time for 400 statements of a kind, scaled to what fifteen seconds take (the time
//! grows by about the square of the length), and the whole budget, [`super::EXPANDED_STATEMENTS_MAX`], divided by that number. An addition
//! weighs nothing beside its operands. NVIDIA's compiler (580, on an H200) has its own favourites, such as arc hyperbolic cosines and copies of small
//! arrays, and stays within seventeen seconds for the largest kernel of each kind as well (`docs/benchmarks/gpu.md`).

use naga::{AddressSpace, BinaryOperator, MathFunction, ScalarKind};

/// A loop: its counters, the budget's check, and the values that live through it.
pub(super) const LOOP: u64 = 64;
/// A branch of an `if`.
pub(super) const BRANCH: u64 = 7;
/// A case of a `switch`.
pub(super) const CASE: u64 = 5;
/// An atomic operation.
pub(super) const ATOMIC: u64 = 14;
/// An operation of a subgroup, or a load that is the same in a workgroup.
pub(super) const TOGETHER: u64 = 16;

/// One load or store. `indexed`: by a number that is not known to the compiler.
pub(super) fn access(space: AddressSpace, indexed: bool) -> u64 {
    match space {
        // Each has its bounds checked.
        AddressSpace::Storage { .. } => 10,
        AddressSpace::WorkGroup => 8,
        AddressSpace::Uniform => 4,
        _ if indexed => 6,
        _ => 0,
    }
}

/// A binary operation, for each scalar.
pub(super) fn binary(op: BinaryOperator, kind: ScalarKind) -> u64 {
    match (op, kind) {
        (BinaryOperator::Divide | BinaryOperator::Modulo, ScalarKind::Sint) => 8,
        (BinaryOperator::Divide | BinaryOperator::Modulo, ScalarKind::Uint) => 5,
        (BinaryOperator::Modulo, _) => 4,
        _ => 0,
    }
}

/// A built-in function, for each scalar.
pub(super) fn math(function: MathFunction) -> u64 {
    use MathFunction as F;
    match function {
        F::Atan2 => 16,
        F::Dot4I8Packed | F::Dot4U8Packed => 14,
        F::Pow | F::Sinh | F::Cosh | F::Tanh | F::Asinh | F::Acosh | F::Atanh | F::InsertBits => 12,
        F::Atan => 10,
        F::Log | F::Log2 => 8,
        F::Tan | F::ExtractBits => 6,
        F::Pack4x8snorm
        | F::Pack4x8unorm
        | F::Pack2x16snorm
        | F::Pack2x16unorm
        | F::Pack2x16float
        | F::Pack4xI8
        | F::Pack4xU8
        | F::Pack4xI8Clamp
        | F::Pack4xU8Clamp
        | F::Unpack4x8snorm
        | F::Unpack4x8unorm
        | F::Unpack2x16snorm
        | F::Unpack2x16unorm
        | F::Unpack2x16float
        | F::Unpack4xI8
        | F::Unpack4xU8 => 5,
        F::Sin
        | F::Cos
        | F::Asin
        | F::Acos
        | F::Exp
        | F::Exp2
        | F::Ldexp
        | F::Modf
        | F::Frexp
        | F::QuantizeToF16
        | F::ReverseBits
        | F::CountTrailingZeros
        | F::CountLeadingZeros
        | F::CountOneBits
        | F::FirstTrailingBit
        | F::FirstLeadingBit => 4,
        F::Sign | F::Cross | F::Distance | F::Reflect | F::Refract => 2,
        F::Abs
        | F::Min
        | F::Max
        | F::Clamp
        | F::Saturate
        | F::Radians
        | F::Degrees
        | F::Ceil
        | F::Floor
        | F::Round
        | F::Fract
        | F::Trunc
        | F::Dot
        | F::Outer
        | F::Length
        | F::Normalize
        | F::FaceForward
        | F::Fma
        | F::Mix
        | F::Step
        | F::SmoothStep
        | F::Sqrt
        | F::InverseSqrt
        | F::Inverse
        | F::Transpose
        | F::Determinant => 0,
    }
}

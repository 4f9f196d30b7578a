//! GPU fuel: a bound on the iterations that an invocation may make, put into the kernel itself.
//!
//! A GPU can't be interrupted from outside, so a kernel that loops for ever takes the machine with it. [`insert`] adds a
//! private counter to the naga module and, at the head of each loop, code that leaves the loop when the counter is used up
//! and otherwise counts down. Leaving a loop early makes the results wrong, so the same code sets a **status word** in a
//! storage buffer of its own (group [`STATUS_GROUP`], binding 0), which the session reads with every readback.
//!
//! Loops that contain a barrier count on a counter of their own: WGSL demands that all invocations of a workgroup pass a barrier
//! together (naga does not check it; a kernel that breaks the rule may hang, as it might without a budget), so they make the same number of such iterations and leave such a loop together. With one counter for both, an
//! invocation that spent more in its private loops would leave alone and hang the others at the barrier.

use naga::{
    AddressSpace, Arena, BinaryOperator, Block, Expression, GlobalVariable, Handle, Literal,
    Module, Range, ResourceBinding, Scalar, Span, Statement, StorageAccess, Type, TypeInner,
};

/// The bind group of the status word.
pub const STATUS_GROUP: u32 = 1;

/// The globals that the inserted code uses.
struct Globals {
    status: Handle<GlobalVariable>,
    /// Counter of loops without a barrier.
    plain: Handle<GlobalVariable>,
    /// Counter of loops with one.
    barrier: Handle<GlobalVariable>,
}

/// Gives each invocation of `module` a budget of `budget` iterations. Answers whether anything was inserted: a module without
/// loops is left as it is, and has no status word.
///
/// The module must be valid (functions come after their callees).
pub fn insert(module: &mut Module, budget: u32) -> bool {
    let has_loop = |body: &Block| any(body, &|s| matches!(s, Statement::Loop { .. }));
    let looping = module.functions.iter().any(|(_, f)| has_loop(&f.body))
        || module
            .entry_points
            .iter()
            .any(|e| has_loop(&e.function.body));
    if !looping {
        return false;
    }
    let globals = add_globals(module, budget);
    // Whether each function, by index, passes a barrier; callees come first.
    let mut barriers = Vec::new();
    for (_, function) in module.functions.iter_mut() {
        let passes = has_barrier(&function.body, &barriers);
        walk(
            &mut function.body,
            &mut function.expressions,
            &globals,
            &barriers,
        );
        barriers.push(passes);
    }
    for entry in &mut module.entry_points {
        let function = &mut entry.function;
        walk(
            &mut function.body,
            &mut function.expressions,
            &globals,
            &barriers,
        );
    }
    true
}

fn add_globals(module: &mut Module, budget: u32) -> Globals {
    let mut scalar = |inner| {
        module
            .types
            .insert(Type { name: None, inner }, Span::UNDEFINED)
    };
    let word = scalar(TypeInner::Scalar(Scalar::U32));
    let atomic = scalar(TypeInner::Atomic(Scalar::U32));
    let init = module
        .global_expressions
        .append(Expression::Literal(Literal::U32(budget)), Span::UNDEFINED);
    let mut counter = |name: &str| {
        module.global_variables.append(
            GlobalVariable {
                name: Some(name.into()),
                space: AddressSpace::Private,
                binding: None,
                ty: word,
                init: Some(init),
                memory_decorations: naga::MemoryDecorations::default(),
            },
            Span::UNDEFINED,
        )
    };
    let plain = counter("aevir_loop_budget");
    let barrier = counter("aevir_barrier_loop_budget");
    let status = module.global_variables.append(
        GlobalVariable {
            name: Some("aevir_status".into()),
            space: AddressSpace::Storage {
                access: StorageAccess::LOAD | StorageAccess::STORE,
            },
            binding: Some(ResourceBinding {
                group: STATUS_GROUP,
                binding: 0,
            }),
            ty: atomic,
            init: None,
            memory_decorations: naga::MemoryDecorations::default(),
        },
        Span::UNDEFINED,
    );
    Globals {
        status,
        plain,
        barrier,
    }
}

/// Inserts into every loop of `block`, inner ones first.
fn walk(
    block: &mut Block,
    expressions: &mut Arena<Expression>,
    globals: &Globals,
    barriers: &[bool],
) {
    for statement in block.iter_mut() {
        match statement {
            Statement::Block(inner) => walk(inner, expressions, globals, barriers),
            Statement::If { accept, reject, .. } => {
                walk(accept, expressions, globals, barriers);
                walk(reject, expressions, globals, barriers);
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    walk(&mut case.body, expressions, globals, barriers);
                }
            }
            Statement::Loop {
                body, continuing, ..
            } => {
                let with_barrier = has_barrier(body, barriers) || has_barrier(continuing, barriers);
                walk(body, expressions, globals, barriers);
                walk(continuing, expressions, globals, barriers);
                let counter = if with_barrier {
                    globals.barrier
                } else {
                    globals.plain
                };
                body.splice(0..0, head(expressions, counter, globals.status));
            }
            // No other statement holds a block.
            _ => {}
        }
    }
}

/// `let left = counter; if left == 0 { status = 1; break; } counter = left - 1;`
fn head(
    expressions: &mut Arena<Expression>,
    counter: Handle<GlobalVariable>,
    status: Handle<GlobalVariable>,
) -> Block {
    let mut add = |expression| expressions.append(expression, Span::UNDEFINED);
    let pointer = add(Expression::GlobalVariable(counter));
    let status = add(Expression::GlobalVariable(status));
    let zero = add(Expression::Literal(Literal::U32(0)));
    let one = add(Expression::Literal(Literal::U32(1)));
    let left = add(Expression::Load { pointer });
    let mut binary = |op, right| add(Expression::Binary { op, left, right });
    let spent = binary(BinaryOperator::Equal, zero);
    let less = binary(BinaryOperator::Subtract, one);
    Block::from_vec(vec![
        Statement::Emit(Range::new_from_bounds(left, less)),
        Statement::If {
            condition: spent,
            accept: Block::from_vec(vec![
                Statement::Store {
                    pointer: status,
                    value: one,
                },
                Statement::Break,
            ]),
            reject: Block::new(),
        },
        Statement::Store {
            pointer,
            value: less,
        },
    ])
}

fn has_barrier(block: &Block, barriers: &[bool]) -> bool {
    any(block, &|statement| match statement {
        Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => true,
        Statement::Call { function, .. } => barriers.get(function.index()).copied().unwrap_or(true),
        _ => false,
    })
}

/// Whether a statement of `block`, at any depth, satisfies `test`.
pub(crate) fn any(block: &Block, test: &impl Fn(&Statement) -> bool) -> bool {
    block.iter().any(|statement| {
        test(statement)
            || match statement {
                Statement::Block(inner) => any(inner, test),
                Statement::If { accept, reject, .. } => any(accept, test) || any(reject, test),
                Statement::Switch { cases, .. } => cases.iter().any(|case| any(&case.body, test)),
                Statement::Loop {
                    body, continuing, ..
                } => any(body, test) || any(continuing, test),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn inserted(wgsl: &str) -> (Module, bool) {
        let mut module = naga::front::wgsl::parse_str(wgsl).unwrap();
        let any = insert(&mut module, 7);
        naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::empty(),
        )
        .validate(&module)
        .unwrap();
        (module, any)
    }

    fn uses(module: &Module, name: &str) -> usize {
        let (handle, _) = module
            .global_variables
            .iter()
            .find(|(_, global)| global.name.as_deref() == Some(name))
            .unwrap();
        let functions = module.functions.iter().map(|(_, function)| function);
        functions
            .chain(module.entry_points.iter().map(|entry| &entry.function))
            .flat_map(|function| function.expressions.iter())
            .filter(|(_, expression)| matches!(expression, Expression::GlobalVariable(h) if *h == handle))
            .count()
    }

    #[test]
    fn a_kernel_without_loops_is_left_alone() {
        let (module, any) = inserted("@compute @workgroup_size(1) fn main() {}");
        assert!(!any);
        assert!(module.global_variables.is_empty());
    }

    #[test]
    fn every_kind_of_loop_is_counted() {
        let (module, any) = inserted(
            "fn helper() -> u32 { var n = 0u; while n < 9u { n++; } return n; }
             @compute @workgroup_size(1) fn main() {
                 for (var i = 0u; i < helper(); i++) { if i == 3u { loop { break; } } }
                 switch 1 { case 1: { loop { continuing { break if true; } } } default: {} }
             }",
        );
        assert!(any);
        assert_eq!(uses(&module, "aevir_loop_budget"), 4);
        assert_eq!(uses(&module, "aevir_barrier_loop_budget"), 0);
    }

    #[test]
    fn loops_with_a_barrier_count_apart_even_through_calls() {
        let (module, _) = inserted(
            "fn sync() { workgroupBarrier(); }
             @compute @workgroup_size(4) fn main() {
                 for (var i = 0u; i < 4u; i++) { sync(); for (var j = 0u; j < 4u; j++) {} }
             }",
        );
        assert_eq!(uses(&module, "aevir_barrier_loop_budget"), 1);
        assert_eq!(uses(&module, "aevir_loop_budget"), 1);
    }
}

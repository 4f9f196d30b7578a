//! Modules that can't be text: too large, too many, damaged, or random. Each is a function of its arguments.

mod parts;
mod wide;

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection, MemoryType,
    Module, RawSection, TypeSection, ValType,
};

use crate::case::Generator;
use crate::damaged::{flipped, smith, truncated};
use crate::support::{guest, hostile_template};

/// Seeds are spread by the golden ratio, as in SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The modules that a case's generator makes.
pub(crate) fn modules(generator: &Generator) -> Vec<(String, Vec<u8>)> {
    let Generator {
        name,
        size,
        count,
        seed,
    } = generator;
    let size = *size;
    let make: &dyn Fn(u64) -> Vec<u8> = match name.as_str() {
        "types" => &|_| component(&Core::with_types(size).finish()),
        "functions" => &|_| component(&Core::with_functions(size, &tiny()).finish()),
        "large-functions" => &|_| component(&Core::with_functions(size, &large()).finish()),
        "one-function" => &|_| component(&Core::with_functions(1, &long(size)).finish()),
        "nested-blocks" => &|_| component(&Core::with_functions(1, &nested(size)).finish()),
        "jump-tables" => &|_| component(&Core::with_functions(1, &jump_tables(size)).finish()),
        "wide-jumps" => &|_| wide::jumps(size),
        "wide-calls" => &|_| wide::calls(size),
        "wide-types" => &|_| wide::types(size),
        "calls-between-parts" => &|_| parts::calls(size),
        "locals" => &|_| component(&Core::with_functions(size, &locals()).finish()),
        "globals" => &|_| component(&Core::with_globals(size).finish()),
        "imports" => &|_| component(&imports(size)),
        "exports" => &|_| component(&Core::with_exports(size).finish()),
        "data-segments" => &|_| component(&Core::with_data(size, 1).finish()),
        "data-bytes" => &|_| component(&Core::with_data(1, size).finish()),
        "names" => &|_| component(&Core::with_names(size).finish()),
        "padding" => &|_| padded(size),
        "zeroes" => &|_| vec![0; size],
        "gzip" => &|_| gzip(size),
        "nested-components" => &|_| nested_components(size),
        "doubling-instances" => &|_| doubling(size),
        "instances" => &|_| instances(size),
        "component-types" => &|_| component_types(size),
        "bad-pointers" => return bad_pointers(),
        "truncated" => &|seed| truncated(seed),
        "flipped" => &|seed| flipped(seed, size),
        "smith" => &|seed| smith(seed, size),
        other => panic!("there is no generator `{other}`"),
    };
    (0..*count as u64)
        .map(|i| (format!("{name} {i}"), make(seed.wrapping_add(i))))
        .collect()
}

/// `random(seed)` are SplitMix64's numbers.
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(GOLDEN_GAMMA);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A component around a core module that exports `memory` and `run`: the text template's, with its module exchanged.
pub(crate) fn component(core: &[u8]) -> Vec<u8> {
    let text = hostile_template(
        "plain",
        "(func (export \"run\") (result i32) (call $ok))",
        "",
    );
    let shell = wat::parse_str(text).unwrap();
    let (header, rest) = shell.split_at(8);
    // The first section holds the core module: its number, its length, its bytes.
    assert_eq!(rest[0], 1);
    let (len, digits) = leb(&rest[1..]);
    let mut bytes = header.to_vec();
    bytes.push(1);
    bytes.extend(to_leb(core.len()));
    bytes.extend(core);
    bytes.extend(&rest[1 + digits + len..]);
    bytes
}

fn leb(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[..digits]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, digits)
}

fn to_leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The sections of a core module with `run` as its first function; the answer is an empty text.
struct Core {
    types: TypeSection,
    functions: FunctionSection,
    globals: GlobalSection,
    exports: ExportSection,
    code: CodeSection,
    data: DataSection,
    names: Vec<u8>,
}

impl Core {
    fn new() -> Self {
        let mut types = TypeSection::new();
        types.ty().function([], [ValType::I32]);
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut exports = ExportSection::new();
        exports.export("run", ExportKind::Func, 0);
        exports.export("memory", ExportKind::Memory, 0);
        let mut code = CodeSection::new();
        let mut run = Function::new([]);
        run.instructions().i32_const(0).end();
        code.function(&run);
        Self {
            types,
            functions,
            globals: GlobalSection::new(),
            exports,
            code,
            data: DataSection::new(),
            names: Vec::new(),
        }
    }

    /// Ever different function types.
    fn with_types(count: usize) -> Self {
        let mut core = Self::new();
        for i in 0..count {
            let bit = |bit: usize| {
                if i >> bit & 1 == 1 {
                    ValType::I64
                } else {
                    ValType::F64
                }
            };
            core.types.ty().function((0..20).map(bit), []);
        }
        core
    }

    fn with_functions(count: usize, function: &Function) -> Self {
        let mut core = Self::new();
        for _ in 0..count {
            core.functions.function(1);
            core.code.function(function);
        }
        core
    }

    fn with_globals(count: usize) -> Self {
        let mut core = Self::new();
        let ty = GlobalType {
            val_type: ValType::V128,
            mutable: true,
            shared: false,
        };
        for i in 0..count {
            core.globals
                .global(ty, &ConstExpr::v128_const(i as i128 + 1));
        }
        core
    }

    fn with_exports(count: usize) -> Self {
        let mut core = Self::new();
        for i in 0..count {
            core.exports.export(&format!("e{i}"), ExportKind::Func, 0);
        }
        core
    }

    /// Segments of so many bytes, all at the memory's beginning behind the answer.
    fn with_data(count: usize, bytes: usize) -> Self {
        let mut core = Self::new();
        for _ in 0..count {
            core.data.active(
                0,
                &ConstExpr::i32_const(64),
                std::iter::repeat_n(7, bytes.min(65_000)),
            );
            if bytes > 65_000 {
                core.data.passive(std::iter::repeat_n(7, bytes));
            }
        }
        core
    }

    /// A name section that names one function so often, each time with a kilobyte.
    fn with_names(count: usize) -> Self {
        let mut core = Self::new();
        let mut map = to_leb(count);
        for i in 0..count {
            map.extend(to_leb(i));
            map.extend(to_leb(1024));
            map.extend(std::iter::repeat_n(b'n', 1024));
        }
        core.names.push(1); // names of functions
        core.names.extend(to_leb(map.len()));
        core.names.extend(map);
        core
    }

    fn finish(&self) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut module = Module::new();
        module.section(&self.types).section(&self.functions);
        module.section(&memories);
        if !self.globals.is_empty() {
            module.section(&self.globals);
        }
        module.section(&self.exports);
        module.section(&self.code);
        if !self.data.is_empty() {
            module.section(&self.data);
        }
        if !self.names.is_empty() {
            module.section(&CustomSection {
                name: "name".into(),
                data: self.names.as_slice().into(),
            });
        }
        module.finish()
    }
}

/// A function that does nothing.
fn tiny() -> Function {
    let mut function = Function::new([]);
    function.instructions().end();
    function
}

/// A function with four hundred live values: dear for the register allocator.
fn large() -> Function {
    let mut function = Function::new([]);
    for i in 0..400 {
        function
            .instructions()
            .i32_const(i)
            .i32_load(wasm_encoder::MemArg {
                offset: 0,
                align: 2,
                memory_index: 0,
            });
    }
    for _ in 0..399 {
        function.instructions().i32_add();
    }
    function.instructions().drop().end();
    function
}

/// A straight function of so many additions.
fn long(additions: usize) -> Function {
    let mut function = Function::new([(1, ValType::I64)]);
    for i in 0..additions {
        function
            .instructions()
            .local_get(0)
            .i64_const(i as i64)
            .i64_mul()
            .local_set(0);
    }
    function.instructions().end();
    function
}

/// Blocks in blocks.
fn nested(depth: usize) -> Function {
    let mut function = Function::new([]);
    for _ in 0..depth {
        function
            .instructions()
            .loop_(wasm_encoder::BlockType::Empty);
    }
    for _ in 0..=depth {
        function.instructions().end();
    }
    function
}

/// Jump tables of a thousand targets.
fn jump_tables(count: usize) -> Function {
    let mut function = Function::new([]);
    let targets = vec![0; 1_000];
    for _ in 0..count {
        function
            .instructions()
            .block(wasm_encoder::BlockType::Empty)
            .i32_const(0)
            .br_table(targets.clone(), 0)
            .end();
    }
    function.instructions().end();
    function
}

/// The most locals that a function may have.
fn locals() -> Function {
    let mut function = Function::new([(50_000, ValType::V128)]);
    function.instructions().end();
    function
}

/// Imports of functions, before everything else.
fn imports(count: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    for i in 0..count {
        imports.import("m", &format!("{i}"), EntityType::Function(0));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module.finish()
}

/// A good module with a custom section that makes it so long.
fn padded(bytes: usize) -> Vec<u8> {
    let mut module = guest("ok");
    let data = vec![0x55; bytes];
    let section = CustomSection {
        name: "padding".into(),
        data: data.as_slice().into(),
    };
    wasm_encoder::ComponentSection::append_to_component(&section, &mut module);
    module
}

/// What stands at the beginning of a compressed file, and repeated blocks: a bomb to whoever unpacks what is uploaded.
fn gzip(bytes: usize) -> Vec<u8> {
    let mut module = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    module.extend(std::iter::repeat_n(0xec, bytes));
    module
}

/// Components in components.
fn nested_components(depth: usize) -> Vec<u8> {
    let mut bytes = wasm_encoder::Component::HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = wasm_encoder::Component::new();
        outer.section(&RawSection {
            id: 4,
            data: &bytes,
        });
        bytes = outer.finish();
    }
    bytes
}

/// Each component instantiates the one before twice: few bytes, and 2^levels instances.
fn doubling(levels: usize) -> Vec<u8> {
    let mut text = String::from(
        "(component $top (component $c0 (core module $m) (core instance (instantiate $m)))\n",
    );
    for level in 1..=levels {
        let before = level - 1;
        text += &format!(
            "(component $c{level} (alias outer $top $c{before} (component $inner))
               (instance (instantiate $inner)) (instance (instantiate $inner)))\n"
        );
    }
    text += &format!("(instance (instantiate $c{levels}))\n{RUN_NOTHING})");
    wat::parse_str(text).unwrap()
}

/// A `run` that answers an empty text.
const RUN_NOTHING: &str = "(core module $run (memory (export \"memory\") 1) (func (export \"run\") (result i32) (i32.const 0)))
  (core instance $run (instantiate $run))
  (func $f (result (result string (error string))) (canon lift (core func $run \"run\") (memory (core memory $run \"memory\"))))
  (export \"run\" (func $f))";

/// One module, instantiated so often.
fn instances(count: usize) -> Vec<u8> {
    let mut text = String::from("(component (core module $m (memory 1))\n");
    for _ in 0..count {
        text += "(core instance (instantiate $m))\n";
    }
    wat::parse_str(text + RUN_NOTHING + ")").unwrap()
}

/// Types that double with each line: a tuple of two of the one before.
fn component_types(levels: usize) -> Vec<u8> {
    let mut text = String::from("(component (type $t0 (tuple u8 u8))\n");
    for level in 1..=levels {
        let before = level - 1;
        text += &format!("(type $t{level} (tuple $t{before} $t{before}))\n");
    }
    wat::parse_str(text + RUN_NOTHING + ")").unwrap()
}

/// Every host call that takes memory, with memory that is not there: at the end, across the end, and as long as a number can be.
fn bad_pointers() -> Vec<(String, Vec<u8>)> {
    let calls = [
        "(call $open P L (i32.const 16))",
        "(call $create P L (i32.const 16))",
        "(call $write (call $out) P L (i32.const 16))",
        "(call $log (i32.const 1) P L)",
        "(call $progress (i32.const 1) P L)",
        "(call $metric P L (i64.const -1) (f64.const 1))",
        "(call $save P L (i32.const 16))",
        // The answer's place.
        "(call $params P)",
        "(call $last P)",
        "(call $read (call $data) (i64.const 0) (i32.const 4) P)",
        "(call $open (i32.const 68) (i32.const 4) P)",
        "(call $write (call $out) (i32.const 0) (i32.const 4) P)",
    ];
    let places = [(-1, 1), (16_777_215, 2), (-8, 16), (0, -1), (-1, -1)];
    let mut modules = Vec::new();
    for call in calls {
        for (pointer, len) in places {
            if pointer == 0 && !call.contains('L') {
                continue;
            }
            let call = call
                .replace('P', &format!("(i32.const {pointer})"))
                .replace('L', &format!("(i32.const {len})"));
            let body = format!("(func (export \"run\") (result i32) {call} (call $ok))");
            let module = wat::parse_str(hostile_template("context", &body, "")).unwrap();
            modules.push((call, module));
        }
    }
    modules
}

//! Compiles this crate again when a schema that is embedded in it comes or goes.

fn main() {
    println!("cargo::rerun-if-changed=../schemas/events");
    println!("cargo::rerun-if-changed=build.rs");
}

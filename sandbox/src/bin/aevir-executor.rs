//! The executor alone, for this crate's tests; the `aevir` binary has the same under the hidden subcommand `executor`.

fn main() -> std::process::ExitCode {
    aevir_sandbox::executor_main()
}

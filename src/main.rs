//! The holdover process: arguments, then one subcommand; its exit code is the process's.

use std::process::ExitCode;

/// The allocator of the process; `adapters::footprint` has the reason.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdover::cli::main()
}

//! The holdover process: arguments, then one subcommand; its exit code is the process's.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdover::cli::main()
}

//! The `callboard` binary: see `callboard --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    callboard::cli::run()
}

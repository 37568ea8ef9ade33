//! The `callboard` binary: see `callboard --help`.

use std::process::ExitCode;

/// Every request makes and drops some twenty small blocks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    callboard::cli::run()
}

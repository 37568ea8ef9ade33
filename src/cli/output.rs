//! What commands print.

use std::io::{self, ErrorKind, Write};

/// Prints a line on standard output. A reader that has left, as `head` does, has seen enough, and is no failure.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

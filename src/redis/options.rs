//! What the client runs on.

use std::time::Duration;

/// Where Redis is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one command, or one pipeline of them, may take.
    pub read_timeout: Duration,
}

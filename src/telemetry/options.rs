//! What telemetry runs on.

/// Logs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Filter in `tracing-subscriber`'s `EnvFilter` syntax, such as `info` or `callboard=debug`.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether each request gets an access-log line.
    pub access_log: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

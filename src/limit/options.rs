//! What the limits run on.

use std::num::NonZeroU32;
use std::time::Duration;

/// Budgets per caller; `None` is no limit.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests per principal.
    pub requests: Option<Requests>,
    /// Failed authentication per address.
    pub failed_authentication: Option<Rate>,
}

/// Requests per principal.
#[derive(Debug, Clone)]
pub struct Requests {
    /// For every principal that no override names, each with a bucket of its own.
    pub rate: Rate,
    /// Other rates for some subjects. The first that matches counts.
    pub overrides: Vec<Override>,
}

/// Another rate for some subjects.
#[derive(Debug, Clone)]
pub struct Override {
    /// A subject; with `*` at its end, all that begin so.
    pub subject: String,
    /// Their rate, each with a bucket of its own; `None` is no limit.
    pub rate: Option<Rate>,
}

/// So many in a time, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many in `per`.
    pub count: NonZeroU32,
    /// In which time.
    pub per: Duration,
    /// How many at once, after a time of rest.
    pub burst: NonZeroU32,
}

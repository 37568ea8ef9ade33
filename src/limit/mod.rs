//! How much one caller may ask for: a budget of requests per principal, and a far tighter one of failed authentication
//! per address.
//!
//! Both are token buckets in GCRA's form (`governor`): a bucket that was not used for a while is full, and each use takes
//! one. What matters about them:
//!
//! - A **principal's** bucket is found by its subject, and where a plugin acts for a user by the plugin's: it is the
//!   plugin that sends the requests. Every request of a known caller counts, whatever comes of it.
//! - An **address's** bucket pays for failures only. Many callers may share an address (NAT, a load balancer), so that a
//!   good token costs it nothing, and a token that was verified before passes even when it is empty. An unknown token is
//!   then refused before any work is done for it, good or bad: which of both it is, is what that work would tell.
//! - Attempts that are being verified at the same time have all seen the same bucket, so that it may be overdrawn by as
//!   many as run at once. Holding a place for each instead would make good tokens pay.
//! - Buckets are bounded in number: those that are full again are swept out, and whoever is new while there is no room
//!   shares one bucket with everyone else who is.
//!
//! The address is the socket's peer. `X-Forwarded-For` is not read, since whoever may reach the listener could write it.

mod address;
mod buckets;
mod budget;
mod limiter;
mod options;
mod time;

pub use address::Address;
pub use budget::Limited;
pub use limiter::{Limiter, matches};
pub use options::*;

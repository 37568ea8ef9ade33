//! Redis or Valkey, in whatever form it is run: one client that reconnects by itself, answers within its time or fails,
//! and is left alone for a while when it keeps failing.

mod client;
mod options;

pub use client::{Client, Failure, Heard, SetupError};
pub use options::Options;

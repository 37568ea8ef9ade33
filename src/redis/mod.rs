//! Redis or Valkey, in whatever form it is run: one client that reconnects by itself, answers within its time or fails,
//! and is left alone for a while when it keeps failing.
//!
//! [`Client`] is what the cache speaks to. Below it `link.rs` keeps the one connection that all commands share and makes
//! a new one when it has ended, `connect.rs` knows the forms (one server, a cluster, a master behind sentinels) and TLS,
//! `wire.rs` sends the commands, `failure.rs` judges what went wrong, and `listen.rs` keeps a subscription up.

mod client;
mod connect;
mod failure;
mod link;
mod listen;
mod options;
mod wire;

pub use client::Client;
pub use connect::SetupError;
pub use failure::Failure;
pub use listen::Heard;
pub use options::{Address, Form, Identity, Options, Sentinels, TlsOptions};

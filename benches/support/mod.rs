//! What every comparison of servers needs: servers as pinned child processes, their CPU time, load, and rounds in turn.
//!
//! A further server (nginx, Varnish, Redis …) is a file beside `bare_hyper.rs` that starts a [`process::Server`].

pub(crate) mod bare_hyper;
pub(crate) mod callboard;
pub(crate) mod process;
pub(crate) mod stats;
pub(crate) mod wire;
pub(crate) mod wrk;

//! Listeners and their connections: bounded in number, patient only so far, and drained before the program ends.

mod activity;
mod at_once;
mod connection;
mod listener;
mod open_files;
mod options;
mod places;
mod seldom;
mod stop;
pub mod tls;
mod watched;

pub use listener::{Handler, Listener};
pub use open_files::raise_open_files;
pub use options::*;
pub use stop::{Stop, Stopper};

//! Listeners and their connections: bounded in number, patient only so far, and drained before the program ends.

mod activity;
mod connection;
mod listener;
mod options;
mod places;
mod watched;

pub use listener::{Handler, Listener, Stop};
pub use options::*;

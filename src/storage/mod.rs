//! (room)

mod options;

pub use options::*;

//! Where public keys come from, and how rarely they are asked for.

mod budget;
mod endpoint;
mod fetch;
mod newcomers;
mod source;
mod state;
mod strangers;
mod unknown_kids;

pub use budget::Budget;
pub use fetch::FetchError;
pub(super) use source::{Issuers, KeySource};

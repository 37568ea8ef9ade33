//! The domain, without I/O: which URL means which file of which site, and what kind of file it is.

mod fingerprint;
mod media_type;
mod options;
mod route;
mod storage_key;

pub use fingerprint::is_fingerprinted;
pub use media_type::media_type;
pub use options::Options;
pub use route::{Locator, Route, RouteClass};
pub use storage_key::StorageKey;

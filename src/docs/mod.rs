//! The domain, without I/O: which URL means which file of which site, and what kind of file it is.

mod entity_ref;
mod fingerprint;
mod layout;
mod media_type;
mod options;
mod route;
mod storage_key;

pub use entity_ref::{EntityRef, NoEntityRef};
pub use fingerprint::is_fingerprinted;
pub use layout::{Layout, ObjectName};
pub use media_type::{is_compressible, media_type};
pub use options::Options;
pub use route::{Locator, Route, RouteClass};
pub use storage_key::StorageKey;

//! TLS for the main listener.
//!
//! 1. `certificate`: a pair of certificate chain and key, read and checked as a whole or refused
//! 2. `resolver`: which of several pairs a client gets to see
//! 3. `peer`: what a client's own certificate says about it
//! 4. `acceptor`: the handshake, with a deadline, in the connection's own task
//! 5. `reload`: files that change are read again; what is broken is refused and the old stays

mod acceptor;
mod certificate;
mod options;
mod peer;
mod reload;
mod resolver;

pub(super) use acceptor::ProvenClient;
pub use acceptor::{Acceptor, SetupError};
pub use certificate::{Part, Served, SourceError};
pub use options::*;
pub use reload::Reloader;

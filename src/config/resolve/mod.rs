//! From keys to options: each file here reads the keys of one room, and every key is named once.

mod auth;
mod cache;
mod external;
mod server;
mod storage;
mod telemetry;

use super::effective::Effective;
use super::layers::Loaded;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::unknown;

/// What each room runs on.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The mapping.
    pub docs: crate::docs::Options,
    /// Who may read.
    pub auth: crate::auth::Options,
    /// Where the sites are.
    pub storage: crate::storage::Options,
    /// What is kept of them.
    pub cache: crate::cache::Options,
    /// The listeners.
    pub server: crate::server::Options,
    /// Response headers.
    pub pipeline: crate::pipeline::Options,
    /// Logs.
    pub telemetry: crate::telemetry::Options,
}

/// A configuration without problems.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What the program runs on.
    pub resolved: Resolved,
    /// What it understood, key by key, for people.
    pub effective: Effective,
    /// What the operator should know and need not change.
    pub warnings: Vec<Problem>,
}

impl Loaded {
    /// Understands the configuration.
    ///
    /// # Errors
    /// Every problem that it has, together.
    pub fn resolve(&self) -> Result<Configuration, Problems> {
        let mut reader = Reader::new(self);
        let (docs, storage) = storage::read(&mut reader, self);
        let resolved = Resolved {
            docs,
            server: server::read(&mut reader, &storage.origin),
            auth: auth::read(&mut reader, &storage.origin),
            cache: cache::read(&mut reader),
            pipeline: server::read_responses(&mut reader),
            telemetry: telemetry::read(&mut reader),
            storage,
        };
        let Reader {
            effective,
            mut problems,
            warnings,
            ..
        } = reader;
        problems.extend(unknown::problems(&self.tree, &effective));
        if problems.is_empty() {
            Ok(Configuration {
                resolved,
                effective,
                warnings,
            })
        } else {
            Err(problems)
        }
    }
}

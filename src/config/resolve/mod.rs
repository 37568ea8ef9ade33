//! From keys to options: each file here reads the keys of one room, and every key is named once.

mod auth;
mod cache;
mod client_certificates;
mod events;
mod external;
mod limits;
mod otlp;
mod publisher;
mod purge;
mod redis;
mod redis_backstage;
mod server;
mod storage;
mod telemetry;
mod tls;

use super::effective::Effective;
use super::layers::Loaded;
use super::problem::{Problem, Problems};
use super::reader::Reader;
use super::unknown;
use crate::pipeline;

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
    /// The Redis that documents are shared through, where there is one.
    pub redis: Option<crate::redis::Options>,
    /// Who may tell of changed objects.
    pub events: crate::events::Options,
    /// How much one caller may ask for.
    pub limits: crate::limit::Options,
    /// The listeners.
    pub server: crate::server::Options,
    /// Response headers.
    pub pipeline: crate::pipeline::Options,
    /// Whom outbound clients believe.
    pub trust: crate::trust::Options,
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
        // In the order in which people read the outcome.
        let origins = storage::read_origins(&mut reader, self);
        let is_sample = storage::is_sample(&origins);
        let mut server = server::read(&mut reader, is_sample);
        let certificates;
        (server.tls, certificates) = tls::read(&mut reader, self);
        let limits = limits::read(&mut reader);
        let auth = auth::read(&mut reader, is_sample, certificates);
        let cache = cache::read(&mut reader);
        let redis = redis::read(&mut reader, self);
        let events = events::read(&mut reader, &auth.jwks);
        let (docs, storage) = storage::read(&mut reader, origins);
        let pipeline = pipeline::Options { purgers: purge::read(&mut reader), ..server::read_responses(&mut reader) };
        let trust = tls::read_trust(&mut reader, self);
        let telemetry = telemetry::read(&mut reader, self);
        let resolved =
            Resolved { docs, auth, storage, cache, redis, events, limits, server, pipeline, trust, telemetry };
        let Reader { effective, mut problems, warnings, .. } = reader;
        // A list may have told of its own, in other words.
        let unknown = unknown::problems(&self.tree, &effective);
        let untold: Vec<Problem> =
            unknown.into_iter().filter(|problem| !problems.iter().any(|told| told.key == problem.key)).collect();
        problems.extend(untold);
        if problems.is_empty() { Ok(Configuration { resolved, effective, warnings }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::problems;

    #[test]
    fn problems_of_every_kind_and_room_are_told_together() {
        let told = problems(
            "techdocs: {publisher: {type: gcs, local: {publishDirectory: {$file: nowhere}}}, cache: {ttl: soon}}\n\
             backend: {baseUrl: nowhere, auth: {externalAccess: [{type: static, options: {token: short}}]}}\n\
             callboard: {listen: example.com, auth: {allow: me}, storage: {timeout: 0}, telemetry: {log: {format: xml}}, x: 1}",
        );
        let told_of: Vec<&str> = told.iter().filter_map(|problem| problem.split([' ', ':']).next()).collect();
        assert_eq!(
            told_of,
            [
                "techdocs.publisher.local.publishDirectory",
                "techdocs.publisher.type",
                "callboard.listen",
                "backend.baseUrl",
                "backend.auth.externalAccess[0].options.token",
                "backend.auth.externalAccess[0].options.subject",
                "callboard.auth.allow",
                "techdocs.cache.ttl",
                "callboard.storage.timeout",
                "callboard.telemetry.log.format",
                "callboard.x",
            ],
            "{told:#?}"
        );
    }
}

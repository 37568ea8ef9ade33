//! Callboard: a read-only caching reverse proxy in front of the storage that holds a company's TechDocs sites.
//!
//! # A request's journey
//!
//! [`server`] accepts the connection, speaks TLS where it has a certificate, bounds what it may hold and how long it may do nothing, and hands each request to
//! [`pipeline`], whose `journey.rs` reads like a table of contents:
//!
//! 1. only GET and HEAD, without a body, for one well-formed host; a purge and what a cloud tells ([`events`]) come with
//!    POST, and go their own way from here;
//! 2. [`auth`] finds out who asks: a token that was verified before costs one look-up, a new one is taken apart, checked
//!    against its issuer's published keys, and remembered;
//! 3. [`limit`] sees to it that no caller asks for more than its share, and nobody tries token after token;
//! 4. [`docs`] maps entity and path to a storage key, inside of the entity's own folder or not at all;
//! 5. [`cache`] answers from memory while the entry is fresh; else one task fetches, however many wait;
//! 6. [`storage`] reads, with a deadline and a bounded number of operations at a time, and can't do anything but read;
//! 7. [`http`] weighs codings, conditions and ranges, and the answer leaves;
//! 8. [`telemetry`] writes one access-log line, one span and the histograms, also for a client that left early.
//!
//! # The other rooms
//!
//! [`config`] turns Backstage's `app-config.yaml` and our section in it into what each room runs on; [`app`] wires the
//! rooms together; [`cli`] is what a person types; [`proof`] tries whether storage could be written to, and [`policy`] writes
//! down what it is read with at least; [`admin`] shows metrics and health, and purges and warms; [`sample`] is a site inside the
//! binary for the first minute. [`events`] believes what clouds tell of changed objects, or does not. [`redis`] speaks to
//! Redis for the cache. [`clock`], [`secret`], [`chain`], [`trust`], [`breaker`], [`lately`], [`roused`] and [`unhashed`] are what all stand on:
//! time as a value, values that never print, errors as the log shows them, which servers are believed to be who they say
//! they are, what is left alone while it fails, what a thread has looked up a moment ago, futures that are polled when they
//! asked to be, and keys that are hashes already.
//!
//! An import only ever points downward; `tests/suite/architecture.rs` holds the floors.

pub mod admin;
pub mod app;
pub mod auth;
pub mod breaker;
pub mod cache;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod docs;
pub mod events;
pub mod http;
pub mod lately;
pub mod limit;
pub mod pipeline;
pub mod policy;
pub mod proof;
pub mod redis;
pub mod roused;
pub mod sample;
pub mod secret;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod trust;
pub mod unhashed;

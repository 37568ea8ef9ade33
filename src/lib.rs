//! Callboard: a read-only caching reverse proxy in front of the storage that holds a company's TechDocs sites.
//!
//! # A request's journey
//!
//! [`server`] accepts the connection, bounds what it may hold and how long it may do nothing, and hands each request to
//! [`pipeline`], whose `journey.rs` reads like a table of contents:
//!
//! 1. only GET and HEAD, without a body;
//! 2. [`auth`] finds out who asks: a token that was verified before costs one look-up, a new one is taken apart, checked
//!    against its issuer's published keys, and remembered;
//! 3. [`docs`] maps entity and path to a storage key, inside of the entity's own folder or not at all;
//! 4. [`cache`] answers from memory while the entry is fresh; else one task fetches, however many wait;
//! 5. [`storage`] reads, with a deadline and a bounded number of operations at a time, and can't do anything but read;
//! 6. [`http`] weighs conditions and ranges, and the answer leaves;
//! 7. [`telemetry`] writes one access-log line, one span and the histograms, also for a client that left early.
//!
//! # The other rooms
//!
//! [`config`] turns Backstage's `app-config.yaml` and our section in it into what each room runs on; [`app`] wires the
//! rooms together; [`cli`] is what a person types; [`admin`] shows metrics and health; [`sample`] is a site inside the
//! binary for the first minute. [`clock`] and [`secret`] are what all stand on: time as a value, and values that never
//! print.
//!
//! An import only ever points downward; `tests/suite/architecture.rs` holds the floors.

pub mod admin;
pub mod app;
pub mod auth;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod docs;
pub mod http;
pub mod pipeline;
pub mod sample;
pub mod secret;
pub mod server;
pub mod storage;
pub mod telemetry;

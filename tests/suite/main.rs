//! Behaviour of the whole program, through its production wiring, against real servers on loopback.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod ailing_bucket;
mod architecture;
mod backstage;
mod bad_input;
mod cache_model;
mod cli;
mod client_certificates;
mod deployments;
mod documents;
mod encodings;
mod events;
mod faults;
mod flights;
mod floods;
mod hosts;
mod limits;
mod operation;
mod operations;
mod origins;
mod outages;
mod places;
mod publish;
mod published_site;
mod read_only;
mod reading_along;
mod redis_client;
mod replicas;
mod sites;
mod stores;
mod stuck_logs;
mod support;
mod telemetry;
mod tls;
mod token_vectors;
mod trust;
mod vectors;
mod ways;

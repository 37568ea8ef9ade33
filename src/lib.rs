//! Callboard: a read-only caching reverse proxy in front of the storage that holds a company's TechDocs sites.

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

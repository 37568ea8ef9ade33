//! Every kind of store, against real servers.

mod azure;
mod contract;
mod local;
mod s3;
mod sftp;
mod swift;

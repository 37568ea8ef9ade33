//! Every kind of store, against real servers.

mod contract;
mod gcs;
mod local;
mod s3;
mod sftp;

//! Every kind of store, against real servers.

mod aws;
mod aws_load;
mod azure;
mod contract;
mod gcs;
mod local;
mod s3;
mod s3_refusals;
mod sftp;
mod swift;

//! HTTP semantics as pure functions (RFC 9110, 9111, 9211): no I/O, no clock, no knowledge of documents.

pub mod cache_status;
pub mod conditional;
pub mod etag;
pub mod host;
pub mod multipart;
pub mod negotiation;
pub mod range;
pub mod rate_limit;
pub mod value;

//! What the journey runs on, beside the rooms that it leads through.

use http::HeaderValue;

/// Response headers that operators choose, and how much of a request is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// `Cache-Control` of files whose names may get new content.
    pub cache_control: HeaderValue,
    /// `Cache-Control` of files whose names carry a hash of their content.
    pub cache_control_fingerprinted: HeaderValue,
    /// Subjects that may purge on the main listener; with `*` at the end, all that begin so.
    pub purgers: Vec<String>,
    /// Bytes of a request's path and query.
    pub max_uri_bytes: usize,
}

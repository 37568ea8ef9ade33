//! Why an object was not read.

use std::sync::Arc;
use std::time::Duration;

/// Why an object was not read. Clonable, so that all who waited for one fetch can share it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// There is no such object; the only error that a reader may see as 404.
    #[error("there is no such object")]
    Absent,
    /// The object still has the tag that the caller named.
    #[error("the object has not changed")]
    NotModified,
    /// The object no longer has the tag that the caller named.
    #[error("the object has changed")]
    Changed,
    /// The store refuses the credential, or has refused it this object.
    #[error("storage denied access")]
    Denied(#[source] Cause),
    /// The store took longer than `storage.timeout`.
    #[error("storage did not answer within {0:?}")]
    Timeout(Duration),
    /// Too many operations are waiting already.
    #[error("too many storage operations are waiting")]
    Busy,
    /// The store has failed several times in a row, and is not asked for this long.
    #[error("storage keeps failing and is left alone for another {retry_after:?}")]
    Resting {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The body ended early or came longer than the store had said.
    #[error("storage sent {received} bytes of an object of {expected}")]
    Truncated {
        /// The length that the store had told.
        expected: u64,
        /// The bytes that came.
        received: u64,
    },
    /// Two bodies in a row were not what the store's checksum says.
    #[error("storage sent two bodies, neither of which has its checksum")]
    Corrupt,
    /// Whoever reads a large object has taken nothing for this long.
    #[error("the reader took nothing for {0:?}")]
    ReaderStalled(Duration),
    /// The store can't be reached or answers with an error of its own.
    #[error("storage is unavailable")]
    Unavailable(#[source] Cause),
    /// The task that fetched for everyone died.
    #[error("the fetch was abandoned")]
    Abandoned,
}

/// The store client's own error, for the log.
pub(super) type Cause = Arc<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Wraps a client's error that means that the store is unavailable.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// Wraps a client's error that means that the store refuses the credential.
    pub fn denied(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Denied(Arc::from(cause.into()))
    }

    /// The word for it in logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotModified => "not_modified",
            Self::Changed => "changed",
            Self::Denied(_) => "denied",
            Self::Timeout(_) => "timeout",
            Self::Busy => "busy",
            Self::Resting { .. } => "resting",
            Self::Truncated { .. } => "truncated",
            Self::Corrupt => "corrupt",
            Self::ReaderStalled(_) => "reader_stalled",
            Self::Unavailable(_) => "unavailable",
            Self::Abandoned => "abandoned",
        }
    }

    /// Every word for how an operation of storage may end, so that each series can be there from the start: `ok`, and what
    /// [`StoreError::as_str`] may give.
    pub const RESULTS: [&'static str; 11] = [
        "ok",
        "absent",
        "not_modified",
        "changed",
        "denied",
        "timeout",
        "busy",
        "resting",
        "truncated",
        "corrupt",
        "unavailable",
    ];

    /// Whether it is an answer to what was asked rather than a failure.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Absent | Self::NotModified | Self::Changed)
    }
}

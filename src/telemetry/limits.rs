//! What was turned away before it was served, and what is open.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundUpDownCounter, Meter};

/// Which limit something was beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReason {
    /// A principal sent too many requests.
    Principal,
    /// Too many tokens from an address were no good.
    FailedAuthentication,
    /// An address opened too many connections.
    ConnectionsPerAddress,
}

impl LimitReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Principal, Self::FailedAuthentication, Self::ConnectionsPerAddress];

    /// The same word in the access log, the metrics and the `RateLimit` header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::FailedAuthentication => "failed_authentication",
            Self::ConnectionsPerAddress => "connections_per_address",
        }
    }
}

/// Why a connection did not end in an orderly way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionError {
    /// What came in was no request: too large a header, or nonsense.
    Parse,
    /// The client took too long, with a header or with taking an answer.
    Timeout,
    /// The connection was lost in the middle of something.
    Io,
    /// Anything else, such as a mistake in HTTP/2 or an answer that had to be cut off.
    Other,
}

impl ConnectionError {
    /// In the order of their discriminants.
    const ALL: [Self; 4] = [Self::Parse, Self::Timeout, Self::Io, Self::Other];

    /// The word for it in the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

/// Which listener a connection came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerName {
    /// Documents.
    Main,
    /// Metrics and health.
    Admin,
}

impl ListenerName {
    const ALL: [Self; 2] = [Self::Main, Self::Admin];

    /// The word for it in the log and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Admin => "admin",
        }
    }
}

/// The instruments of limits and connections, each series there from the start.
#[derive(Debug)]
pub struct LimitInstruments {
    exceeded: [BoundCounter<u64>; LimitReason::ALL.len()],
    connections: [BoundUpDownCounter<i64>; ListenerName::ALL.len()],
    connection_errors: [BoundCounter<u64>; ConnectionError::ALL.len()],
}

impl LimitInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let exceeded = meter
            .u64_counter("callboard.limit.exceeded")
            .with_description("Requests and connections turned away because their sender was beyond a limit.")
            .build();
        let exceeded = LimitReason::ALL.map(|reason| {
            let bound = exceeded.bind(&[KeyValue::new("reason", reason.as_str())]);
            bound.add(0);
            bound
        });
        let connections = meter
            .i64_up_down_counter("callboard.server.connections")
            .with_description("Connections that are open.")
            .build();
        let connections = ListenerName::ALL.map(|listener| {
            let bound = connections.bind(&[KeyValue::new("listener", listener.as_str())]);
            bound.add(0);
            bound
        });
        let errors = meter
            .u64_counter("callboard.server.connection_errors")
            .with_description("Connections that did not end in an orderly way, by what went wrong.")
            .build();
        let connection_errors = ConnectionError::ALL.map(|kind| {
            let bound = errors.bind(&[KeyValue::new("kind", kind.as_str())]);
            bound.add(0);
            bound
        });
        Self { exceeded, connections, connection_errors }
    }

    /// Counts a request or connection that was turned away.
    pub fn exceeded(&self, reason: LimitReason) {
        if let Some(counter) = self.exceeded.get(reason as usize) {
            counter.add(1);
        }
    }

    /// Counts a connection that did not end in an orderly way.
    pub fn connection_failed(&self, kind: ConnectionError) {
        if let Some(counter) = self.connection_errors.get(kind as usize) {
            counter.add(1);
        }
    }

    /// Counts a connection that was opened.
    pub fn opened(&self, listener: ListenerName) {
        self.connection(listener, 1);
    }

    /// Counts a connection that has ended.
    pub fn closed(&self, listener: ListenerName) {
        self.connection(listener, -1);
    }

    fn connection(&self, listener: ListenerName, by: i64) {
        if let Some(counter) = self.connections.get(listener as usize) {
            counter.add(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Instruments;

    #[test]
    fn every_series_is_there_from_the_start() {
        let instruments = Instruments::new().unwrap();
        instruments.limits.exceeded(LimitReason::Principal);
        instruments.limits.opened(ListenerName::Admin);
        let text = instruments.prometheus().unwrap();
        for line in [
            r#"callboard_limit_exceeded_total{reason="principal"} 1"#,
            r#"callboard_limit_exceeded_total{reason="failed_authentication"} 0"#,
            r#"callboard_limit_exceeded_total{reason="connections_per_address"} 0"#,
            r#"callboard_server_connections{listener="main"} 0"#,
            r#"callboard_server_connections{listener="admin"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in:\n{text}");
        }
    }
}

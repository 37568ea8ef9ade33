//! `callboard.listen`, `callboard.admin`, `callboard.limits` and `callboard.responses`.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;

use super::storage::count;
use crate::config::formats::{ADMIN_LISTEN, COUNT, DURATION, HEADER, LISTEN, SIZE};
use crate::config::reader::Reader;
use crate::pipeline;
use crate::server::{Limits, Options};

pub(super) fn read(reader: &mut Reader<'_>, is_sample: bool) -> Options {
    const LISTEN_KEY: &str = "callboard.listen";
    const DRAIN_GRACE: &str = "callboard.limits.drainGrace";
    const DRAIN_DELAY: &str = "callboard.limits.drainDelay";
    const DRAINING: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
    // The sample site is for whoever started it, not for the network.
    let host = if is_sample { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let drain_grace = reader.within(DRAIN_GRACE, &DURATION, Duration::from_secs(25), DRAINING);
    // A grace time that is shorter than the usual delay is meant for the delay too.
    let drain_delay = reader.within(DRAIN_DELAY, &DURATION, Duration::from_secs(3).min(drain_grace), DRAINING);
    if drain_delay > drain_grace {
        reader.wrong(DRAIN_DELAY, format!("is a part of {DRAIN_GRACE} and can't be longer: shorten it, or raise that"));
    }
    let options = Options {
        listen: reader.or(LISTEN_KEY, &LISTEN, SocketAddr::from((host, 7008))),
        admin_listen: reader.or("callboard.admin.listen", &ADMIN_LISTEN, SocketAddr::from((Ipv4Addr::LOCALHOST, 7009))),
        // Read with what belongs to it, in `tls.rs`.
        tls: None,
        limits: read_limits(reader),
        drain_grace,
        drain_delay,
    };
    if collide(options.listen, options.admin_listen) {
        reader.wrong(
            "callboard.admin.listen",
            format!("{} is taken by {LISTEN_KEY}: write another port", options.admin_listen),
        );
    }
    options
}

pub(super) fn read_responses(reader: &mut Reader<'_>) -> pipeline::Options {
    let fingerprinted = HeaderValue::from_static("private, max-age=31536000, immutable");
    let others = HeaderValue::from_static("private, max-age=0, must-revalidate");
    pipeline::Options {
        cache_control: read_cache_control(reader, "callboard.responses.cacheControl", others),
        cache_control_fingerprinted: read_cache_control(
            reader,
            "callboard.responses.cacheControlFingerprinted",
            fingerprinted,
        ),
        // Read in `purge.rs`.
        purgers: Vec::new(),
        // hyper itself takes none beyond 64 KiB.
        max_uri_bytes: bytes(reader, "callboard.limits.maxUriBytes", 8 << 10, 256..=64 << 10),
    }
}

fn read_cache_control(reader: &mut Reader<'_>, key: &str, default: HeaderValue) -> HeaderValue {
    let value = reader.or(key, &HEADER, default);
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    if text.contains("public") || text.contains("s-maxage") {
        reader.warn(key, "lets caches on the way serve documents to anyone, with or without a token");
    }
    value
}

fn read_limits(reader: &mut Reader<'_>) -> Limits {
    const WAITS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
    // Below 8 KiB hyper can't read at all.
    const HEADER_BYTES: RangeInclusive<u64> = 8 << 10..=1 << 20;
    const STREAMS: RangeInclusive<u64> = 1..=10_000;
    const RESETS: RangeInclusive<u64> = 1..=100_000;
    const PER_ADDRESS: &str = "callboard.limits.maxConnectionsPerAddress";
    let max_connections = count(reader, "callboard.limits.maxConnections", 10_000, 1..=1_000_000);
    let max_connections_per_address = count(reader, PER_ADDRESS, 2000, 1..=1_000_000);
    let header_read_timeout =
        reader.within("callboard.limits.headerReadTimeout", &DURATION, Duration::from_secs(15), WAITS);
    let idle_timeout = reader.within("callboard.limits.idleTimeout", &DURATION, Duration::from_secs(75), WAITS);
    let write_timeout = reader.within("callboard.limits.writeTimeout", &DURATION, Duration::from_secs(30), WAITS);
    let max_header_bytes = bytes(reader, "callboard.limits.maxHeaderBytes", 32 << 10, HEADER_BYTES);
    let max_headers = count(reader, "callboard.limits.maxHeaders", 100, 16..=1000);
    let max_h2_streams = reader.within("callboard.limits.maxH2Streams", &COUNT, 100, STREAMS);
    let max_h2_pending_resets = count(reader, "callboard.limits.maxH2PendingResets", 20, RESETS);
    let max_h2_error_resets = count(reader, "callboard.limits.maxH2ErrorResets", 1024, RESETS);
    Limits {
        max_connections,
        max_connections_per_address,
        header_read_timeout,
        idle_timeout,
        write_timeout,
        max_header_bytes,
        max_headers,
        max_h2_streams: u32::try_from(max_h2_streams).unwrap_or(u32::MAX),
        max_h2_pending_resets,
        max_h2_error_resets,
        max_h2_send_buffer_bytes: bytes(reader, "callboard.limits.maxH2SendBufferBytes", 64 << 10, 4 << 10..=16 << 20),
    }
}

/// A size that fits whatever it bounds; the bounds see to that.
fn bytes(reader: &mut Reader<'_>, key: &str, default: u64, bounds: RangeInclusive<u64>) -> usize {
    usize::try_from(reader.within(key, &SIZE, default, bounds)).unwrap_or(usize::MAX)
}

/// Whether two listeners can't both be had; port 0 is another port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    // `[::]` takes IPv4 along on the systems that we run on.
    let takes = |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let same_port = one.port() != 0 && one.port() == other.port();
    same_port && (one.ip() == other.ip() || takes(one, other) || takes(other, one))
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::config::testing::{Folder, problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    #[test]
    fn the_defaults_are_those_of_the_reference() {
        let server = resolved(DOCS).unwrap().resolved.server;
        assert_eq!(server.listen.to_string(), "0.0.0.0:7008");
        assert_eq!(server.admin_listen.to_string(), "127.0.0.1:7009");
    }

    #[test]
    fn the_sample_site_listens_on_this_machine_only() {
        let configuration = load(&Folder::new(&[]).sources(&[], &[])).unwrap().resolve().unwrap();
        assert_eq!(configuration.resolved.server.listen.to_string(), "127.0.0.1:7008");
    }

    #[test]
    fn two_listeners_need_two_ports() {
        let told = problems(&format!("{DOCS}callboard: {{listen: 7009}}"));
        assert_eq!(
            told,
            ["callboard.admin.listen (default): 127.0.0.1:7009 is taken by callboard.listen: write another port"]
        );
        assert!(resolved(&format!("{DOCS}callboard: {{listen: 0, admin: {{listen: 0}}}}")).is_ok());
    }

    #[test]
    fn the_drain_delay_is_a_part_of_the_grace_time() {
        let limits = |limits: &str| format!("{DOCS}callboard: {{limits: {{{limits}}}}}");
        let told = problems(&limits("drainGrace: 2s, drainDelay: 3s"));
        let [problem] = &told[..] else { panic!("{told:?}") };
        assert!(problem.contains("drainDelay") && problem.contains("part of callboard.limits.drainGrace"), "{problem}");
        let server = |text: &str| resolved(text).unwrap().resolved.server;
        assert_eq!(server(DOCS).drain_delay.as_secs(), 3);
        assert_eq!(server(&limits("drainGrace: 2s")).drain_delay.as_secs(), 2);
    }

    #[test]
    fn limits_have_bounds_and_headers_are_checked() {
        let told = problems(&format!(
            "{DOCS}callboard: {{limits: {{maxConnections: 0, maxHeaderBytes: 10}}, responses: {{cacheControl: \"a\\nb\"}}}}"
        ));
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].contains("10B is too small: write a value from 8KiB to 1MiB"), "{told:?}");
        assert!(told[2].contains("\"a\\nb\" is not a header's value"), "{told:?}");
    }
}

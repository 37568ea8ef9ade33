//! Load over HTTP/2 and TLS: `h2load` of nghttp2 on a core of its own.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::process::{LOAD_CORE, pinned};
use super::wrk::Headers;

/// Streams that are open at a time, all on one connection.
pub(crate) const STREAMS: u64 = 100;

/// What a run was.
#[derive(Debug)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Bytes of all bodies.
    pub(crate) bytes: u64,
    /// The connection's cipher.
    pub(crate) cipher: String,
}

/// Looks whether it is installed.
pub(crate) fn find() -> anyhow::Result<()> {
    let found = Command::new("h2load").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        bail!(
            "h2load, which speaks HTTP/2, is not installed: run `apt-get install -y nghttp2-client` (Debian, Ubuntu)"
        );
    }
    Ok(())
}

/// Asks so many times for `path`. All answers must be good, over HTTP/2 and TLS 1.3.
pub(crate) fn run(address: SocketAddr, path: &str, headers: &Headers, requests: u64) -> anyhow::Result<Load> {
    let mut words = pinned(LOAD_CORE).into_iter().chain(["h2load".into()]);
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).args([
        "--threads=1",
        "--clients=1",
        "--npn-list=h2",
        &format!("--max-concurrent-streams={STREAMS}"),
        &format!("--requests={requests}"),
    ]);
    for (name, value) in headers {
        command.args(["--header", &format!("{}: {value}", name.to_ascii_lowercase())]);
    }
    let output = command.arg(format!("https://{address}{path}")).output()?;
    let report = String::from_utf8(output.stdout)?;
    let line = |begin: &str| {
        let found = report.lines().find_map(|line| line.strip_prefix(begin));
        found.map(str::trim).with_context(|| format!("h2load says nothing of {begin} {report}"))
    };
    ensure!(line("TLS Protocol:")? == "TLSv1.3" && line("Application protocol:")? == "h2", "{report}");
    ensure!(line("status codes:")?.starts_with(&format!("{requests} 2xx")), "{report}");
    let rate = line("finished in")?.split(", ").nth(1).and_then(|rate| rate.strip_suffix(" req/s"));
    // `traffic: 1.97MB (2070000) total, 1.2KB (1234) headers (space savings 95.00%), 1.95MB (2048000) data`
    let bytes = line("traffic:")?.rsplit_once('(').and_then(|(_, data)| data.strip_suffix(") data"));
    Ok(Load {
        rate: rate.context("no rate")?.parse()?,
        bytes: bytes.context("no data")?.parse()?,
        cipher: line("Cipher:")?.to_owned(),
    })
}

//! Load: `wrk` on a core of its own, with figures that are exact rather than rounded for people.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::process::{LOAD_CORE, pinned};

/// A request's headers.
pub(crate) type Headers = Vec<(String, String)>;

/// Connections that are kept open and each have one request under way.
pub(crate) const CONNECTIONS: usize = 32;

/// Written after the run; a script without `request` or `response` costs nothing while it lasts. Statuses below 400 are
/// no errors to `wrk`, so that what was answered is checked by its bytes.
const REPORT: &str = r#"
function done(summary)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"bytes":%d,"micros":%d,"errors":%d,"hang_ups":%d}\n',
    summary.requests, summary.bytes, summary.duration,
    errors.connect + errors.write + errors.status + errors.timeout, errors.read))
end
"#;

/// The load generator.
#[derive(Debug)]
pub(crate) struct Wrk {
    script: NamedTempFile,
}

/// What a run was.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    micros: u64,
    errors: u64,
    /// Answers that ended with their connection, without a word of it before.
    pub(crate) hang_ups: u64,
}

impl Wrk {
    /// Looks whether it is installed.
    pub(crate) fn find() -> anyhow::Result<Self> {
        Self::scripted("")
    }

    /// The same; `requests` is a script in Lua that makes requests up.
    pub(crate) fn scripted(requests: &str) -> anyhow::Result<Self> {
        let found = Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            bail!("wrk, which makes the load, is not installed: run `apt-get install -y wrk` (Debian, Ubuntu)");
        }
        let mut script = NamedTempFile::with_suffix(".lua")?;
        script.write_all(requests.as_bytes())?;
        script.write_all(REPORT.as_bytes())?;
        Ok(Self { script })
    }

    /// Asks for `path` for so many seconds, again and again. Connections must stay.
    pub(crate) fn run(&self, address: SocketAddr, path: &str, headers: &Headers, seconds: u64) -> anyhow::Result<Load> {
        let load = self.run_whatever_ends(address, path, headers, seconds)?;
        ensure!(load.requests > 0 && load.hang_ups == 0, "{address} hung up {} times", load.hang_ups);
        Ok(load)
    }

    /// The same for a server that may end its answers with the connection, and may take longer than that for one.
    pub(crate) fn run_whatever_ends(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &Headers,
        seconds: u64,
    ) -> anyhow::Result<Load> {
        let mut words = pinned(LOAD_CORE).into_iter().chain(["wrk".into()]);
        let mut command = Command::new(words.next().context("no command")?);
        command
            .args(words)
            .args([
                "--threads=1",
                "--timeout=20s",
                &format!("--connections={CONNECTIONS}"),
                &format!("--duration={seconds}"),
            ])
            .arg("--script")
            .arg(self.script.path());
        for (name, value) in headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        let output = command.arg(format!("http://{address}{path}")).output()?;
        let report = String::from_utf8(output.stdout)?;
        let line = report.lines().find(|line| line.starts_with('{'));
        let load: Load = serde_json::from_str(line.with_context(|| format!("wrk says: {report}"))?)?;
        ensure!(load.errors == 0, "wrk met errors: {report}");
        Ok(load)
    }
}

impl Load {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / Duration::from_micros(self.micros).as_secs_f64()
    }
}

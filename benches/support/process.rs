//! Child processes that are pinned to a core, tell their address, and never outlive the bench.
//!
//! Between the bench and each server stands a guard: this program again, which starts the server and ends it when its
//! own standard input closes. That happens however the bench ends, also by a panic, Ctrl-C or `kill -9`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

/// The bench's first argument where it is to be a guard; the server's command line follows.
pub(crate) const GUARD: &str = "guard";

/// Where servers run.
pub(crate) const SERVER_CORE: usize = 0;
/// Where load is made.
pub(crate) const LOAD_CORE: usize = 1;

/// A server that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    guard: Child,
    pid: u64,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `command` on the servers' core. It must tell its address, or its port on loopback, in a line of JSON on
    /// standard error.
    pub(crate) fn start(command: &[OsString], stdout: Stdio) -> anyhow::Result<Self> {
        Self::start_on(SERVER_CORE, command, stdout)
    }

    /// The same on another core.
    pub(crate) fn start_on(core: usize, command: &[OsString], stdout: Stdio) -> anyhow::Result<Self> {
        let mut guard = Command::new(std::env::current_exe()?)
            .arg(GUARD)
            .args(pinned(core))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(guard.stderr.take().context("no standard error")?).lines();
        let mut unread = String::new();
        let mut pid = None;
        for line in lines.by_ref() {
            let line = line?;
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            pid = pid.or_else(|| told.get("pid")?.as_u64());
            if let (Some(pid), Some(address)) = (pid, address_in(&told)) {
                // Whatever else it tells must not fill the pipe.
                thread::spawn(move || lines.for_each(drop));
                return Ok(Self { guard, pid, address });
            }
            unread.push_str(&line);
            unread.push('\n');
        }
        bail!("{command:?} ended before it served:\n{unread}");
    }

    /// The CPU time that its threads have used so far, as the scheduler counts it, in nanoseconds rather than ticks.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let counted = fs::read_to_string(task?.path().join("schedstat"))?;
            let running = counted.split_ascii_whitespace().next().context("empty schedstat")?;
            nanos += running.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Its process, for a profiler.
    pub(crate) fn pid(&self) -> u64 {
        self.pid
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn address_in(told: &Value) -> Option<SocketAddr> {
    let address = || told.get("address")?.as_str()?.parse().ok();
    let port = || Some((Ipv4Addr::LOCALHOST, u16::try_from(told.get("port")?.as_u64()?).ok()?).into());
    address().or_else(port)
}

/// Runs a server until standard input closes, or until it ends by itself.
pub(crate) fn guard(command: Vec<OsString>) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command to guard")?;
    let mut server = Command::new(program)
        .args(arguments)
        // Open for as long as the guard lives: some servers end with it.
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", program.display()))?;
    eprintln!("{}", serde_json::json!({ "pid": server.id() }));
    let mut stderr = server.stderr.take().context("no standard error")?;
    thread::spawn(move || {
        let _ = io::copy(&mut stderr, &mut io::stderr());
        std::process::exit(1);
    });
    io::stdin().read_to_end(&mut Vec::new())?;
    server.kill()?;
    server.wait()?;
    Ok(())
}

/// What to put before a command so that it runs on `core`; nothing where there is but one.
pub(crate) fn pinned(core: usize) -> Vec<OsString> {
    if is_pinned() { ["taskset", "-c", &core.to_string()].map(OsString::from).to_vec() } else { Vec::new() }
}

/// Whether servers and load have a core each.
pub(crate) fn is_pinned() -> bool {
    thread::available_parallelism().is_ok_and(|cores| cores.get() > LOAD_CORE)
}

/// A command line.
pub(crate) fn command<const N: usize>(words: [&OsStr; N]) -> Vec<OsString> {
    words.map(OsString::from).to_vec()
}

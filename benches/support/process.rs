//! Child processes that are pinned to a core, tell their address, and never outlive the bench.
//!
//! Between the bench and each server stands a guard: this program again, which starts the server and ends it when its
//! own standard input closes. That happens however the bench ends, also by a panic, Ctrl-C or `kill -9`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The bench's first argument where it is to be a guard; the server's command line follows.
pub(crate) const GUARD: &str = "guard";

/// Where servers run.
pub(crate) const SERVER_CORE: usize = 0;
/// Where load is made.
pub(crate) const LOAD_CORE: usize = 1;

/// How often, and how long in between, it is looked whether a server that does not tell takes connections.
const LOOKS: (u32, Duration) = (200, Duration::from_millis(50));

/// The program that is measured: the one that was built along, unless `CALLBOARD_PROGRAM` names another, as
/// `benches/run.sh` does with that of `benches/pgo/build.sh`.
pub(crate) fn program() -> OsString {
    std::env::var_os("CALLBOARD_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_callboard").into())
}

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
        Ok(Self::started(core, command, stdout, None)?.0)
    }

    /// The same for a program that does not tell its address, but is told it: returns once it takes connections.
    pub(crate) fn start_at(core: usize, command: &[OsString], address: SocketAddr) -> anyhow::Result<Self> {
        let (mut server, told) = Self::started(core, command, Stdio::null(), Some(address))?;
        for _ in 0..LOOKS.0 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            if server.guard.try_wait()?.is_some() {
                break;
            }
            thread::sleep(LOOKS.1);
        }
        let told: Vec<String> = told.try_iter().collect();
        bail!("{command:?} does not listen on {address}:\n{}", told.join("\n"));
    }

    /// The server, and what else it tells.
    fn started(
        core: usize,
        command: &[OsString],
        stdout: Stdio,
        mut address: Option<SocketAddr>,
    ) -> anyhow::Result<(Self, Receiver<String>)> {
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
            address = address.or_else(|| address_in(&told));
            if let (Some(pid), Some(address)) = (pid, address) {
                let (sender, told) = mpsc::channel();
                // Whatever else it tells must not fill the pipe, whether or not somebody listens.
                thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
                return Ok((Self { guard, pid, address }, told));
            }
            unread.push_str(&line);
            unread.push('\n');
        }
        bail!("{command:?} ended before it served:\n{unread}");
    }

    /// The CPU time that its threads and those of its children have used so far, as the scheduler counts it, in
    /// nanoseconds rather than ticks.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for pid in family(self.pid) {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let counted = fs::read_to_string(task?.path().join("schedstat"))?;
                let running = counted.split_ascii_whitespace().next().context("empty schedstat")?;
                nanos += running.parse::<u64>()?;
            }
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

/// A process and those below it, parents first.
pub(crate) fn family(pid: u64) -> Vec<u64> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // After the name, which may hold anything, stand the state and the parent.
    let parents: Vec<(u64, u64)> = processes
        .filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((process.file_name().to_str()?.parse().ok()?, parent))
        })
        .collect();
    let mut family = vec![pid];
    let mut looked_at = 0;
    while let Some(&member) = family.get(looked_at) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == member).map(|(child, _)| child));
        looked_at += 1;
    }
    family
}

/// A place where nothing listens.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
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
    // All at once: a master that is gone can't end its workers.
    for pid in family(u64::from(server.id())) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // Its error is that the process has ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
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

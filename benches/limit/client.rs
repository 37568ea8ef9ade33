//! A client for what `wrk` can't do: this program again, on the core that makes the load, told its job as JSON.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::process::{LOAD_CORE, pinned};

/// The bench's first argument where it is to be this client; the job follows.
pub(crate) const ROLE: &str = "client";

/// How many connections come from one address, which has but so many ports.
const CONNECTIONS_PER_ADDRESS: usize = 2000;

/// Room for a page at once.
const BUFFER: usize = 32 * 1024;

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Asks once for each of many things, 32 at a time, as fast as it can.
    Each { address: SocketAddr, what: What },
    /// Asks at a fixed rate, and tells how long after its time each answer came.
    Paced { streams: Vec<super::pace::Stream>, seconds: u64 },
    /// Opens connections, asks once on each, and then does nothing until it is told to end.
    Idle { address: SocketAddr, request: String, connections: usize },
    /// Reads answers slowly, so many bytes a second each.
    Slow { address: SocketAddr, request: String, readers: usize, bytes_per_second: u64, seconds: u64 },
    /// Opens one TLS connection after the other, each of which takes up the session of the one before.
    Resume { address: SocketAddr, request: String, certificate: PathBuf, seconds: u64 },
}

/// What is asked for, each thing once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// The same path with each of the tokens in a file.
    Tokens { path: String, tokens: PathBuf },
    /// So many pages of so many sites, with the same token.
    Pages { sites: usize, pages: usize, token: String },
}

impl What {
    fn requests(self) -> anyhow::Result<Box<dyn Iterator<Item = String>>> {
        Ok(match self {
            Self::Tokens { path, tokens } => {
                let tokens = std::fs::read_to_string(tokens)?;
                let tokens: Vec<String> = tokens.lines().map(str::to_owned).collect();
                Box::new(tokens.into_iter().map(move |token| request(&path, &token, &[])))
            }
            Self::Pages { sites, pages, token } => {
                let all = (0..sites).flat_map(move |site| (0..pages).map(move |page| (site, page)));
                Box::new(all.map(move |(site, page)| request(&super::entries::path(site, page), &token, &[])))
            }
        })
    }
}

/// A request's bytes.
pub(crate) fn request(path: &str, token: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: docs\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")
}

/// Has the job done and returns what came of it.
pub(crate) fn run<T: DeserializeOwned>(job: &Job) -> anyhow::Result<T> {
    let mut client = spawn(job)?;
    drop(client.stdin.take());
    let output = client.wait_with_output()?;
    ensure!(output.status.success(), "the client failed at its job");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A client whose job goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Lasting(Child);

impl Lasting {
    /// Returns once it says that it is under way.
    pub(crate) fn start(job: &Job) -> anyhow::Result<Self> {
        let mut client = spawn(job)?;
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().context("no standard output")?).read_line(&mut line)?;
        let client = Self(client);
        ensure!(!line.is_empty(), "the client failed at its job");
        Ok(client)
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn spawn(job: &Job) -> anyhow::Result<Child> {
    let mut words = pinned(LOAD_CORE).into_iter().chain([std::env::current_exe()?.into_os_string()]);
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).arg(ROLE).arg(serde_json::to_string(job)?);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// Does the job that is its argument.
pub(crate) fn serve(job: OsString) -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    // So that answers are seen soon while something is always ready to run.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(3).build()?;
    let outcome = match serde_json::from_str(job.to_str().context("not a job")?)? {
        Job::Each { address, what } => serde_json::to_value(runtime.block_on(each(address, what))?)?,
        Job::Paced { streams, seconds } => {
            serde_json::to_value(runtime.block_on(super::pace::run(streams, Duration::from_secs(seconds)))?)?
        }
        Job::Idle { address, request, connections } => {
            let _held = runtime.block_on(idle(address, &request, connections))?;
            println!("ready");
            std::io::stdout().flush()?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        Job::Slow { address, request, readers, bytes_per_second, seconds } => {
            let until = Duration::from_secs(seconds);
            serde_json::to_value(runtime.block_on(super::slow::read(
                address,
                request,
                readers,
                bytes_per_second,
                until,
            ))?)?
        }
        Job::Resume { address, request, certificate, seconds } => {
            serde_json::to_value(super::resume::run(address, &request, &certificate, Duration::from_secs(seconds))?)?
        }
    };
    println!("{outcome}");
    Ok(())
}

async fn each(address: SocketAddr, what: What) -> anyhow::Result<u64> {
    let requests = std::rc::Rc::new(std::cell::RefCell::new(what.requests()?));
    let local = tokio::task::LocalSet::new();
    let mut connections = Vec::new();
    for _ in 0..super::wrk::CONNECTIONS {
        let requests = std::rc::Rc::clone(&requests);
        connections.push(local.spawn_local(async move {
            let mut connection = Connection::open(address, 0).await?;
            let mut count = 0_u64;
            loop {
                let next = requests.borrow_mut().next();
                let Some(request) = next else { return anyhow::Ok(count) };
                let status = connection.ask(request.as_bytes()).await?;
                ensure!(status == 200, "status {status} for {request}");
                count += 1;
            }
        }));
    }
    local
        .run_until(async move {
            let mut count = 0;
            for connection in connections {
                count += connection.await??;
            }
            Ok(count)
        })
        .await
}

async fn idle(address: SocketAddr, request: &str, connections: usize) -> anyhow::Result<Vec<Connection>> {
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut connection = Connection::open(address, number).await?;
        let status = connection.ask(request.as_bytes()).await?;
        ensure!(status == 200, "status {status}");
        connection.buffer = Vec::new();
        open.push(connection);
    }
    Ok(open)
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens the so-many-th connection, from one of the addresses of loopback.
    pub(crate) async fn open(address: SocketAddr, number: usize) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let host = u8::try_from(number / CONNECTIONS_PER_ADDRESS + 1)?;
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Sends a request and reads its answer to the end; returns the status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (status, mut missing) = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "hung up in the middle of an answer");
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let (head, body) = self.buffer.split_at(end + 4);
                let (status, length) = head_of(head)?;
                break (status, length.saturating_sub(body.len()));
            }
        };
        while missing > 0 {
            self.buffer.clear();
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "hung up in the middle of a body");
            missing = missing.saturating_sub(read);
        }
        Ok(status)
    }
}

/// Status and length of the body.
fn head_of(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let mut lines = std::str::from_utf8(head)?.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status.parse()?, value.trim().parse()?));
        }
    }
    if status == "304" { Ok((304, 0)) } else { bail!("an answer without a length") }
}

//! The yardstick: hyper with nothing around it, sending one prepared answer to whatever it is asked.
//!
//! The runtime is built as Callboard builds its own (`src/cli/mod.rs`), HTTP/1 alone is spoken, no timer runs, and the
//! prepared response is cloned: about the least that an answer can cost with hyper.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};

use super::process::{SERVER_CORE, Server, command};
use super::wire::Answer;

/// The bench's first argument where it is to be this server; the second is a file that holds the answer to send.
pub(crate) const ROLE: &str = "bare-hyper";

/// Bare hyper in a process of its own.
#[derive(Debug)]
pub(crate) struct BareHyper {
    server: Server,
    _answer: NamedTempFile,
}

impl BareHyper {
    /// Starts it with this answer.
    pub(crate) fn start(answer: &Answer) -> anyhow::Result<Self> {
        Self::start_on(SERVER_CORE, answer)
    }

    /// The same on another core, as an origin for others.
    pub(crate) fn start_on(core: usize, answer: &Answer) -> anyhow::Result<Self> {
        let file = NamedTempFile::new()?;
        let headers: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {} -\r\n{headers}\r\n", answer.status);
        std::fs::write(file.path(), [head.as_bytes(), &answer.body].concat())?;
        let bench = std::env::current_exe()?;
        let command = command([bench.as_os_str(), OsStr::new(ROLE), file.path().as_os_str()]);
        Ok(Self { server: Server::start_on(core, &command, Stdio::null())?, _answer: file })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// Sends the answer in `file` for ever.
pub(crate) fn serve(file: OsString) -> anyhow::Result<()> {
    let response = prepared(&std::fs::read(file)?)?;
    let mut builder = match std::thread::available_parallelism()?.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(async {
        // The same task structure as Callboard's: what accepts is a task as well.
        tokio::spawn(accept(response)).await?
    })
}

async fn accept(response: Response<Full<Bytes>>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    eprintln!("{}", json!({ "address": listener.local_addr()?.to_string() }));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(answer(socket, response.clone()));
    }
}

async fn answer(socket: TcpStream, response: Response<Full<Bytes>>) {
    let service = service_fn(|_| {
        let response = response.clone();
        async move { Ok::<_, Infallible>(response) }
    });
    // Its error is the client's, who has left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

fn prepared(bytes: &[u8]) -> anyhow::Result<Response<Full<Bytes>>> {
    let answer = Answer::parse(bytes)?.context("the answer is cut off")?;
    let mut response = Response::builder().status(answer.status);
    // hyper writes the date itself.
    for (name, value) in answer.headers.iter().filter(|(name, _)| name != "date") {
        response = response.header(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    Ok(response.body(Full::new(Bytes::from(answer.body)))?)
}

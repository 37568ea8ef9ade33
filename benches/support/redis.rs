//! Debian's Redis on a port of its own, which forgets everything with the bench.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::process::{LOAD_CORE, Server, command};
use super::techdocs::{free_port, tools};

/// How often, and how long in between, it is looked whether it answers.
const LOOKS: (u32, Duration) = (100, Duration::from_millis(50));

/// Redis in a process of its own, on the core that makes the load.
#[derive(Debug)]
pub(crate) struct Redis(Server);

impl Redis {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start() -> anyhow::Result<Self> {
        // It does not tell its address as the others do, so the shell does.
        let script = "PATH=\"$0:$PATH\"; echo \"{\\\"port\\\":$1}\" >&2; \
            exec redis-server --port \"$1\" --bind 127.0.0.1 --save '' --appendonly no >/dev/null";
        let (unpacked, port) = (tools().join("redis"), free_port()?.port().to_string());
        let words =
            command([OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script), unpacked.as_os_str(), OsStr::new(&port)]);
        let server = Server::start_on(LOAD_CORE, &words, Stdio::null())?;
        for _ in 0..LOOKS.0 {
            if TcpStream::connect(server.address).is_ok() {
                return Ok(Self(server));
            }
            thread::sleep(LOOKS.1);
        }
        bail!("redis-server does not answer; is it installed? tests/setup.sh brings it");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

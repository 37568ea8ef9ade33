//! Debian's Redis on a port of its own, which forgets everything with the bench.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::process::{LOAD_CORE, Server, command, free_port};

/// Redis in a process of its own, on the core that makes the load.
#[derive(Debug)]
pub(crate) struct Redis(Server);

impl Redis {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let script = "PATH=\"$0:$PATH\"; exec redis-server --port \"$1\" --bind 127.0.0.1 --save '' --appendonly no";
        let (unpacked, address) = (tools().join("redis"), free_port()?);
        let port = address.port().to_string();
        let words =
            command([OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script), unpacked.as_os_str(), OsStr::new(&port)]);
        let server = Server::start_at(LOAD_CORE, &words, address);
        Ok(Self(server.context("is redis-server installed? tests/setup.sh brings it")?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// The folder that `tests/setup.sh` fills.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools")
}

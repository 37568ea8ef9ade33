//! Servers that are not ours: nginx and Varnish as caches in front of the same origin, and Redis.
//!
//! nginx and Varnish check no token and have one setting each that matters here: how long a copy is fresh, and whether an
//! old one is served while a new one is fetched.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure};
use tempfile::TempDir;

use crate::callboard::SITES;
use crate::origin::{BUCKET, Origin};
use crate::support::process::{LOAD_CORE, SERVER_CORE, Server, command};

/// How often, and how long in between, it is looked whether a server answers.
const LOOKS: (u32, Duration) = (200, Duration::from_millis(50));

/// A cache that checks nobody.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    server: Server,
    _folder: TempDir,
}

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Varnish,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Nginx, Self::Varnish];

    const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Varnish => "varnishd",
        }
    }

    /// Whether it is installed.
    pub(crate) fn is_there(self) -> bool {
        let tried = Command::new(self.program()).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    }
}

/// What a peer is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How long a copy is fresh.
    pub(crate) fresh_seconds: u64,
    /// What it may hold, in MiB.
    pub(crate) mebibytes: u64,
}

impl Peer {
    /// Starts it on the servers' core and waits until it takes connections.
    pub(crate) fn start(kind: Kind, origin: &Origin, rules: Rules) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let port = free_port()?;
        let (name, script) = match kind {
            Kind::Nginx => {
                let file = folder.path().join("nginx.conf");
                std::fs::write(&file, nginx(folder.path(), port, origin.address(), rules))?;
                ("nginx proxy_cache", format!("exec nginx -c {} -e /dev/null", file.display()))
            }
            Kind::Varnish => {
                let file = folder.path().join("bench.vcl");
                std::fs::write(&file, varnish(origin.address(), rules))?;
                let script = format!(
                    "exec varnishd -j none -F -n {} -a 127.0.0.1:{port} -f {} -s malloc,{}m >/dev/null",
                    folder.path().join("work").display(),
                    file.display(),
                    rules.mebibytes
                );
                ("Varnish", script)
            }
        };
        Ok(Self { name, server: started(SERVER_CORE, port, &script)?, _folder: folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }
}

/// A single process: one that is ended leaves no workers behind.
fn nginx(folder: &Path, port: u16, origin: SocketAddr, Rules { fresh_seconds, mebibytes }: Rules) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log /dev/null;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;\n\
         client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         proxy_cache_path {folder}/cache keys_zone=docs:32m max_size={mebibytes}m inactive=1d use_temp_path=off;\n\
         upstream origin {{ server {origin}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; location {SITES}/ {{\n\
         proxy_pass http://origin/{BUCKET}/; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_cache docs; proxy_cache_key $uri; proxy_cache_valid 200 {fresh_seconds}s; proxy_cache_lock on;\n\
         proxy_cache_revalidate on; proxy_cache_background_update on; proxy_cache_use_stale updating error timeout;\n\
         }} }} }}\n"
    )
}

fn varnish(origin: SocketAddr, Rules { fresh_seconds, .. }: Rules) -> String {
    let (host, port) = (origin.ip(), origin.port());
    format!(
        "vcl 4.1;\n\
         backend origin {{ .host = \"{host}\"; .port = \"{port}\"; }}\n\
         sub vcl_recv {{ set req.url = regsub(req.url, \"^{SITES}/\", \"/{BUCKET}/\"); return (hash); }}\n\
         sub vcl_backend_response {{ set beresp.ttl = {fresh_seconds}s; set beresp.grace = 1m; set beresp.keep = 1h; \
         return (deliver); }}\n"
    )
}

/// Redis in a process of its own, on the core that makes the load.
#[derive(Debug)]
pub(crate) struct Redis(Server);

impl Redis {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/redis");
        let port = free_port()?;
        let script = format!(
            "PATH=\"{}:$PATH\"; exec redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no >/dev/null",
            unpacked.display()
        );
        Ok(Self(started(LOAD_CORE, port, &script)?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.pid().to_string()]).status()?;
        ensure!(sent.success(), "Redis can't be sent {name}");
        Ok(())
    }
}

/// Starts what does not tell its address as our own servers do, so that the shell does.
fn started(core: usize, port: u16, script: &str) -> anyhow::Result<Server> {
    let script = format!("echo '{{\"port\":{port}}}' >&2; {script}");
    let words = command([OsStr::new("sh"), OsStr::new("-c"), OsStr::new(&script)]);
    let server = Server::start_on(core, &words, Stdio::null())?;
    for _ in 0..LOOKS.0 {
        if TcpStream::connect(server.address).is_ok() {
            return Ok(server);
        }
        thread::sleep(LOOKS.1);
    }
    bail!("it does not answer: {script}");
}

/// A port on which nothing listens.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

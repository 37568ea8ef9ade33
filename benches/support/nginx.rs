//! Debian's nginx in front of an origin, tuned as its users tune it, with a configuration of its own in a temporary folder.
//!
//! One worker, `sendfile`, no time-outs and no request limits in the way, open files remembered, its cache on disk and so in the
//! page cache. It adds `X-Cache` to answers, which tells a hit from a miss as Callboard's `Cache-Status` does.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use super::callboard::write;
use super::process::{SERVER_CORE, Server, command, free_port};
use super::wire::Answer;

/// What nginx is to do beside answering from its cache.
#[derive(Debug, Default)]
pub(crate) struct Options<'a> {
    /// Whether each request gets a line of JSON.
    pub(crate) access_log: bool,
    /// Certificate and key, as PEM files, where it is to speak TLS 1.3 and HTTP/2 on further ports.
    pub(crate) tls: Option<(&'a Path, &'a Path)>,
    /// A file to serve without any cache, by the path of its URL, with what an answer holds.
    pub(crate) file: Option<(&'a str, &'a Answer)>,
}

/// nginx in processes of its own.
#[derive(Debug)]
pub(crate) struct Nginx {
    server: Server,
    /// Where it serves the file.
    pub(crate) file_address: SocketAddr,
    /// Where it answers from its cache over TLS.
    pub(crate) tls_address: SocketAddr,
    /// Where it serves the file over TLS.
    pub(crate) tls_file_address: SocketAddr,
    log: Option<PathBuf>,
    _folder: TempDir,
}

/// How many lines may wait in its buffer, which are 128 bytes each at least.
const LINES_IN_BUFFER: u64 = 64 * 1024 / 128;

/// The fields of Callboard's own lines, as far as nginx knows them.
const LOG_FORMAT: &str = r#"log_format json escape=json '{"time":"$time_iso8601","type":"access","method":"$request_method",'
    '"path":"$uri","status":$status,"remote":"$remote_addr","key":"$proxy_host","cache":"$upstream_cache_status",'
    '"bytes":$body_bytes_sent,"duration":$request_time,"trace_id":"$request_id"}';"#;

impl Nginx {
    /// Starts it in front of `origin`.
    pub(crate) fn start(origin: SocketAddr, options: &Options<'_>) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let [address, file_address, tls_address, tls_file_address] = [(); 4].map(|()| free_port());
        let (address, file_address) = (address?, file_address?);
        let (tls_address, tls_file_address) = (tls_address?, tls_file_address?);
        let log = options.access_log.then(|| folder.path().join("access.log"));
        let access_log = log.as_ref().map_or_else(
            || "access_log off;".to_owned(),
            |log| format!("{LOG_FORMAT}\n  access_log {} json buffer=64k flush=1s;", log.display()),
        );
        let tls =
            |address: SocketAddr| options.tls.map(|(cert, key)| listen_tls(address, cert, key)).unwrap_or_default();
        let headers = options.file.map(|(path, answer)| serve_file(folder.path(), path, answer));
        let configuration = format!(
            r"
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {root}/pid;
error_log stderr error;
daemon off;
events {{ worker_connections 32768; }}
http {{
  {access_log}
  default_type text/plain;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_header_timeout 1h;
  open_file_cache max=100000 inactive=1h;
  open_file_cache_valid 1h;
  client_body_temp_path {root}/body;
  fastcgi_temp_path {root}/fastcgi;
  scgi_temp_path {root}/scgi;
  uwsgi_temp_path {root}/uwsgi;
  proxy_temp_path {root}/proxy;
  proxy_cache_path {root}/cache levels=1:2 keys_zone=docs:64m max_size=4g inactive=24h use_temp_path=off;
  server {{
    listen {address} backlog=16384;
    {tls_cached}
    location / {{
      proxy_pass http://{origin};
      proxy_cache docs;
      proxy_cache_key $uri;
      proxy_cache_valid 200 24h;
      proxy_ignore_headers Cache-Control Expires Vary;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
  server {{
    listen {file_address};
    {tls_file}
    root {root}/files;
    etag off;
    {file_headers}
  }}
}}
",
            root = folder.path().display(),
            files = getrlimit(Resource::Nofile).maximum.unwrap_or(65_536),
            tls_cached = tls(tls_address),
            tls_file = tls(tls_file_address),
            file_headers = headers.transpose()?.unwrap_or_default(),
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        let words = ["nginx", "-e", "stderr", "-p"].map(OsStr::new);
        let [program, e, stderr, p] = words;
        let command = command([program, e, stderr, p, folder.path().as_os_str(), OsStr::new("-c"), file.as_os_str()]);
        let server = Server::start_at(SERVER_CORE, &command, address)?;
        Ok(Self { server, file_address, tls_address, tls_file_address, log, _folder: folder })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Makes sure that each of so many requests has its line, where there is a log; then throws the lines away.
    pub(crate) fn check_log(&self, requests: u64) -> anyhow::Result<()> {
        let Some(log) = &self.log else { return Ok(()) };
        let lines = fs::read(log)?.iter().filter(|&&byte| byte == b'\n').count() as u64;
        ensure!(lines + LINES_IN_BUFFER >= requests, "nginx: {lines} access-log lines of {requests} requests");
        Ok(File::options().write(true).open(log)?.set_len(0)?)
    }
}

fn listen_tls(address: SocketAddr, cert: &Path, key: &Path) -> String {
    format!(
        "listen {address} ssl http2;
    http2_max_concurrent_streams 1000;
    http2_chunk_size 16k;
    ssl_certificate {};
    ssl_certificate_key {};
    ssl_protocols TLSv1.3;
    ssl_session_tickets on;
    ssl_session_cache shared:tls:10m;
    ssl_session_timeout 1h;",
        cert.display(),
        key.display()
    )
}

/// Lays the file down and says in nginx's words what headers it has. Type, length and date are nginx's own matter.
fn serve_file(folder: &Path, path: &str, answer: &Answer) -> anyhow::Result<String> {
    write(&folder.join("files").join(path.trim_start_matches('/')), &answer.body)?;
    let own = ["content-type", "content-length", "date", "last-modified", "accept-ranges", "connection", "server"];
    let others = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    Ok(others.map(|(name, value)| format!("add_header {name} '{value}';\n    ")).collect())
}

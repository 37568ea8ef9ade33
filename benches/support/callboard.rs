//! Callboard as it is deployed: the release binary, a configuration file, a folder of sites, a token that it verifies
//! with keys fetched over HTTP.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use callboard::auth::mint::{PluginClaims, SigningKey};
use callboard::clock::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Server, command, free_port, program};
use super::wire::Answer;
use super::wrk::Headers;

/// Where access-log lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    Off,
    File,
}

/// Callboard in a process of its own.
#[derive(Debug)]
pub(crate) struct Callboard {
    server: Server,
    admin: SocketAddr,
    key: SigningKey,
    token: String,
    access_log: AccessLog,
    log: PathBuf,
    /// Site, configuration and log.
    _folder: TempDir,
}

impl Callboard {
    /// A page of 20 KB.
    pub(crate) const PAGE: &'static str = "/api/techdocs/static/docs/default/component/bench/guide/index.html";
    const PAGE_FILE: &'static str = "default/component/bench/guide/index.html";
    const PAGE_BYTES: usize = 20 * 1024;
    /// Longer than any bench takes.
    const VALID_FOR: Duration = Duration::from_secs(24 * 3600);

    /// Starts it in front of a new folder with one page.
    pub(crate) fn start(access_log: AccessLog) -> anyhow::Result<Self> {
        Self::start_as(access_log, |_, _| Ok(()))
    }

    /// The same; `change` may add sites to that folder, and change the configuration.
    pub(crate) fn start_as(
        access_log: AccessLog,
        change: impl FnOnce(&Path, &mut Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let site = folder.path().join("site");
        write(&site.join(Self::PAGE_FILE), &page(Self::PAGE_BYTES))?;
        let key = SigningKey::generate()?;
        let backstage = publish(&key)?;
        let admin = free_port()?;
        let mut configuration = json!({
            "backend": { "baseUrl": format!("http://{backstage}") },
            "techdocs": {
                "publisher": { "type": "local", "local": { "publishDirectory": site } },
            },
            "callboard": {
                "listen": "127.0.0.1:0",
                "admin": { "listen": admin.to_string() },
                "cache": { "freshFor": "24h" },
                // Limited, so that it is measured, but never beyond the limit.
                "limits": { "requests": { "perSecond": 1_000_000, "burst": 1_000_000 } },
                "telemetry": { "accessLog": access_log == AccessLog::File, "log": { "format": "json" } },
            },
        });
        change(&site, &mut configuration)?;
        // JSON is YAML.
        let file = folder.path().join("app-config.yaml");
        write(&file, configuration.to_string().as_bytes())?;
        let log = folder.path().join("access.log");
        // Appended to, so that it can be cut while it is written.
        let stdout = OpenOptions::new().create(true).append(true).open(&log)?;
        let program = program();
        let command = command([program.as_os_str(), OsStr::new("--config"), file.as_os_str()]);
        Ok(Self {
            server: Server::start(&command, Stdio::from(stdout))?,
            admin,
            token: token(&key)?,
            key,
            access_log,
            log,
            _folder: folder,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// A token that it has seen once a request has shown it.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The key that its tokens are signed with.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The header that lets in.
    pub(crate) fn authorization(&self) -> (String, String) {
        ("Authorization".to_owned(), format!("Bearer {}", self.token))
    }

    /// A token that it has never seen.
    pub(crate) fn new_token(&self) -> anyhow::Result<String> {
        token(&self.key)
    }

    /// What its metrics whose names begin like this add up to.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let metrics = String::from_utf8(Answer::get(self.admin, "/metrics", &Headers::new())?.body)?;
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Makes sure that each of so many requests has its line in the access log, where there is one: lines that are
    /// dropped cost nothing. Then throws the lines away, which would fill the disk otherwise.
    pub(crate) fn check_log(&self, requests: u64) -> anyhow::Result<()> {
        let lines = fs::read(&self.log)?.iter().filter(|&&byte| byte == b'\n').count();
        let expected = if self.access_log == AccessLog::File { requests } else { 0 };
        ensure!(lines as u64 >= expected, "{lines} access-log lines of {requests} requests");
        Ok(File::options().write(true).open(&self.log)?.set_len(0)?)
    }
}

/// A plugin's token; no two are alike, since a signature is made with a random number.
fn token(key: &SigningKey) -> anyhow::Result<String> {
    let now = Clock::System.now();
    let exp = now.plus(Callboard::VALID_FOR);
    Ok(key.plugin_token(&PluginClaims { sub: "techdocs", aud: "callboard", iat: now, exp })?)
}

/// Stands for the Backstage that publishes `key`, as long as this process lives.
pub(crate) fn publish(key: &SigningKey) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let keys = key.public_jwks().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{keys}",
                keys.len()
            );
        }
    });
    Ok(address)
}

/// A page of exactly so many bytes.
fn page(bytes: usize) -> Vec<u8> {
    let mut page = b"<!doctype html><title>Guide</title>".to_vec();
    let paragraph = b"\n<p>Services answer for what they own; documents say who owns what, and since when.</p>";
    page.extend(paragraph.iter().cycle().take(bytes.saturating_sub(page.len())));
    page
}

/// Writes a file, and the folders that it is in.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes).with_context(|| format!("can't write {}", path.display()))
}

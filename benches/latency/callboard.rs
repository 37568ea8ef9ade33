//! Callboard in front of the origin, with or without Redis, and tokens for it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use callboard::auth::mint::{PluginClaims, SigningKey};
use callboard::clock::Clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::origin::{BUCKET, Origin};
use crate::support::callboard::publish;
use crate::support::process::{Server, command, program};

/// Where sites are served.
pub(crate) const SITES: &str = "/api/techdocs/static/docs";

/// Longer than any bench takes.
const VALID_FOR: Duration = Duration::from_secs(24 * 3600);

/// Callboard in a process of its own.
#[derive(Debug)]
pub(crate) struct Callboard {
    server: Server,
    key: SigningKey,
    /// The token that most requests show.
    token: String,
    _folder: TempDir,
}

impl Callboard {
    /// Starts it; `cache` is its configuration's section of that name.
    pub(crate) fn start(origin: &Origin, cache: &Value) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let key = SigningKey::generate()?;
        let configuration = json!({
            "backend": { "baseUrl": format!("http://{}", publish(&key)?) },
            "techdocs": { "publisher": {
                "type": "awsS3",
                "awsS3": {
                    "bucketName": BUCKET,
                    "region": "eu-central-1",
                    "endpoint": origin.endpoint(),
                    "s3ForcePathStyle": true,
                    "credentials": { "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY },
                },
            } },
            "callboard": {
                "listen": "127.0.0.1:0",
                "admin": { "listen": "127.0.0.1:0" },
                "cache": cache,
                "storage": { "requireReadOnly": "off" },
                // Limited, so that it is measured, but never beyond the limit.
                "limits": { "requests": { "perSecond": 1_000_000, "burst": 1_000_000 } },
                "telemetry": { "accessLog": false, "log": { "format": "json" } },
            },
        });
        let file = folder.path().join("app-config.yaml");
        // JSON is YAML.
        std::fs::write(&file, configuration.to_string())?;
        let program = program();
        let command = command([program.as_os_str(), OsStr::new("--config"), file.as_os_str()]);
        let server = Server::start(&command, Stdio::null())?;
        eprintln!("callboard is process {}", server.pid());
        let token = token(&key)?;
        Ok(Self { server, key, token, _folder: folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// A request for a file of a site, with the token that everybody shows.
    pub(crate) fn request(&self, key: &str) -> Arc<[u8]> {
        request(SITES, key, Some(&self.token))
    }

    /// A request with a token that nobody has shown before.
    pub(crate) fn request_of_newcomer(&self, key: &str) -> anyhow::Result<Arc<[u8]>> {
        Ok(request(SITES, key, Some(&token(&self.key)?)))
    }

    /// The header that lets in.
    pub(crate) fn authorization(&self) -> (String, String) {
        ("Authorization".to_owned(), format!("Bearer {}", self.token))
    }
}

/// What the origin is asked with; it looks at neither.
pub(crate) const ACCESS_KEY: &str = "reader";
pub(crate) const SECRET_KEY: &str = "of-the-bench";

/// A request for a file below `root`.
pub(crate) fn request(root: &str, key: &str, token: Option<&str>) -> Arc<[u8]> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!("GET {root}/{key} HTTP/1.1\r\nHost: docs.example.com\r\n{authorization}\r\n").into_bytes().into()
}

/// Signatures are never the same twice, so neither are tokens.
fn token(key: &SigningKey) -> anyhow::Result<String> {
    let now = Clock::System.now();
    Ok(key.plugin_token(&PluginClaims { sub: "techdocs", aud: "callboard", iat: now, exp: now.plus(VALID_FOR) })?)
}

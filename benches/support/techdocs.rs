//! techdocs-backend inside a real Backstage, in each of the ways in which it can come by its files.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::json::merge;
use super::process::{LOAD_CORE, Server, command, free_port, program};
use super::redis::tools;
use super::s3::publisher;

/// Where techdocs-backend serves the files of all sites.
pub(crate) const SITES: &str = "/api/techdocs/static/docs";

/// Where techdocs-backend has its files from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From S3, each time.
    S3,
    /// From its own cache, in its memory.
    Memory,
    /// From its own cache, in Redis.
    Redis,
    /// From Callboard.
    Callboard,
}

impl Source {
    pub(crate) const ALL: [Self; 4] = [Self::S3, Self::Memory, Self::Redis, Self::Callboard];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "(a) awsS3",
            Self::Memory => "(b) its cache, memory",
            Self::Redis => "(c) its cache, Redis",
            Self::Callboard => "(d) Callboard",
        })
    }
}

/// A Backstage backend in a process of its own, with whatever else it needs.
#[derive(Debug)]
pub(crate) struct TechDocs {
    pub(crate) source: Source,
    pub(crate) server: Server,
    /// A guest's, who may read.
    pub(crate) token: String,
    _callboard: Option<Server>,
    _folder: TempDir,
}

/// What stands behind all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Where S3 is.
    pub(crate) s3: &'a str,
    /// Where Redis is.
    pub(crate) redis: SocketAddr,
    /// Keys that are added to Backstage's configuration.
    pub(crate) more: &'a Value,
}

impl TechDocs {
    /// Starts a backend on the servers' core, and a Callboard for it on the other where it is to have one.
    pub(crate) async fn start(source: Source, around: Surroundings<'_>) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        // Each of the two has the other's address in its configuration, so one is known before anything listens there.
        let backstage = free_port()?;
        let base_url = format!("http://{backstage}");
        let mut configuration = json!({
            "backend": {
                "baseUrl": base_url,
                "listen": { "host": "127.0.0.1", "port": backstage.port() },
                "cache": cache(source, around.redis),
            },
            "techdocs": { "builder": "external", "publisher": publisher(around.s3) },
        });
        if matches!(source, Source::Memory | Source::Redis) {
            merge(&mut configuration, &json!({ "techdocs": { "cache": { "ttl": 24 * 3_600_000_u64 } } }));
        }
        merge(&mut configuration, around.more);
        let callboard = if source == Source::Callboard {
            let callboard = callboard(folder.path(), &base_url, around.s3)?;
            let section = json!({ "baseUrl": format!("http://{}", callboard.address) });
            merge(&mut configuration, &json!({ "techdocs": { "callboard": section } }));
            Some(callboard)
        } else {
            None
        };
        let file = folder.path().join("app-config.yaml");
        // JSON is YAML.
        std::fs::write(&file, configuration.to_string())?;
        let server = Server::start(&node("techdocs.mjs", &file), Stdio::null())?;
        eprintln!("{source} is process {}", server.pid());
        Ok(Self { source, token: sign_in(server.address).await?, server, _callboard: callboard, _folder: folder })
    }
}

async fn sign_in(backstage: SocketAddr) -> anyhow::Result<String> {
    let url = format!("http://{backstage}/api/auth/guest/refresh");
    let answer = reqwest::Client::new().get(url).header("X-Requested-With", "XMLHttpRequest").send().await?;
    let told: Value = answer.error_for_status()?.json().await?;
    let token = told.pointer("/backstageIdentity/token").and_then(Value::as_str);
    Ok(token.context("signing in gives no token")?.to_owned())
}

/// A folder laid out as a bucket is, with the 200-page site of the tests as `default/component/large` and again
/// as `large-br`.
pub(crate) fn bucket() -> anyhow::Result<TempDir> {
    let sites = std::fs::read_dir(tools().join("sites")).context("run tests/setup.sh and the tests first")?;
    let built = sites.flatten().map(|entry| entry.path().join("large")).find(|site| site.is_dir());
    let built = built.context("run the tests first, which build the site")?;
    let folder = TempDir::new()?;
    let place = folder.path().join("default/component");
    std::fs::create_dir_all(&place)?;
    for name in ["large", "large-br"] {
        std::os::unix::fs::symlink(&built, place.join(name))?;
    }
    Ok(folder)
}

/// A command that runs a program of `tests/backstage`, which tells its address on standard output rather than on the other.
fn node(program: &str, configuration: &Path) -> Vec<OsString> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backstage").join(program);
    let script = "PATH=\"$PATH:$0\" exec node \"$1\" --config \"$2\" >&2";
    let path = tools().join("venv/bin");
    command([
        OsStr::new("sh"),
        OsStr::new("-c"),
        OsStr::new(script),
        path.as_os_str(),
        program.as_os_str(),
        configuration.as_os_str(),
    ])
}

fn callboard(folder: &Path, backstage: &str, s3: &str) -> anyhow::Result<Server> {
    let configuration = json!({
        "backend": { "baseUrl": backstage },
        "techdocs": { "publisher": publisher(s3) },
        "callboard": {
            "listen": "127.0.0.1:0",
            "admin": { "listen": "127.0.0.1:0" },
            "limits": { "requests": { "enabled": false } },
            "storage": { "requireReadOnly": "off" },
            "telemetry": { "accessLog": false, "log": { "format": "json" } },
        },
    });
    let file = folder.join("callboard.yaml");
    std::fs::write(&file, configuration.to_string())?;
    let program = program();
    Server::start_on(
        LOAD_CORE,
        &command([program.as_os_str(), OsStr::new("--config"), file.as_os_str()]),
        Stdio::null(),
    )
}

fn cache(source: Source, redis: SocketAddr) -> Value {
    if source == Source::Redis {
        json!({ "store": "redis", "connection": format!("redis://{redis}") })
    } else {
        json!({ "store": "memory" })
    }
}

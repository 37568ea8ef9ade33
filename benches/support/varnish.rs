//! Debian's Varnish in front of an origin, its storage in memory.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::process::{SERVER_CORE, Server, free_port};

/// Varnish in processes of its own.
#[derive(Debug)]
pub(crate) struct Varnish {
    server: Server,
    _folder: TempDir,
}

impl Varnish {
    /// Starts it in front of `origin`. It looks at no token, and keeps whatever it gets for a day.
    pub(crate) fn start(origin: SocketAddr) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let address = free_port()?;
        let vcl = folder.path().join("default.vcl");
        fs::write(
            &vcl,
            format!(
                r#"vcl 4.1;
backend default {{ .host = "{}"; .port = "{}"; }}
sub vcl_recv {{ return (hash); }}
sub vcl_backend_response {{ set beresp.ttl = 24h; return (deliver); }}
"#,
                origin.ip(),
                origin.port()
            ),
        )?;
        // `-j none` keeps the user that the bench has, since others can't read its folder.
        let (name, listen) = (folder.path().join("varnish"), address.to_string());
        let words =
            ["varnishd", "-F", "-j", "none", "-s", "malloc,256m", "-p", "timeout_idle=3600", "-a"].map(OsStr::new);
        let place = [OsStr::new(&listen), OsStr::new("-f"), vcl.as_os_str(), OsStr::new("-n"), name.as_os_str()];
        let command: Vec<_> = words.into_iter().chain(place).map(OsStr::to_owned).collect();
        Ok(Self { server: Server::start_at(SERVER_CORE, &command, address)?, _folder: folder })
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

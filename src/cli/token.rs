//! `callboard token`: a key and a token for local trials, and a stand-in for the Backstage that would publish the key.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{output, runtime};
use crate::auth::mint::{PluginClaims, SigningKey};
use crate::clock::Clock;
use crate::config::parse_duration;
use crate::limit::Address;
use crate::pipeline::Body;
use crate::server::{Handler, Limits, Listener, Stop};
use crate::telemetry::{Instruments, ListenerName};

const EXAMPLES: &str = "\
Example: try Callboard without a Backstage.
  1. In app-config.yaml:   backend: { baseUrl: 'http://127.0.0.1:7007' }
  2. Publish the key:      callboard token --key trial.pem --serve 127.0.0.1:7007 &
  3. Ask with a token:     curl -H \"Authorization: Bearer $(callboard token --key trial.pem)\" \\
                             http://127.0.0.1:7008/static/docs/default/component/my-site/index.html";

/// What token to make.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The calling plugin, the token's `sub`.
    #[arg(long, default_value = "techdocs")]
    subject: String,
    /// The plugin that is called, the token's `aud`.
    #[arg(long, default_value = "callboard")]
    audience: String,
    /// How long the token is good, such as 1h or PT30M.
    #[arg(long, default_value = "1h", value_parser = duration)]
    valid_for: Duration,
    /// The private key, PKCS#8 in PEM form; made if the file does not exist. Without it, a key that is used once.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Publish the key on this address as the plugin of a Backstage would, until interrupted, instead of making a
    /// token.
    #[arg(long, value_name = "ADDRESS", requires = "key")]
    serve: Option<SocketAddr>,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let key = match &arguments.key {
        Some(path) => key_in(path)?,
        None => SigningKey::generate()?,
    };
    if let Some(address) = arguments.serve {
        return runtime()?.block_on(publish(&key, address));
    }
    let now = Clock::System.now();
    let token = key.plugin_token(&PluginClaims {
        sub: &arguments.subject,
        aud: &arguments.audience,
        iat: now,
        exp: now.plus(arguments.valid_for),
    })?;
    output::line(&token)?;
    if arguments.key.is_none() {
        eprintln!("The key that signed it is gone; this is its public half, as a plugin would publish it:");
        eprintln!("{}", key.public_jwks());
    }
    Ok(ExitCode::SUCCESS)
}

/// The key in a file, which is made where there is none.
fn key_in(path: &Path) -> anyhow::Result<SigningKey> {
    match std::fs::read_to_string(path) {
        Ok(pem) => SigningKey::from_pem(&pem).with_context(|| format!("{} holds no usable key", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = SigningKey::generate()?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("can't write {}", path.display()))?;
            file.write_all(key.to_pem().expose())?;
            eprintln!("Made a key in {}", path.display());
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

async fn publish(key: &SigningKey, address: SocketAddr) -> anyhow::Result<ExitCode> {
    if !address.ip().is_loopback() {
        bail!("a trial key is published on a loopback address only, such as 127.0.0.1:7007");
    }
    // Nobody looks at what is counted here.
    let instruments = Arc::new(Instruments::new()?);
    let listener = Listener::bind(address, trial_limits(), ListenerName::Main, instruments)
        .with_context(|| format!("can't listen on {address}"))?;
    let address = listener.address()?;
    eprintln!("Publishing the key at http://{address}/api/{{plugin}}/.backstage/auth/v1/jwks.json until interrupted");
    let (stop, stopped) = Stop::channel();
    let keys = Arc::new(Keys { document: key.public_jwks().to_string() });
    let serving = tokio::spawn(listener.serve(keys, stopped));
    tokio::signal::ctrl_c().await?;
    stop.close(tokio::time::Instant::now() + Duration::from_secs(1));
    serving.await?;
    Ok(ExitCode::SUCCESS)
}

/// Answers as every plugin's key endpoint.
struct Keys {
    document: String,
}

impl Handler for Keys {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _client: Address) -> Response<Body> {
        let path = request.uri().path();
        if !(path.starts_with("/api/") && path.ends_with("/.backstage/auth/v1/jwks.json")) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let mut response = Response::new(Body::whole(self.document.clone().into()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

fn trial_limits() -> Limits {
    Limits {
        max_connections: 100,
        max_connections_per_address: 100,
        header_read_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(10),
        max_header_bytes: 16 * 1024,
        max_headers: 100,
        max_h2_streams: 10,
        max_h2_pending_resets: 20,
        max_h2_error_resets: 100,
        max_h2_send_buffer_bytes: 64 * 1024,
    }
}

//! How commands reach a Callboard that runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, bail};
use reqwest::Response;
use serde::Deserialize;
use url::Url;

use super::ConfigFiles;
use crate::docs::EntityRef;

/// Where the admin listener is by default.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7009);

/// As much of an error's form on the wire as people read.
#[derive(Deserialize)]
struct ErrorDocument {
    error: ErrorPart,
}

#[derive(Deserialize)]
struct ErrorPart {
    message: String,
}

/// The admin listener's URL: at `address`, or where the configuration says.
///
/// What is wrong with the files by now is no word on the program that runs: it has read them when it started.
pub(super) fn admin(files: ConfigFiles, address: Option<SocketAddr>) -> anyhow::Result<Url> {
    let configured = || files.read().map_or(DEFAULT_ADMIN, |configuration| configuration.resolved.server.admin_listen);
    Ok(format!("http://{}", reachable(address.unwrap_or_else(configured))).parse()?)
}

/// Where a listener on all addresses can be reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The URL of an operation on these entities.
pub(super) fn operation(base: &Url, path: &str, entities: &[EntityRef]) -> anyhow::Result<Url> {
    let mut url: Url = format!("{}{path}", base.as_str().trim_end_matches('/')).parse()?;
    for entity in entities {
        url.query_pairs_mut().append_pair("entity", &entity.to_string());
    }
    Ok(url)
}

/// The answer, where it is a good one; else what it says.
pub(super) async fn done(request: reqwest::RequestBuilder, base: &Url) -> anyhow::Result<Response> {
    let response =
        request.send().await.with_context(|| format!("{base} does not answer: does Callboard run there?"))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let told = response.json().await.map(|ErrorDocument { error }| error.message);
    bail!("{base} answers {status}: {}", told.unwrap_or_else(|_| "it may be no Callboard, or an older one".to_owned()))
}

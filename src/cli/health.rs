//! `callboard health`: asks a running Callboard on this machine how it is, for container health checks: the image holds
//! no other program that could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::{ConfigFiles, EXIT_FAILURE, output, runtime};
use crate::pipeline::{LIVENESS, READINESS};

/// Whoever does not answer within this time is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask whether it is ready for requests rather than whether it lives.
    #[arg(long)]
    ready: bool,
    /// The admin listener's address, where the configuration is not to be asked for it.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
}

/// Where the admin listener is by default.
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7009);

pub(super) fn run(files: ConfigFiles, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    // What is wrong with the files by now is no word on the program that runs: it has read them when it started.
    let configured = || files.read().map_or(DEFAULT_ADMIN, |configuration| configuration.resolved.server.admin_listen);
    let admin = reachable(arguments.address.unwrap_or_else(configured));
    let path = if arguments.ready { READINESS } else { LIVENESS };
    let url = format!("http://{admin}{path}");
    let (is_well, told) = runtime()?.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let response = client.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
        anyhow::Ok((response.status().is_success(), response.text().await?))
    })?;
    output::line(&told)?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
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

//! `callboard health`: asks a running Callboard on this machine how it is, for container health checks: the image holds
//! no other program that could.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::{ConfigFiles, EXIT_FAILURE, output, running, runtime};
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

pub(super) fn run(files: ConfigFiles, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = if arguments.ready { READINESS } else { LIVENESS };
    let url = running::admin(files, arguments.address)?.join(path)?;
    let (is_well, told) = runtime()?.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let response = client.get(url.clone()).send().await.with_context(|| format!("{url} does not answer"))?;
        anyhow::Ok((response.status().is_success(), response.text().await?))
    })?;
    output::line(&told)?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

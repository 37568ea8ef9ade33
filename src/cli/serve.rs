//! `callboard serve`.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFiles, EXIT_FAILURE, output, runtime};
use crate::app::{self, App, Running};
use crate::clock::Clock;
use crate::config::Configuration;
use crate::sample;
use crate::storage::StoreOptions;
use crate::telemetry::Telemetry;

pub(super) fn run(files: ConfigFiles) -> anyhow::Result<ExitCode> {
    let Configuration { mut resolved, warnings, .. } = files.read()?;
    let runtime = runtime()?;
    let trust = app::trust(&resolved.trust)?;
    // What is sent over OTLP is sent by this runtime, the log's records included.
    let telemetry = {
        let _entered = runtime.enter();
        Telemetry::start(&resolved.telemetry, &trust)?
    };
    let log = telemetry.init_log(&resolved.telemetry)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let clock = Clock::System;
    let is_sample = resolved.storage.origins.iter().all(|origin| matches!(origin.store, StoreOptions::Sample));
    let token = is_sample.then(|| sample::trust_throw_away_key(&mut resolved.auth, &clock)).transpose()?;
    let done = runtime.block_on(async {
        let mut app = App::with_telemetry(resolved, clock, &trust, telemetry)?;
        app.prove_read_only().await?;
        let running = app.start().context("could not start")?;
        if let Some(token) = token {
            greet(&running, &token)?;
        }
        until_told_to_stop(running).await
    });
    // Whatever runs now was to end at once, and has been told once already.
    runtime.shutdown_background();
    drop(log);
    done
}

async fn until_told_to_stop(running: Running) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Not told before: who reads it may ask for the end at once.
    tracing::info!(address = %running.address, admin = %running.admin_address, "serving");
    // Nobody who presses Ctrl-C has a load balancer that must hear of it first.
    let is_awaited = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => false,
    };
    tracing::info!("stopping: requests in flight may finish");
    // A task of its own: dropping it, as for whoever asks twice, would wait for telemetry to be sent.
    let stopping =
        tokio::spawn(async move { if is_awaited { running.stop().await } else { running.stop_without_delay().await } });
    tokio::select! {
        broken_off = stopping => {
            let broken_off = broken_off?;
            tracing::info!(broken_off, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        // Asked again: whoever asks twice means at once.
        _ = terminate.recv() => Ok(ExitCode::from(EXIT_FAILURE)),
        _ = interrupt.recv() => Ok(ExitCode::from(EXIT_FAILURE)),
    }
}

/// Tells what can be tried with the sample site.
fn greet(running: &Running, token: &str) -> anyhow::Result<()> {
    let address = running.address;
    let admin = running.admin_address;
    let entity = sample::ENTITY;
    output::line(&format!(
        "\
Callboard serves a sample site on http://{address}: no configuration file was found, and none is needed to try it.

Read a page (the token is a real Backstage plugin token, signed with a key that ends with this process):

  curl -i -H 'Authorization: Bearer {token}' \\
    http://{address}/api/techdocs/static/docs/{entity}/index.html

Then the same again with -H 'If-None-Match: …' and the ETag that you got, or without the token, or with another path.
Metrics: curl http://{admin}/metrics
Your own sites: callboard --config app-config.yaml. More: callboard --help
"
    ))
}

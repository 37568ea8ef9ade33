//! Row 8: thousands of connections on which nothing happens.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::json;

use super::callboard::{AccessLog, Callboard};
use super::client::{self, Job, Lasting, request};
use super::contest::{Rounds, settled};
use super::json::merge;
use super::memory::resident;
use super::nginx::{self, Nginx};
use super::pace::{Outcome, Stream, Tokens};
use super::peers::origin;
use super::process::Server;
use super::report::{Line, Unit};
use super::wire::Answer;

const IDLE: usize = 10_000;
const ACTIVE: usize = 1000;
/// Requests a second over all active connections.
const RATE: u64 = 4000;

/// Figures of the rounds.
#[derive(Debug, Default)]
struct Figures {
    p99_with: Vec<f64>,
    p99_without: Vec<f64>,
    cpu_with: Vec<f64>,
    cpu_without: Vec<f64>,
    /// Growth of memory for each idle connection, in KiB; that of the first round.
    memory: f64,
}

/// Memory of an idle connection; latency and CPU time of the active ones with and without them.
pub(crate) fn connections(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    eprintln!("{row}");
    let callboard = Callboard::start_as(AccessLog::Off, |_, configuration| {
        let limits = json!({ "maxConnections": 100_000, "maxConnectionsPerAddress": 100_000, "idleTimeout": "1h" });
        merge(configuration, &json!({ "callboard": { "limits": limits } }));
        Ok(())
    })?;
    let headers = vec![callboard.authorization()];
    Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let answer = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let origin = origin(&answer)?;
    let nginx = Nginx::start(origin.address(), &nginx::Options::default())?;
    Answer::get(nginx.server().address, Callboard::PAGE, &headers)?;
    let ours = measure("Callboard", callboard.server(), callboard.token(), rounds)?;
    let theirs = measure("nginx proxy_cache", nginx.server(), callboard.token(), Rounds { count: 1, ..rounds })?;
    let without = "itself without them";
    Ok(vec![
        Line::of(row, "nginx proxy_cache, of memory each", Unit::Kibibytes, vec![ours.memory], vec![theirs.memory]),
        Line::of(row, without, Unit::Millis, ours.p99_with, ours.p99_without).goal(Some(1.5)),
        Line::of(row, without, Unit::Micros, ours.cpu_with, ours.cpu_without),
    ])
}

fn measure(name: &str, server: &Server, token: &str, rounds: Rounds) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    active(server, token, rounds.seconds)?;
    for count in 1..=rounds.count {
        let (p99_without, cpu_without) = active(server, token, rounds.seconds)?;
        let before = resident(server)?;
        let idle = Lasting::start(&idle(server.address, token))?;
        if count == 1 {
            figures.memory = resident(server)?.saturating_sub(before) as f64 / 1024.0 / IDLE as f64;
            eprintln!("  {name}: {:.2} KiB for each idle connection", figures.memory);
        }
        let (p99_with, cpu_with) = active(server, token, rounds.seconds)?;
        drop(idle);
        eprintln!(
            "  {count}: {name}, with and without: p99 {p99_with:.3} and {p99_without:.3} ms, CPU {cpu_with:.2} and {cpu_without:.2} µs"
        );
        figures.p99_with.push(p99_with);
        figures.p99_without.push(p99_without);
        figures.cpu_with.push(cpu_with);
        figures.cpu_without.push(cpu_without);
    }
    Ok(figures)
}

fn idle(address: SocketAddr, token: &str) -> Job {
    Job::Idle { address, request: request(Callboard::PAGE, token, &[]), connections: IDLE }
}

/// The 99th percentile in milliseconds, and the CPU time per request, of requests on the active connections.
fn active(server: &Server, token: &str, seconds: u64) -> anyhow::Result<(f64, f64)> {
    let stream = Stream {
        address: server.address,
        path: Callboard::PAGE.to_owned(),
        tokens: Tokens::One(token.to_owned()),
        connections: ACTIVE,
        rate: RATE,
    };
    let job = Job::Paced { streams: vec![stream], seconds };
    let mut p99 = f64::NAN;
    let micros = settled(server, || {
        let outcomes: Vec<Outcome> = client::run(&job)?;
        let outcome = outcomes.first().context("nothing came of it")?;
        p99 = outcome.p99;
        Ok(outcome.requests)
    })?;
    Ok((p99, micros))
}

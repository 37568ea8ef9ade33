//! How long readers wait: latency at a fixed rate, in good times and in bad, and what a tier adds to what it asks.
//!
//! ```text
//! apt-get install -y nginx varnish redis-server     for the rows that have them beside Callboard
//! cargo bench --bench latency                       all of it, about five minutes
//! cargo bench --bench latency -- hot                the scenarios whose names hold "hot"
//! cargo bench --bench latency -- --svg              and the plot, docs/benchmarks/latency.svg
//! ```
//!
//! How it measures:
//!
//! 1. The load is open-loop (`support/openloop.rs`): requests have their times beforehand, as a Poisson process has them, and
//!    a latency counts from then, so nothing is left out while a server is slow. How late requests were sent is in the
//!    table as the lag; it is part of the latency.
//! 2. Servers run on core 0; the load, the origin and Redis share core 1. Everything is on loopback. What the load itself
//!    and two hops of the kernel cost shows in the rows of bare hyper, which sends a prepared answer in the same minute.
//! 3. Callboard is the release binary, its storage an S3 that makes its objects up (`origin.rs`) and counts what it is asked for.
//!    nginx (`proxy_cache`) and Varnish are given the same origin and the same load; they check no token.
//! 4. What a tier adds (`tiers.rs`) is measured without load, one request at a time: Callboard and a bare client that asks for
//!    the same bytes take turns, round after round, and the bare client runs where Callboard does.

mod callboard;
mod neighbours;
#[path = "../support/openloop.rs"]
mod openloop;
#[path = "../support/openloop_histogram.rs"]
mod openloop_histogram;
mod origin;
mod report;
mod scenarios;
mod sites;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "what other benches need of it")]
mod support;
mod svg;
mod tiers;
mod trouble;

use std::fs;
use std::path::Path;

use clap::Parser;

use report::Report;
use support::{bare_hyper, process};

/// Measures latencies at fixed rates.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only what is called so: hot, cold, mixed, stampede, redis-get, storage-get, streaming, redis-down, storage-slow.
    filter: Option<String>,
    /// How long each server of a scenario is loaded.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// How often each takes its turn where turns are taken.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Writes the plot.
    #[arg(long)]
    svg: bool,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

type Measure = fn(&Arguments, &mut Report) -> anyhow::Result<()>;

/// All there is, in this order.
const ALL: [(&str, Measure); 9] = [
    ("hot", scenarios::hot),
    ("cold", scenarios::cold),
    ("mixed", scenarios::mixed),
    ("stampede", scenarios::stampede),
    ("redis-down", trouble::redis_down),
    ("storage-slow", trouble::storage_slow),
    ("redis-get", tiers::redis_get),
    ("storage-get", tiers::storage_get),
    ("streaming", tiers::streaming),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == bare_hyper::ROLE => bare_hyper::serve(arguments.next().unwrap_or_default()),
        Some(role) if role == origin::ROLE => origin::serve(),
        _ => measure(&Arguments::parse()),
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing measured: run it with `cargo bench --bench latency`.");
        return Ok(());
    }
    let mut report = Report::default();
    for (name, measure) in ALL {
        if arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            measure(arguments, &mut report)?;
        }
    }
    println!("\n{}", report.tables());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(root.join("target"))?;
    fs::write(root.join("target/latency.json"), report.json())?;
    if arguments.svg {
        fs::create_dir_all(root.join("docs/benchmarks"))?;
        fs::write(root.join("docs/benchmarks/latency.svg"), svg::plot(&report))?;
    }
    Ok(())
}

//! How near to the limit: what Callboard costs against bare hyper, nginx and Varnish.
//!
//! ```text
//! benches/run.sh                                    installs what is needed, then all rows, about ten minutes
//! cargo bench --bench limit -- 1 304                the rows with this number, or whose names hold this
//! cargo bench --bench limit -- --rounds 9 --seconds 5
//! cargo bench --bench limit -- none --svg docs/benchmarks/cpu.svg      draws what was measured last
//! ```
//!
//! How it measures:
//!
//! 1. Servers run on core 0 and the load generators on core 1; everything is on loopback. With a single core nothing is
//!    pinned, and the table says so. Whatever is started ends with the bench.
//! 2. Callboard is the release binary, with a configuration file, a folder as its publisher, metrics on, and an ES256
//!    plugin token whose key it fetches from this process.
//! 3. Bare hyper is this program again (`support/bare_hyper.rs`): it sends a copy of the answer that Callboard gave,
//!    header by header and byte by byte. nginx and Varnish are Debian's, with configurations of their own; their origin sends
//!    that same answer, so that they send its headers, too. Neither looks at the token.
//! 4. After a warm-up all are loaded in turn, round after round. A round's figure is the CPU time that all threads of
//!    the server and its children have used meanwhile, divided by the requests that were answered.
//! 5. Before the rounds and after each load it is looked at whether the answer is what it must be: status, length, a hit. The
//!    mean length of all answers of a load must be that answer's.
//! 6. Figures are medians over the rounds; a ratio is that of two loads of the same round, so that what slows down
//!    the machine for a while slows down both.
//!
//! All that was measured is kept in `target/limit.json`, where each row stays until it is measured again.

#[path = "../support/bare_hyper.rs"]
mod bare_hyper;
#[path = "../support/callboard.rs"]
mod callboard;
mod client;
mod contest;
mod entries;
mod h2;
#[path = "../support/h2load.rs"]
mod h2load;
mod hits;
mod idle;
#[path = "../support/json.rs"]
mod json;
mod large;
mod memory;
#[path = "../support/nginx.rs"]
mod nginx;
mod pace;
mod peers;
#[path = "../support/process.rs"]
mod process;
mod report;
mod resume;
#[path = "../support/s3.rs"]
mod s3;
mod slow;
#[path = "../support/stats.rs"]
mod stats;
mod svg;
mod tokens;
#[path = "../support/varnish.rs"]
mod varnish;
#[path = "../support/wire.rs"]
mod wire;
#[path = "../support/wrk.rs"]
mod wrk;

use std::path::PathBuf;

use clap::Parser;

use contest::Rounds;
use report::{Line, Report};

/// Measures what Callboard costs against its peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the rows with these numbers, or whose names hold one of these.
    filters: Vec<String>,
    /// How often each server is loaded, in turn with the others.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each time.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Draws the CPU time of all rows into this file, those of earlier runs included.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A row's name, which begins with its number, and what measures it.
type Row = (&'static str, fn(&'static str, Rounds) -> anyhow::Result<Vec<Line>>);

const ROWS: [Row; 14] = [
    ("1 hit, 20 KB page", hits::page),
    ("2 hit, 20 KB page, JSON access log", hits::logged),
    ("3 304 on If-None-Match", hits::not_modified),
    ("4 JSON of 1 MB, identity", large::identity),
    ("4 JSON of 1 MB, gzip", large::gzip),
    ("4 JSON of 1 MB, br", large::br),
    ("4 JSON of 1 MB, zstd", large::zstd),
    ("7 first use of 10,000 tokens, beyond a hit", tokens::first_use),
    ("7 hits beside 2000 new tokens a second", tokens::others),
    ("8 1000 connections beside 10,000 idle ones", idle::connections),
    ("9 hit among 1,000,000 entries", entries::growth),
    ("10 HTTP/2 over TLS 1.3, 100 streams", h2::streams),
    ("10 TLS 1.3 session resumed, one 304", h2::resumed),
    ("11 50 MB to 100 slow readers, memory each", slow::readers),
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == bare_hyper::ROLE => bare_hyper::serve(arguments.next().unwrap_or_default()),
        Some(role) if role == client::ROLE => client::serve(arguments.next().unwrap_or_default()),
        Some(role) if role == s3::ROLE => s3::serve(arguments),
        Some(role) if role == tokens::ROLE => tokens::verify(arguments.collect()),
        _ => measure(&Arguments::parse()),
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing measured: run it with `cargo bench --bench limit`.");
        return Ok(());
    }
    let rounds = Rounds { count: arguments.rounds.max(1), seconds: arguments.seconds.max(1) };
    let filters = &arguments.filters;
    let is_wanted = |name: &str, filter: &String| match filter.parse::<u32>() {
        Ok(number @ 1..=11) => report::number(name) == number,
        _ => name.contains(filter.as_str()),
    };
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| is_wanted(name, filter));
    let mut report = Report::open();
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    for (name, row) in ROWS.into_iter().filter(|(name, _)| wanted(name)) {
        // A row that is not what it says it is costs nobody the others.
        match row(name, rounds) {
            Ok(lines) => {
                report.put(&lines)?;
                measured.extend(lines);
            }
            Err(error) => {
                eprintln!("{name} was not measured: {error:#}");
                failed.push(name);
            }
        }
    }
    if let Some(file) = &arguments.svg {
        std::fs::write(file, svg::draw(&report.lines))?;
    }
    let cores = if process::is_pinned() { "a core each for server and load" } else { "NOTHING PINNED: one core" };
    println!("\nMedians of {} rounds of {} s, {cores}.\n\n{}", rounds.count, rounds.seconds, report::table(&measured));
    anyhow::ensure!(failed.is_empty(), "not measured: {}", failed.join("; "));
    Ok(())
}

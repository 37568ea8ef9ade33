//! What a page costs: CPU time of the server per request, Callboard against bare hyper sending the same answer.
//!
//! ```text
//! cargo bench --bench page                          all rows, about three minutes
//! cargo bench --bench page -- 304                   the rows whose names hold "304"
//! cargo bench --bench page -- --rounds 9 --seconds 5
//! ```
//!
//! How it measures:
//!
//! 1. The server runs on core 0 and the load generator, `wrk` with 32 keep-alive connections, on core 1; everything is
//!    on loopback. With a single core nothing is pinned, and the table says so.
//! 2. Callboard is the release binary, with a configuration file, a folder as its publisher, metrics on, and an ES256
//!    plugin token whose key it fetches from this process.
//! 3. Bare hyper is this program again (`support/bare_hyper.rs`): it sends a copy of the answer that Callboard gave,
//!    header by header and byte by byte; that both agree is looked at before anything is measured.
//! 4. After a warm-up both are loaded in turn, round after round. A round's figure is the CPU time that all threads of
//!    the server have used meanwhile, divided by the requests that `wrk` has counted.
//! 5. Figures are medians over the rounds; the ratio is that of the two halves of each round, so that what slows down
//!    the machine for a while slows down both.

mod support;

use clap::Parser;

use support::bare_hyper::{self, BareHyper};
use support::callboard::{AccessLog, Callboard};
use support::compare::{Contender, Rounds, Row};
use support::process;
use support::wire::Answer;
use support::wrk::Wrk;

/// Measures the CPU time per request of a cached page and of a 304.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only rows whose names hold this.
    filter: Option<String>,
    /// How often each server is loaded, in turn with the other.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long each time.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == bare_hyper::ROLE => bare_hyper::serve(arguments.next().unwrap_or_default()),
        _ => measure(&Arguments::parse()),
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing measured: run it with `cargo bench --bench page`.");
        return Ok(());
    }
    let wrk = Wrk::find(arguments.seconds)?;
    let rounds = Rounds::new(arguments.rounds, wrk);
    let wanted = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let mut rows = Vec::new();
    for (name, access_log, revalidates) in [
        ("20 KB page, access log off", AccessLog::Off, false),
        ("20 KB page, JSON access log to a file", AccessLog::File, false),
        ("304 on If-None-Match, access log off", AccessLog::Off, true),
        ("304 on If-None-Match, JSON access log to a file", AccessLog::File, true),
    ] {
        if wanted(name) {
            rows.push(row(name, access_log, revalidates, &rounds)?);
        }
    }
    println!("\n{}", rounds.table(&rows));
    Ok(())
}

/// One comparison: starts both servers, makes sure that they answer alike, loads them in turn.
fn row(name: &'static str, access_log: AccessLog, revalidates: bool, rounds: &Rounds) -> anyhow::Result<Row> {
    let callboard = Callboard::start(access_log)?;
    let mut headers = vec![callboard.authorization()];
    let page = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    if revalidates {
        headers.push(("If-None-Match".to_owned(), page.header("etag")?.to_owned()));
    }
    // The first answer came from storage; the second is the one to be measured.
    let answer = Answer::get(callboard.address(), Callboard::PAGE, &headers)?;
    let hyper = BareHyper::start(&answer)?;
    answer.must_equal(&Answer::get(hyper.address(), Callboard::PAGE, &headers)?)?;
    let contender = |name, server| Contender {
        name,
        server,
        path: Callboard::PAGE,
        headers: headers.clone(),
        status: if revalidates { 304 } else { 200 },
        bytes: answer.wire_bytes,
    };
    rounds.run(
        name,
        &contender("callboard", callboard.server()),
        &contender("bare hyper", hyper.server()),
        |requests| callboard.check_log(requests),
    )
}

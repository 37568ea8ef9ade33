//! Two servers in turn, round after round, and the table that comes of it.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::ensure;

use super::process::{Server, is_pinned};
use super::stats::{median, sorted};
use super::wire::Answer;
use super::wrk::{CONNECTIONS, Headers, Wrk};

/// How long each server is loaded before anything counts.
const WARM_UP_SECONDS: u64 = 2;

/// What is still under way when the load ends, such as lines of the access log, belongs to the round.
const SETTLING: Duration = Duration::from_millis(200);

/// A server and what it is asked for.
#[derive(Debug)]
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) server: &'a Server,
    pub(crate) path: &'static str,
    pub(crate) headers: Headers,
    /// What it must answer.
    pub(crate) status: u16,
    /// How many bytes an answer has on the wire, give or take the digits of an age.
    pub(crate) bytes: usize,
}

/// A half of a round.
#[derive(Debug, Clone, Copy)]
struct Figure {
    /// CPU time per request.
    micros: f64,
    /// Requests a second.
    rate: f64,
    requests: u64,
}

/// A comparison, measured.
#[derive(Debug)]
pub(crate) struct Row {
    name: &'static str,
    pairs: Vec<(Figure, Figure)>,
}

/// How it is measured.
#[derive(Debug)]
pub(crate) struct Rounds {
    count: usize,
    wrk: Wrk,
}

impl Rounds {
    pub(crate) fn new(count: usize, wrk: Wrk) -> Self {
        Self { count: count.max(1), wrk }
    }

    /// Loads both in turn. `check` is told after each of the subject's halves
    /// how many requests it was.
    pub(crate) fn run(
        &self,
        name: &'static str,
        subject: &Contender<'_>,
        yardstick: &Contender<'_>,
        check: impl Fn(u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Row> {
        eprintln!("{name}: {} is process {}", subject.name, subject.server.pid());
        eprintln!("{name}: {} is process {}", yardstick.name, yardstick.server.pid());
        let round = |seconds| {
            let ours = self.load(subject, seconds)?;
            check(ours.requests)?;
            anyhow::Ok((ours, self.load(yardstick, seconds)?))
        };
        round(WARM_UP_SECONDS)?;
        let mut pairs = Vec::with_capacity(self.count);
        for count in 1..=self.count {
            let (ours, theirs) = round(self.wrk.seconds)?;
            let (ratio, ours_us, theirs_us) = (ours.micros / theirs.micros, ours.micros, theirs.micros);
            eprintln!("  {count}: {ours_us:.2} µs and {theirs_us:.2} µs, {ratio:.3}");
            pairs.push((ours, theirs));
        }
        Ok(Row { name, pairs })
    }

    /// The rows as a table in Markdown.
    pub(crate) fn table(&self, rows: &[Row]) -> String {
        let mut table = format!(
            "CPU time of the server per request; medians of {} rounds of {} s, {CONNECTIONS} connections, {}.\n\n\
            | row | Callboard µs | bare hyper µs | ratio (min–max) | Callboard req/s | bare hyper req/s |\n\
            |---|---:|---:|---:|---:|---:|\n",
            self.count,
            self.wrk.seconds,
            if is_pinned() { "a core each for server and load" } else { "NOTHING PINNED: there is but one core" },
        );
        for Row { name, pairs } in rows {
            let all = |figure: fn(&(Figure, Figure)) -> f64| sorted(pairs.iter().map(figure));
            let ratios = all(|(subject, yardstick)| subject.micros / yardstick.micros);
            let (least, most) = (ratios.first().copied(), ratios.last().copied());
            // Writing to a string can't fail.
            let _ = writeln!(
                table,
                "| {name} | {:.2} | {:.2} | {:.3} ({:.3}–{:.3}) | {:.0} | {:.0} |",
                median(&all(|(subject, _)| subject.micros)),
                median(&all(|(_, yardstick)| yardstick.micros)),
                median(&ratios),
                least.unwrap_or(f64::NAN),
                most.unwrap_or(f64::NAN),
                median(&all(|(subject, _)| subject.rate)),
                median(&all(|(_, yardstick)| yardstick.rate)),
            );
        }
        table
    }

    fn load(&self, contender: &Contender<'_>, seconds: u64) -> anyhow::Result<Figure> {
        let Contender { name, server, path, headers, status, bytes } = contender;
        let before = server.cpu_time()?;
        let load = self.wrk.run(server.address, path, headers, seconds)?;
        thread::sleep(SETTLING);
        let used = server.cpu_time()?.saturating_sub(before);
        // An answer of another kind in between would have another length: an error, a 304 for a page.
        let mean = load.bytes as f64 / load.requests as f64;
        ensure!((mean - *bytes as f64).abs() < 8.0, "{name} sent {mean} bytes an answer and not {bytes}");
        let last = Answer::get(server.address, path, headers)?;
        ensure!(last.status == *status, "{name} answers {} and not {status}", last.status);
        Ok(Figure {
            micros: used.as_secs_f64() * 1e6 / load.requests as f64,
            rate: load.rate(),
            requests: load.requests,
        })
    }
}

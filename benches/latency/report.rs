//! What was measured, as tables in Markdown and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::openloop::{Outcome, Tally};
use crate::openloop_histogram::Histogram;
use crate::origin::Counts;
use crate::support::process::is_pinned;
use crate::support::stats::{median, sorted};

/// Everything, in the order in which it was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    additions: Vec<Addition>,
    streams: Vec<Streamed>,
}

/// A server under load.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) server: &'static str,
    /// Requests a second.
    asked: f64,
    pub(crate) tally: Tally,
    lasted: Duration,
    cpu_micros: f64,
    origin: Option<Counts>,
}

/// What Callboard adds to what it asks, over rounds.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) name: &'static str,
    /// What the bare client did.
    pub(crate) bare: &'static str,
    pub(crate) rounds: Vec<Turns>,
    /// What is aimed at, in µs.
    pub(crate) goal: f64,
}

/// One round: the medians in it, in µs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns {
    pub(crate) callboard: f64,
    pub(crate) bare: f64,
    /// Callboard for what it has in memory.
    pub(crate) memory: f64,
}

/// When bytes of a slow object came, in milliseconds from the request.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) reader: &'static str,
    pub(crate) first: Vec<f64>,
    pub(crate) last: Vec<f64>,
}

/// The shares that are told.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

impl Row {
    pub(crate) fn new(scenario: &str, server: &'static str, asked: f64) -> Self {
        Self {
            scenario: scenario.to_owned(),
            server,
            asked,
            tally: Tally::default(),
            lasted: Duration::ZERO,
            cpu_micros: 0.0,
            origin: None,
        }
    }

    /// Adds a run, of which the warm-up does not count, and what the origin was asked for in all of it.
    pub(crate) fn add(&mut self, outcome: &Outcome, warm_up: Duration, origin: Counts) {
        let counting = usize::from(!warm_up.is_zero());
        outcome.phases.iter().skip(counting).for_each(|tally| self.tally.add(tally));
        self.lasted += outcome.lasted.saturating_sub(warm_up);
        let all: u64 = outcome.phases.iter().map(|tally| tally.latency.count()).sum();
        self.cpu_micros = outcome.cpu.as_secs_f64() * 1e6 / all as f64;
        let before = self.origin.unwrap_or_default();
        self.origin = Some(before.plus(origin));
    }

    /// Adds one phase of a run.
    pub(crate) fn add_phase(&mut self, tally: &Tally, lasted: Duration, origin: Option<Counts>) {
        self.tally.add(tally);
        self.lasted += lasted;
        self.origin = origin;
    }

    pub(crate) fn latency(&self) -> &Histogram {
        &self.tally.latency
    }

    fn achieved(&self) -> f64 {
        self.tally.latency.count() as f64 / self.lasted.as_secs_f64()
    }

    fn is_at_once(&self) -> bool {
        self.asked.is_infinite()
    }
}

impl Report {
    /// Takes rows in, and tells what is in them.
    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            eprint!("{}", line(&row));
            eprintln!("  {:?}, the load took {:.1} µs of CPU a request", row.tally.ways, row.cpu_micros);
            if let Some(failure) = &row.tally.first_failure {
                eprintln!("  the first failure: {failure}");
            }
            self.rows.push(row);
        }
    }

    pub(crate) fn addition(&mut self, addition: Addition) {
        self.additions.push(addition);
    }

    pub(crate) fn streamed(&mut self, streamed: Streamed) {
        self.streams.push(streamed);
    }

    pub(crate) fn all_rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{}.\n",
            if is_pinned() { "Servers on a core, all else on another" } else { "NOTHING PINNED" }
        );
        if !self.rows.is_empty() {
            text.push_str(
                "| scenario | server | asked/s | answered/s | p50 ms | p99 | p99.9 | max | failures | origin GETs | sent late, p50 and p99 |\n\
                 |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
            );
            self.rows.iter().for_each(|row| text.push_str(&line(row)));
        }
        if !self.additions.is_empty() {
            text.push_str(
                "\n| | Callboard p50, µs | bare client | bare p50, µs | difference (min–max) | goal | hit in memory p50, µs |\n\
                 |---|---:|---|---:|---:|---:|---:|\n",
            );
            self.additions.iter().for_each(|addition| text.push_str(&addition.line()));
        }
        if !self.streams.is_empty() {
            text.push_str(
                "\n| reader of 1.5 MB that take half a second | first byte, ms | last byte, ms |\n|---|---:|---:|\n",
            );
            for Streamed { reader, first, last } in &self.streams {
                let middle = |millis: &[f64]| median(&sorted(millis.iter().copied()));
                let _ = writeln!(text, "| {reader} | {:.1} | {:.1} |", middle(first), middle(last));
            }
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let additions: Vec<_> = self
            .additions
            .iter()
            .map(|Addition { name, bare, rounds, goal }| {
                let rounds: Vec<_> =
                    rounds.iter().map(|turns| json!([turns.callboard, turns.bare, turns.memory])).collect();
                json!({ "name": name, "bare": bare, "goal_us": goal, "rounds_us": rounds })
            })
            .collect();
        let streams: Vec<_> = self
            .streams
            .iter()
            .map(|Streamed { reader, first, last }| json!({ "reader": reader, "first_ms": first, "last_ms": last }))
            .collect();
        json!({ "rows": rows, "additions": additions, "streams": streams }).to_string()
    }
}

impl Row {
    fn json(&self) -> Value {
        let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
        let quantiles = |histogram: &Histogram| {
            let mut told: serde_json::Map<_, _> = QUANTILES
                .iter()
                .map(|(name, share)| ((*name).to_owned(), json!(millis(histogram.quantile(*share)))))
                .collect();
            told.insert("max".to_owned(), json!(millis(histogram.largest())));
            told
        };
        let ways = self.tally.ways;
        json!({
            "scenario": self.scenario,
            "server": self.server,
            "asked_per_second": if self.is_at_once() { Value::Null } else { json!(self.asked) },
            "answered_per_second": self.achieved(),
            "answers": self.latency().count(),
            "latency_ms": quantiles(self.latency()),
            "lag_ms": quantiles(&self.tally.lag),
            "failures": self.tally.failures,
            "body_bytes": self.tally.bytes,
            "from": { "memory": ways.memory, "redis": ways.redis, "stale": ways.stale, "other": ways.other },
            "load_cpu_us_per_request": self.cpu_micros,
            "origin": self.origin,
        })
    }
}

impl Addition {
    fn line(&self) -> String {
        let all = |figure: fn(&Turns) -> f64| sorted(self.rounds.iter().map(figure));
        let added = all(|turns| turns.callboard - turns.bare);
        let (least, most) = (added.first().copied().unwrap_or(f64::NAN), added.last().copied().unwrap_or(f64::NAN));
        format!(
            "| {} | {:.0} | {} | {:.0} | **{:.0}** ({least:.0}–{most:.0}) | {:.0} | {:.0} |\n",
            self.name,
            median(&all(|turns| turns.callboard)),
            self.bare,
            median(&all(|turns| turns.bare)),
            median(&added),
            self.goal,
            median(&all(|turns| turns.memory)),
        )
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.lag.add(&other.lag);
        self.ways.add_all(other.ways);
        self.failures += other.failures;
        self.bytes += other.bytes;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }
}

fn line(row: &Row) -> String {
    let latency = row.latency();
    let [p50, p99, p999] = QUANTILES.map(|(_, share)| millis(latency.quantile(share)));
    let asked = if row.is_at_once() { "at once".to_owned() } else { format!("{:.0}", row.asked) };
    let achieved = if row.is_at_once() { "".to_owned() } else { format!("{:.0}", row.achieved()) };
    let origin = row.origin.map_or_else(String::new, |counts| counts.documents.to_string());
    let lag = [0.5, 0.99].map(|share| millis(row.tally.lag.quantile(share)));
    format!(
        "| {} | {} | {asked} | {achieved} | {p50} | {p99} | {p999} | {} | {} | {origin} | {}, {} |\n",
        row.scenario,
        row.server,
        millis(latency.largest()),
        row.tally.failures,
        lag[0],
        lag[1]
    )
}

/// Milliseconds with three digits that count.
fn millis(latency: Duration) -> String {
    let millis = latency.as_secs_f64() * 1e3;
    match millis {
        _ if millis < 1.0 => format!("{millis:.3}"),
        _ if millis < 10.0 => format!("{millis:.2}"),
        _ if millis < 100.0 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

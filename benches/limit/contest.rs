//! Servers in turn, round after round, and what comes of it.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::process::Server;
use super::report::{Line, Unit};
use super::wire::Answer;
use super::wrk::{CONNECTIONS, Headers, Wrk};

/// How long each server is loaded before anything counts.
const WARM_UP_SECONDS: u64 = 1;

/// What is still under way when the load ends, such as lines of the access log, belongs to the round.
const SETTLING: Duration = Duration::from_millis(200);

/// How many bytes an answer may be longer or shorter than the first one: the digits of an age or of a transaction's number.
const BYTES_OF_THE_MOMENT: f64 = 16.0;

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    /// How long each server is loaded at a time.
    pub(crate) seconds: u64,
}

/// What loads a server for so many seconds, and says how many requests that was.
type Load<'a> = Box<dyn Fn(u64) -> anyhow::Result<u64> + 'a>;

/// What makes sure that they were answered as they should, after the CPU time was read.
type Check<'a> = Box<dyn Fn(u64) -> anyhow::Result<()> + 'a>;

/// A server that takes part.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    server: &'a Server,
    load: Load<'a>,
    checks: Vec<Check<'a>>,
    /// The most that the first contender may cost, against this one.
    goal: Option<f64>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, server: &'a Server, load: impl Fn(u64) -> anyhow::Result<u64> + 'a) -> Self {
        Self { name, server, load: Box::new(load), checks: Vec::new(), goal: None }
    }

    /// One that is asked for `page` by `wrk`, as at its address or at another one that it has.
    pub(crate) fn asked(name: &'static str, server: &'a Server, wrk: &'a Wrk, page: Page) -> Self {
        let asked = page.clone();
        let load = move |seconds| {
            let load = wrk.run(asked.address, &asked.path, &asked.headers, seconds)?;
            // An answer of another kind in between would have another length: an error, a 304 for a page.
            let mean = load.bytes as f64 / load.requests as f64;
            // What had come of unfinished answers when the load ended counts as bytes, but not as an answer.
            let unfinished = (CONNECTIONS * asked.bytes) as f64 / load.requests as f64;
            let (bytes, longer) = (asked.bytes, mean - asked.bytes as f64);
            let is_as_long = (-BYTES_OF_THE_MOMENT..BYTES_OF_THE_MOMENT + unfinished).contains(&longer);
            eprintln!("     {:.0} requests a second", load.rate());
            ensure!(is_as_long, "{name} sent {mean} bytes an answer and not {bytes}");
            Ok(load.requests)
        };
        Self::new(name, server, load).checked(move |_| page.check().with_context(|| format!("{name}, afterwards")))
    }

    pub(crate) fn checked(mut self, check: impl Fn(u64) -> anyhow::Result<()> + 'a) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    pub(crate) fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// CPU time per request, in microseconds.
    fn micros(&self, seconds: u64) -> anyhow::Result<f64> {
        let mut answered = 0;
        let micros = settled(self.server, || {
            answered = (self.load)(seconds)?;
            Ok(answered)
        })?;
        self.checks.iter().try_for_each(|check| check(answered))?;
        Ok(micros)
    }
}

/// CPU time of the server for each of the requests that `load` says it was, in microseconds.
pub(crate) fn settled(server: &Server, load: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<f64> {
    let before = server.cpu_time()?;
    let requests = load()?;
    thread::sleep(SETTLING);
    let used = server.cpu_time()?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / requests as f64)
}

/// Something that a server is asked for, and what it must answer.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) headers: Headers,
    status: u16,
    /// Length of the body.
    body: usize,
    /// How many bytes an answer has on the wire.
    bytes: usize,
    /// A header that only a hit has, and what stands in it.
    hit: Option<(&'static str, &'static str)>,
}

impl Page {
    /// Asks twice: the first answer may come from the origin, the second is the one to be measured, and must be as `like`
    /// in status and body.
    pub(crate) fn ask(
        address: SocketAddr,
        path: &str,
        headers: &Headers,
        hit: Option<(&'static str, &'static str)>,
        like: &Answer,
    ) -> anyhow::Result<Self> {
        // A conditional request may not fill a cache, so the first one is not.
        let plain = headers.iter().filter(|(name, _)| name != "If-None-Match").cloned().collect();
        Answer::get(address, path, &plain)?;
        let answer = Answer::get(address, path, headers)?;
        let page = Self {
            address,
            path: path.to_owned(),
            headers: headers.clone(),
            status: like.status,
            body: like.body.len(),
            bytes: answer.wire_bytes,
            hit,
        };
        ensure!(answer.body == like.body, "{address} sends another body for {path}");
        page.check()?;
        Ok(page)
    }

    /// Makes sure that it is still answered so.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let ask = || Answer::get(self.address, &self.path, &self.headers);
        let mut answer = ask()?;
        // A copy may just be due to be confirmed; the answer after that is a hit again.
        if self.hit.is_some_and(|(name, value)| answer.header(name).is_ok_and(|found| !found.contains(value))) {
            answer = ask()?;
        }
        ensure!(answer.status == self.status, "status {} and not {}", answer.status, self.status);
        ensure!(answer.body.len() == self.body, "{} bytes and not {}", answer.body.len(), self.body);
        if let Some((name, value)) = self.hit {
            let found = answer.header(name)?;
            ensure!(found.contains(value), "no hit: {name}: {found}");
        }
        Ok(())
    }
}

impl Rounds {
    /// Loads all in turn; the first is the one that is compared with the others.
    pub(crate) fn run(&self, row: &'static str, contenders: &[Contender<'_>]) -> anyhow::Result<Vec<Line>> {
        eprintln!("{row}");
        let mut figures = vec![Vec::new(); contenders.len()];
        for contender in contenders {
            eprintln!("  {} is process {}", contender.name, contender.server.pid());
            contender.micros(WARM_UP_SECONDS)?;
        }
        for count in 1..=self.count {
            for (contender, figures) in contenders.iter().zip(&mut figures) {
                let micros = contender.micros(self.seconds)?;
                eprintln!("  {count}: {:<24} {micros:8.2} µs", contender.name);
                figures.push(micros);
            }
        }
        let mut measured = contenders.iter().zip(figures);
        let (_, ours) = measured.next().context("nobody takes part")?;
        Ok(measured
            .map(|(contender, theirs)| {
                Line::of(row, contender.name, Unit::Micros, ours.clone(), theirs).goal(contender.goal)
            })
            .collect())
    }
}

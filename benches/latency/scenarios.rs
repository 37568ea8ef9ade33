//! Good times: hits, misses, both, and a thousand readers at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::Arguments;
use crate::callboard::{Callboard, SITES, request};
use crate::neighbours::{Kind, Peer, Rules};
use crate::openloop::{Load, Outcome, Planned, Random, poisson};
use crate::origin::{BUCKET, GUIDE, Origin};
use crate::report::{Report, Row};
use crate::sites::Readers;
use crate::support::bare_hyper::BareHyper;
use crate::support::wire::Answer;

/// Storage in the same region.
pub(crate) const NEAR: Duration = Duration::from_millis(5);

/// How long a server is loaded before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// More than are ever under way while a server keeps up.
const CONNECTIONS: usize = 64;

/// Requests a second.
const HOT_RATES: [f64; 2] = [2_000.0, 10_000.0];
const COLD_RATE: f64 = 200.0;
const MIXED_RATE: f64 = 1_500.0;

/// Pages that are read all the time.
const HOT_PAGES: usize = 100;

/// What memory may hold in the mixed scenario: a quarter of what the sites have.
const MIXED_MEBIBYTES: u64 = 96;

/// Enough for memory to hold what it is going to hold.
const MIXED_BEFORE: usize = 60_000;

/// One request in so many brings a token that was not seen before.
const NEWCOMER_EVERY: usize = 50;

/// Readers who want the same page at the same moment, how often, and how late storage answers them.
const STAMPEDE: usize = 1000;
const STAMPEDES: usize = 5;
const STAMPEDE_DELAY: Duration = Duration::from_millis(50);

/// A copy stays fresh for longer than the bench lasts.
const FRESH_SECONDS: u64 = 24 * 3600;

/// Makes the request for a key.
type Requester<'a> = Box<dyn Fn(&str) -> Arc<[u8]> + 'a>;

/// Whom to load, and with what.
struct Contender<'a> {
    name: &'static str,
    address: SocketAddr,
    request: Requester<'a>,
}

impl<'a> Contender<'a> {
    fn of_callboard(callboard: &'a Callboard) -> Self {
        Self { name: "Callboard", address: callboard.address(), request: Box::new(|key| callboard.request(key)) }
    }

    /// One who asks nobody for a token.
    fn open(name: &'static str, address: SocketAddr) -> Self {
        Self { name, address, request: Box::new(|key| request(SITES, key, None)) }
    }

    /// Asks for all keys once, as fast as it goes.
    fn read(&self, keys: impl Iterator<Item = String>) -> anyhow::Result<()> {
        let plan: Vec<_> = keys.map(|key| Planned { at: Duration::ZERO, request: (self.request)(&key) }).collect();
        let load = Load { server: self.address, connections: CONNECTIONS, borders: Vec::new() };
        let failed: u64 = load.run(&plan)?.phases.iter().map(|tally| tally.failures).sum();
        ensure!(failed == 0, "{} fails {failed} times before anything is measured", self.name);
        Ok(())
    }
}

/// The peers that are installed.
fn peers(kinds: &[Kind], origin: &Origin, rules: Rules) -> anyhow::Result<Vec<Peer>> {
    let there = kinds.iter().filter(|kind| {
        let is_there = kind.is_there();
        if !is_there {
            eprintln!("{kind:?} is not installed, so there are no rows of it");
        }
        is_there
    });
    there.map(|&kind| Peer::start(kind, origin, rules)).collect()
}

/// Requests at random times for what `request` says, the warm-up before them included.
fn plan(
    rate: f64,
    lasting: Duration,
    seed: u64,
    mut request: impl FnMut(usize) -> anyhow::Result<Arc<[u8]>>,
) -> anyhow::Result<Vec<Planned>> {
    let times = poisson(rate, WARM_UP + lasting, &mut Random::new(seed));
    times.into_iter().enumerate().map(|(number, at)| Ok(Planned { at, request: request(number)? })).collect()
}

fn run(address: SocketAddr, plan: &[Planned]) -> anyhow::Result<Outcome> {
    Load { server: address, connections: CONNECTIONS, borders: vec![WARM_UP] }.run(plan)
}

fn hot_key(number: usize) -> String {
    format!("default/component/service-{}/{GUIDE}-{number}/index.html", number % 10)
}

/// Hits in memory, the servers in turn, twice each.
pub(crate) fn hot(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(NEAR)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": format!("{FRESH_SECONDS}s") }))?;
    let rules = Rules { fresh_seconds: FRESH_SECONDS, mebibytes: 256 };
    let peers = peers(&Kind::ALL, &origin, rules)?;
    let mut contenders = vec![Contender::of_callboard(&callboard)];
    contenders.extend(peers.iter().map(|peer| Contender::open(peer.name, peer.address())));
    for contender in &contenders {
        contender.read((0..HOT_PAGES).map(hot_key))?;
    }
    let path = format!("{SITES}/{}", hot_key(0));
    let answer = Answer::get(callboard.address(), &path, &vec![callboard.authorization()])?;
    let hyper = BareHyper::start(&answer)?;
    // It reads the same request, token and all.
    let of_hyper = Contender { name: "bare hyper", address: hyper.address(), ..Contender::of_callboard(&callboard) };
    contenders.push(of_hyper);
    for rate in HOT_RATES {
        let name = format!("hot, {rate:.0}/s");
        let mut rows: Vec<_> = contenders.iter().map(|one| Row::new(&name, one.name, rate)).collect();
        for turn in 0..2 {
            for (contender, row) in contenders.iter().zip(&mut rows) {
                let lasting = Duration::from_secs(arguments.seconds) / 2;
                let requests: Vec<_> = (0..HOT_PAGES).map(|number| (contender.request)(&hot_key(number))).collect();
                let request = |number: usize| requests.get(number % HOT_PAGES).cloned().context("no page");
                let before = origin.counts()?;
                let outcome = run(contender.address, &plan(rate, lasting, turn, request)?)?;
                row.add(&outcome, WARM_UP, origin.counts()?.since(before));
            }
        }
        let ours = rows.first().map(|row| row.tally.ways).unwrap_or_default();
        ensure!(ours.redis + ours.stale + ours.other == 0, "not all was in memory: {ours:?}");
        report.rows(rows);
    }
    Ok(())
}

/// Pages that nobody has read before.
pub(crate) fn cold(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(NEAR)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": format!("{FRESH_SECONDS}s") }))?;
    let peers = peers(&Kind::ALL, &origin, Rules { fresh_seconds: FRESH_SECONDS, mebibytes: 256 })?;
    let mut contenders = vec![Contender::of_callboard(&callboard)];
    contenders.extend(peers.iter().map(|peer| Contender::open(peer.name, peer.address())));
    contenders.push(Contender {
        name: "storage itself",
        address: origin.address(),
        request: Box::new(|key| request(&format!("/{BUCKET}"), key, None)),
    });
    for contender in &contenders {
        let mut row = Row::new("cold", contender.name, COLD_RATE);
        let key = |number: usize| format!("default/component/service-{}/page-{number}/index.html", number % 40);
        let request = |number| Ok((contender.request)(&key(number)));
        let plan = plan(COLD_RATE, Duration::from_secs(arguments.seconds), 0, request)?;
        let before = origin.counts()?;
        let outcome = run(contender.address, &plan)?;
        row.add(&outcome, Duration::ZERO, origin.counts()?.since(before));
        report.rows([row]);
    }
    Ok(())
}

/// Three hundred sites, of which memory holds a part; new tokens among the requests.
pub(crate) fn mixed(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(NEAR)?;
    let memory = format!("{MIXED_MEBIBYTES}MiB");
    let cache = json!({ "freshFor": format!("{FRESH_SECONDS}s"), "memory": { "maxBytes": memory } });
    let callboard = Callboard::start(&origin, &cache)?;
    let rules = Rules { fresh_seconds: FRESH_SECONDS, mebibytes: MIXED_MEBIBYTES };
    let peers = peers(&[Kind::Varnish], &origin, rules)?;
    let mut contenders = vec![Contender::of_callboard(&callboard)];
    contenders.extend(peers.iter().map(|peer| Contender::open(peer.name, peer.address())));
    for (place, contender) in contenders.iter().enumerate() {
        let mut readers = Readers::new(1);
        contender.read((0..MIXED_BEFORE).map(|_| readers.next()))?;
        let mut row = Row::new("mixed", contender.name, MIXED_RATE);
        let request = |number: usize| {
            let key = readers.next();
            // Nobody else looks at tokens.
            let is_newcomer = place == 0 && number.is_multiple_of(NEWCOMER_EVERY);
            if is_newcomer { callboard.request_of_newcomer(&key) } else { Ok((contender.request)(&key)) }
        };
        let plan = plan(MIXED_RATE, Duration::from_secs(arguments.seconds * 2), 1, request)?;
        let before = origin.counts()?;
        let outcome = run(contender.address, &plan)?;
        row.add(&outcome, WARM_UP, origin.counts()?.since(before));
        report.rows([row]);
    }
    Ok(())
}

/// A thousand want the same cold page at the same moment.
pub(crate) fn stampede(_: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(STAMPEDE_DELAY)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": format!("{FRESH_SECONDS}s") }))?;
    let peers = peers(&Kind::ALL, &origin, Rules { fresh_seconds: FRESH_SECONDS, mebibytes: 256 })?;
    let mut contenders = vec![Contender::of_callboard(&callboard)];
    contenders.extend(peers.iter().map(|peer| Contender::open(peer.name, peer.address())));
    for contender in &contenders {
        // Its site and its token are known; only the page is not.
        contender.read([hot_key(0)].into_iter())?;
    }
    let path = format!("{SITES}/{}", hot_key(0));
    let hyper = BareHyper::start(&Answer::get(callboard.address(), &path, &vec![callboard.authorization()])?)?;
    contenders.push(Contender {
        name: "bare hyper",
        address: hyper.address(),
        request: Box::new(|key| callboard.request(key)),
    });
    for contender in &contenders {
        let mut row = Row::new(&format!("stampede of {STAMPEDE}, {STAMPEDES} pages"), contender.name, f64::INFINITY);
        for number in 0..STAMPEDES {
            let request = (contender.request)(&hot_key((number + 1) * 10));
            let plan: Vec<_> =
                (0..STAMPEDE).map(|_| Planned { at: Duration::ZERO, request: Arc::clone(&request) }).collect();
            let before = origin.counts()?;
            let load = Load { server: contender.address, connections: STAMPEDE, borders: Vec::new() };
            let outcome = load.run(&plan)?;
            row.add(&outcome, Duration::ZERO, origin.counts()?.since(before));
        }
        report.rows([row]);
    }
    Ok(())
}

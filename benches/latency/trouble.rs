//! Bad times: Redis hangs or is gone, storage takes seconds.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use crate::Arguments;
use crate::callboard::{Callboard, SITES, request};
use crate::neighbours::{Kind, Peer, Redis, Rules};
use crate::openloop::{Load, Planned, Random, poisson};
use crate::origin::{GUIDE, Origin};
use crate::report::{Report, Row};
use crate::scenarios::NEAR;
use crate::sites::Readers;

/// Requests a second.
const RATE: f64 = 1000.0;

/// Enough for readers who wait a second each, all of them.
const CONNECTIONS: usize = 1024;

/// How long all is well, then is not, and then is again.
const PHASES: [(&str, Duration); 3] =
    [("before", Duration::from_secs(4)), ("while", Duration::from_secs(8)), ("after", Duration::from_secs(4))];

/// Redis has most, memory little.
const MEBIBYTES: u64 = 32;

/// What is read before, and how fast: what is fetched is written to Redis behind the readers, and dropped where that falls
/// behind.
const READ_BEFORE: usize = 15_000;
const READ_BEFORE_RATE: f64 = 1500.0;

/// What memory holds while storage is slow.
const PAGES: usize = 500;
const SITES_OF_PAGES: usize = 20;
const SLOW: Duration = Duration::from_secs(2);

/// What is done to Redis, and what ends it.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    name: &'static str,
    begins: &'static str,
    ends: Option<&'static str>,
}

const TROUBLES: [Trouble; 2] = [
    Trouble { name: "Redis hangs", begins: "STOP", ends: Some("CONT") },
    Trouble { name: "Redis is killed", begins: "KILL", ends: None },
];

/// Redis stops answering in the middle, once for a while and once for good.
pub(crate) fn redis_down(_: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    for trouble in TROUBLES {
        let (origin, redis) = (Origin::start(NEAR)?, Redis::start()?);
        let cache = json!({
            "freshFor": "24h",
            "memory": { "maxBytes": format!("{MEBIBYTES}MiB") },
            "redis": { "url": format!("redis://{}", redis.address()) },
        });
        let callboard = Callboard::start(&origin, &cache)?;
        let mut readers = Readers::new(2);
        let before: Vec<_> = (0..READ_BEFORE)
            .map(|number| Planned {
                at: Duration::from_secs_f64(number as f64 / READ_BEFORE_RATE),
                request: callboard.request(&readers.next()),
            })
            .collect();
        Load { server: callboard.address(), connections: 64, borders: Vec::new() }.run(&before)?;
        let mut request = || callboard.request(&readers.next());
        let plan: Vec<_> = times().map(|at| Planned { at, request: request() }).collect();
        let outcome = load(&callboard).run_with(&plan, |start| {
            until(start + PHASES[0].1);
            redis.signal(trouble.begins)?;
            until(start + PHASES[0].1 + PHASES[1].1);
            trouble.ends.map_or(Ok(()), |signal| redis.signal(signal))
        })?;
        for ((phase, lasted), tally) in PHASES.into_iter().zip(&outcome.phases) {
            let mut row = Row::new(&format!("{}: {phase}", trouble.name), "Callboard", RATE);
            row.add_phase(tally, lasted, None);
            report.rows([row]);
        }
    }
    Ok(())
}

/// Storage takes two seconds for each answer, and copies are fresh for one.
pub(crate) fn storage_slow(_: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start(NEAR)?;
    let callboard = Callboard::start(&origin, &json!({ "freshFor": "1s" }))?;
    slow("Callboard", &origin, &load(&callboard), |key| callboard.request(key), report)?;
    // It would go on looking at its sites.
    drop(callboard);
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_there()) {
        let peer = Peer::start(kind, &origin, Rules { fresh_seconds: 1, mebibytes: 256 })?;
        let load = Load { server: peer.address(), connections: CONNECTIONS, borders: borders() };
        slow(peer.name, &origin, &load, |key| request(SITES, key, None), report)?;
    }
    Ok(())
}

fn slow(
    server: &'static str,
    origin: &Origin,
    load: &Load,
    request: impl Fn(&str) -> std::sync::Arc<[u8]>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let key = |number: usize| format!("default/component/service-{}/{GUIDE}-{number}", number % SITES_OF_PAGES);
    let requests: Vec<_> = (0..PAGES).map(|number| request(&key(number))).collect();
    let all: Vec<_> = requests.iter().map(|request| Planned { at: Duration::ZERO, request: request.clone() }).collect();
    Load { connections: 64, borders: Vec::new(), ..load.clone() }.run(&all)?;
    let mut random = Random::new(4);
    let mut pick = || requests.get((random.fraction() * PAGES as f64) as usize).cloned().context("no page");
    let plan: Vec<_> = times().map(|at| Ok(Planned { at, request: pick()? })).collect::<anyhow::Result<_>>()?;
    let mut counts = vec![origin.counts()?];
    let outcome = load.run_with(&plan, |start| {
        until(start + PHASES[0].1);
        counts.push(origin.counts()?);
        origin.set_delay(SLOW)?;
        until(start + PHASES[0].1 + PHASES[1].1);
        counts.push(origin.counts()?);
        origin.set_delay(NEAR)
    })?;
    counts.push(origin.counts()?);
    for (((phase, lasted), tally), counts) in PHASES.into_iter().zip(&outcome.phases).zip(counts.windows(2)) {
        let mut row = Row::new(&format!("storage takes 2 s: {phase}"), server, RATE);
        if let &[before, after] = counts {
            row.add_phase(tally, lasted, Some(after.since(before)));
        }
        report.rows([row]);
    }
    Ok(())
}

fn load(callboard: &Callboard) -> Load {
    Load { server: callboard.address(), connections: CONNECTIONS, borders: borders() }
}

fn borders() -> Vec<Duration> {
    vec![PHASES[0].1, PHASES[0].1 + PHASES[1].1]
}

fn times() -> impl Iterator<Item = Duration> {
    poisson(RATE, PHASES.iter().map(|(_, lasted)| *lasted).sum(), &mut Random::new(3)).into_iter()
}

fn until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

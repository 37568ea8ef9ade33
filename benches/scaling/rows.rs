//! What is simulated, and the tables of what came of it.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::formulas::best_ratio;
use super::load::Load;
use super::store::NOMINAL_WEIGHTS;
use super::world::{Measured, Scenario, Spread};

/// A scenario with what is different about it.
pub(crate) type Row = (&'static str, Scenario);

/// A thousand sites of fifty pages, one replica that has room for all of them, nothing published.
pub(crate) const BASE: Scenario = Scenario {
    load: Load { sites: 1000, pages: 50, skew: 0.9, requests: 200.0 },
    replicas: 1,
    spread: Spread::Any,
    has_redis: false,
    memory: 64 << 30,
    fresh_for: Duration::from_secs(300),
    publish_check: Duration::from_secs(10),
    settle_for: Duration::from_secs(120),
    publishes: 0.0,
    warm_up: 900.0,
    measured: 600.0,
};

/// What each quantity does, one at a time.
pub(crate) fn storage_rows() -> Vec<Row> {
    let load = BASE.load;
    let with = |load| Scenario { load, ..BASE };
    let replicas = |replicas, spread| Scenario { replicas, spread, ..BASE };
    vec![
        ("base: 1000 sites of 50 pages, 200 requests/s, 1 replica", BASE),
        ("100 sites", with(Load { sites: 100, ..load })),
        ("5000 sites", with(Load { sites: 5000, ..load })),
        ("10 pages", with(Load { pages: 10, ..load })),
        ("200 pages", with(Load { pages: 200, ..load })),
        ("20 requests/s", with(Load { requests: 20.0, ..load })),
        ("1000 requests/s", with(Load { requests: 1000.0, ..load })),
        ("Zipf 0.6", with(Load { skew: 0.6, ..load })),
        ("Zipf 1.2", with(Load { skew: 1.2, ..load })),
        ("3 replicas", replicas(3, Spread::Any)),
        ("10 replicas", replicas(10, Spread::Any)),
        ("10 replicas, each site on one of them", replicas(10, Spread::BySite)),
        ("freshFor 1m", Scenario { fresh_for: Duration::from_secs(60), ..BASE }),
        ("freshFor 30m", Scenario { fresh_for: Duration::from_secs(1800), warm_up: 2700.0, measured: 900.0, ..BASE }),
        ("publishCheck 30s", Scenario { publish_check: Duration::from_secs(30), ..BASE }),
        ("publishCheck 60s", Scenario { publish_check: Duration::from_secs(60), ..BASE }),
        ("1 publish a site and day", Scenario { publishes: 1.0, ..BASE }),
        ("10 publishes a site and day", Scenario { publishes: 10.0, ..BASE }),
    ]
}

/// The same with a Redis between replicas; fewer of everything, since it is a real one.
pub(crate) fn redis_rows() -> Vec<Row> {
    let base = Scenario {
        load: Load { sites: 200, pages: 20, skew: 0.9, requests: 50.0 },
        has_redis: true,
        warm_up: 420.0,
        measured: 420.0,
        ..BASE
    };
    let replicas = |replicas| Scenario { replicas, ..base };
    vec![
        ("1 replica", replicas(1)),
        ("2 replicas", replicas(2)),
        ("3 replicas", replicas(3)),
        ("6 replicas", replicas(6)),
        ("3 replicas without Redis", Scenario { has_redis: false, ..replicas(3) }),
        ("3 replicas, each site on one of them", Scenario { spread: Spread::BySite, ..replicas(3) }),
        ("3 replicas, 10 publishes a site and day", Scenario { publishes: 10.0, ..replicas(3) }),
        ("3 replicas, publishCheck 60s", Scenario { publish_check: Duration::from_secs(60), ..replicas(3) }),
        ("3 replicas with 32 MiB each", Scenario { memory: 32 << 20, ..replicas(3) }),
    ]
}

/// Budgets of memory in MiB, and Zipf's exponents.
pub(crate) const BUDGETS: [u64; 7] = [32, 64, 128, 256, 512, 1024, 2048];
pub(crate) const SKEWS: [f64; 3] = [0.6, 0.9, 1.2];

/// What memory is worth. Nothing has to be confirmed, so that what is missing was not held.
pub(crate) fn memory_rows() -> Vec<Scenario> {
    let rows = SKEWS.iter().flat_map(|skew| BUDGETS.iter().map(move |budget| (*skew, *budget)));
    let scenario = |(skew, budget)| Scenario {
        load: Load { skew, ..BASE.load },
        memory: budget << 20,
        fresh_for: Duration::from_secs(24 * 3600),
        publish_check: Duration::ZERO,
        warm_up: 3000.0,
        measured: 600.0,
        ..BASE
    };
    rows.map(scenario).collect()
}

/// Sites, for the looks at them, and the replicas.
pub(crate) const SITES: [usize; 5] = [100, 300, 1000, 3000, 10_000];
pub(crate) const REPLICAS: [usize; 3] = [1, 3, 10];

/// What it costs to look at sites.
pub(crate) fn look_rows() -> Vec<Scenario> {
    let rows = REPLICAS.iter().flat_map(|replicas| SITES.iter().map(move |sites| (*replicas, *sites)));
    let scenario = |(replicas, sites)| Scenario {
        load: Load { sites, pages: 10, ..BASE.load },
        replicas,
        warm_up: 120.0,
        measured: 180.0,
        ..BASE
    };
    rows.map(scenario).collect()
}

/// Simulates all of them, as many at a time as the machine has cores.
pub(crate) fn run(scenarios: &[Scenario]) -> anyhow::Result<Vec<Measured>> {
    let waiting = Mutex::new(scenarios.iter().enumerate().rev().collect::<Vec<_>>());
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let Some((place, scenario)) = waiting.lock().ok().and_then(|mut waiting| waiting.pop()) else { return };
            let measured = scenario.run().and_then(Measured::checked);
            if let Ok(mut results) = results.lock() {
                results.push((place, measured));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|broken| broken.into_inner());
    results.sort_by_key(|(place, _)| *place);
    anyhow::ensure!(results.len() == scenarios.len(), "a simulation broke off");
    results.into_iter().map(|(_, measured)| measured).collect()
}

/// What storage is asked, beside what the formulas say.
pub(crate) fn storage_table(rows: &[Row]) -> anyhow::Result<String> {
    let scenarios: Vec<_> = rows.iter().map(|(_, scenario)| *scenario).collect();
    let mut table = "\
| | from memory | looks/s | formula | documents/s: 200 | 304 | both | formula | MB/s | entries | MiB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for ((name, scenario), measured) in rows.iter().zip(run(&scenarios)?) {
        let predicted = scenario.predicted();
        let asked = measured.asked;
        table += &format!(
            "| {name} | {:.2} % | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {:.0} |\n",
            measured.memory_ratio() * 100.0,
            measured.rate(asked.looks),
            predicted.looks,
            measured.rate(asked.sent),
            measured.rate(asked.same),
            measured.rate(asked.sent + asked.same),
            predicted.documents + predicted.settling,
            measured.rate(asked.bytes) / 1e6,
            measured.entries,
            measured.bytes / f64::from(1 << 20),
        );
    }
    Ok(table)
}

/// The same where there is a Redis, and what Redis is asked.
pub(crate) fn redis_table(rows: &[Row]) -> anyhow::Result<String> {
    let scenarios: Vec<_> = rows.iter().map(|(_, scenario)| *scenario).collect();
    let mut table = "\
| | from memory | from Redis | looks/s | formula | documents/s: 200 | 304 | both | formula | Redis commands/s | formula | published/s | in kB/s | out kB/s | µs a command |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for ((name, scenario), measured) in rows.iter().zip(run(&scenarios)?) {
        let predicted = scenario.predicted();
        let asked = measured.asked;
        let redis = measured.redis.unwrap_or_default();
        table += &format!(
            "| {name} | {:.2} % | {:.2} % | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} | {:.1} |\n",
            measured.memory_ratio() * 100.0,
            measured.redis_ratio() * 100.0,
            measured.rate(asked.looks),
            predicted.looks,
            measured.rate(asked.sent),
            measured.rate(asked.same),
            measured.rate(asked.sent + asked.same),
            predicted.documents + predicted.settling,
            measured.rate(redis.commands),
            if scenario.has_redis { predicted.commands(scenario.replicas) } else { 0.0 },
            measured.rate(redis.publishes),
            measured.rate(redis.bytes_in) / 1e3,
            measured.rate(redis.bytes_out) / 1e3,
            redis.micros as f64 / redis.commands.max(1) as f64,
        );
    }
    Ok(table)
}

/// Hit ratios by budget and skew, beside what the best choice of what to hold would give.
pub(crate) fn memory_table(measured: &[Measured]) -> String {
    let mut table = "| budget |".to_owned();
    for skew in SKEWS {
        table += &format!(" Zipf {skew} | best |");
    }
    table += &format!("\n| ---: |{}\n", " ---: |".repeat(2 * SKEWS.len()));
    let rows = memory_rows();
    for (number, budget) in BUDGETS.iter().enumerate() {
        table += &format!("| {budget} MiB |");
        for (scenario, measured) in rows.iter().zip(measured).skip(number).step_by(BUDGETS.len()) {
            let best = best_ratio(scenario, scenario.memory as f64, NOMINAL_WEIGHTS);
            table += &format!(" {:.1} % | {:.1} % |", measured.memory_ratio() * 100.0, best * 100.0);
        }
        table += "\n";
    }
    table
}

/// Looks a second by sites and replicas, and what the formula says.
pub(crate) fn look_table(measured: &[Measured]) -> String {
    let mut table = "| sites |".to_owned();
    for replicas in REPLICAS {
        table += &format!(" replicas: {replicas} | formula |");
    }
    table += &format!("\n| ---: |{}\n", " ---: |".repeat(2 * REPLICAS.len()));
    let rows = look_rows();
    for (number, sites) in SITES.iter().enumerate() {
        table += &format!("| {sites} |");
        for (scenario, measured) in rows.iter().zip(measured).skip(number).step_by(SITES.len()) {
            table += &format!(" {:.1} | {:.1} |", measured.rate(measured.asked.looks), scenario.predicted().looks);
        }
        table += "\n";
    }
    table
}

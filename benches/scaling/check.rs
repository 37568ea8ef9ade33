//! Real replicas in real time, held against the simulation of the same readers and publishers.
//!
//! Each replica is the program's binary with a configuration file, in front of one S3 (`support/s3.rs`) and one Redis. Times
//! are short, so that a minute shows what takes hours otherwise: `freshFor` 5 s, `publishCheck` 2 s, `settleFor` 6 s. What the
//! replicas asked is read from their metrics, what Redis did from Redis.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use callboard::http::cache_status::CacheOutcome;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::load::{Load, Readers, Request};
use super::process::{SERVER_CORE, Server, command, free_port, program};
use super::redis_counts::{Monitor, Spent};
use super::rows::BASE;
use super::s3::{self, S3};
use super::server::Redis;
use super::store;
use super::world::{Measured, Publishers, STEP, Scenario};

/// Whom the replicas let in.
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";

/// A minute of it.
const SCENARIO: Scenario = Scenario {
    load: Load { sites: 60, pages: 10, skew: 0.9, requests: 60.0 },
    has_redis: true,
    fresh_for: Duration::from_secs(5),
    publish_check: Duration::from_secs(2),
    settle_for: Duration::from_secs(6),
    // One in ten seconds, of any site.
    publishes: 24.0 * 3600.0 / 10.0 / 60.0,
    warm_up: 15.0,
    measured: 40.0,
    ..BASE
};

/// A Callboard in a process of its own.
struct Replica {
    server: Server,
    admin: SocketAddr,
    _folder: TempDir,
}

/// What replicas tell of themselves, by name and labels.
type Metrics = HashMap<String, f64>;

/// One, two and three replicas with Redis, and two without, each beside its simulation.
pub(crate) async fn table() -> anyhow::Result<String> {
    let mut table = "\
| replicas | | requests | from memory | from Redis | looks | documents | Redis commands | published |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for (name, replicas, has_redis) in
        [("1", 1, true), ("2", 2, true), ("3", 3, true), ("2, no Redis", 2, false), ("3, no Redis", 3, false)]
    {
        let scenario = Scenario { replicas, has_redis, ..SCENARIO };
        let simulated = tokio::task::spawn_blocking(move || scenario.run()).await??;
        let predicted = scenario.predicted();
        table += &line(name, "simulated", &simulated);
        table += &line(name, "measured", &run(&scenario).await?);
        table += &format!(
            "| {name} | formulas | {:.0} | | | {:.0} | {:.0} | {} | |\n",
            scenario.load.requests * scenario.measured,
            predicted.looks * scenario.measured,
            (predicted.documents + predicted.settling) * scenario.measured,
            if has_redis { format!("{:.0}", predicted.commands(replicas) * scenario.measured) } else { String::new() },
        );
    }
    Ok(table)
}

fn line(name: &str, what: &str, measured: &Measured) -> String {
    let asked = measured.asked;
    let redis = measured.redis.unwrap_or_default();
    format!(
        "| {name} | {what} | {} | {:.1} % | {:.1} % | {} | {} | {} | {} |\n",
        measured.requests,
        measured.memory_ratio() * 100.0,
        measured.redis_ratio() * 100.0,
        asked.looks,
        asked.sent + asked.same,
        redis.commands,
        redis.publishes,
    )
}

/// Has the readers read from real replicas.
async fn run(scenario: &Scenario) -> anyhow::Result<Measured> {
    let bucket = TempDir::new()?;
    (0..scenario.load.sites).try_for_each(|site| publish(bucket.path(), scenario, site, 0))?;
    let s3 = S3::start(bucket.path(), Duration::ZERO)?;
    let mut monitor = if scenario.has_redis { Some(Monitor::new(Redis::start()?).await?) } else { None };
    let redis = monitor.as_ref().map(Monitor::url);
    let replicas: Vec<_> = (0..scenario.replicas)
        .map(|_| Replica::start(scenario, &s3.endpoint(), redis.as_deref()))
        .collect::<anyhow::Result<_>>()?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    wait_until_heard(&client, &replicas, scenario.has_redis).await?;

    let client = Arc::new(client);
    let mut readers = Readers::new(scenario.load, 1);
    let mut publishers = Publishers::new(scenario);
    let mut versions = HashMap::<usize, u32>::new();
    let mut answers = JoinSet::new();
    let mut turns = replicas.iter().map(|replica| replica.server.address).cycle();
    let mut requests = Vec::new();
    let mut before = Metrics::new();
    let warm_up = (scenario.warm_up / STEP.as_secs_f64()) as u64;
    let steps = warm_up + (scenario.measured / STEP.as_secs_f64()) as u64;
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for step in 1..=steps {
        ticks.tick().await;
        let now = step as f64 * STEP.as_secs_f64();
        for site in publishers.until(now) {
            let version = versions.entry(site).or_default();
            *version += 1;
            publish(bucket.path(), scenario, site, *version)?;
        }
        readers.ask(now, &mut requests);
        for request in requests.drain(..) {
            let address = turns.next().context("no replicas")?;
            answers.spawn(ask(Arc::clone(&client), address, request));
        }
        if step == warm_up {
            finish(&mut answers).await?;
            before = metrics(&client, &replicas).await?;
            if let Some(monitor) = &mut monitor {
                monitor.begin().await?;
            }
        }
    }
    finish(&mut answers).await?;
    let redis = match &mut monitor {
        Some(monitor) => Some(monitor.end().await?),
        None => None,
    };
    Ok(measured(scenario, &before, &metrics(&client, &replicas).await?, redis))
}

/// Writes what a publish has changed in a site.
fn publish(bucket: &Path, scenario: &Scenario, site: usize, version: u32) -> anyhow::Result<()> {
    for request in store::files(scenario.load.pages, site) {
        if version == 0 || store::is_changed(&request, version) {
            let file = bucket.join(request.key());
            std::fs::create_dir_all(file.parent().context("no folder")?)?;
            std::fs::write(file, store::contents(&request, version))?;
        }
    }
    Ok(())
}

async fn ask(client: Arc<reqwest::Client>, replica: SocketAddr, request: Request) -> anyhow::Result<()> {
    let answer = client.get(format!("http://{replica}{}", request.path())).bearer_auth(TOKEN).send().await?;
    ensure!(answer.status() == 200, "{} is answered with {}", request.path(), answer.status());
    answer.bytes().await?;
    Ok(())
}

async fn finish(answers: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    Ok(())
}

impl Replica {
    fn start(scenario: &Scenario, s3: &str, redis: Option<&str>) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let admin = free_port()?;
        let seconds = |duration: Duration| format!("{}s", duration.as_secs());
        let fresh_for = seconds(scenario.fresh_for);
        let cache = match redis {
            Some(redis) => json!({ "freshFor": fresh_for, "redis": { "url": redis } }),
            None => json!({ "freshFor": fresh_for }),
        };
        let configuration = json!({
            "backend": {
                "baseUrl": "http://127.0.0.1:9",
                "auth": { "externalAccess": [{ "type": "static", "options": { "token": TOKEN, "subject": "bench" } }] },
            },
            "techdocs": { "publisher": s3::publisher(s3) },
            "callboard": {
                "listen": "127.0.0.1:0",
                "admin": { "listen": admin.to_string() },
                "cache": cache,
                "site": {
                    "publishCheck": seconds(scenario.publish_check),
                    "settleFor": seconds(scenario.settle_for),
                },
                "storage": { "requireReadOnly": "off" },
                "telemetry": { "accessLog": false, "log": { "format": "json" } },
            },
        });
        let file = folder.path().join("callboard.yaml");
        // JSON is YAML.
        std::fs::write(&file, configuration.to_string())?;
        let program = program();
        let words = command([program.as_os_str(), OsStr::new("--config"), file.as_os_str()]);
        Ok(Self { server: Server::start_on(SERVER_CORE, &words, Stdio::null())?, admin, _folder: folder })
    }
}

async fn wait_until_heard(client: &reqwest::Client, replicas: &[Replica], has_redis: bool) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let hearing = sum(&metrics(client, replicas).await?, "callboard_redis_listening", &[]);
        if !has_redis || hearing as usize == replicas.len() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the replicas do not hear each other");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Of all replicas together.
async fn metrics(client: &reqwest::Client, replicas: &[Replica]) -> anyhow::Result<Metrics> {
    let mut sums = Metrics::new();
    for replica in replicas {
        let text = client.get(format!("http://{}/metrics", replica.admin)).send().await?.text().await?;
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
        }
    }
    Ok(sums)
}

/// All series of this name that have these labels.
fn sum(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |series: &str, (label, value): &(&str, &str)| series.contains(&format!("{label}=\"{value}\""));
    let series = metrics
        .iter()
        .filter(|(series, _)| series.split('{').next() == Some(name) && labels.iter().all(|label| has(series, label)));
    series.map(|(_, value)| value).sum()
}

fn measured(scenario: &Scenario, before: &Metrics, after: &Metrics, redis: Option<Spent>) -> Measured {
    let grown =
        |name: &str, labels: &[(&str, &str)]| (sum(after, name, labels) - sum(before, name, labels)).round() as u64;
    let mut measured = Measured::default();
    (measured.seconds, measured.redis) = (scenario.measured, redis);
    for outcome in CacheOutcome::ALL {
        let requests = "http_server_request_duration_seconds_count";
        measured.count(outcome, grown(requests, &[("callboard_cache_outcome", outcome.as_str())]));
    }
    let looks = |result| grown("callboard_site_looks_total", &[("result", result)]);
    // A GET that is answered with 304 has gone well, too.
    let operations = "callboard_storage_operation_duration_seconds_count";
    let gets = grown(operations, &[("operation", "get"), ("result", "ok")]);
    measured.asked.looks = looks("first") + looks("same") + looks("changed");
    measured.asked.sent = gets - measured.asked.looks;
    measured
}

//! What techdocs-backend costs, and how long readers wait, in each of the ways in which it can come by its files.
//!
//! ```text
//! tests/run.sh                                       once: brings Backstage and builds the site (or tests/setup.sh and a test)
//! cargo bench --bench backstage                      requests, about six minutes
//! cargo bench --bench backstage -- --rounds 7 --seconds 5
//! ```
//!
//! How it measures:
//!
//! 1. The four ways are (a) awsS3 each time, (b) techdocs-backend's own cache in memory, (c) the same in Redis, (d) the
//!    Callboard module. Each is a Backstage backend from the published packages in a process of its own, all on core 0;
//!    `wrk` with 32 keep-alive connections, Callboard, Redis and storage share core 1.
//! 2. Storage is this program again (`support/s3.rs`): a folder, answered as S3 does, at next to no cost. So (a) is as good
//!    as it can be; a real bucket is farther away.
//! 3. Readers show a guest's token, as the browser does. What is asked for is the site that the tests read.
//! 4. After a warm-up all four are loaded in turn, round after round. CPU time is that of all threads of the Node process.

#[path = "support/process.rs"]
mod process;
#[path = "support/redis.rs"]
mod redis;
#[path = "support/s3.rs"]
mod s3;
#[path = "support/stats.rs"]
mod stats;
#[path = "support/techdocs.rs"]
mod techdocs;
#[path = "support/wrk.rs"]
mod wrk;

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use serde_json::json;

use process::is_pinned;
use redis::Redis;
use s3::S3;
use stats::{median, sorted};
use techdocs::{Source, Surroundings, TechDocs, bucket};
use wrk::{CONNECTIONS, Headers, Wrk};

/// Where the site is, at each backend, as often as there are encodings: techdocs-backend's own cache gives to all what the
/// first reader of a file has accepted.
const IDENTITY_SITE: &str = "/api/techdocs/static/docs/default/component/large";
const BR_SITE: &str = "/api/techdocs/static/docs/default/component/large-br";

const WARM_UP_SECONDS: u64 = 2;

/// Measures techdocs-backend with and without Callboard.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only rows whose names hold this.
    filter: Option<String>,
    /// How often each backend is loaded, in turn with the others.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each time.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Work {
    name: &'static str,
    site: &'static str,
    file: &'static str,
    encoding: &'static str,
}

const WORK: [Work; 4] = [
    Work { name: "page of 20 KB, identity", site: IDENTITY_SITE, file: "index.html", encoding: "identity" },
    Work { name: "page of 20 KB, br", site: BR_SITE, file: "index.html", encoding: "br" },
    Work {
        name: "JSON of 1.4 MB, identity",
        site: IDENTITY_SITE,
        file: "search/search_index.json",
        encoding: "identity",
    },
    Work { name: "JSON of 1.4 MB, br", site: BR_SITE, file: "search/search_index.json", encoding: "br" },
];

/// A backend under load.
#[derive(Debug, Clone, Copy)]
struct Figure {
    /// CPU seconds of the Node process per 1000 requests.
    seconds: f64,
    /// Requests a second.
    rate: f64,
    /// Bytes an answer, head included.
    bytes: f64,
}

/// All rounds of a backend.
#[derive(Debug)]
struct Measured {
    source: Source,
    figures: Vec<Figure>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == s3::ROLE => s3::serve(arguments),
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&Arguments::parse())),
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing measured: run it with `cargo bench --bench backstage`.");
        return Ok(());
    }
    let wrk = Wrk::find(arguments.seconds)?;
    let folder = bucket()?;
    let s3 = S3::start(folder.path(), Duration::ZERO)?;
    let redis = Redis::start()?;
    let around = Surroundings { s3: &s3.endpoint(), redis: redis.address(), more: &json!({}) };
    let mut backends = Vec::new();
    for source in Source::ALL {
        let backend = TechDocs::start(source, around)?;
        eprintln!("{source} is process {}", backend.server.pid());
        backends.push((backend.token().await?, backend));
    }
    let mut table = head(arguments);
    for work in WORK {
        if arguments.filter.as_ref().is_none_or(|filter| work.name.contains(filter.as_str())) {
            write_rows(&mut table, work, &rounds(work, &backends, &wrk, arguments.rounds).await?)?;
        }
    }
    println!("\n{table}");
    Ok(())
}

async fn rounds(work: Work, backends: &[(String, TechDocs)], wrk: &Wrk, count: usize) -> anyhow::Result<Vec<Measured>> {
    let mut headers = Vec::new();
    let mut measured = Vec::new();
    for (token, backend) in backends {
        let these = vec![
            ("Authorization".to_owned(), format!("Bearer {token}")),
            ("Accept-Encoding".to_owned(), work.encoding.to_owned()),
        ];
        until_warm(work, backend, token).await?;
        load(work, backend, &these, wrk, WARM_UP_SECONDS)?;
        headers.push(these);
        measured.push(Measured { source: backend.source, figures: Vec::new() });
    }
    for count in 1..=count {
        for (((_, backend), headers), measured) in backends.iter().zip(&headers).zip(&mut measured) {
            let figure = load(work, backend, headers, wrk, wrk.seconds)?;
            eprintln!("  {count}: {}, {}: {:.3} s", work.name, backend.source, figure.seconds);
            measured.figures.push(figure);
        }
    }
    Ok(measured)
}

/// Reads until the answer has the encoding that was asked for: Callboard makes it behind its first answer.
async fn until_warm(work: Work, backend: &TechDocs, token: &str) -> anyhow::Result<()> {
    let url = format!("http://{}{}/{}", backend.server.address, work.site, work.file);
    let client = reqwest::Client::new();
    let wanted = (work.encoding != "identity").then_some(work.encoding);
    for _ in 0..100 {
        let request = client.get(&url).bearer_auth(token).header(ACCEPT_ENCODING, work.encoding);
        let answer = request.send().await?.error_for_status()?;
        let encoding = answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str()).transpose()?;
        if encoding == wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{} does not answer in {}", backend.source, work.encoding)
}

fn load(work: Work, backend: &TechDocs, headers: &Headers, wrk: &Wrk, seconds: u64) -> anyhow::Result<Figure> {
    let before = backend.server.cpu_time()?;
    let path = format!("{}/{}", work.site, work.file);
    // techdocs-backend's own cache closes the connection with each hit.
    let load = match backend.source {
        Source::Memory | Source::Redis => wrk.run_whatever_ends(backend.server.address, &path, headers, seconds)?,
        Source::S3 | Source::Callboard => wrk.run(backend.server.address, &path, headers, seconds)?,
    };
    let used = backend.server.cpu_time()?.saturating_sub(before);
    ensure!(load.requests >= CONNECTIONS as u64, "{} answered {} requests only", backend.source, load.requests);
    let requests = load.requests as f64;
    Ok(Figure {
        seconds: used.as_secs_f64() * 1000. / requests,
        rate: load.rate(),
        bytes: load.bytes as f64 / requests,
    })
}

fn head(arguments: &Arguments) -> String {
    format!(
        "techdocs-backend; medians of {} rounds of {} s, {CONNECTIONS} connections, {}. A ratio is that of the halves of each \
         round.\n\n\
         | work | files from | req/s | CPU s of Node per 1000 | bytes an answer | req/s, (d) ÷ this (min–max) | CPU, (d) ÷ this |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
        arguments.rounds,
        arguments.seconds,
        if is_pinned() { "a core for Node and one for all else" } else { "NOTHING PINNED: there is but one core" },
    )
}

fn write_rows(table: &mut String, work: Work, measured: &[Measured]) -> anyhow::Result<()> {
    // The last of `Source::ALL` is the one that the others are held against.
    let delegating = measured.last().context("nothing measured")?;
    for Measured { source, figures } in measured {
        let all = |figure: fn(&Figure) -> f64| median(&sorted(figures.iter().map(figure)));
        let against = |figure: fn(&Figure) -> f64| {
            sorted(delegating.figures.iter().zip(figures).map(|(ours, theirs)| figure(ours) / figure(theirs)))
        };
        let faster = against(|figure| figure.rate);
        writeln!(
            table,
            "| {} | {source} | {:.0} | {:.3} | {:.0} | {:.2} ({:.2}–{:.2}) | {:.2} |",
            work.name,
            all(|figure| figure.rate),
            all(|figure| figure.seconds),
            all(|figure| figure.bytes),
            median(&faster),
            faster.first().copied().unwrap_or(f64::NAN),
            faster.last().copied().unwrap_or(f64::NAN),
            median(&against(|figure| figure.seconds)),
        )?;
    }
    Ok(())
}

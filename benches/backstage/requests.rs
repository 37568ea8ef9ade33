//! Requests and CPU time of techdocs-backend under load.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use serde_json::json;

use crate::Arguments;
use crate::process::is_pinned;
use crate::redis::Redis;
use crate::s3::S3;
use crate::stats::{median, sorted};
use crate::techdocs::{SITES, Source, Surroundings, TechDocs, bucket};
use crate::wrk::{CONNECTIONS, Wrk};

/// Where the site is, at each backend, as often as there are encodings: techdocs-backend's own cache gives to all what the
/// first reader of a file has accepted.
const IDENTITY_SITE: &str = "default/component/large";
const BR_SITE: &str = "default/component/large-br";

/// How long each backend is loaded before anything counts.
const WARM_UP_SECONDS: u64 = 2;

/// Large answers are loaded so many times as long: the slowest backend gives a few dozen a second.
const LONGER_IF_LARGE: u64 = 3;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Work {
    name: &'static str,
    site: &'static str,
    file: &'static str,
    encoding: &'static str,
    is_large: bool,
}

const PAGE: Work = Work {
    name: "page of 20 KB, identity",
    site: IDENTITY_SITE,
    file: "index.html",
    encoding: "identity",
    is_large: false,
};

const JSON: Work = Work {
    name: "JSON of 1.4 MB, identity",
    site: IDENTITY_SITE,
    file: "search/search_index.json",
    encoding: "identity",
    is_large: true,
};

const WORK: [Work; 4] = [
    PAGE,
    Work { name: "page of 20 KB, br", site: BR_SITE, encoding: "br", ..PAGE },
    JSON,
    Work { name: "JSON of 1.4 MB, br", site: BR_SITE, encoding: "br", ..JSON },
];

/// A backend that uses less than a tenth of a core for so long has nothing to do.
const IDLE_FOR: Duration = Duration::from_millis(300);

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

/// Loads all backends with all work in turn; the table.
pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let wrk = Wrk::find()?;
    let folder = bucket()?;
    let s3 = S3::start(folder.path(), Duration::ZERO)?;
    let redis = Redis::start()?;
    let around = Surroundings { s3: &s3.endpoint(), redis: redis.address(), more: &json!({}) };
    let mut backends = Vec::new();
    for source in Source::ALL {
        backends.push(TechDocs::start(source, around).await?);
    }
    let count = arguments.rounds.unwrap_or(5);
    let mut table = head(count, arguments.seconds);
    for work in WORK {
        if arguments.filter.as_ref().is_none_or(|filter| work.name.contains(filter.as_str())) {
            write_rows(&mut table, work, &rounds(work, &mut backends, around, &wrk, arguments.seconds, count).await?)?;
        }
    }
    Ok(table)
}

async fn rounds(
    work: Work,
    backends: &mut [TechDocs],
    around: Surroundings<'_>,
    wrk: &Wrk,
    seconds: u64,
    count: usize,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for backend in &mut *backends {
        if work.is_large && backend.source != Source::Callboard {
            restart(backend, around).await?;
        }
        until_warm(work, backend).await?;
        load(work, backend, wrk, WARM_UP_SECONDS)?;
        measured.push(Measured { source: backend.source, figures: Vec::new() });
    }
    for count in 1..=count {
        for (backend, measured) in backends.iter_mut().zip(&mut measured) {
            if work.is_large && backend.source == Source::S3 {
                restart(backend, around).await?;
                load(PAGE, backend, wrk, WARM_UP_SECONDS)?;
            }
            let seconds = if work.is_large { seconds * LONGER_IF_LARGE } else { seconds };
            let figure = load(work, backend, wrk, seconds)?;
            let is_enough = figure.rate * seconds as f64 >= CONNECTIONS as f64;
            ensure!(is_enough, "{} answers {:.1} times a second: load it longer", backend.source, figure.rate);
            eprintln!("  {count}: {}, {}: {:.3} s", work.name, backend.source, figure.seconds);
            measured.figures.push(figure);
        }
    }
    Ok(measured)
}

/// Starts techdocs-backend anew before it is asked for large files from S3: its client never gets a connection back whose
/// reader left in the middle, as those do when a load ends, and has 50 of them.
async fn restart(backend: &mut TechDocs, around: Surroundings<'_>) -> anyhow::Result<()> {
    *backend = TechDocs::start(backend.source, around).await?;
    Ok(())
}

/// Reads until the answer has the encoding that was asked for: Callboard makes it behind its first answer.
async fn until_warm(work: Work, backend: &TechDocs) -> anyhow::Result<()> {
    let url = format!("http://{}{SITES}/{}/{}", backend.server.address, work.site, work.file);
    let client = reqwest::Client::new();
    let wanted = (work.encoding != "identity").then_some(work.encoding);
    for _ in 0..100 {
        let request = client.get(&url).bearer_auth(&backend.token).header(ACCEPT_ENCODING, work.encoding);
        let answer = request.send().await?.error_for_status()?;
        let encoding =
            answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().map(str::to_owned)).transpose()?;
        answer.bytes().await?;
        if encoding.as_deref() == wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{} does not answer in {}", backend.source, work.encoding)
}

fn load(work: Work, backend: &TechDocs, wrk: &Wrk, seconds: u64) -> anyhow::Result<Figure> {
    let headers = vec![
        ("Authorization".to_owned(), format!("Bearer {}", backend.token)),
        ("Accept-Encoding".to_owned(), work.encoding.to_owned()),
    ];
    let before = backend.server.cpu_time()?;
    let path = format!("{SITES}/{}/{}", work.site, work.file);
    // techdocs-backend's own cache closes the connection with each hit.
    let load = match backend.source {
        Source::Memory | Source::Redis => wrk.run_whatever_ends(backend.server.address, &path, &headers, seconds)?,
        Source::S3 | Source::Callboard => wrk.run(backend.server.address, &path, &headers, seconds)?,
    };
    let used = backend.server.cpu_time()?.saturating_sub(before);
    until_idle(backend)?;
    let requests = load.requests as f64;
    Ok(Figure {
        seconds: used.as_secs_f64() * 1000. / requests,
        rate: load.rate(),
        bytes: load.bytes as f64 / requests,
    })
}

/// Waits until nothing that was asked for is under way any more: it would be at the cost of whoever is loaded next.
fn until_idle(backend: &TechDocs) -> anyhow::Result<()> {
    loop {
        let before = backend.server.cpu_time()?;
        thread::sleep(IDLE_FOR);
        if backend.server.cpu_time()?.saturating_sub(before) < IDLE_FOR / 10 {
            return Ok(());
        }
    }
}

fn head(rounds: usize, seconds: u64) -> String {
    format!(
        "techdocs-backend; medians of {rounds} rounds of {seconds} s, {CONNECTIONS} connections, {}. A ratio is that of the halves of each \
         round.\n\n\
         | work | files from | req/s | CPU s of Node per 1000 | bytes an answer | req/s, (d) ÷ this (min–max) | CPU, (d) ÷ this |\n\
         |---|---|---:|---:|---:|---:|---:|\n",
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

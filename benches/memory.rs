//! What an entry of the memory tier costs, and whether the tier stays inside its budget.
//!
//! ```text
//! cargo bench --bench memory                        all rows, about a minute
//! cargo bench --bench memory -- --entries 100000    with fewer entries
//! ```
//!
//! How it measures:
//!
//! 1. Each row is a process of its own, this program again, so that no row finds what another has left behind.
//! 2. The cache is the program's own, in front of a store that makes its objects up: sites of 500 pages with keys of
//!    about 60 bytes, tags and dates as S3 gives them. Every page is fetched, then read once as an answer reads it.
//! 3. A row's figure is the growth of the resident set (`VmRSS`) less keys and bodies, per entry, with the allocator that
//!    the program runs on. What the tier believes to hold is its own metric.
//! 4. The last rows have a budget that is smaller than what is fetched; what counts there is the largest resident set
//!    seen, against the budget.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use callboard::cache::{Content, DocCache};
use callboard::clock::Clock;
use callboard::config::{self, Environment, Sources};
use callboard::docs::{Locator, ObjectName, Options, StorageKey};
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, Object, ObjectMeta, OriginOptions, Origins, StoreError, StoreOptions};
use callboard::telemetry::Instruments;
use clap::Parser;
use futures_util::{StreamExt, stream};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what entries of the memory tier cost.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many entries a row has, or how many pass through a budget that is too small for them.
    #[arg(long, default_value_t = 1_000_000)]
    entries: usize,
    /// Measures this row alone, in this process: bytes of a body.
    #[arg(long)]
    body: Option<usize>,
    /// The tier's budget in MiB for that row.
    #[arg(long, default_value_t = 16 << 10)]
    budget: usize,
    /// `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows: bytes of a body, and the budget in MiB where it is too small.
const ROWS: [(usize, Option<usize>); 5] = [(0, None), (100, None), (2048, None), (100, Some(128)), (2048, Some(256))];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(body) = arguments.body {
        return measure(&arguments, body);
    }
    println!(
        "{:>9} {:>8} {:>9} {:>12} {:>13} {:>11} {:>10}",
        "body", "budget", "entries", "key", "beyond both", "believed", "peak"
    );
    for (body, budget) in ROWS {
        let mut row = Command::new(std::env::current_exe()?);
        row.args(["--entries", &arguments.entries.to_string(), "--body", &body.to_string()]);
        row.args(budget.iter().flat_map(|budget| ["--budget".to_owned(), budget.to_string()]));
        anyhow::ensure!(row.status()?.success(), "a row was not measured");
    }
    Ok(())
}

/// Measures one row and prints it.
fn measure(arguments: &Arguments, body: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let instruments = Arc::new(Instruments::new()?);
    let cache = cache(arguments.budget << 20, body, &instruments)?;
    let locator = Locator::new(Options::default());
    // What the first request sets up once is no entry's.
    runtime.block_on(read(&cache, &page(&locator, usize::MAX >> 1)?, body))?;
    let (before, mut key_bytes, mut peak) = (resident()?, 0, 0);
    for number in 0..arguments.entries {
        let key = page(&locator, number)?;
        key_bytes += key.as_str().len();
        runtime.block_on(read(&cache, &key, body))?;
        if number % 10_000 == 0 {
            peak = peak.max(resident()?);
        }
    }
    let grown = resident()?.saturating_sub(before) as f64;
    let peak = peak.max(resident()?).saturating_sub(before) as f64;
    let (held, believed) = (gauge(&instruments, "entries")?, gauge(&instruments, "size_bytes")?);
    let key = key_bytes as f64 / arguments.entries as f64;
    let budget = (arguments.budget << 20) as f64;
    println!(
        "{body:>7} B {:>4} MiB {held:>9} {key:>10.1} B {:>11.1} B {:>9.1} B {:>10}",
        arguments.budget,
        grown / held - key - body as f64,
        believed / held - key - body as f64,
        if held < arguments.entries as f64 { format!("{:.3}", peak / budget) } else { "-".to_owned() },
    );
    Ok(())
}

/// Has a page fetched and reads it as an answer does.
async fn read(cache: &Arc<DocCache>, key: &StorageKey, body: usize) -> anyhow::Result<()> {
    cache.fetch(key).await?;
    // In a budget that is too small it may not stay.
    let Some(found) = cache.fresh(key) else { return Ok(()) };
    let Content::Body(held) = found.entry.content() else { anyhow::bail!("{key} has no body") };
    anyhow::ensure!(Content::shared(held).len() == body, "{key} has another body");
    Ok(())
}

/// The program's cache, in front of a store that makes up bodies of `body` bytes.
fn cache(budget: usize, body: usize, instruments: &Arc<Instruments>) -> anyhow::Result<Arc<DocCache>> {
    let environment = Environment { variables: [].into(), directory: std::env::temp_dir() };
    let resolved = config::read(&Sources { files: Vec::new(), environment })?.resolved;
    let options = OriginOptions::new("made-up", StoreOptions::Sample);
    let storage = Arc::new(Origins::only(Arc::new(MadeUp { body }), &options, instruments, Clock::System));
    let options = callboard::cache::Options {
        memory_max_bytes: budget as u64,
        fresh_for: Duration::from_secs(24 * 60 * 60),
        publish_check: Duration::ZERO,
        settle_for: Duration::ZERO,
        ..resolved.cache
    };
    Ok(DocCache::new(storage, None, options, Clock::System, Arc::clone(instruments)))
}

/// The key of one of many pages.
fn page(locator: &Locator, number: usize) -> anyhow::Result<StorageKey> {
    let (site, page) = (number / 500, number % 500);
    let path = format!("/static/docs/default/component/service-{site:04}/guide/part-{page:03}/index.html");
    Ok(locator.locate(&path).context("no such page")?.key)
}

/// What the process holds in memory now.
fn resident() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident set")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? << 10)
}

/// What the memory tier's metric of this name says.
fn gauge(instruments: &Instruments, name: &str) -> anyhow::Result<f64> {
    let text = instruments.prometheus()?;
    let line = text.lines().find(|line| line.starts_with(&format!("callboard_cache_memory_{name}")));
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value.with_context(|| format!("no metric {name}"))?.parse()?)
}

/// A store whose objects are made up when they are asked for.
#[derive(Debug)]
struct MadeUp {
    body: usize,
}

#[async_trait]
impl DocStore for MadeUp {
    async fn stat(&self, _key: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let digits: String = (0..4).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
        let last_modified = Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000 + u64::from(rand::random::<u16>())));
        Ok(ObjectMeta { size: self.body as u64, etag: ETag::from_store(&digits), last_modified })
    }

    async fn get(&self, key: &ObjectName<'_>, _options: &GetOptions) -> Result<Object, StoreError> {
        let body = Bytes::from(vec![b'a'; self.body]);
        Ok(Object { meta: self.stat(key).await?, body: stream::iter([Ok(body)]).boxed() })
    }

    async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

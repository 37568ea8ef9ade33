//! What techdocs-backend costs, and how long its readers wait, in each of the ways in which it can come by its files.
//!
//! ```text
//! tests/run.sh                                       once: brings Backstage, its app and Chromium, and builds the site
//! cargo bench --bench backstage                      requests and CPU time, about ten minutes
//! cargo bench --bench backstage -- readers           in the browser, storage near and 100 ms away, about three minutes
//! cargo bench --bench backstage -- requests br --rounds 7 --seconds 5
//! ```
//!
//! How it measures:
//!
//! 1. The four ways are (a) awsS3 each time, (b) techdocs-backend's own cache in memory, (c) the same in Redis, (d) the
//!    Callboard module. Each is a Backstage backend from the published packages in a process of its own, all on core 0;
//!    whatever makes the load, Callboard, Redis and storage share core 1.
//! 2. Storage is this program again (`support/s3.rs`): a folder, answered as S3 does, at next to no cost. So (a) is as good
//!    as it can be; a real bucket is farther away. Far storage takes 100 ms for each connection and each answer.
//! 3. `requests`: `wrk` with 32 keep-alive connections shows a guest's token, as the browser does. After a warm-up all four
//!    are loaded in turn, round after round. CPU time is that of all threads of the Node process.
//! 4. `readers`: in each round a new visitor, whose browser has nothing cached, comes to each of the four in turn, opens the
//!    site, clicks to a page, to another, and back to the first. A first round counts for nothing: it fills the caches.
//!    Time is from the click, or the start of the navigation, until the article's heading can be seen, by the page's own
//!    clock; bytes are those on the wire, heads included, by the browser's own network log. The app is the published
//!    reader (`tests/backstage/app`), served by the real app backend; the browser may use both cores.

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/json.rs"]
mod json;
#[path = "../support/process.rs"]
mod process;
mod readers;
#[path = "../support/redis.rs"]
mod redis;
mod requests;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/stats.rs"]
mod stats;
#[path = "../support/techdocs.rs"]
mod techdocs;
#[path = "../support/wrk.rs"]
mod wrk;

use clap::{Parser, ValueEnum};

/// Measures techdocs-backend with and without Callboard.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(default_value = "requests")]
    what: What,
    /// Only work whose name holds this; of requests.
    filter: Option<String>,
    /// How often each backend has its turn: 5 times under load, or 7 visitors, unless told.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each backend is loaded at a time; of requests.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Requests,
    Readers,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == s3::ROLE => s3::serve(arguments),
        _ => measure(&Arguments::parse()),
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing measured: run it with `cargo bench --bench backstage`.");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = match arguments.what {
        What::Requests => runtime.block_on(requests::measure(arguments))?,
        What::Readers => runtime.block_on(readers::measure(arguments))?,
    };
    println!("\n{table}");
    Ok(())
}

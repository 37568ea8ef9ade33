//! What many sites, readers, publishes and replicas cost: a simulation that runs the program's own cache, and runs of real
//! replicas to hold it against.
//!
//! ```text
//! cargo bench --bench scaling                       the simulation, about two minutes
//! cargo bench --bench scaling -- storage            one table of it: storage, redis, memory, looks
//! cargo bench --bench scaling -- check              runs of real replicas, about five minutes
//! cargo bench --bench scaling -- --svg              also writes docs/benchmarks/scaling.svg
//! ```
//!
//! `load.rs` says who reads, `store.rs` is the storage, `world.rs` moves the clocks, `formulas.rs` says what should come of it,
//! and `rows.rs` what is simulated. Figures are counts and do not depend on the machine. `docs/scaling.md` reads them.

mod capacity;
mod check;
mod formulas;
mod load;
mod plot;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "nobody's CPU time is measured here")]
mod process;
mod redis_counts;
mod rows;
#[path = "../support/s3.rs"]
mod s3;
#[path = "../support/redis.rs"]
mod server;
mod store;
mod world;

use std::path::Path;

use clap::{Parser, ValueEnum};

use world::{Measured, Scenario};

/// Simulates Callboard at scale.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only this table.
    what: Option<What>,
    /// Also draws docs/benchmarks/scaling.svg.
    #[arg(long)]
    svg: bool,
    /// Put here by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Storage,
    Redis,
    Memory,
    Looks,
    Capacity,
    Check,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(role) if role == process::GUARD => process::guard(arguments.collect()),
        Some(role) if role == s3::ROLE => s3::serve(arguments),
        _ => simulate(&Arguments::parse()),
    }
}

fn simulate(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.bench {
        println!("Nothing simulated: run it with `cargo bench --bench scaling`.");
        return Ok(());
    }
    let wanted = |what| arguments.what.is_none_or(|only| only == what);
    if wanted(What::Storage) {
        println!("What storage is asked\n\n{}", rows::storage_table(&rows::storage_rows())?);
    }
    if wanted(What::Redis) {
        println!("With Redis\n\n{}", rows::redis_table(&rows::redis_rows())?);
    }
    let memory = rows_if(wanted(What::Memory) || arguments.svg, rows::memory_rows)?;
    let looks = rows_if(wanted(What::Looks) || arguments.svg, rows::look_rows)?;
    if wanted(What::Memory) {
        println!("Answered from memory\n\n{}", rows::memory_table(&memory));
    }
    if wanted(What::Looks) {
        println!("Looks at sites, a second\n\n{}", rows::look_table(&looks));
    }
    if arguments.svg {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("scaling.svg"), plot::svg(&memory, &looks))?;
    }
    if wanted(What::Capacity) {
        println!("A hundred thousand sites\n\n{}", capacity::table());
        println!("ES256: {:.1} µs a token that is new\n", capacity::es256_micros()?);
    }
    if arguments.what == Some(What::Check) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        println!("Replicas\n\n{}", runtime.block_on(check::table())?);
    }
    Ok(())
}

fn rows_if(is_wanted: bool, rows: impl Fn() -> Vec<Scenario>) -> anyhow::Result<Vec<Measured>> {
    if is_wanted { rows::run(&rows()) } else { Ok(Vec::new()) }
}

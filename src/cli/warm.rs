//! `callboard warm`: has a running Callboard fetch sites before anyone reads them, and shows how far it is.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{ConfigFiles, EXIT_FAILURE, output, running, runtime};
use crate::cache::Warmed;
use crate::docs::EntityRef;
use crate::pipeline::{WARM, WarmLine};

/// Characters of the bar.
const BAR: usize = 30;

/// What to warm.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Files at a time. Readers go first in any case, and a part of storage's places is left to them.
    #[arg(long, value_name = "COUNT")]
    concurrency: Option<usize>,
    /// The admin listener's address, where the configuration is not to be asked for it.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Entities whose sites are fetched, such as component:default/shop.
    #[arg(value_name = "ENTITY REF")]
    entities: Vec<EntityRef>,
    /// Fetches all sites that storage has. Its credential must be able to list.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(files: ConfigFiles, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let base = running::admin(files, arguments.address)?;
    let mut url = running::operation(&base, WARM, &arguments.what.entities)?;
    if arguments.what.all {
        url.query_pairs_mut().append_pair("all", "true");
    }
    if let Some(concurrency) = arguments.concurrency {
        url.query_pairs_mut().append_pair("concurrency", &concurrency.to_string());
    }
    let summary = runtime()?.block_on(async {
        // It takes as long as it takes; there is a line several times a second.
        let client = reqwest::Client::builder().no_proxy().build()?;
        follow(running::done(client.post(url), &base).await?).await
    })?;
    output::line(&told(&summary))?;
    let is_lacking = summary.failed > 0 || summary.listing_failed.is_some();
    // Whoever names an entity means one that has a site.
    let is_missing = !arguments.what.all && summary.sites_unlisted > 0;
    Ok(if is_lacking || is_missing { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

/// Shows each step until the last line.
async fn follow(mut answer: reqwest::Response) -> anyhow::Result<Warmed> {
    let mut display = Display::new();
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("Callboard ended the warming before it was done")? {
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match serde_json::from_slice(&line).context("the answer is none of Callboard's")? {
                WarmLine::Progress(warmed) => display.show(&warmed)?,
                WarmLine::Summary(warmed) => {
                    display.clear()?;
                    return Ok(warmed);
                }
            }
        }
    }
    bail!("Callboard ended the warming before it was done")
}

/// A bar where somebody looks on, and elsewhere a line a site.
struct Display {
    is_terminal: bool,
    site: String,
}

impl Display {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), site: String::new() }
    }

    fn show(&mut self, warmed: &Warmed) -> io::Result<()> {
        if self.is_terminal {
            write!(io::stderr(), "\r{}\x1b[K", bar(warmed))
        } else if self.site == warmed.site {
            Ok(())
        } else {
            self.site.clone_from(&warmed.site);
            writeln!(io::stderr(), "{} ({} of {} sites done)", warmed.site, warmed.sites_done, warmed.sites)
        }
    }

    fn clear(&self) -> io::Result<()> {
        if self.is_terminal { write!(io::stderr(), "\r\x1b[K") } else { Ok(()) }
    }
}

fn bar(warmed: &Warmed) -> String {
    let done = warmed.files_done();
    let filled = (BAR * done).checked_div(warmed.files).unwrap_or_default().min(BAR);
    let Warmed { site, sites, sites_done, files, .. } = warmed;
    format!(
        "[{}{}] {done}/{files} files, {sites_done}/{sites} sites  {site}",
        "#".repeat(filled),
        "-".repeat(BAR - filled)
    )
}

fn told(warmed: &Warmed) -> String {
    let Warmed { sites, sites_done, files, fetched, from_redis, fresh, bytes, .. } = warmed;
    let mebibytes = bytes.div_ceil(1 << 20);
    let mut lines = vec![format!(
        "{sites_done} of {sites} sites, {files} files: {fetched} from storage, {from_redis} from Redis, {fresh} held before. \
         {mebibytes} MiB of memory."
    )];
    let counts = [
        (warmed.sites_unlisted, "sites without a list of files: not published, or by an old techdocs-cli"),
        (warmed.absent, "files that are listed and not there"),
        (warmed.bad_names, "names that no file can have"),
        (warmed.too_large, "files too large to keep (callboard.cache.maxObjectBytes)"),
        (warmed.failed, "files that storage failed to send: see Callboard's log"),
    ];
    lines.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}.")));
    if warmed.beyond_memory {
        lines.push("It ended early: more would not fit into memory. Raise callboard.cache.memory.maxBytes.".to_owned());
    }
    if warmed.sites_left_out {
        lines.push("There are more sites than are warmed at once: the others were left out.".to_owned());
    }
    if let Some(reason) = &warmed.listing_failed {
        lines.push(format!("Storage does not tell which sites it has ({reason}): name the entities instead of --all."));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_when_all_is_done_and_never_fuller() {
        let filled = |fetched, files| bar(&Warmed { fetched, files, ..Warmed::default() }).matches('#').count();
        assert_eq!((filled(0, 0), filled(0, 10), filled(5, 10), filled(10, 10), filled(11, 10)), (0, 0, 15, 30, 30));
    }
}

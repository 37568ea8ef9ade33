//! Row 9: a thousand times as many entries in memory.

use std::os::unix::fs::symlink;

use anyhow::ensure;
use serde_json::json;

use super::callboard::{AccessLog, Callboard, write};
use super::client::{self, Job, What};
use super::contest::{Contender, Page, Rounds};
use super::json::merge;
use super::peers::OURS_HIT;
use super::report::Line;
use super::wire::Answer;
use super::wrk::Wrk;

/// Pages of a site, and bytes of a page.
const PAGES: usize = 1000;
const BYTES: usize = 300;
const SITES: usize = 1000;

const ENTRIES: &str = "callboard_cache_memory_entries";
/// Counts whatever storage was asked for.
const OPERATIONS: &str = "callboard_storage_operation_duration_seconds_count";

/// How often it may have been asked meanwhile for other reasons than a reader's.
const UPKEEP: f64 = 50.0;

/// Draws a page at random for each request.
const RANDOM_PAGE: &str = r#"
local sites, pages = %SITES%, %PAGES%
function request()
  local path = string.format("/api/techdocs/static/docs/default/component/site-%03d/page-%03d.html",
    math.random(0, sites - 1), math.random(0, pages - 1))
  return wrk.format(nil, path)
end
"#;

/// A hit among a million entries, against one among a thousand.
pub(crate) fn growth(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let (many, few) = (filled(SITES)?, filled(1)?);
    let (many_wrk, few_wrk) = (wrk(SITES)?, wrk(1)?);
    let ask = |callboard: &Callboard| {
        let headers = vec![callboard.authorization()];
        let answer = Answer::get(callboard.address(), &path(0, 0), &headers)?;
        ensure!(answer.body.len() == BYTES, "{} bytes and not {BYTES}", answer.body.len());
        Page::ask(callboard.address(), &path(0, 0), &headers, OURS_HIT, &answer)
    };
    let operations = many.metric(OPERATIONS)? + few.metric(OPERATIONS)?;
    let lines = rounds.run(
        row,
        &[
            Contender::asked("1,000,000 entries", many.server(), &many_wrk, ask(&many)?),
            Contender::asked("1,000 entries", few.server(), &few_wrk, ask(&few)?).goal(1.30),
        ],
    )?;
    let asked = many.metric(OPERATIONS)? + few.metric(OPERATIONS)? - operations;
    ensure!(asked < UPKEEP, "storage was asked {asked} times, so not all were hits");
    Ok(lines)
}

/// Callboard with all pages of so many sites in memory.
fn filled(sites: usize) -> anyhow::Result<Callboard> {
    let callboard = Callboard::start_as(AccessLog::Off, |folder, configuration| {
        let components = folder.join("default/component");
        for page in 0..PAGES {
            write(&components.join(format!("site-000/page-{page:03}.html")), &[b'x'; BYTES])?;
        }
        // The other sites have the same pages.
        for site in 1..sites {
            symlink("site-000", components.join(format!("site-{site:03}")))?;
        }
        // What sites cost that are looked at every few seconds is no matter of entries.
        let section = json!({ "cache": { "memory": { "maxBytes": "8GiB" } }, "site": { "publishCheck": "0s" } });
        merge(configuration, &json!({ "callboard": section }));
        Ok(())
    })?;
    let token = callboard.token().to_owned();
    let job = Job::Each { address: callboard.address(), what: What::Pages { sites, pages: PAGES, token } };
    client::run::<u64>(&job)?;
    let entries = callboard.metric(ENTRIES)?;
    ensure!(entries >= (sites * PAGES) as f64, "{entries} entries are held of {sites} sites");
    Ok(callboard)
}

fn wrk(sites: usize) -> anyhow::Result<Wrk> {
    let script = RANDOM_PAGE.replace("%SITES%", &sites.to_string()).replace("%PAGES%", &PAGES.to_string());
    Wrk::scripted(&script)
}

/// Where a page of a site is.
pub(crate) fn path(site: usize, page: usize) -> String {
    format!("/api/techdocs/static/docs/default/component/site-{site:03}/page-{page:03}.html")
}

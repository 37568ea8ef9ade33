//! How long readers in a real browser wait, and for how many bytes.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::Arguments;
use crate::browser::{Browser, Visit};
use crate::redis::Redis;
use crate::s3::S3;
use crate::stats::{median, sorted};
use crate::techdocs::{Source, Surroundings, TechDocs, bucket};

/// A round trip to storage that is far.
const FAR: Duration = Duration::from_millis(100);

/// Links of the site, by their texts: the page that is come back to, and another.
const PAGE: &str = "Section 03";
const OTHER_PAGE: &str = "Section 04";

/// What a visitor does, in this order.
#[derive(Debug, Clone, Copy)]
enum Step {
    Open,
    FirstVisit,
    Revisit,
}

/// All visits to one backend, step by step.
#[derive(Debug)]
struct Visits {
    source: Source,
    steps: [(Step, Vec<Visit>); 3],
}

/// Sends visitors to all backends in turn; the table.
pub(crate) async fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let folder = bucket()?;
    let catalog = folder.path().join("catalog.yaml");
    std::fs::write(&catalog, ENTITY)?;
    let count = arguments.rounds.unwrap_or(7);
    let mut table = format!(
        "Medians of {count} visitors.\n\n\
         | storage | files from | step | heading seen after, ms (min–max) | documents without images, KiB | all requests, KiB |\n\
         |---|---|---|---:|---:|---:|\n",
    );
    for (name, round_trip) in [("near", Duration::ZERO), ("100 ms away", FAR)] {
        for visits in rounds(name, round_trip, folder.path(), &catalog, count).await? {
            write_rows(&mut table, name, &visits)?;
        }
    }
    Ok(table)
}

async fn rounds(
    name: &str,
    round_trip: Duration,
    folder: &Path,
    catalog: &Path,
    count: usize,
) -> anyhow::Result<Vec<Visits>> {
    let s3 = S3::start(folder, round_trip)?;
    let redis = Redis::start()?;
    let more = app(catalog);
    let around = Surroundings { s3: &s3.endpoint(), redis: redis.address(), more: &more };
    let mut browser = Browser::start()?;
    let mut backends = Vec::new();
    for source in Source::ALL {
        let steps = [Step::Open, Step::FirstVisit, Step::Revisit].map(|step| (step, Vec::new()));
        backends.push((TechDocs::start(source, around).await?, Visits { source, steps }));
    }
    for round in 0..=count {
        for (backend, visits) in &mut backends {
            let told = visit(&mut browser, backend)?;
            let millis = told.each_ref().map(|visit| format!("{:.0} ms", visit.millis)).join(", ");
            eprintln!("  {name}, {round}: {}: {millis}", visits.source);
            if round > 0 {
                visits.steps.iter_mut().zip(told).for_each(|((_, visits), visit)| visits.push(visit));
            }
        }
    }
    Ok(backends.into_iter().map(|(_, visits)| visits).collect())
}

/// One visitor, from the first page to the last.
fn visit(browser: &mut Browser, backend: &TechDocs) -> anyhow::Result<[Visit; 3]> {
    browser.new_visitor()?;
    let open = browser.open(&format!("http://{}/docs/default/component/large", backend.server.address))?;
    let first = browser.click(PAGE)?;
    browser.click(OTHER_PAGE)?;
    let revisit = browser.click(PAGE)?;
    ensure!(first.heading == revisit.heading, "{} and {}", first.heading, revisit.heading);
    Ok([open, first, revisit])
}

fn app(catalog: &Path) -> Value {
    json!({
        "app": { "packageName": "callboard-techdocs-reader", "disableStaticFallbackCache": true },
        "catalog": { "locations": [{ "type": "file", "target": catalog }] },
    })
}

const ENTITY: &str = "\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: large, annotations: { backstage.io/techdocs-ref: 'dir:.' } }
spec: { type: website, lifecycle: production, owner: guests }
";

fn write_rows(table: &mut String, storage: &str, visits: &Visits) -> anyhow::Result<()> {
    for (step, visits_of_step) in &visits.steps {
        let step = match step {
            Step::Open => "first open",
            Step::FirstVisit => "click, first visit",
            Step::Revisit => "click, revisit",
        };
        let all = |figure: fn(&Visit) -> f64| sorted(visits_of_step.iter().map(figure));
        let millis = all(|visit| visit.millis);
        let (least, most) = millis.first().zip(millis.last()).context("nobody came")?;
        writeln!(
            table,
            "| {storage} | {} | {step} | {:.0} ({least:.0}–{most:.0}) | {:.1} | {:.1} |",
            visits.source,
            median(&millis),
            median(&all(|visit| visit.document_bytes)) / 1024.,
            median(&all(|visit| visit.bytes)) / 1024.,
        )?;
    }
    Ok(())
}

//! `docs/metrics.md`, held against what a Callboard that has just started tells: that every series is there from the
//! start, at zero, is what makes the comparison possible.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Callboard;

/// A family of series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeMap<String, BTreeSet<String>>,
}

#[tokio::test]
async fn the_table_of_metrics_says_what_is_there() {
    let callboard = Callboard::start().await;
    let text = reqwest::get(format!("http://{}/metrics", callboard.admin)).await.unwrap().text().await.unwrap();
    let told = families(&text);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let written = rows(&std::fs::read_to_string(path).unwrap());
    let names = |families: &BTreeMap<String, Family>| families.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&written), names(&told));
    for (name, family) in told {
        assert_eq!(written[&name], family, "{name}");
    }
}

#[tokio::test]
async fn every_series_is_there_at_zero() {
    let callboard = Callboard::start().await;
    let text = reqwest::get(format!("http://{}/metrics", callboard.admin)).await.unwrap().text().await.unwrap();
    let counted = text.lines().filter(|line| !line.starts_with('#'));
    // Storage is asked for a listing as soon as the program runs, and this look is a connection too.
    let busy = ["operation=\"list\"", "listener=\"admin\""];
    let not_zero: Vec<&str> =
        counted.filter(|line| !line.ends_with(" 0") && !busy.iter().any(|label| line.contains(label))).collect();
    assert!(not_zero.is_empty(), "{not_zero:#?}");
    // What a scrape costs is a promise too.
    assert!(text.len() < 1_000_000, "{} bytes", text.len());
}

/// Each family that `/metrics` shows, with all values of all of its labels.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if let Some((series, labels)) = line.split_once('{') {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.strip_suffix(suffix));
            let name = base.filter(|base| families.contains_key(*base)).unwrap_or(series);
            let labels = labels.rsplit_once('}').unwrap().0.trim_end_matches(',');
            let known = &mut families.get_mut(name).unwrap().labels;
            for label in labels.split("\",") {
                let (label, value) = label.split_once("=\"").unwrap();
                if label != "le" {
                    known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
                }
            }
        }
    }
    families
}

/// The rows of the table: `| metric | OpenTelemetry's name | type | labels | what it tells |`, labels as
/// `` `label`: `value` `value` `` with `<br>` between them.
fn rows(document: &str) -> BTreeMap<String, Family> {
    let metrics = document.split("## Spans").next().unwrap();
    let rows = metrics.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, kind, labels, help] = cells[..] else { panic!("{row}") };
        let labels = labels.split("<br>").filter(|label| !label.is_empty()).map(|label| {
            let mut words = label.split('`').skip(1).step_by(2).map(str::to_owned);
            (words.next().unwrap(), words.collect())
        });
        let family = Family { kind: kind.to_owned(), help: help.to_owned(), labels: labels.collect() };
        (name.trim_matches('`').to_owned(), family)
    })
    .collect()
}

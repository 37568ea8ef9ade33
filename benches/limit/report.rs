//! What was measured, as a table, as a file for whoever wants to plot it, and as lines of earlier runs.

use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};

use callboard::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::stats::{median, sorted};

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "µs of CPU")]
    Micros,
    #[serde(rename = "ms until answered, p99")]
    Millis,
    #[serde(rename = "bytes")]
    Bytes,
    #[serde(rename = "KiB")]
    Kibibytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::Bytes => "B",
            Self::Kibibytes => "KiB",
        })
    }
}

/// A comparison with one peer: a figure of each round for either.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) row: String,
    pub(crate) against: String,
    pub(crate) unit: Unit,
    pub(crate) callboard: Vec<f64>,
    pub(crate) peer: Vec<f64>,
    /// The most that their ratio may be.
    pub(crate) goal: Option<f64>,
    /// Seconds since 1970.
    measured: u64,
}

impl Line {
    pub(crate) fn of(row: &str, against: &str, unit: Unit, callboard: Vec<f64>, peer: Vec<f64>) -> Self {
        let (row, against) = (row.to_owned(), against.to_owned());
        Self { row, against, unit, callboard, peer, goal: None, measured: Clock::System.now().as_secs() }
    }

    pub(crate) fn goal(mut self, goal: Option<f64>) -> Self {
        self.goal = goal;
        self
    }

    /// The least, the middle and the largest of the rounds' ratios.
    pub(crate) fn ratio(&self) -> [f64; 3] {
        let ratios = sorted(self.callboard.iter().zip(&self.peer).map(|(ours, theirs)| ours / theirs));
        let end = |ratio: Option<&f64>| ratio.copied().unwrap_or(f64::NAN);
        [end(ratios.first()), median(&ratios), end(ratios.last())]
    }

    /// The medians of both.
    pub(crate) fn medians(&self) -> [f64; 2] {
        [&self.callboard, &self.peer].map(|figures| median(&sorted(figures.iter().copied())))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.row == other.row && self.against == other.against && self.unit == other.unit
    }
}

/// All lines, those of earlier runs included.
#[derive(Debug)]
pub(crate) struct Report {
    file: PathBuf,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    /// What earlier runs have left.
    pub(crate) fn open() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/limit.json");
        let lines = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        Self { file, lines: lines.map(|kept| kept.lines).unwrap_or_default() }
    }

    /// Puts lines in the place of those of earlier runs, and keeps all.
    pub(crate) fn put(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        for line in lines {
            match self.lines.iter_mut().find(|known| known.is_same(line)) {
                Some(known) => *known = line.clone(),
                None => self.lines.push(line.clone()),
            }
        }
        self.lines.sort_by_key(|line| number(&line.row));
        Ok(fs::write(&self.file, format!("{:#}\n", json!({ "lines": self.lines })))?)
    }
}

#[derive(Deserialize)]
struct Kept {
    lines: Vec<Line>,
}

/// The number that a row's name begins with.
pub(crate) fn number(row: &str) -> u32 {
    row.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

/// The lines in Markdown.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "| row | against | Callboard | peer | ratio, median (min–max) | goal | met |\n\
        | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for line in lines {
        let Line { row, against, unit, goal, .. } = line;
        let ([ours, theirs], [least, ratio, most]) = (line.medians(), line.ratio());
        let met = goal.map_or("", |goal| if ratio <= goal { "yes" } else { "no" });
        let goal = goal.map_or_else(String::new, |goal| format!("{goal:.2}"));
        let digits = if *unit == Unit::Bytes { 0 } else { 2 };
        // Writing to a string can't fail.
        let _ = writeln!(
            table,
            "| {row} | {against} | {ours:.digits$} {unit} | {theirs:.digits$} {unit} | {ratio:.3} ({least:.3}–{most:.3}) | {goal} | {met} |",
        );
    }
    table
}

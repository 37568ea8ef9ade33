//! Chromium with somebody in front of it: `tests/backstage/browser.mjs`, which is told a line and answers with one.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::redis::tools;
use super::techdocs::SITES;

/// A browser that ends with this.
#[derive(Debug)]
pub(crate) struct Browser {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What came of opening a page or clicking a link.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) heading: String,
    /// Milliseconds until the heading could be seen.
    pub(crate) millis: f64,
    /// Bytes of all answers.
    pub(crate) bytes: f64,
    /// Bytes of the site's own files without its images.
    pub(crate) document_bytes: f64,
}

/// What the browser tells of it.
#[derive(Debug, Deserialize)]
struct Answer {
    heading: String,
    ms: f64,
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    url: String,
    bytes: f64,
}

impl Browser {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/backstage/browser.mjs");
        let path = format!("{}:{}", std::env::var("PATH").unwrap_or_default(), tools().join("venv/bin").display());
        let mut node = Command::new("node");
        node.arg(program).env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = node.spawn().context("can't start node; tests/setup.sh brings it")?;
        let lines = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        let mut browser = Self { process, lines };
        browser.hear()?;
        Ok(browser)
    }

    /// Somebody new, whose browser has nothing cached.
    pub(crate) fn new_visitor(&mut self) -> anyhow::Result<()> {
        self.ask(&json!({ "do": "visitor" })).map(drop)
    }

    pub(crate) fn open(&mut self, url: &str) -> anyhow::Result<Visit> {
        self.lead(&json!({ "do": "open", "url": url, "within": 60_000 }))
    }

    pub(crate) fn click(&mut self, link: &str) -> anyhow::Result<Visit> {
        self.lead(&json!({ "do": "click", "link": link }))
    }

    fn lead(&mut self, told: &Value) -> anyhow::Result<Visit> {
        let answer = self.ask(told)?;
        ensure!(answer.get("shown").is_some_and(|shown| shown == "article"), "{told} ends in {answer}");
        let answer: Answer = serde_json::from_value(answer)?;
        let bytes_of = |is_counted: fn(&Request) -> bool| {
            answer.requests.iter().filter(|request| is_counted(request)).map(|request| request.bytes).sum()
        };
        let bytes = bytes_of(|_| true);
        let document_bytes = bytes_of(|request| request.url.contains(SITES) && !is_image(&request.url));
        Ok(Visit { heading: answer.heading, millis: answer.ms, bytes, document_bytes })
    }

    fn ask(&mut self, told: &Value) -> anyhow::Result<Value> {
        let input = self.process.stdin.as_mut().context("no standard input")?;
        writeln!(input, "{told}")?;
        let answer = self.hear()?;
        ensure!(answer.get("failed").is_none(), "{told} fails: {answer}");
        Ok(answer)
    }

    fn hear(&mut self) -> anyhow::Result<Value> {
        let line = self.lines.next().context("the browser has ended")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Images that the reader fetches itself have no type of their own in the browser's log.
fn is_image(url: &str) -> bool {
    [".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".ico"].iter().any(|extension| url.ends_with(extension))
}

//! A document's code blocks, and what its console blocks promise.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// More than all commands of a section take together; then whatever they have left running is ended, too.
const SECTION_WITHIN: &str = "120";

/// Stands before what a command writes.
const MARK: &str = "@@@ ";

/// What stands under one heading.
pub struct Section {
    blocks: Vec<Block>,
}

struct Block {
    language: String,
    text: String,
}

impl Section {
    /// The one with this heading in `docs/backstage.md`, with `replacements` for what is elsewhere in a test.
    pub fn read(heading: &str, replacements: &[(&str, &str)]) -> Self {
        let document = document();
        let (_, rest) = document.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
        let text = rest.split("\n## ").next().unwrap();
        let text = replacements.iter().fold(text.to_owned(), |text, (name, here)| {
            assert!(text.contains(name), "{heading} no longer says {name}");
            text.replace(name, here)
        });
        Self { blocks: blocks(&text) }
    }

    /// Its blocks in a language.
    pub fn blocks(&self, language: &str) -> Vec<&str> {
        self.blocks.iter().filter(|block| block.language == language).map(|block| block.text.as_str()).collect()
    }

    /// Its configuration: the blocks that are not said to be another file's.
    pub fn config(&self) -> String {
        let blocks = self.blocks("yaml").into_iter().filter(|block| !block.starts_with("# ."));
        let [config] = blocks.collect::<Vec<_>>()[..] else { panic!("one configuration a section") };
        config.to_owned()
    }

    /// Runs its commands one after the other in one shell in `folder`, and compares what they write with what the document
    /// says that they do.
    pub async fn play(&self, folder: &Path, variables: &[(&str, &str)]) {
        let steps: Vec<Step> = self.blocks("console").into_iter().flat_map(steps).collect();
        assert!(!steps.is_empty());
        let told = run(&steps, folder, variables).await;
        let mut outputs = told.split(MARK).skip(1);
        for step in &steps {
            let output = outputs.next().unwrap_or_else(|| panic!("did not get as far as: {}\n{told}", step.command));
            let mut lines = output.lines();
            for expected in &step.expected {
                assert!(
                    lines.any(|line| matches(line.trim_end_matches('\r'), expected)),
                    "$ {}\nis to say: {expected}\nand says: {output}",
                    step.command
                );
            }
        }
        assert!(outputs.next().is_some_and(|last| last.starts_with("done")), "{told}");
    }
}

pub fn document() -> String {
    std::fs::read_to_string(root().join("docs/backstage.md")).unwrap()
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn blocks(text: &str) -> Vec<Block> {
    let fences: Vec<&str> = text.split("\n```").collect();
    assert!(fences.len() % 2 == 1, "a block is not closed");
    let opened = fences.iter().skip(1).step_by(2);
    opened
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap();
            Block { language: language.to_owned(), text: format!("{text}\n") }
        })
        .collect()
}

/// A command, and lines of what it writes, in this order and with others in between. `…` stands for anything.
struct Step {
    command: String,
    expected: Vec<String>,
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: Vec::new() }),
            (None, Some(step)) => step.expected.push(line.to_owned()),
            (None, None) => panic!("{line} before any command"),
        }
    }
    steps
}

async fn run(steps: &[Step], folder: &Path, variables: &[(&str, &str)]) -> String {
    // What runs on behind the others is ended with the shell.
    let mut script = String::from("set -eu\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    for step in steps {
        // Its log would stand in the middle of what the others write.
        let command = match step.command.strip_suffix(" &") {
            Some(command) => format!("{command} >/dev/null 2>&1 &"),
            None => step.command.clone(),
        };
        script += &format!("printf '\\n{MARK}\\n'\n{command}\n");
    }
    script += &format!("printf '\\n{MARK}done\\n'\n");
    let binary = Path::new(env!("CARGO_BIN_EXE_callboard")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("timeout");
    shell.args([SECTION_WITHIN, "bash", "-c", &script]).current_dir(folder).stdin(Stdio::null());
    shell.env_clear().env("PATH", path).env("HOME", folder).envs(variables.iter().copied()).kill_on_drop(true);
    String::from_utf8(shell.output().await.unwrap().stdout).unwrap()
}

fn matches(line: &str, expected: &str) -> bool {
    let mut pieces = expected.split('…');
    let Some(mut rest) = pieces.next().and_then(|start| line.strip_prefix(start)) else { return false };
    let mut open = false;
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
        open = piece.is_empty();
    }
    rest.is_empty() || open
}

#[test]
fn what_a_document_promises_is_compared_line_by_line() {
    assert!(matches("HTTP/1.1 200 OK", "HTTP/1.1 200 OK") && !matches("HTTP/1.1 200 OK", "HTTP/1.1 200"));
    assert!(matches("etag: \"abc\"", "etag: \"…\"") && !matches("etag: abc", "etag: \"…\""));
    assert!(matches("{\"a\":1,\"b\":2}", "{\"a\"…") && !matches("x{\"a\":1}", "{\"a\"…"));
    assert!(matches("{\"b\":1,\"a\":2}", "{…\"a\"…}") && !matches("{\"b\":1}", "{…\"a\"…}"));
}

//! The binary itself, serving its sample site in a process of its own.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

pub struct Program {
    /// A token that it takes, as its greeting has it.
    pub token: String,
    /// A page that it serves.
    pub url: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Program {
    /// Starts it with these environment variables and reads its greeting, and nothing after that.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_callboard"))
            .current_dir(folder.path())
            .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
            .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
            .env("APP_CONFIG_callboard_limits_drainDelay", "0s")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        while !greeting.contains("More: callboard --help") {
            greeting += &(lines.next_line().await.unwrap().unwrap() + "\n");
        }
        let (token, url) = (between(&greeting, "Bearer ", "'"), between(&greeting, "\\\n    ", "\n"));
        Self { token, url, child, lines, _folder: folder }
    }

    /// The next line of the access log.
    pub async fn access_line(&mut self) -> String {
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            if line.starts_with('{') {
                return line;
            }
        }
    }

    /// The same, taken apart.
    pub async fn access_entry(&mut self) -> Value {
        serde_json::from_str(&self.access_line().await).unwrap()
    }

    /// Bytes of memory that it has now.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        between(&status, "VmRSS:", "kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits for its end, without reading what it writes.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(super::PATIENCE, self.child.wait()).await.expect("it ends").unwrap()
    }

    /// What it has written to its log.
    pub async fn log(&mut self) -> String {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
        log
    }
}

fn between(text: &str, start: &str, end: &str) -> String {
    let rest = text.split_once(start).unwrap().1;
    rest.split_once(end).unwrap().0.trim().to_owned()
}

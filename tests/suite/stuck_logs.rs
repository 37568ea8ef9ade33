//! A log that nobody reads, as on a pipe whose reader has stopped.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

/// More than a pipe holds, in lines that strangers can provoke.
const STRANGERS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_nobody_reads_hold_up_neither_requests_nor_the_end() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"))
        .current_dir(folder.path())
        .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
        .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The greeting is read, and nothing after it.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut greeting = String::new();
    while !greeting.contains("More: callboard --help") {
        greeting += &(lines.next_line().await.unwrap().unwrap() + "\n");
    }
    let token = greeting.split_once("Bearer ").unwrap().1.split_once('\'').unwrap().0;
    let url = greeting.split_once("\\\n    ").unwrap().1.split_once('\n').unwrap().0.trim();
    let client = reqwest::Client::new();
    for _ in 0..STRANGERS {
        let refused = client.get(format!("{url}/{}", "x".repeat(4000))).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 401);
    }
    let page = client.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(crate::support::PATIENCE, child.wait()).await.expect("it ends");
    assert!(ended.unwrap().success());
}

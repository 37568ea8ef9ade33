//! A redis-server of the test's own, on a socket in a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tempfile::TempDir;

/// Ends when its standard input does, so that a test which dies leaves none behind.
const SCRIPT: &str = r#"redis-server "$@" & cat; kill $!; wait"#;

pub(super) struct Server {
    folder: TempDir,
    process: Child,
}

impl Server {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "redis", "--port", "0", "--save", "", "--maxmemory-policy", "noeviction"]);
        command.arg("--dir").arg(folder.path()).arg("--unixsocket").arg(folder.path().join("socket"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let is_ready = lines.map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        assert!(is_ready, "redis-server ended before it was ready");
        Self { folder, process }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(super) async fn connection(&self) -> MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.unwrap()
    }

    pub(super) fn client(&self) -> redis::Client {
        redis::Client::open(format!("unix://{}", self.socket().display())).unwrap()
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        command.query_async(&mut self.connection().await).await.unwrap()
    }

    /// A figure of `INFO`.
    pub(super) async fn figure(&self, name: &str) -> u64 {
        let info: String = self.ask(redis::cmd("INFO").arg("all")).await;
        let figure = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        figure.parse().unwrap()
    }

    pub(super) fn stop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

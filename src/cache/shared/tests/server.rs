//! A redis-server of the test's own, on a socket in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tempfile::TempDir;

use crate::redis::{Address, Form};

/// Ends when its standard input does, so that a test which dies leaves none behind.
const SCRIPT: &str = r#"redis-server "$@" & cat; kill $!; wait"#;

pub(super) struct Server {
    folder: TempDir,
    /// Where it listens as a cluster of one; nodes of a cluster are found by address and port.
    port: Option<u16>,
    process: Child,
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with(&["--port", "0"], None)
    }

    /// A cluster of one node, which is as strict about slots as a large one.
    pub(super) async fn cluster() -> Self {
        let [port, bus] = free_ports();
        let (on, bus) = (port.to_string(), bus.to_string());
        let server = Self::with(&["--cluster-enabled", "yes", "--port", &on, "--cluster-port", &bus], Some(port));
        let _: String = server.ask(redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await;
        while !server.ask::<String>(redis::cmd("CLUSTER").arg("INFO")).await.contains("cluster_state:ok") {}
        server
    }

    fn with(arguments: &[&str], port: Option<u16>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "redis", "--save", "", "--maxmemory-policy", "noeviction", "--bind", "127.0.0.1"]);
        command.arg("--dir").arg(folder.path()).arg("--unixsocket").arg(folder.path().join("socket")).args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let is_ready = lines.map_while(Result::ok).any(|line| line.contains("ready to accept connections"));
        assert!(is_ready, "redis-server ended before it was ready");
        Self { folder, port, process }
    }

    /// How it is reached.
    pub(super) fn form(&self) -> Form {
        match self.port {
            Some(port) => Form::Cluster(vec![Address::Tcp { host: "127.0.0.1".to_owned(), port }]),
            None => Form::Standalone(Address::Unix(self.socket())),
        }
    }

    fn socket(&self) -> PathBuf {
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

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

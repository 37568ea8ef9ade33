//! One server in a process of its own, which is gone when the test is.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, ToRedisArgs};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::PATIENCE;

/// Who looks after the servers: a user of its own, so that whatever a test does to the others, it gets in.
const KEEPER: &str = "keeper";

/// Between two looks at whether servers are there yet, which need the processor more than the looks do.
const PAUSE: Duration = Duration::from_millis(5);

/// One process.
pub struct Node {
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Node {
    pub fn start(settings: &[(&str, &str)], sentinel: bool) -> Self {
        // The port may be taken between the look at it and the server's own.
        (0..5).find_map(|_| Self::try_start(settings, sentinel)).expect("a Redis that starts")
    }

    fn try_start(settings: &[(&str, &str)], sentinel: bool) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let port = free_port();
        let is_tls = settings.iter().any(|(name, _)| *name == "tls-cert-file");
        let mut config = format!(
            "bind 127.0.0.1\nprotected-mode no\ndir {0}\nunixsocket {0}/socket\nsave \"\"\nport {1}\ntls-port {2}\n\
             user {KEEPER} on >{KEEPER} ~* &* +@all\n",
            folder.path().display(),
            if is_tls { 0 } else { port },
            if is_tls { port } else { 0 },
        );
        for (name, value) in settings {
            config.push_str(&format!("{name} {value}\n"));
        }
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, config).unwrap();
        let mut arguments = vec![file.display().to_string()];
        if sentinel {
            arguments.push("--sentinel".to_owned());
        }
        let node = Self { port, folder, arguments, process: Mutex::new(None) };
        node.launch().then_some(node)
    }

    /// Starts the process and waits until it answers; false where it ends before that.
    fn launch(&self) -> bool {
        // A test that is killed takes its servers with it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary()).args(&self.arguments);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("run tests/setup.sh first: {command:?}: {error}"));
        *self.process.lock().unwrap() = Some(child);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.process.lock().unwrap().as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            if self.try_command::<String>(&["PING"]).is_ok() {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("redis-server does not answer");
    }

    /// Kills it, stopped or not.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, where it was.
    pub fn restart(&self) {
        self.kill();
        assert!(self.launch(), "it starts again");
    }

    pub fn signal(&self, signal: Signal) {
        let process = self.process.lock().unwrap();
        let pid = process.as_ref().expect("a running server").id();
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    /// Runs a command over the server's own socket, as the keeper.
    pub fn command<T: FromRedisValue>(&self, arguments: &[impl ToRedisArgs]) -> T {
        self.try_command(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn info(&self, section: &str) -> String {
        self.command(&["INFO", section])
    }

    /// Whether it is a `master` or a `slave`; neither while a change of that breaks its connections off.
    pub fn has_role(&self, role: &str) -> bool {
        let told = self.try_command::<String>(&["INFO", "replication"]);
        told.is_ok_and(|told| told.contains(&format!("role:{role}")))
    }

    pub fn setting(&self, name: &str) -> String {
        let (_, value): (String, String) = self.command(&["CONFIG", "GET", name]);
        value
    }

    fn try_command<T: FromRedisValue>(&self, arguments: &[impl ToRedisArgs]) -> redis::RedisResult<T> {
        let socket = self.folder.path().join("socket");
        let url = format!("unix://{}?user={KEEPER}&pass={KEEPER}", socket.display());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut command = redis::Cmd::new();
        command.arg(arguments);
        command.query(&mut connection)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian's, installed or as setup.sh has unpacked it.
fn binary() -> PathBuf {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/redis/redis-server");
    if unpacked.exists() { unpacked } else { PathBuf::from("redis-server") }
}

/// A port below those that the system gives to connections, so that nobody gets it while its server is down.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(12_000..30_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Waits, without a runtime, until `holds` does.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(PAUSE);
    }
}

//! Real Redis servers in processes of their own, in every form that Redis is run in, on ports of their own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use callboard::redis::Options;
use redis::{FromRedisValue, ToRedisArgs, Value};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::pki::Authority;
use super::{PATIENCE, configuration};

/// Who looks after the servers: a user of its own, so that whatever a test does to the others, it gets in.
const KEEPER: &str = "keeper";

/// How long a node of a cluster, or a master, is silent before the others take it for dead.
const DEAD_AFTER: &str = "500";

/// One server, a cluster, or a master with a replica and three sentinels.
pub struct Redis {
    form: Form,
    /// Masters and replicas; the first one is what [`Redis::kill`] and the like are about.
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
    /// User and password of the client.
    login: Mutex<Option<(String, String)>>,
    /// Whom the servers' certificates are from, and whether they ask for the client's.
    authority: Option<(Authority, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Cluster,
    Sentinel,
}

/// One process.
pub struct Node {
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

impl Redis {
    /// One server, which asks for nothing.
    pub fn plain() -> Self {
        Self::single(&[])
    }

    /// One server with more settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::single(settings)
    }

    /// One that only this user gets into.
    pub fn acl(user: &str, password: &str) -> Self {
        let rule = format!("{user} on >{password} ~* &* +@all");
        let redis = Self::single(&[("user", &rule), ("user", "default off")]);
        *redis.login.lock().unwrap() = Some((user.to_owned(), password.to_owned()));
        redis
    }

    /// One that speaks TLS only, with a certificate of a private authority, and asks for one where `client` says so.
    pub fn tls(client: bool) -> Self {
        let (authority, settings) = certificates(client);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self { authority: Some((authority, client)), ..Self::single(&settings) }
    }

    /// Three masters that share the slots.
    pub fn cluster() -> Self {
        Self::cluster_with(&[])
    }

    /// The same, speaking TLS only and asking for the client's certificate.
    pub fn cluster_tls() -> Self {
        let (authority, mut settings) = certificates(true);
        settings.push(("tls-cluster", "yes".to_owned()));
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self { authority: Some((authority, true)), ..Self::cluster_with(&settings) }
    }

    fn cluster_with(more: &[(&str, &str)]) -> Self {
        let nodes: Vec<Node> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                let own =
                    [("cluster-enabled", "yes"), ("cluster-port", bus.as_str()), ("cluster-node-timeout", DEAD_AFTER)];
                Node::start(&[&own[..], more].concat(), false)
            })
            .collect();
        for (node, slots) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &slots.0.to_string(), &slots.1.to_string()]);
            let bus = |node: &Node| node.setting("cluster-port");
            for other in &nodes {
                let (port, bus) = (other.port.to_string(), bus(other));
                node.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        let redis = Self::of(Form::Cluster, nodes, Vec::new());
        redis.wait_for_cluster();
        redis
    }

    /// A master, its replica and three sentinels that soon take a silent master for dead.
    pub fn sentinel() -> Self {
        let master = Node::start(&[], false);
        let port = master.port.to_string();
        let replica =
            Node::start(&[("replicaof", &format!("127.0.0.1 {port}")), ("repl-diskless-sync-delay", "0")], false);
        wait("the replica is in step", || replica.info("replication").contains("master_link_status:up"));
        let sentinels: Vec<Node> = (0..3)
            .map(|_| {
                let watch = format!("docs 127.0.0.1 {port} 2");
                let patience = format!("docs {DEAD_AFTER}");
                Node::start(
                    &[
                        ("sentinel monitor", &watch),
                        ("sentinel down-after-milliseconds", &patience),
                        ("sentinel failover-timeout", "docs 3000"),
                    ],
                    true,
                )
            })
            .collect();
        let knows_all = |sentinel: &Node| {
            let told = sentinel.info("sentinel");
            told.contains("slaves=1") && told.contains("sentinels=3") && told.contains("status=ok")
        };
        wait("the sentinels know each other", || sentinels.iter().all(knows_all));
        Self::of(Form::Sentinel, vec![master, replica], sentinels)
    }

    fn single(settings: &[(&str, &str)]) -> Self {
        Self::of(Form::Single, vec![Node::start(settings, false)], Vec::new())
    }

    fn of(form: Form, nodes: Vec<Node>, sentinels: Vec<Node>) -> Self {
        Self { form, nodes, sentinels, login: Mutex::new(None), authority: None }
    }

    /// Where the first server is.
    pub fn url(&self) -> String {
        self.url_of(&self.nodes[0])
    }

    fn url_of(&self, node: &Node) -> String {
        let scheme = if self.authority.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", node.port)
    }

    /// What stands at `callboard.cache.redis`, as a flow map, with more keys.
    pub fn config_with(&self, more: &str) -> String {
        let urls = |nodes: &[Node]| {
            let urls: Vec<String> = nodes.iter().map(|node| format!("'{}'", self.url_of(node))).collect();
            urls.join(", ")
        };
        let mut keys = match self.form {
            Form::Single => format!("url: '{}'", self.url()),
            // One node is enough to find the others.
            Form::Cluster => format!("cluster: {{ nodes: [{}] }}", urls(&self.nodes[..1])),
            Form::Sentinel => format!("sentinel: {{ nodes: [{}], master: docs }}", urls(&self.sentinels)),
        };
        if let Some((user, password)) = &*self.login.lock().unwrap() {
            keys.push_str(&format!(", username: '{user}', password: '{password}'"));
        }
        if let Some((authority, client)) = &self.authority {
            keys.push_str(&format!(", tls: {{ caFile: '{}'", authority.ca().display()));
            if *client {
                let (cert, key) = (authority.path("client.crt"), authority.path("client.key"));
                keys.push_str(&format!(", certFile: '{}', keyFile: '{}'", cert.display(), key.display()));
            }
            keys.push_str(" }");
        }
        format!("{{ {keys}{more} }}")
    }

    /// What stands at `callboard.cache.redis`, as a flow map.
    pub fn config(&self) -> String {
        self.config_with("")
    }

    /// The client's options, as the configuration makes them, with more keys.
    pub fn options_with(&self, more: &str) -> Options {
        redis_options(&self.config_with(more))
    }

    /// The client's options, as the configuration makes them.
    pub fn options(&self) -> Options {
        self.options_with("")
    }

    /// The file of the authority that the servers' certificates are from.
    pub fn authority(&self) -> &Authority {
        &self.authority.as_ref().expect("a Redis with TLS").0
    }

    /// The servers; behind sentinels the first one starts as the master and the second one as its replica.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Kills the first server, which answers no more.
    pub fn kill(&self) {
        self.nodes[0].kill();
    }

    /// Starts the first server again, where it was and without what it held.
    pub fn restart(&self) {
        self.nodes[0].restart();
        if self.form == Form::Cluster {
            self.wait_for_cluster();
        }
    }

    /// Stops the first server where it stands, as a hung machine does.
    pub fn stop(&self) {
        self.nodes[0].signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.nodes[0].signal(Signal::CONT);
    }

    /// Runs a command on the first server, whatever TLS and users there are.
    pub fn command<T: FromRedisValue>(&self, arguments: &[impl ToRedisArgs]) -> T {
        self.nodes[0].command(arguments)
    }

    /// Empties all servers.
    pub fn flush(&self) {
        for node in self.nodes.iter().filter(|node| node.info("replication").contains("role:master")) {
            node.command::<()>(&["FLUSHALL"]);
        }
    }

    /// Gives the client's user another password, and breaks off its connections: what is logged in stays so otherwise.
    /// What [`Redis::config`] says stays as it was.
    pub fn set_password(&self, password: &str) {
        let user = self.login.lock().unwrap().as_ref().map_or("default".to_owned(), |(user, _)| user.clone());
        self.command::<()>(&["ACL", "SETUSER", &user, "resetpass", &format!(">{password}")]);
        self.command::<Value>(&["CLIENT", "KILL", "USER", &user]);
    }

    /// Sets a setting of the first server.
    pub fn config_set(&self, name: &str, value: &str) {
        self.command::<()>(&["CONFIG", "SET", name, value]);
    }

    /// Kills the master and waits until its replica is the master.
    pub fn failover(&self) {
        self.kill();
        wait("the replica is promoted", || self.nodes[1].info("replication").contains("role:master"));
    }

    fn wait_for_cluster(&self) {
        let is_ok = |node: &Node| {
            let told: String = node.command(&["CLUSTER", "INFO"]);
            told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3")
        };
        wait("the cluster is whole", || self.nodes.iter().all(is_ok));
    }
}

/// The client's options for what stands at `callboard.cache.redis`.
pub fn redis_options(map: &str) -> Options {
    let text = format!(
        "techdocs: {{ publisher: {{ local: {{ publishDirectory: site }} }} }}\ncallboard: {{ cache: {{ redis: {map} }} }}\n"
    );
    configuration(&text).resolved.redis.expect("a Redis")
}

impl Node {
    fn start(settings: &[(&str, &str)], sentinel: bool) -> Self {
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
            let quoted = *name == "tls-cert-file" || *name == "tls-key-file" || *name == "tls-ca-cert-file";
            let value = if quoted { format!("\"{value}\"") } else { (*value).to_owned() };
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
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("run tests/setup.sh first: {command:?}: {error}"));
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.try_command::<String>(&["PING"]).is_ok() {
                *self.process.lock().unwrap() = Some(child);
                return true;
            }
            std::thread::yield_now();
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

    fn setting(&self, name: &str) -> String {
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
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/redis/usr/bin/redis-check-rdb");
    if unpacked.exists() { unpacked.with_file_name("redis-server") } else { PathBuf::from("redis-server") }
}

/// A port below those that the system gives to connections, so that nobody gets it while its server is down.
fn free_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(12_000..30_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

fn certificates(client: bool) -> (Authority, Vec<(&'static str, String)>) {
    let authority = Authority::new();
    authority.keep("redis", &authority.server(&["localhost", "127.0.0.1"]));
    authority.keep("client", &authority.client("callboard", "spiffe://example.org/callboard"));
    let path = |name: &str| authority.path(name).display().to_string();
    let settings = vec![
        ("tls-cert-file", path("redis.crt")),
        ("tls-key-file", path("redis.key")),
        ("tls-ca-cert-file", path("ca.crt")),
        ("tls-auth-clients", if client { "yes" } else { "no" }.to_owned()),
    ];
    (authority, settings)
}

/// Waits, without a runtime, until `holds` does.
fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

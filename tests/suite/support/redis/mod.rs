//! Real Redis servers in processes of their own, in every form that Redis is run in, on ports of their own.

mod node;

use std::sync::Mutex;

use callboard::redis::Options;
use redis::{FromRedisValue, ToRedisArgs, Value};
use rustix::process::Signal;

pub use self::node::Node;
pub use self::node::free_port;
use self::node::wait;
use super::configuration;
use super::pki::Authority;

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

impl Redis {
    /// One server, which asks for nothing.
    pub fn plain() -> Self {
        Self::single(&[])
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
        // Their usual pace is for networks that are slower than this machine's own; and where it is busy, they would take
        // that for a clock that jumps, and do nothing for half a minute.
        let pace = [("info-period", "300"), ("publish-period", "300"), ("ask-period", "300"), ("ping-period", "100")];
        let calm = [("tilt-trigger", "30000"), ("tilt-period", "300")];
        for (sentinel, (name, value)) in
            sentinels.iter().flat_map(|sentinel| pace.iter().chain(&calm).map(move |set| (sentinel, set)))
        {
            sentinel.command::<()>(&["SENTINEL", "DEBUG", name, value]);
        }
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
        redis_options(&self.config())
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

    /// How many listen on a channel of the first server.
    pub fn subscribers(&self, channel: &str) -> u64 {
        self.command::<(String, u64)>(&["PUBSUB", "NUMSUB", channel]).1
    }

    /// Empties all servers.
    pub fn flush(&self) {
        for node in self.nodes.iter().filter(|node| node.has_role("master")) {
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
        self.wait_for_failover();
    }

    /// Waits until the replica is the master.
    pub fn wait_for_failover(&self) {
        wait("the replica is promoted", || self.nodes[1].has_role("master"));
    }

    /// Has the sentinels make the replica the master, and the master its replica, in good order.
    pub fn order_failover(&self) {
        self.sentinels[0].command::<()>(&["SENTINEL", "FAILOVER", "docs"]);
        wait("they change places", || self.nodes[1].has_role("master") && self.nodes[0].has_role("slave"));
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

fn certificates(client: bool) -> (Authority, Vec<(&'static str, String)>) {
    let authority = Authority::new();
    authority.keep("redis", &authority.server(&["localhost", "127.0.0.1"]));
    authority.keep("client", &authority.client("callboard", "spiffe://example.org/callboard"));
    let path = |name: &str| authority.path(name).display().to_string();
    let settings = vec![
        ("tls-cert-file", path("redis.crt")),
        ("tls-key-file", path("redis.key")),
        ("tls-ca-cert-file", path("ca.crt")),
        // For what the servers say to each other.
        ("tls-client-cert-file", path("client.crt")),
        ("tls-client-key-file", path("client.key")),
        ("tls-auth-clients", if client { "yes" } else { "no" }.to_owned()),
    ];
    (authority, settings)
}

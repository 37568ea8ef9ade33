//! What the tests share: a Callboard in front of a folder or a scripted store, a Backstage that publishes keys, and
//! requests written by hand.

pub mod ailing;
pub mod aws_cloud;
pub mod azure;
pub mod backstage;
pub mod browser;
pub mod bucket;
pub mod entra;
pub mod gcs;
pub mod h2;
pub mod issuer;
pub mod load;
pub mod openstack;
pub mod otlp;
pub mod pki;
pub mod program;
pub mod raw;
pub mod redis;
pub mod relay;
pub mod scripted;
pub mod servers;
pub mod service;
pub mod sigv4;
pub mod sshd;
pub mod stage;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callboard::app::{App, Running};
use callboard::clock::{Clock, Hand};
use callboard::config::{Configuration, Environment, Sources};
use callboard::storage::DocStore;
use reqwest::{Method, RequestBuilder};
use tempfile::TempDir;

pub use backstage::Backstage;

/// The site that most tests read.
pub const SITE: &str = "/static/docs/default/component/shop";

/// A Callboard on ports of its own, and what it reads.
pub struct Callboard {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Moves its clock, where that is not the machine's.
    pub hand: Hand,
    pub backstage: Backstage,
    /// The published folder.
    pub folder: TempDir,
    running: Running,
    client: reqwest::Client,
}

impl Callboard {
    /// One in front of a folder that holds some files of `default/component/shop`.
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// The same, with more lines in the configuration's `callboard:` section, each indented by two spaces.
    pub async fn with(section: &str) -> Self {
        Self::launch(section, None).await
    }

    /// One in front of `store`.
    pub async fn before(store: Arc<dyn DocStore>, section: &str) -> Self {
        Self::launch(section, Some(store)).await
    }

    async fn launch(section: &str, store: Option<Arc<dyn DocStore>>) -> Self {
        Self::told(Told { section, store, ..Told::default() }).await
    }

    /// One that is told more.
    pub async fn told(Told { section, otlp, publisher, variables, store, in_real_time }: Told<'_>) -> Self {
        let backstage = Backstage::start().await;
        let folder = shop();
        let local = format!("{{ type: local, local: {{ publishDirectory: '{}' }} }}", folder.path().display());
        let text = format!(
            "backend: {{ baseUrl: '{}' }}\n\
             techdocs: {{ publisher: {} }}\n\
             callboard:\n  listen: 127.0.0.1:0\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
             telemetry: {{ accessLog: false, otlp: {{ {otlp} }} }}\n{section}\n",
            backstage.base_url(),
            publisher.unwrap_or(local),
        );
        let resolved = configuration_among(&text, variables).resolved;
        let hand = Hand::at(Clock::System.now());
        let clock = if in_real_time { Clock::System } else { Clock::Manual(hand.clone()) };
        let app = match store {
            Some(store) => App::with_store(resolved, clock, store),
            None => App::new(resolved, clock),
        };
        let mut app = app.unwrap();
        app.prove_read_only().await.unwrap();
        let running = app.start().unwrap();
        let (address, admin) = (running.address, running.admin_address);
        Self { address, admin, hand, backstage, folder, running, client: reqwest::Client::new() }
    }

    /// A request with a token that may read.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(method, url).bearer_auth(self.backstage.token())
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// A request without a token.
    pub fn get_without_token(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    /// The sum of the series whose line begins with `name` and holds all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum_of(self.admin, name, labels).await
    }

    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let path = self.folder.path().join("default/component/shop").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub async fn stop(self) -> usize {
        self.running.stop().await
    }
}

/// The sum of the series at this admin listener whose line begins with `name` and holds all of `labels`.
pub async fn sum_of(admin: SocketAddr, name: &str, labels: &[&str]) -> f64 {
    let text = reqwest::get(format!("http://{admin}/metrics")).await.unwrap().text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// What a Callboard is told, beside what every test's is.
#[derive(Default)]
pub struct Told<'a> {
    /// Lines of the section `callboard:`, each indented by two spaces.
    pub section: &'a str,
    /// What stands inside of `telemetry.otlp`.
    pub otlp: &'a str,
    /// Another `techdocs.publisher` than the folder.
    pub publisher: Option<String>,
    /// Environment variables.
    pub variables: &'a [(&'a str, &'a str)],
    /// Another store than the publisher's.
    pub store: Option<Arc<dyn DocStore>>,
    /// Its clock is the machine's, and not moved by hand.
    pub in_real_time: bool,
}

/// The configuration in `text`, which must be without problems.
pub fn configuration(text: &str) -> Configuration {
    configuration_among(text, &[])
}

fn configuration_among(text: &str, variables: &[(&str, &str)]) -> Configuration {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app-config.yaml");
    std::fs::write(&file, text).unwrap();
    // No load balancer has to hear of it: a test that wants the delay says so.
    let mut usual = vec![("APP_CONFIG_callboard_limits_drainDelay", "0s")];
    // Nor is storage asked for anything beside what a test asks for, unless it says so.
    if !text.contains("publishCheck") {
        usual.push(("APP_CONFIG_callboard_site_publishCheck", "0s"));
    }
    // Nor does a caller use up its budget, which a clock that stands still never fills again.
    if !text.contains("requests:") {
        usual.push(("APP_CONFIG_callboard_limits_requests_enabled", "false"));
    }
    // Nor does it try whether it could write.
    if !text.contains("requireReadOnly") {
        usual.push(("APP_CONFIG_callboard_storage_requireReadOnly", "off"));
    }
    let variables = usual.iter().chain(variables);
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let environment = Environment { directory: folder.path().to_owned(), variables };
    callboard::config::read(&Sources { files: vec![file], environment }).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Longer than anything here takes on a busy machine; what is still waited for then does not come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// For how long the tests of a load that lasts are to load, where somebody has asked for more than the usual.
pub fn soak() -> Option<Duration> {
    std::env::var("CALLBOARD_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs)
}

/// Waits until `holds` does.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("what is waited for comes");
}

fn shop() -> TempDir {
    let folder = TempDir::new().unwrap();
    let site = folder.path().join("default/component/shop");
    write(&site, "index.html", "<h1>Shop</h1>");
    write(&site, "guide/first steps.html", "<h1>First steps</h1>");
    write(&site, "assets/main.0253249f.min.css", "body { color: teal }");
    write(&site, "digits.txt", "0123456789");
    write(&site, "empty.txt", "");
    write(&site, "techdocs_metadata.json", r#"{"site_name":"Shop","files":["index.html"]}"#);
    folder
}

/// When most files of the tests were written: long ago, as the files of a site usually were.
pub fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn write(site: &Path, path: &str, contents: &str) {
    let path = site.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, contents).unwrap();
    age(&path);
}

/// Makes a file look as if it was written long ago.
pub fn age(path: &Path) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago()).unwrap();
}

//! The binary with a configuration and an environment of its own, as it runs in a container: for what comes from the
//! process's environment.

use std::process::Stdio;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Backstage, SITE};

/// A folder for a configuration and whatever else is read, which is also the home.
pub struct Home {
    pub folder: TempDir,
    pub backstage: Backstage,
    variables: Vec<(String, String)>,
}

impl Home {
    /// One with this for `techdocs.publisher`, and these lines after it.
    pub async fn new(publisher: &str, more: &str) -> Self {
        let backstage = Backstage::start().await;
        let home = Self { folder: TempDir::new().unwrap(), backstage, variables: Vec::new() };
        let text = format!(
            "backend: {{ baseUrl: '{}' }}\ntechdocs: {{ publisher: {publisher} }}\n{more}",
            home.backstage.base_url()
        );
        home.write("app-config.yaml", &text);
        home
    }

    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Writes a file, and says where it is.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // At once, as whoever rotates a token does it.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
        path.display().to_string()
    }

    /// Runs `callboard check`: what it says, and whether it is content.
    pub async fn check(&self) -> (String, bool) {
        let output = self.command().arg("check").stdin(Stdio::null()).output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (said, output.status.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        command
    }
}

/// The binary that serves.
pub struct Service {
    pub home: Home,
    address: String,
    admin: String,
    client: Client,
    _child: Child,
}

impl Service {
    pub async fn start(home: Home) -> Self {
        let mut child = home
            .command()
            .env("APP_CONFIG_callboard_listen", "\"127.0.0.1:0\"")
            .env("APP_CONFIG_callboard_admin_listen", "\"127.0.0.1:0\"")
            .env("APP_CONFIG_callboard_site_publishCheck", "0s")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let serving = loop {
            let line = log.next_line().await.unwrap().expect("it serves");
            let entry: Value = serde_json::from_str(&line).unwrap();
            if line.contains("\"serving\"") {
                break entry;
            }
        };
        // Who writes a log waits for its reader.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let said = |name: &str| find(&serving, name).unwrap_or_else(|| panic!("{name} in {serving}"));
        Self { address: said("address"), admin: said("admin"), client: Client::new(), home, _child: child }
    }

    pub fn url(&self) -> String {
        format!("http://{}{SITE}/", self.address)
    }

    pub fn get(&self, name: &str) -> RequestBuilder {
        self.client.get(format!("{}{name}", self.url())).bearer_auth(self.home.backstage.token())
    }

    /// A file of another site.
    pub fn get_of(&self, entity: &str, name: &str) -> RequestBuilder {
        let url = format!("http://{}/static/docs/{entity}/{name}", self.address);
        self.client.get(url).bearer_auth(self.home.backstage.token())
    }

    pub async fn status(&self, name: &str) -> u16 {
        self.get(name).send().await.unwrap().status().as_u16()
    }

    /// Whether it is ready, and why not.
    pub async fn readiness(&self) -> (u16, String) {
        let url = format!("http://{}/.backstage/health/v1/readiness", self.admin);
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The sum of the series whose line begins with `name` and holds all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let url = format!("http://{}/metrics", self.admin);
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let lines =
            text.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

/// A text at this name, however deep.
fn find(value: &Value, name: &str) -> Option<String> {
    let Value::Object(entries) = value else { return None };
    let here = entries.get(name).and_then(Value::as_str).map(str::to_owned);
    here.or_else(|| entries.values().find_map(|entry| find(entry, name)))
}

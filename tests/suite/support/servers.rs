//! Real servers in processes of their own: the S3 with its published sites, and Backstage. Each prints a line of JSON
//! once it is ready, and ends when its standard input closes, so that a test which dies leaves none behind.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Building the site with MkDocs and publishing it takes about ten seconds; a clean machine may be slow.
const READY_WITHIN: Duration = Duration::from_secs(300);

pub struct Server {
    /// What it said when it was ready.
    pub ready: Value,
    /// Kept for its standard input, whose end is the server's.
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Server {
    /// moto, with the sites of `tests/rig/make_site.py` published to it by `techdocs-cli`.
    pub async fn s3() -> Self {
        let mut command = Command::new(python());
        command.arg(tests().join("rig/s3_rig.py")).arg("--cache").arg(tools().join("sites"));
        Self::spawn(command).await
    }

    /// Azurite, with what it holds in `folder`. Where it has a certificate, with its key and authority, it speaks TLS, and
    /// has the same sites published to it.
    pub async fn azure(folder: &Path, tls: Option<&[PathBuf; 3]>) -> Self {
        let mut command = Command::new(tools().join("venv/bin/python"));
        command.arg(tests().join("rig/azure_rig.py")).arg("--tools").arg(tools()).arg("--folder").arg(folder);
        if let Some(files) = tls {
            command.arg("--publish").arg("--tls").args(files);
        }
        Self::spawn(command).await
    }

    /// A Backstage backend from the published packages, on a port of its own.
    pub async fn backstage(keys_file: Option<&Path>) -> Self {
        let mut command = Command::new("node");
        command.arg(tests().join("backstage/backend.mjs"));
        if let Some(file) = keys_file {
            command.env("KEYS_FILE", file);
        }
        Self::spawn(command).await
    }

    /// The same, configured by files, with more plugins.
    pub async fn backstage_with(files: &[PathBuf], plugins: &[PathBuf], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("node");
        command.arg(tests().join("backstage/backend.mjs")).envs(variables.iter().copied());
        for (option, paths) in [("--config", files), ("--plugin", plugins)] {
            for path in paths {
                command.arg(option).arg(path);
            }
        }
        Self::spawn(command).await
    }

    /// A Backstage backend with TechDocs in it, which reads these app-config files (see `tests/backstage/techdocs.mjs`).
    pub async fn techdocs(configs: &[&Path]) -> Self {
        let mut command = Command::new("node");
        command.arg(tests().join("backstage/techdocs.mjs")).env("NODE_NO_WARNINGS", "1");
        for config in configs {
            command.arg("--config").arg(config);
        }
        Self::spawn(command).await
    }

    /// A browser (see `tests/backstage/browser.mjs`).
    pub async fn browser() -> Self {
        let mut command = Command::new("node");
        command.arg(tests().join("backstage/browser.mjs"));
        Self::spawn(command).await
    }

    /// What Backstage says of these app-config files, each by itself: what is wrong with it, or null.
    pub async fn problems_of(configs: &[&Path]) -> Value {
        let mut command = Command::new("node");
        command.arg(tests().join("backstage/check-config.mjs")).args(configs).env("NODE_NO_WARNINGS", "1");
        Self::spawn(command).await.ready
    }

    /// moto's S3 and SNS, with a bucket that tells `endpoint` of its objects.
    pub async fn sns(endpoint: &str) -> Self {
        let mut command = Command::new(python());
        command.arg(tests().join("rig/sns_rig.py")).arg(endpoint).stderr(Stdio::null());
        Self::spawn(command).await
    }

    /// moto alone, on this port, believing any key.
    pub async fn moto(port: u16) -> Child {
        let mut command = Command::new(python());
        command.args(["-m", "moto.server", "--port", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let server = command.spawn().expect("run tests/setup.sh first");
        super::until(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        server
    }

    /// Keystone and Swift; told `--publish`, with the same sites published to them.
    pub async fn openstack(options: &[&str]) -> Self {
        let mut command = Command::new(tools().join("openstack/bin/python"));
        command.arg(tests().join("rig/swift_rig.py")).args(options);
        Self::spawn(command).await
    }

    /// moto, with a bucket and users as `wanted` describes them (see `tests/rig/policy_rig.py`). It writes the first line of
    /// each request to `log`.
    pub async fn policies(log: &Path, wanted: &Value) -> Self {
        let mut command = Command::new(tools().join("venv/bin/python"));
        command.arg(tests().join("rig/policy_rig.py")).arg(log).arg(wanted.to_string()).stderr(Stdio::null());
        Self::spawn(command).await
    }

    /// Says a line to it.
    pub async fn tell(&mut self, line: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        input.flush().await.unwrap();
    }

    /// Says a line to it, and hears what it says to that.
    pub async fn ask(&mut self, line: &str) -> Value {
        self.tell(line).await;
        let answer = tokio::time::timeout(READY_WITHIN, self.lines.next_line()).await.expect("an answer in time");
        serde_json::from_str(&answer.unwrap().expect("it lives")).unwrap()
    }

    /// A text in what it said when it was ready.
    pub fn said(&self, pointer: &str) -> &str {
        self.ready.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {}", self.ready))
    }

    /// Publishes a built site to the S3 with `techdocs-cli`, as the writer, and returns once that is done.
    pub async fn publish(&self, site: &Path, entity: &str) {
        let endpoint = ["--awsEndpoint", self.said("/endpoint"), "--awsS3ForcePathStyle"];
        let publisher =
            [&["--publisher-type", "awsS3", "--storage-name", self.said("/bucket")][..], &endpoint].concat();
        let variables = [
            ("AWS_ACCESS_KEY_ID", self.said("/writer/accessKeyId").to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.said("/writer/secretAccessKey").to_owned()),
            ("AWS_REGION", self.said("/region").to_owned()),
        ];
        publish_with_techdocs_cli(&publisher, &variables, site, entity).await;
    }

    /// Waits until the process is gone.
    pub async fn stop(mut self) {
        self.end().await;
    }

    /// The same, where what it said is still wanted.
    pub async fn end(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().await.unwrap();
    }

    /// Stops it where it stands, as a hung machine does; `resume` goes on.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    async fn spawn(mut command: Command) -> Self {
        command.env("PATH", path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process =
            command.spawn().unwrap_or_else(|error| panic!("run tests/setup.sh first: {command:?}: {error}"));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await.expect("ready in time").unwrap();
        let line = line.unwrap_or_else(|| panic!("{command:?} ended before it was ready; run tests/setup.sh first"));
        Self { ready: serde_json::from_str(&line).unwrap(), process, lines }
    }
}

/// Publishes a built site to whichever storage the arguments and variables name, and returns once that is done.
pub async fn publish_with_techdocs_cli(publisher: &[&str], variables: &[(&str, String)], site: &Path, entity: &str) {
    let mut command = Command::new(tests().join("backstage/node_modules/.bin/techdocs-cli"));
    command
        .arg("publish")
        .args(publisher)
        .args(["--entity", entity, "--directory"])
        .arg(site)
        .env("PATH", path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The Python that setup.sh has brought, with AWS's SDK.
pub fn python() -> PathBuf {
    tools().join("venv/bin/python")
}

/// Every file below `folder`, as paths relative to it.
pub fn files(folder: &Path) -> Vec<String> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files
}

/// Where there was no Node on the machine, setup.sh has put one beside Python.
fn path() -> String {
    format!("{}:{}", std::env::var("PATH").unwrap_or_default(), tools().join("venv/bin").display())
}

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn tools() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools")
}

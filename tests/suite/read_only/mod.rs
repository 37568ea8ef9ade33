//! That Callboard can do nothing but read: what storage allows it is tried and told, and what storage would have to allow
//! is printed.

mod clouds;
mod folder;
mod least_policies;
mod requests;

mod s3;

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use callboard::storage::{OriginOptions, StoreError};
use callboard::telemetry::{Instruments, OriginInstruments};
use callboard::trust::Trust;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::servers::Server;
use crate::support::{Backstage, configuration};

/// The bucket that users have policies for.
pub const BUCKET: &str = "docs";

/// Its root path, where there is one.
pub const ROOT: &str = "sites/all";

/// A bucket with users, and the log of what was asked of it.
pub struct Bucket {
    pub server: Server,
    pub log: TempDir,
}

impl Bucket {
    /// One that holds a site at its root and one below [`ROOT`], and something else.
    pub async fn with_users(users: &Value, versioned: bool) -> Self {
        let log = TempDir::new().unwrap();
        let objects = json!({
            "default/component/shop/index.html": "a site at the root",
            "default/component/shop/techdocs_metadata.json": "{}",
            "sites/all/default/component/shop/index.html": "a site below the root path",
            "sites/all/default/component/shop/techdocs_metadata.json": "{}",
            "payroll/2026.csv": "nobody's business",
        });
        let wanted = json!({ "bucket": BUCKET, "versioned": versioned, "users": users, "objects": objects });
        let server = Server::policies(&log.path().join("requests"), &wanted).await;
        Self { server, log }
    }

    /// `techdocs.publisher` for one of the users.
    pub fn publisher(&self, user: &str, root: &str) -> String {
        let root = if root.is_empty() { String::new() } else { format!("bucketRootPath: '{root}', ") };
        let key = |name: &str| self.server.said(&format!("/users/{user}/{name}")).to_owned();
        format!(
            "{{ type: awsS3, awsS3: {{ bucketName: {BUCKET}, {root}region: {}, endpoint: '{}', \
             s3ForcePathStyle: true, credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }} }} }}",
            self.server.said("/region"),
            self.server.said("/endpoint"),
            key("accessKeyId"),
            key("secretAccessKey"),
        )
    }

    /// Every object, version and delete marker that is there.
    pub async fn held(&mut self) -> Value {
        self.server.ask("what do you hold?").await
    }

    /// The first lines of the requests so far: method and what was asked for.
    pub fn requests(&self) -> Vec<(String, String)> {
        let log = std::fs::read_to_string(self.log.path().join("requests")).unwrap_or_default();
        let request = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?))
        };
        log.lines().filter_map(request).collect()
    }
}

/// An IAM policy that allows these actions on the bucket and all of its objects.
pub fn allowing(actions: &[&str]) -> Value {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": [bucket, format!("{bucket}/*")] });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// A folder with a configuration that reads from `publisher`.
pub fn configured(backstage: &Backstage, publisher: &str, storage: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "backend: {{ baseUrl: '{}' }}\ntechdocs: {{ publisher: {publisher} }}\n\
         callboard: {{ listen: '127.0.0.1:0', admin: {{ listen: '127.0.0.1:0' }}, storage: {{ {storage} }} }}\n",
        backstage.base_url()
    );
    std::fs::write(folder.path().join("app-config.yaml"), text).unwrap();
    folder
}

/// The program, run to its end.
pub async fn callboard(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.args(arguments).current_dir(folder).kill_on_drop(true);
    tokio::time::timeout(crate::support::PATIENCE, command.output()).await.expect("it ends").unwrap()
}

/// What it printed.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `check` says of writing, and its exit code.
pub async fn checked(backstage: &Backstage, publisher: &str, storage: &str) -> (String, Option<i32>) {
    let folder = configured(backstage, publisher, storage);
    let output = callboard(folder.path(), &["check"]).await;
    let printed = printed(&output);
    let verdict = printed.lines().find(|line| line.contains("read only: ")).unwrap_or(&printed);
    (verdict.to_owned(), output.status.code())
}

/// An origin that reads from `publisher`, and what its store is made with.
pub fn origin(publisher: &str) -> (OriginOptions, Trust, Arc<OriginInstruments>) {
    let resolved = configuration(&format!("techdocs: {{ publisher: {publisher} }}\n")).resolved;
    let options = resolved.storage.origins[0].clone();
    let instruments = Instruments::new().unwrap().origin(&options.name, &StoreError::RESULTS);
    (options, callboard::app::trust(&resolved.trust).unwrap(), Arc::new(instruments))
}

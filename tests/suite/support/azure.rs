//! Azurite, and what allows reading from it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use callboard::clock::Clock;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use url::form_urlencoded::Serializer;

use super::pki::{Authority, Pair};
use super::servers::{Server, files};

/// The name of the account's containers in the public cloud, which `techdocs-cli` goes to.
const CLOUD: &str = "techdocs.blob.core.windows.net";

/// An Azurite in a process of its own.
pub struct Azurite {
    pub server: Server,
    /// Who issued its certificate, where it has one.
    pub authority: Option<Authority>,
    /// Where it keeps what it holds.
    _folder: TempDir,
}

impl Azurite {
    /// An empty one, in cleartext.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        Self { server: Server::azure(folder.path(), None).await, authority: None, _folder: folder }
    }

    /// One that speaks TLS and takes tokens, with the sites of `tests/rig/make_site.py` published to it by `techdocs-cli`.
    pub async fn published() -> Self {
        let authority = Authority::new();
        let Pair { cert, key } = authority.server(&["127.0.0.1", "localhost", CLOUD]);
        authority.write("azurite.crt", &cert);
        authority.write("azurite.key", &key);
        let tls = ["azurite.crt", "azurite.key", "ca.crt"].map(|name| authority.path(name));
        let folder = TempDir::new().unwrap();
        Self { server: Server::azure(folder.path(), Some(&tls)).await, authority: Some(authority), _folder: folder }
    }

    pub fn address(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.server.ready["port"]).parse().unwrap()
    }

    pub fn endpoint(&self) -> &str {
        self.server.said("/endpoint")
    }

    pub fn key(&self) -> &str {
        self.server.said("/key")
    }

    /// What makes Callboard believe it: lines of the section `callboard:`.
    pub fn trust(&self) -> String {
        let authority = self.authority.as_ref().unwrap();
        format!("  trust: {{ caFiles: ['{}'] }}\n", authority.ca().display())
    }

    /// `techdocs.publisher`, as a flow map, with a connection string that ends in `access`.
    pub fn publisher(&self, endpoint: &str, root: &str, access: &str) -> String {
        self.publisher_of(self.server.said("/container"), endpoint, root, access)
    }

    /// The same for a container that need not be there.
    pub fn publisher_of(&self, container: &str, endpoint: &str, root: &str, access: &str) -> String {
        format!(
            "{{ type: azureBlobStorage, azureBlobStorage: {{ containerName: {container}, bucketRootPath: '{root}', \
             connectionString: 'BlobEndpoint={endpoint};AccountName={};{access}' }} }}",
            self.server.said("/account"),
        )
    }

    pub fn with_key(&self) -> String {
        format!("AccountKey={}", self.key())
    }

    /// The same, where whoever reads is known by its tokens.
    pub fn publisher_for_identity(&self) -> String {
        format!(
            "{{ type: azureBlobStorage, azureBlobStorage: {{ containerName: {}, credentials: {{ accountName: {} }} }} }}",
            self.server.said("/container"),
            self.server.said("/account"),
        )
    }

    /// Every file of the larger site, in order.
    pub fn files(&self) -> Vec<String> {
        let mut files = files(Path::new(self.server.said("/site_dir")));
        files.sort_unstable();
        files
    }

    /// What a file of it holds.
    pub fn contents(&self, file: &str) -> Bytes {
        std::fs::read(Path::new(self.server.said("/site_dir")).join(file)).unwrap().into()
    }

    /// Where Callboard has it.
    pub fn path_of(&self, file: &str) -> String {
        let parts: Vec<String> =
            file.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        format!("/static/docs/{}/{}", self.server.said("/entity"), parts.join("/"))
    }

    /// One that may do everything.
    pub fn owner(&self) -> MicrosoftAzure {
        MicrosoftAzureBuilder::new()
            .with_account(self.server.said("/account"))
            .with_container_name(self.server.said("/container"))
            .with_access_key(self.key())
            .with_endpoint(self.endpoint().to_owned())
            .with_allow_http(true)
            .build()
            .unwrap()
    }

    /// A shared access signature with these permissions, good for this long; a negative span has passed already.
    pub fn signature(&self, permissions: &str, seconds: i64) -> String {
        let (account, version) = (self.server.said("/account"), "2021-12-02");
        let now = i64::try_from(Clock::System.now().as_secs()).unwrap();
        let (start, end) = (rfc3339(now - 7200), rfc3339(now + seconds));
        let signed = [account, permissions, "b", "sco", &start, &end, "", "", version, "", ""].join("\n");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(self.key()).unwrap());
        let code = BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let mut query = Serializer::new(String::new());
        query.extend_pairs([("sv", version), ("ss", "b"), ("srt", "sco"), ("sp", permissions), ("st", &start)]);
        query.extend_pairs([("se", end.as_str()), ("sig", code.as_str())]);
        format!("SharedAccessSignature={}", query.finish())
    }
}

fn rfc3339(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
    humantime::format_rfc3339_seconds(time).to_string()
}

//! What the storage room runs on.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::AzureOptions;
use super::gcs::{DefaultCredentials, GoogleCredentials};
use super::s3::AwsCredentials;
use super::scope::Scope;
use super::sftp::SftpOptions;
use crate::breaker::Rules;
use crate::docs::Layout;
use crate::secret::Secret;

/// Where the sites are.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stores that hold them, in the order in which they are asked; at least one.
    pub origins: Vec<OriginOptions>,
}

/// One of the stores, which sites it may hold and how patiently it is asked for them.
#[derive(Debug, Clone)]
pub struct OriginOptions {
    /// What people call it.
    pub name: String,
    /// The store itself.
    pub store: StoreOptions,
    /// What it calls the files of sites.
    pub layout: Layout,
    /// The sites that it may hold.
    pub scope: Scope,
    /// Whether a site that it does not have may be in one of the next origins.
    pub falls_through: bool,
    /// How patiently it is asked.
    pub bounds: Bounds,
    /// Whether its credential has to be proven unable to write.
    pub require_read_only: RequireReadOnly,
}

/// What is done about a credential that may be able to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequireReadOnly {
    /// Nothing, nor is it tried.
    Off,
    /// It is tried while the program serves, and told.
    #[default]
    Warn,
    /// Nothing is served before it is proven that it can't.
    Enforce,
}

impl OriginOptions {
    /// The origin of this name in `store`, which may hold every site, at its root.
    pub fn new(name: &str, store: StoreOptions) -> Self {
        Self {
            name: name.to_owned(),
            store,
            layout: Layout::default(),
            scope: Scope::default(),
            falls_through: false,
            bounds: Bounds::default(),
            require_read_only: RequireReadOnly::default(),
        }
    }

    /// What tells it from others, the same in every process that reads the same sites from the same place.
    pub fn identity(&self) -> String {
        let Self { store, layout, scope, falls_through, .. } = self;
        format!("{}\0{layout:?}\0{scope:?}\0{falls_through}", store.identity())
    }
}

/// How long operations may take, and how many run at a time.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How long one operation may take: for an object that is read whole, until its last byte; for one that is
    /// streamed, until its first, and then between any two chunks.
    pub timeout: Duration,
    /// How many operations that readers wait for run at a time; a quarter as many more may run that nobody waits for.
    pub max_concurrent: usize,
    /// How many more may wait for a place; beyond that the answer is 503 at once.
    pub max_queue: usize,
    /// How long one of them waits before it is 503 as well.
    pub queue_timeout: Duration,
    /// How long the reader of a streamed object may take for a piece of it, before its place goes to another.
    pub reader_timeout: Duration,
    /// How many large objects stream at a time: slow readers must not use up the places of everyone else's misses.
    pub max_streams: usize,
    /// When a store that keeps failing is left alone; `None` asks it every time.
    pub breaker: Option<Rules>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            max_concurrent: 64,
            max_queue: 1024,
            queue_timeout: Duration::from_secs(1),
            reader_timeout: Duration::from_secs(30),
            max_streams: 256,
            breaker: Some(Rules::DEFAULT),
        }
    }
}

/// A store that the publisher writes to.
#[derive(Debug, Clone)]
pub enum StoreOptions {
    /// A folder.
    Local {
        /// `techdocs.publisher.local.publishDirectory`.
        directory: PathBuf,
    },
    /// Amazon S3 or a server that speaks its protocol.
    S3(Box<S3Options>),
    /// Azure Blob Storage.
    Azure(Box<AzureOptions>),
    /// Google Cloud Storage.
    Gcs(Box<GcsOptions>),
    /// A folder on an SFTP server.
    Sftp(Box<SftpOptions>),
    /// OpenStack Swift.
    Swift(Box<SwiftOptions>),
    /// The sample site inside the binary.
    Sample,
}

impl StoreOptions {
    /// The word for it in spans.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::S3(_) => "s3",
            Self::Azure(_) => "azure",
            Self::Gcs(_) => "gcs",
            Self::Sftp(_) => "sftp",
            Self::Swift(_) => "swift",
            Self::Sample => "sample",
        }
    }

    /// What tells places apart.
    fn identity(&self) -> String {
        match self {
            Self::Local { directory } => format!("local\0{}", directory.display()),
            Self::S3(s3) => {
                let endpoint = s3.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
                format!("s3\0{endpoint}\0{}", s3.bucket)
            }
            Self::Azure(azure) => format!("azure\0{}\0{}", azure.endpoint, azure.container),
            Self::Gcs(gcs) => {
                let endpoint = gcs.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
                format!("gcs\0{endpoint}\0{}", gcs.bucket)
            }
            // Another user may see other files under the same path.
            Self::Sftp(sftp) => format!("sftp\0{}\0{}\0{}\0{}", sftp.host, sftp.port, sftp.username, sftp.root),
            Self::Swift(swift) => {
                let region = swift.region.as_deref().unwrap_or_default();
                format!("swift\0{}\0{region}\0{}", swift.place(), swift.container)
            }
            Self::Sample => "sample".to_owned(),
        }
    }

    /// The bucket, where it has one.
    pub fn bucket(&self) -> Option<&str> {
        match self {
            Self::S3(options) => Some(&options.bucket),
            Self::Azure(options) => Some(&options.container),
            Self::Swift(options) => Some(&options.container),
            Self::Gcs(options) => Some(&options.bucket),
            Self::Local { .. } | Self::Sftp(_) | Self::Sample => None,
        }
    }
}

/// In words, for people.
impl fmt::Display for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { directory } => write!(f, "folder {}", directory.display()),
            Self::S3(s3) => {
                write!(f, "S3 bucket {}", s3.bucket)?;
                s3.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
            Self::Azure(azure) => write!(f, "Azure container {} at {}", azure.container, azure.endpoint),
            Self::Gcs(gcs) => {
                write!(f, "Google Cloud Storage bucket {}", gcs.bucket)?;
                gcs.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
            }
            Self::Sftp(sftp) => {
                let SftpOptions { host, port, username, root, .. } = &**sftp;
                write!(f, "SFTP folder {root:?} of {username} at {host}:{port}")
            }
            Self::Swift(swift) => write!(f, "Swift container {} at {}", swift.container, swift.place()),
            Self::Sample => f.write_str("the sample site"),
        }
    }
}

/// `techdocs.publisher.awsS3`.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// `bucketName`.
    pub bucket: String,
    /// `region`, or what the environment says of it; `None` leaves it to the profile, or else `us-east-1`.
    pub region: Option<String>,
    /// `endpoint` of a server that is not AWS.
    pub endpoint: Option<Url>,
    /// `s3ForcePathStyle`: the bucket in the path rather than in the host name.
    pub force_path_style: bool,
    /// Where the credential comes from.
    pub credentials: AwsCredentials,
    /// `httpsProxy`, a URL that may hold a password.
    pub proxy: Option<Secret>,
    /// `maxAttempts`: tries in all, the first included.
    pub max_attempts: usize,
    /// Whether 403 for a key means that it is absent, as AWS answers where ListBucket is not granted.
    pub forbidden_is_absent: ForbiddenIsAbsent,
}

/// Whether a refusal of one object means that the object is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForbiddenIsAbsent {
    /// Where that can be told.
    Auto,
    /// Always, unless it is the credential itself that is refused.
    Always,
    /// Never.
    Never,
}

/// `techdocs.publisher.openStackSwift`.
#[derive(Debug, Clone)]
pub struct SwiftOptions {
    /// `containerName`.
    pub container: String,
    /// `authUrl` of Keystone v3, with `/v3` at its end or without.
    pub auth_url: Url,
    /// `swiftUrl`, up to the account; `None` leaves it to Keystone's catalog.
    pub swift_url: Option<Url>,
    /// `region`, where the catalog has several.
    pub region: Option<String>,
    /// `credentials.id` of an application credential.
    pub credential_id: String,
    /// `credentials.secret`.
    pub secret: Secret,
}

impl SwiftOptions {
    /// The address that tells best where the container is.
    fn place(&self) -> &Url {
        self.swift_url.as_ref().unwrap_or(&self.auth_url)
    }
}

/// `techdocs.publisher.googleGcs`.
#[derive(Debug, Clone)]
pub struct GcsOptions {
    /// `bucketName`.
    pub bucket: String,
    /// `credentials`; `None` leaves it to the application default credentials.
    pub credentials: Option<GoogleCredentials>,
    /// Where those are looked for.
    pub default_credentials: DefaultCredentials,
    /// Another address than the public one, such as that of Private Google Access.
    pub endpoint: Option<Url>,
    /// Whether 403 for a key means that the object is absent, as Google answers where listing is not granted.
    pub forbidden_is_absent: ForbiddenIsAbsent,
}

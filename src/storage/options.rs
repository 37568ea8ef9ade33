//! What the storage room runs on.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::breaker::Rules;
use crate::secret::Secret;

/// Where the sites are and how patiently they are asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store itself.
    pub origin: Origin,
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

/// The store that the publisher writes to.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder.
    Local {
        /// `techdocs.publisher.local.publishDirectory`.
        directory: PathBuf,
    },
    /// Amazon S3 or a server that speaks its protocol.
    S3(Box<S3Options>),
    /// The sample site inside the binary.
    Sample,
}

impl Origin {
    /// The word for it in spans.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Local { .. } => "local",
            Self::S3(_) => "s3",
            Self::Sample => "sample",
        }
    }

    /// What tells places apart, the same in every process that reads from the same one.
    pub fn identity(&self) -> String {
        match self {
            Self::Local { directory } => format!("local\0{}", directory.display()),
            Self::S3(s3) => {
                let endpoint = s3.endpoint.as_ref().map(Url::as_str).unwrap_or_default();
                format!("s3\0{endpoint}\0{}", s3.bucket)
            }
            Self::Sample => "sample".to_owned(),
        }
    }

    /// The bucket, where it has one.
    pub fn bucket(&self) -> Option<&str> {
        match self {
            Self::S3(options) => Some(&options.bucket),
            Self::Local { .. } | Self::Sample => None,
        }
    }
}

/// `techdocs.publisher.awsS3`.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// `bucketName`.
    pub bucket: String,
    /// `region`; `None` leaves it to `AWS_REGION` or `us-east-1`.
    pub region: Option<String>,
    /// `endpoint` of a server that is not AWS.
    pub endpoint: Option<Url>,
    /// `s3ForcePathStyle`: the bucket in the path rather than in the host name.
    pub force_path_style: bool,
    /// Static keys; `None` leaves it to the environment, web identity, container or instance metadata.
    pub keys: Option<S3Keys>,
    /// `httpsProxy`, a URL that may hold a password.
    pub proxy: Option<Secret>,
    /// `maxAttempts`: tries in all, the first included.
    pub max_attempts: usize,
    /// Whether 403 for a key means that it is absent, as AWS answers where ListBucket is not granted.
    pub forbidden_is_absent: bool,
}

/// A static key pair.
#[derive(Debug, Clone)]
pub struct S3Keys {
    /// `credentials.accessKeyId`.
    pub access_key_id: String,
    /// `credentials.secretAccessKey`.
    pub secret_access_key: Secret,
}

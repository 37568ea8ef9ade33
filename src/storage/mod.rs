//! Reading from the store that the publisher writes to. Nothing here, nor in anything built on it, can write.

mod azure;
mod body;
mod bucket;
mod credential;
mod embedded;
mod error;
mod fill;
mod forbidden;
mod gate;
mod gcs;
mod http;
mod local;
mod options;
mod origins;
mod pieces;
mod reader;
mod rest;
mod s3;
mod scope;
mod sftp;
mod standing;
mod swift;
mod traced;
mod whole;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::docs::ObjectName;
use crate::http::etag::ETag;
use crate::telemetry::OriginInstruments;
use crate::trust::Trust;

pub use azure::{AzureAccess, AzureIdentity, AzureOptions, AzureProof, MachineEndpoint, azure};
pub use credential::Kept;
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use fill::{Fill, Filling, Opened};
pub use forbidden::{CODES_OF_THE_CREDENTIAL, Forbidden};
pub use gcs::{AwsVariables, DefaultCredentials, GoogleCredentials, NotCredentials, gcs};
pub use local::LocalStore;
pub use options::*;
pub use origins::{Origin, Origins, Wanted};
pub use reader::{Contact, Reader};
pub use s3::{AwsCredentials, AwsKeys, AwsRole, s3};
pub use scope::Scope;
pub use sftp::{HostKey, HostKeyProblem, HostKeys, SftpCredentials, SftpOptions, SftpStore, UserKey, UserKeyProblem};
pub use standing::Standing;
pub use swift::swift;
pub use whole::{Checksum, Whole};

/// The clients as they are, with credentials that may allow them more than reading. For the room `proof` alone, which tries
/// whether they do; a test holds that no other room names them.
pub mod raw {
    pub use super::azure::client as azure;
    pub use super::gcs::client as gcs;
    pub use super::s3::client as s3;
    pub use super::sftp::{AnyRequest, Said};
    pub use super::swift::{Client as SwiftClient, client as swift};
}

/// A store that documents are read from.
///
/// Its whole vocabulary: whatever is built on it can only read.
#[async_trait]
pub trait DocStore: fmt::Debug + Send + Sync {
    /// What is known of an object without its body.
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError>;

    /// An object, or the part of it that `options.range` names.
    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError>;

    /// The names of some objects below the folder `prefix`, at most `limit`, in no order that means anything.
    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// The names of the folders right below the folder `parent` (without a slash at its end; the root is empty), at most
    /// `limit`, in no order that means anything.
    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Why the credential that it would show can't be shown, where that is so: there is none, or it has expired and could
    /// not be renewed.
    fn credential_trouble(&self) -> Option<String> {
        None
    }

    /// Where the credential that it shows was found, in words, where it had to be looked for.
    fn credential_place(&self) -> Option<String> {
        None
    }

    /// How it tells an object that is absent from one that it may not read.
    fn forbidden(&self) -> Forbidden {
        Forbidden::Told
    }

    /// What the object's whole body ought to hash to, where the store tells. It may be mistaken: see [`Reader::fetch`].
    fn checksum(&self, _meta: &ObjectMeta) -> Option<Checksum> {
        None
    }
}

/// What a store's client is made with.
#[derive(Debug)]
pub struct Means<'m> {
    /// How long one operation may take.
    pub timeout: Duration,
    /// Whom it believes.
    pub trust: &'m Trust,
    /// What counts for its origin.
    pub instruments: &'m Arc<OriginInstruments>,
    /// The credential that all clients of the origin share.
    pub kept: &'m Arc<Kept>,
}

/// What a store tells about an object beside its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its length in bytes.
    pub size: u64,
    /// Its entity tag, where the store has one.
    pub etag: Option<ETag>,
    /// When it was last written, in whole seconds.
    pub last_modified: Option<SystemTime>,
}

impl ObjectMeta {
    /// Whether it is the same version of the object: by the entity tag where both have one. When it was written may differ
    /// then, as where the same bytes were uploaded once more.
    pub fn is_same_version(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(ours), Some(theirs)) => ours == theirs && self.size == other.size,
            _ => self == other,
        }
    }
}

/// How to read an object.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Only these bytes; they must lie inside the object.
    pub range: Option<Range<u64>>,
    /// Only if the tag differs; else [`StoreError::NotModified`].
    pub if_none_match: Option<ETag>,
    /// Only if the tag is the same; else [`StoreError::Changed`].
    pub if_match: Option<ETag>,
}

/// An object that is being read.
pub struct Object {
    /// What it is, whole.
    pub meta: ObjectMeta,
    /// Its bytes, or those that were asked for; ends with an error where they don't all come.
    pub body: ObjectBody,
}

/// The bytes of an object, in pieces.
pub type ObjectBody = BoxStream<'static, Result<Bytes, StoreError>>;

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).finish_non_exhaustive()
    }
}

//! What replicas write to each other, as JSON below a seal.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::site::{Site, Version};
use crate::http::etag::ETag;
use crate::storage::ObjectMeta;

/// A message to all replicas.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// Who says it.
    pub(super) from: u128,
    pub(super) said: Said,
}

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Said {
    /// Storage has this version of a document; none, where it is gone.
    Document { key: String, version: Option<Written> },
    /// A generation of a site began.
    Site { name: String, record: SiteRecord },
    /// At least this generation began in every site below a prefix.
    Below { prefix: String, generation: u64 },
}

/// What replicas agree on about a site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SiteRecord {
    pub(super) generation: u64,
    pub(super) settles_at: u64,
    /// When somebody last looked at it.
    pub(super) looked_at: Option<u64>,
    /// Of its metadata: not looked at, absent, or there.
    pub(super) version: Option<Option<Written>>,
}

/// An [`ObjectMeta`] as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    size: u64,
    etag: Option<String>,
    /// Seconds since the Unix epoch.
    modified: Option<u64>,
}

impl Written {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        let etag = meta.etag.as_ref().map(|etag| etag.as_str().to_owned());
        let modified = meta.last_modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { size: meta.size, etag, modified: modified.map(|since| since.as_secs()) }
    }

    pub(super) fn read(&self) -> ObjectMeta {
        ObjectMeta {
            size: self.size,
            etag: self.etag.as_deref().and_then(ETag::from_store),
            last_modified: self.modified.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
        }
    }
}

impl SiteRecord {
    pub(super) fn of(site: &Site) -> Self {
        let version = match &*site.version() {
            Version::Unknown => None,
            Version::Absent => Some(None),
            Version::Present(meta) => Some(Some(Written::of(meta))),
        };
        let looked_at = site.checked_at().as_millis();
        Self {
            generation: site.generation().number(),
            settles_at: site.settles_at().as_millis(),
            looked_at: (looked_at > 0).then_some(looked_at),
            version,
        }
    }

    pub(super) fn version(&self) -> Version {
        match &self.version {
            None => Version::Unknown,
            Some(None) => Version::Absent,
            Some(Some(written)) => Version::Present(written.read()),
        }
    }
}

/// As it is written.
pub(super) fn encoded(value: &impl Serialize) -> Bytes {
    // Strings and numbers always make JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

//! Files inside the binary: the sample site.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use include_dir::{Dir, DirEntry};

use super::{DocStore, GetOptions, Object, ObjectMeta, StoreError};
use crate::docs::ObjectName;
use crate::http::etag::ETag;

/// One site that lies in the binary.
#[derive(Debug)]
pub struct EmbeddedStore {
    /// The site's entity, `{namespace}/{kind}/{name}`.
    entity: &'static str,
    files: &'static Dir<'static>,
    /// When the site was built, in seconds since the Unix epoch.
    built_at: u64,
}

impl EmbeddedStore {
    /// A store that holds `files` as the site of `entity`, built at so many seconds since the Unix epoch.
    pub const fn new(entity: &'static str, files: &'static Dir<'static>, built_at: u64) -> Self {
        Self { entity, files, built_at }
    }

    fn find(&self, name: &ObjectName<'_>) -> Result<(&'static [u8], ObjectMeta), StoreError> {
        let path = name.as_str().strip_prefix(self.entity).and_then(|rest| rest.strip_prefix('/'));
        let file = path.and_then(|path| self.files.get_file(path));
        let contents = file.ok_or(StoreError::Absent)?.contents();
        // Pages of different builds may have the same time, so it is a hash that tells them apart.
        let hash = digest(&SHA256, contents);
        let tag: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let meta = ObjectMeta {
            size: contents.len() as u64,
            etag: ETag::from_store(&tag),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(self.built_at)),
        };
        Ok((contents, meta))
    }
}

#[async_trait]
impl DocStore for EmbeddedStore {
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        self.find(name).map(|(_, meta)| meta)
    }

    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let (contents, meta) = self.find(name)?;
        if options.if_none_match.is_some() && options.if_none_match == meta.etag {
            return Err(StoreError::NotModified);
        }
        if options.if_match.is_some() && options.if_match != meta.etag {
            return Err(StoreError::Changed);
        }
        let whole = Bytes::from_static(contents);
        let part = options.range.as_ref().and_then(|range| {
            let (start, end) = (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            contents.get(start..end).map(|part| whole.slice_ref(part))
        });
        let body = part.unwrap_or(whole);
        Ok(Object { meta, body: stream::iter([Ok(body)]).boxed() })
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let mut folders = vec![self.files];
        while let Some(folder) = folders.pop() {
            for entry in folder.entries() {
                match entry {
                    DirEntry::Dir(inner) => folders.push(inner),
                    DirEntry::File(file) => keys.push(format!("{}/{}", self.entity, file.path().display())),
                }
            }
        }
        keys.retain(|key| key.starts_with(prefix));
        keys.truncate(limit);
        Ok(keys)
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let below = if parent.is_empty() {
            Some(self.entity)
        } else {
            self.entity.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'))
        };
        let name = below.and_then(|below| below.split('/').next()).map(str::to_owned);
        Ok(name.into_iter().take(limit).collect())
    }
}

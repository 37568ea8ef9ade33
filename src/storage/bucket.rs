//! What S3, Google Cloud Storage and Azure have in common: a bucket behind one of `object_store`'s clients.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions as ClientGetOptions, ObjectStore, ObjectStoreExt};

use super::credential::Credential;
use super::forbidden::{Refusals, blames_credential, blames_object};
use super::{Checksum, DocStore, Forbidden, ForbiddenIsAbsent, GetOptions, Object, ObjectMeta, StoreError};
use crate::chain::chain;
use crate::docs::ObjectName;
use crate::http::etag::ETag;

/// None of the clouds takes keys of more bytes, so a longer one names no object.
const MAX_KEY_BYTES: usize = 1024;

/// How the clouds say that it is the bucket which does not exist: with so much around the words that no reader can put
/// them there, whose keys stand in some answers too.
const MISSING_BUCKET: [&str; 3] =
    ["<Code>NoSuchBucket</Code>", "<Message>The specified bucket does not exist", "404 Not Found: ContainerNotFound"];

/// A bucket.
#[derive(Debug)]
pub(super) struct Bucket<C> {
    client: C,
    refusals: Refusals,
    credential: Option<Arc<dyn Credential>>,
}

impl<C> Bucket<C> {
    /// The bucket that `client` reads. `forbidden_is_absent` says what 403 for a key means, which is how some clouds answer
    /// for absent keys where listing is not granted. `credential` is what the client shows, where it is renewed.
    pub(super) fn new(
        client: C,
        forbidden_is_absent: ForbiddenIsAbsent,
        credential: Option<Arc<dyn Credential>>,
    ) -> Self {
        Self { client, refusals: Refusals::new(forbidden_is_absent), credential }
    }

    fn error(&self, error: object_store::Error) -> StoreError {
        use object_store::Error::{NotFound, NotModified, PermissionDenied, Precondition, Unauthenticated};
        match error {
            // 404 is also what a missing bucket is answered with, and that is an outage, not an absent page.
            NotFound { source, .. } if names_missing_bucket(&*source) => StoreError::unavailable(source),
            NotFound { .. } => StoreError::Absent,
            NotModified { .. } => StoreError::NotModified,
            Precondition { .. } => StoreError::Changed,
            PermissionDenied { .. } | Unauthenticated { .. } => self.denied(error),
            // 429, 5xx and time-outs all arrive as `Generic`, and for a listing also a refusal.
            other if is_refusal(&other) => self.denied(other),
            other => StoreError::unavailable(other),
        }
    }

    fn denied(&self, error: object_store::Error) -> StoreError {
        if let Some(credential) = &self.credential {
            credential.was_refused();
        }
        StoreError::denied(error)
    }
}

impl<C: ObjectStore + PaginatedListStore> Bucket<C> {
    /// What an error for one object means, for whose sake storage may be asked more.
    async fn error_of(&self, key: &Path, error: object_store::Error) -> StoreError {
        if !matches!(error, object_store::Error::PermissionDenied { .. }) {
            return self.error(error);
        }
        let is_absent = match self.refusals.rule() {
            ForbiddenIsAbsent::Never => false,
            ForbiddenIsAbsent::Always => !blames_credential(&error),
            ForbiddenIsAbsent::Auto => blames_object(&error) && self.is_absent(key).await,
        };
        if is_absent { StoreError::Absent } else { self.denied(error) }
    }

    /// Whether an object that is refused is not there at all.
    async fn is_absent(&self, key: &Path) -> bool {
        if self.refusals.verdict() == Forbidden::Listed {
            let only = PaginatedListOptions { max_keys: Some(1), ..Default::default() };
            let page = self.client.list_paginated(Some(key.as_ref()), only).await;
            self.refusals.listing_ended(page.as_ref().err().map(|error| error as _));
            match page {
                // Listed in order, it would come before all that begin with its name.
                Ok(page) if page.result.objects.first().is_some_and(|first| first.location == *key) => return false,
                Err(error) if !blames_object(&error) => return false,
                Ok(_) | Err(_) => {}
            }
        }
        let head = async |known: String| match Path::parse(known) {
            Ok(known) => self.client.head(&known).await.is_ok(),
            Err(_) => false,
        };
        self.refusals.can_still_read(head).await && self.is_refused(key).await
    }

    /// Whether an object is refused now. What was, may have been in an outage that has passed before anything else was asked
    /// for.
    async fn is_refused(&self, key: &Path) -> bool {
        let first_byte = ClientGetOptions { range: Some((0..1).into()), ..Default::default() };
        match self.client.get_opts(key, first_byte).await {
            Err(error @ object_store::Error::PermissionDenied { .. }) => blames_object(&error),
            _ => false,
        }
    }
}

#[async_trait]
impl<C: ObjectStore + PaginatedListStore> DocStore for Bucket<C> {
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let path = path(name)?;
        let found = match self.client.head(&path).await {
            // A refusal of HEAD has no body that would say why.
            Err(object_store::Error::PermissionDenied { .. }) => {
                let first_byte = ClientGetOptions { range: Some((0..1).into()), ..Default::default() };
                self.client.get_opts(&path, first_byte).await.map(|found| found.meta)
            }
            found => found,
        };
        match found {
            Ok(meta) => Ok(object_meta(&meta)),
            Err(error) => Err(self.error_of(&path, error).await),
        }
    }

    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let path = path(name)?;
        let tag = |tag: &ETag| tag.as_str().to_owned();
        let options = ClientGetOptions {
            range: options.range.clone().map(Into::into),
            if_none_match: options.if_none_match.as_ref().map(tag),
            if_match: options.if_match.as_ref().map(tag),
            ..ClientGetOptions::default()
        };
        let found = match self.client.get_opts(&path, options).await {
            Ok(found) => found,
            Err(error) => return Err(self.error_of(&path, error).await),
        };
        self.refusals.was_read(path.as_ref());
        let meta = object_meta(&found.meta);
        let body = found.into_stream().map_err(StoreError::unavailable);
        Ok(Object { meta, body: body.boxed() })
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = Path::parse(prefix).map_err(StoreError::unavailable)?;
        let keys = self.client.list(Some(&prefix)).take(limit).map_ok(|meta| meta.location.to_string());
        let keys = keys.try_collect().await;
        self.refusals.listing_ended(keys.as_ref().err().map(|error| error as _));
        keys.map_err(|error| self.error(error))
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        let mut names = Vec::new();
        let mut page_token = None;
        loop {
            let page = PaginatedListOptions { delimiter: Some("/".into()), page_token, ..Default::default() };
            let page =
                self.client.list_paginated(Some(&prefix).filter(|prefix| !prefix.is_empty()).map(String::as_str), page);
            let page = page.await.map_err(|error| self.error(error))?;
            let folders = page.result.common_prefixes;
            names.extend(folders.iter().filter_map(|folder| folder.filename()).map(str::to_owned));
            page_token = page.page_token;
            if page_token.is_none() || names.len() >= limit {
                names.truncate(limit);
                return Ok(names);
            }
        }
    }

    fn checksum(&self, meta: &ObjectMeta) -> Option<Checksum> {
        meta.etag.as_ref().and_then(Checksum::from_tag)
    }

    fn forbidden(&self) -> Forbidden {
        self.refusals.verdict()
    }

    fn credential_trouble(&self) -> Option<String> {
        self.credential.as_ref().and_then(|credential| credential.trouble())
    }

    fn credential_place(&self) -> Option<String> {
        self.credential.as_ref().and_then(|credential| credential.place())
    }
}

fn path(name: &ObjectName<'_>) -> Result<Path, StoreError> {
    if name.as_str().len() > MAX_KEY_BYTES {
        return Err(StoreError::Absent);
    }
    // `parse` keeps the name as it is, where `from` would percent-encode it; what it refuses can't be in a bucket
    // that a publisher wrote.
    Path::parse(name.as_str()).map_err(|_| StoreError::Absent)
}

fn object_meta(meta: &object_store::ObjectMeta) -> ObjectMeta {
    let seconds = u64::try_from(meta.last_modified.timestamp()).ok();
    ObjectMeta {
        size: meta.size,
        etag: meta.e_tag.as_deref().and_then(ETag::from_store),
        last_modified: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
    }
}

/// Whether a 404's body says that it is the bucket which does not exist. It stands in the last cause, where those above
/// hold the address.
fn names_missing_bucket(error: &(dyn Error + 'static)) -> bool {
    let mut answer = error;
    while let Some(cause) = answer.source() {
        answer = cause;
    }
    let words = answer.to_string();
    MISSING_BUCKET.iter().any(|missing| words.contains(missing))
}

/// Whether the request was refused, mostly for its credential: one that has run out is also 400. The client keeps the
/// status to itself, but for its words. A server that answers so is well: a few keys that it does not like must not look
/// like an outage.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let words = chain(error);
    ["400 Bad Request", "401 Unauthorized", "403 Forbidden"].iter().any(|status| words.contains(status))
}

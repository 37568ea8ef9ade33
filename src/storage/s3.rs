//! Amazon S3 and servers that speak its protocol.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, GetOptions as ClientGetOptions, ObjectStore, ObjectStoreExt,
    RetryConfig,
};

use url::{Host, Url};

use super::traced::Traced;
use super::{Checksum, DocStore, GetOptions, Object, ObjectMeta, S3Options, StoreError};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::etag::ETag;
use crate::trust::Trust;

/// S3 takes keys up to this many bytes, so a longer one names no object.
const MAX_KEY_BYTES: usize = 1024;

/// A bucket.
#[derive(Debug)]
pub struct S3Store {
    client: Arc<AmazonS3>,
    forbidden_is_absent: bool,
}

impl S3Store {
    /// A client for the bucket in `options`, which believes those whom `trust` does; `timeout` bounds each try.
    ///
    /// # Errors
    /// Where the client can't be built from these options; the text names what it misses.
    pub fn new(options: &S3Options, timeout: Duration, trust: &Trust) -> Result<Self, StoreError> {
        let builder = builder(options, timeout).with_http_connector(Traced(TrustedHttp(trust.clone())));
        let client = builder.build().map_err(StoreError::unavailable)?;
        Ok(Self { client: Arc::new(client), forbidden_is_absent: options.forbidden_is_absent })
    }

    fn error(&self, error: object_store::Error) -> StoreError {
        use object_store::Error::{NotFound, NotModified, PermissionDenied, Precondition, Unauthenticated};
        match error {
            // 404 is also what a missing bucket is answered with, and that is an outage, not an absent page.
            NotFound { source, .. } if names_missing_bucket(&*source) => StoreError::unavailable(source),
            NotFound { .. } => StoreError::Absent,
            NotModified { .. } => StoreError::NotModified,
            Precondition { .. } => StoreError::Changed,
            PermissionDenied { .. } if self.forbidden_is_absent => StoreError::Absent,
            PermissionDenied { .. } | Unauthenticated { .. } => StoreError::denied(error),
            // 429, 5xx and time-outs all arrive as `Generic`, and for a listing also a refusal.
            other if is_refusal(&other) => StoreError::denied(other),
            other => StoreError::unavailable(other),
        }
    }
}

#[async_trait]
impl DocStore for S3Store {
    async fn stat(&self, key: &StorageKey) -> Result<ObjectMeta, StoreError> {
        let meta = self.client.head(&path(key)?).await.map_err(|error| self.error(error))?;
        Ok(object_meta(&meta))
    }

    async fn get(&self, key: &StorageKey, options: &GetOptions) -> Result<Object, StoreError> {
        let tag = |tag: &ETag| tag.as_str().to_owned();
        let options = ClientGetOptions {
            range: options.range.clone().map(Into::into),
            if_none_match: options.if_none_match.as_ref().map(tag),
            if_match: options.if_match.as_ref().map(tag),
            ..ClientGetOptions::default()
        };
        let found = self.client.get_opts(&path(key)?, options).await.map_err(|error| self.error(error))?;
        let meta = object_meta(&found.meta);
        let body = found.into_stream().map_err(StoreError::unavailable);
        Ok(Object { meta, body: body.boxed() })
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = Path::parse(prefix).map_err(StoreError::unavailable)?;
        let keys = self.client.list(Some(&prefix)).take(limit).map_ok(|meta| meta.location.to_string());
        keys.try_collect().await.map_err(|error| self.error(error))
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
}

fn builder(options: &S3Options, timeout: Duration) -> AmazonS3Builder {
    // Without static keys the client looks where AWS's own would: environment, web identity, container, instance.
    let mut builder = match &options.keys {
        Some(keys) => AmazonS3Builder::new()
            .with_access_key_id(&keys.access_key_id)
            .with_secret_access_key(String::from_utf8_lossy(keys.secret_access_key.expose())),
        None => AmazonS3Builder::from_env(),
    };
    // No bound on a request here: whoever reads sets the deadlines, and a large object streams as long as its reader
    // takes.
    let mut client = ClientOptions::new().with_timeout_disabled().with_connect_timeout(timeout.min(CONNECT_TIMEOUT));
    if let Some(proxy) = &options.proxy {
        client = client.with_proxy_url(String::from_utf8_lossy(proxy.expose()));
    }
    let bucket_in_host = bucket_goes_into_host(options);
    if let Some(endpoint) = &options.endpoint {
        client = client.with_allow_http(endpoint.scheme() == "http");
        builder = builder.with_endpoint(endpoint_url(endpoint, bucket_in_host.then_some(options.bucket.as_str())));
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    builder
        .with_bucket_name(&options.bucket)
        .with_virtual_hosted_style_request(bucket_in_host)
        .with_client_options(client)
        .with_retry(RetryConfig {
            max_retries: options.max_attempts.saturating_sub(1),
            retry_timeout: timeout,
            backoff: BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: timeout / 4, base: 2. },
        })
}

/// Makes the store's HTTP clients, also those that ask for credentials, with the program's one TLS configuration.
#[derive(Debug)]
struct TrustedHttp(Trust);

impl HttpConnector for TrustedHttp {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic = |source: reqwest::Error| object_store::Error::Generic { store: "S3", source: source.into() };
        let text = |key| options.get_config_value(&key);
        // A client of its own asks the machine for credentials, in cleartext and with less patience.
        let may_be_cleartext = text(ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let connect_timeout = text(ClientConfigKey::ConnectTimeout)
            .and_then(|shown| humantime::parse_duration(&shown).ok())
            .map_or(CONNECT_TIMEOUT, |timeout| timeout.min(CONNECT_TIMEOUT));
        let mut builder = self.0.http_client(false).connect_timeout(connect_timeout).https_only(!may_be_cleartext);
        if let Some(proxy) = text(ClientConfigKey::ProxyUrl) {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(generic)?);
        }
        Ok(HttpClient::new(builder.build().map_err(generic)?))
    }
}

/// Whether to address `bucket.host/key` rather than `host/bucket/key`, decided as the AWS SDK does that Backstage uses:
/// not for an address, and not for a bucket with dots, which no wildcard certificate covers.
fn bucket_goes_into_host(options: &S3Options) -> bool {
    let host_is_address = options.endpoint.as_ref().is_some_and(|url| !matches!(url.host(), Some(Host::Domain(_))));
    !options.force_path_style && !host_is_address && !options.bucket.contains('.')
}

/// The endpoint as the client wants it: with the bucket in its host where it goes there, without a trailing slash.
fn endpoint_url(endpoint: &Url, bucket: Option<&str>) -> String {
    let mut url = endpoint.clone();
    if let (Some(bucket), Some(host)) = (bucket, endpoint.host_str()) {
        // A bucket's name fits into a host name; one that does not stays out and storage says what it thinks of it.
        let _ = url.set_host(Some(&format!("{bucket}.{host}")));
    }
    url.as_str().trim_end_matches('/').to_owned()
}

/// A server that does not take a connection within this time is not going to be quick once it has.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const FIRST_BACKOFF: Duration = Duration::from_millis(50);

fn path(key: &StorageKey) -> Result<Path, StoreError> {
    if key.as_str().len() > MAX_KEY_BYTES {
        return Err(StoreError::Absent);
    }
    // `parse` keeps the key as it is, where `from` would percent-encode it; what it refuses can't be in a bucket
    // that a publisher wrote.
    Path::parse(key.as_str()).map_err(|_| StoreError::Absent)
}

fn object_meta(meta: &object_store::ObjectMeta) -> ObjectMeta {
    let seconds = u64::try_from(meta.last_modified.timestamp()).ok();
    ObjectMeta {
        size: meta.size,
        etag: meta.e_tag.as_deref().and_then(ETag::from_store),
        last_modified: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
    }
}

/// Whether a 404's body says that it is the bucket which does not exist.
fn names_missing_bucket(error: &(dyn Error + 'static)) -> bool {
    chain(error).contains("NoSuchBucket")
}

/// Whether the request was refused, mostly for its credential: one that has run out is also 400. The client keeps the
/// status to itself, but for its words. A server that answers so is well: a few keys that it does not like must not look
/// like an outage.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let words = chain(error);
    ["400 Bad Request", "401 Unauthorized", "403 Forbidden"].iter().any(|status| words.contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bucket: &str, endpoint: Option<&str>, force_path_style: bool) -> S3Options {
        S3Options {
            bucket: bucket.to_owned(),
            region: None,
            endpoint: endpoint.map(|url| url.parse().unwrap()),
            force_path_style,
            keys: None,
            proxy: None,
            max_attempts: 3,
            forbidden_is_absent: false,
        }
    }

    #[test]
    fn the_bucket_stands_where_the_aws_sdk_would_put_it() {
        for (bucket, endpoint, force_path_style, expected) in [
            ("docs", None, false, true),
            ("docs", None, true, false),
            ("my.docs", None, false, false),
            ("docs", Some("http://127.0.0.1:9000"), false, false),
            ("docs", Some("https://minio.example.com"), false, true),
            ("docs", Some("https://minio.example.com"), true, false),
        ] {
            let options = options(bucket, endpoint, force_path_style);
            assert_eq!(bucket_goes_into_host(&options), expected, "{options:?}");
        }
    }

    #[test]
    fn the_endpoint_keeps_its_port_and_path() {
        let endpoint = "https://minio.example.com:9000/s3/".parse().unwrap();
        assert_eq!(endpoint_url(&endpoint, None), "https://minio.example.com:9000/s3");
        assert_eq!(endpoint_url(&endpoint, Some("docs")), "https://docs.minio.example.com:9000/s3");
    }
}

//! Amazon S3 and servers that speak its protocol.

mod chain;
mod client;
mod issuer;
mod options;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use url::{Host, Url};

use self::client::CredentialHttp;
use self::issuer::{AwsIssuer, region};
use super::bucket::Bucket;
use super::credential::Credential;
use super::http::{client_options, connector, retries};
use super::{DocStore, Means, S3Options, StoreError};

pub use options::{AwsCredentials, AwsKeys, AwsRole};

/// The bucket in `options`. It must be called inside a runtime.
///
/// # Errors
/// Where the client can't be built from these options; the text names what it misses.
pub fn s3(options: &S3Options, means: &Means<'_>) -> Result<Arc<dyn DocStore>, StoreError> {
    let (client, credential) = build(options, means)?;
    Ok(Arc::new(Bucket::new(client, options.forbidden_is_absent, credential)))
}

/// The client itself, which could do more than read.
///
/// # Errors
/// As for [`s3`].
pub fn client(options: &S3Options, means: &Means<'_>) -> Result<AmazonS3, StoreError> {
    Ok(build(options, means)?.0)
}

/// The client, and its credential where that is renewed.
fn build(options: &S3Options, means: &Means<'_>) -> Result<(AmazonS3, Option<Arc<dyn Credential>>), StoreError> {
    let mut builder = builder(options, means.timeout).with_http_connector(connector(means.trust));
    let mut credential: Option<Arc<dyn Credential>> = None;
    if let AwsCredentials::Keys(keys) = &options.credentials {
        builder = builder
            .with_access_key_id(&keys.access_key_id)
            .with_secret_access_key(String::from_utf8_lossy(keys.secret_access_key.expose()));
    } else {
        let http = CredentialHttp::new(means.trust, options.proxy.as_ref())?;
        let issuer = AwsIssuer::new(options.credentials.clone(), http);
        let keeper = means.kept.keeper(issuer, means.instruments);
        builder = builder.with_credentials(keeper.clone());
        credential = Some(keeper);
    }
    Ok((builder.build().map_err(StoreError::unavailable)?, credential))
}

fn builder(options: &S3Options, timeout: Duration) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    let mut client = client_options(timeout, options.proxy.as_ref());
    let bucket_in_host = bucket_goes_into_host(options);
    if let Some(endpoint) = &options.endpoint {
        client = client.with_allow_http(endpoint.scheme() == "http");
        builder = builder.with_endpoint(endpoint_url(endpoint, bucket_in_host.then_some(options.bucket.as_str())));
    }
    // What the profile says stands in files, so that looking once is enough.
    let of_profile = || region(None).now_or_never().flatten().map(|region| region.to_string());
    if let Some(region) = options.region.clone().or_else(of_profile) {
        builder = builder.with_region(region);
    }
    builder
        .with_bucket_name(&options.bucket)
        .with_virtual_hosted_style_request(bucket_in_host)
        .with_client_options(client)
        .with_retry(retries(options.max_attempts, timeout))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::ForbiddenIsAbsent;

    fn options(bucket: &str, endpoint: Option<&str>, force_path_style: bool) -> S3Options {
        S3Options {
            bucket: bucket.to_owned(),
            region: None,
            endpoint: endpoint.map(|url| url.parse().unwrap()),
            force_path_style,
            credentials: AwsCredentials::Chain { region: None },
            proxy: None,
            max_attempts: 3,
            forbidden_is_absent: ForbiddenIsAbsent::Never,
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

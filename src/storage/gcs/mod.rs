//! Google Cloud Storage.

mod aws;
mod default;
mod exchange;
mod federation;
mod issuer;
mod kinds;
mod service_account;

use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::bucket::Bucket;
use super::credential::{Credential, Keeper};
use super::http::{client_options, connector, retries};
use super::{DocStore, GcsOptions, Means, StoreError};
use exchange::Asker;
use issuer::{GoogleIssuer, READ_ONLY, READ_WRITE};

pub use default::{AwsVariables, DefaultCredentials};
pub use kinds::{GoogleCredentials, NotCredentials};

/// Tries of one request, the first included. Whoever reads sets the deadline for all of them.
const ATTEMPTS: usize = 3;

/// The bucket in `options`. It must be called inside a runtime, in which its credential is renewed.
///
/// # Errors
/// Where the client can't be built from these options; the text names what it misses.
pub fn gcs(options: &GcsOptions, means: &Means<'_>) -> Result<Arc<dyn DocStore>, StoreError> {
    let keeper = means.kept.keeper(issuer(options, means, READ_ONLY)?, means.instruments);
    let client = build(options, means, &keeper)?;
    Ok(Arc::new(Bucket::new(client, options.forbidden_is_absent, Some(keeper as Arc<dyn Credential>))))
}

/// The client itself, which could do more than read. Its tokens are not narrowed to reading where they need not be, so that
/// they allow what the account is allowed.
///
/// # Errors
/// As for [`gcs`].
pub fn client(options: &GcsOptions, means: &Means<'_>) -> Result<GoogleCloudStorage, StoreError> {
    // What readers share is never one that could write.
    build(options, means, &Keeper::start(issuer(options, means, READ_WRITE)?, Arc::clone(means.instruments)))
}

/// Who gives out tokens of this scope.
fn issuer(options: &GcsOptions, means: &Means<'_>, scope: &'static str) -> Result<GoogleIssuer, StoreError> {
    let asker = Asker::new(means.trust, means.timeout)?;
    Ok(GoogleIssuer::new(options.credentials.clone(), options.default_credentials.clone(), scope, asker))
}

fn build(
    options: &GcsOptions,
    means: &Means<'_>,
    keeper: &Arc<Keeper<GcpCredential>>,
) -> Result<GoogleCloudStorage, StoreError> {
    let mut client = client_options(means.timeout, None);
    let mut builder = GoogleCloudStorageBuilder::new().with_credentials(Arc::clone(keeper) as _);
    if let Some(endpoint) = &options.endpoint {
        client = client.with_allow_http(endpoint.scheme() == "http");
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
    }
    builder
        .with_bucket_name(&options.bucket)
        .with_client_options(client)
        .with_retry(retries(ATTEMPTS, means.timeout))
        .with_http_connector(connector(means.trust))
        .build()
        .map_err(StoreError::unavailable)
}

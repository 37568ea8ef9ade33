//! Azure Blob Storage.

mod answers;
mod options;
mod token;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use percent_encoding::percent_decode_str;

use self::answers::Worded;
use self::token::TokenIssuer;
use super::bucket::Bucket;
use super::credential::Credential;
use super::http::{client_options, connector, retries};
use super::{DocStore, ForbiddenIsAbsent, Means, StoreError};

pub use options::*;

/// Tries in all, the first included.
const ATTEMPTS: usize = 3;

/// The container in `options`. It must be called inside a runtime.
///
/// # Errors
/// Where the client can't be built from these options; the text names what it misses.
pub fn azure(options: &AzureOptions, means: &Means<'_>) -> Result<Arc<dyn DocStore>, StoreError> {
    let (client, renewed) = build(options, means)?;
    Ok(Arc::new(Bucket::new(client, ForbiddenIsAbsent::Never, renewed)))
}

/// The client itself, which could do more than read.
///
/// # Errors
/// As for [`azure`].
pub fn client(options: &AzureOptions, means: &Means<'_>) -> Result<MicrosoftAzure, StoreError> {
    Ok(build(options, means)?.0)
}

/// The client, and its credential where that is renewed.
fn build(
    options: &AzureOptions,
    means: &Means<'_>,
) -> Result<(MicrosoftAzure, Option<Arc<dyn Credential>>), StoreError> {
    let client = client_options(means.timeout, None).with_allow_http(options.endpoint.scheme() == "http");
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&options.account)
        .with_container_name(&options.container)
        .with_endpoint(options.endpoint.as_str().trim_end_matches('/').to_owned())
        .with_client_options(client)
        .with_retry(retries(ATTEMPTS, means.timeout))
        .with_http_connector(Worded(connector(means.trust)));
    let (builder, renewed): (_, Option<Arc<dyn Credential>>) = match &options.access {
        AzureAccess::Key(key) => {
            let key = AzureAccessKey::try_new(key.expose_text().unwrap_or_default());
            let key = key.map_err(|_| StoreError::denied("the account's key is not base64"))?;
            (builder.with_credentials(Fixed::new(AzureCredential::AccessKey(key))), None)
        }
        AzureAccess::Signature(query) => {
            let pairs = pairs(query.expose_text().unwrap_or_default());
            (builder.with_credentials(Fixed::new(AzureCredential::SASToken(pairs))), None)
        }
        AzureAccess::Identity(identity) => {
            let issuer = TokenIssuer::new(identity.clone(), means.trust).map_err(StoreError::unavailable)?;
            let keeper = means.kept.keeper(issuer, means.instruments);
            (builder.with_credentials(Arc::clone(&keeper) as _), Some(keeper))
        }
    };
    Ok((builder.build().map_err(StoreError::unavailable)?, renewed))
}

/// A signature's parameters. A plus sign in them is one, whether or not it is encoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// A credential that stays as it is, and shows itself to the client only: the client's own would print it.
struct Fixed(Arc<AzureCredential>);

impl Fixed {
    fn new(credential: AzureCredential) -> Arc<Self> {
        Arc::new(Self(Arc::new(credential)))
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fixed(***)")
    }
}

#[async_trait]
impl CredentialProvider for Fixed {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        Ok(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;
    use crate::telemetry::Instruments;
    use crate::trust::{self, Trust};

    #[test]
    fn a_signature_is_taken_encoded_or_not() {
        let expected = [("sp", "rl"), ("sig", "a+b/c=")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs("sp=rl&sig=a%2Bb%2Fc%3D"), expected);
        assert_eq!(pairs("sp=rl&sig=a+b/c="), expected);
    }

    #[tokio::test]
    async fn a_store_that_is_printed_shows_no_secret() {
        let trust = Trust::load(&trust::Options::default()).unwrap();
        let instruments = Arc::new(Instruments::new().unwrap().origin("docs", &[]));
        let means =
            Means { timeout: Duration::from_secs(1), trust: &trust, instruments: &instruments, kept: &Arc::default() };
        for access in [AzureAccess::Key(Secret::new("c2VjcmV0")), AzureAccess::Signature(Secret::new("sig=c2VjcmV0"))] {
            let options = AzureOptions {
                container: "docs".to_owned(),
                account: "acme".to_owned(),
                endpoint: "https://acme.blob.core.windows.net".parse().unwrap(),
                access,
            };
            let printed = format!("{options:?} {:?}", azure(&options, &means).unwrap());
            // As it was written, as bytes, and as the parameter's value.
            for secret in ["c2VjcmV0", "[115, 101", "secret"] {
                assert!(!printed.contains(secret), "{secret} in {printed}");
            }
        }
    }
}

//! Asks for credentials of AWS, in every way that the configuration may name.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::aws::AwsCredential;

use super::chain;
use super::client::{CredentialHttp, Heard};
use super::options::{AwsCredentials, AwsKeys, AwsRole};
use crate::chain::chain as causes;
use crate::storage::credential::{IssueError, Issued, Issuer};

/// Where STS is asked when nobody says: as for Backstage.
const STS_REGION: &str = "us-east-1";

/// Tries of one request, the first included. Whoever keeps the credential tries again later.
const ATTEMPTS: u32 = 2;

/// Asks for the credential that the configuration names.
#[derive(Debug)]
pub(super) struct AwsIssuer {
    from: AwsCredentials,
    http: CredentialHttp,
    place: Mutex<Option<String>>,
}

/// A credential, and where it was found, in words.
pub(super) struct Found {
    pub(super) credentials: Credentials,
    pub(super) place: String,
}

/// Where there was none, and why.
pub(super) struct NotFound {
    pub(super) place: String,
    pub(super) why: String,
}

impl AwsIssuer {
    pub(super) fn new(from: AwsCredentials, http: CredentialHttp) -> Self {
        Self { from, http, place: Mutex::default() }
    }
}

#[async_trait]
impl Issuer for AwsIssuer {
    type Credential = AwsCredential;

    async fn issue(&self) -> Result<Issued<AwsCredential>, IssueError> {
        let http = self.http.anew();
        let found = find(&self.from, &http).await.map_err(|not_found| not_found.after(http.heard()))?;
        let credentials = found.credentials;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.place);
        let credential = AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        };
        Ok(Issued { credential: credential.into(), expires_at: credentials.expiry() })
    }

    fn place(&self) -> Option<String> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl NotFound {
    /// What it means, given what was heard last from whoever gives credentials out.
    fn after(self, heard: Option<Heard>) -> IssueError {
        let words = format!("{}: {}", self.place, self.why).into();
        match heard {
            Some(Heard::Trouble) => IssueError::Unavailable(words),
            // Nobody had to be asked: a file is missing or a setting is wrong.
            Some(Heard::Answer) | None => IssueError::Refused(words),
        }
    }
}

fn find<'f>(from: &'f AwsCredentials, http: &'f CredentialHttp) -> BoxFuture<'f, Result<Found, NotFound>> {
    async move {
        match from {
            AwsCredentials::Keys(keys) => Ok(Found { credentials: of_keys(keys), place: from.to_string() }),
            AwsCredentials::Profile { name, region } => {
                let config = provider_config(region.as_deref(), Some(name), http).await;
                let profile = ProfileFileCredentialsProvider::builder().profile_name(name).configure(&config).build();
                ask(&profile, from.to_string()).await
            }
            AwsCredentials::Chain { region } => {
                chain::look(&provider_config(region.as_deref(), None, http).await).await
            }
            AwsCredentials::Role { role, external_id, base } => {
                let base = find(base, http).await?;
                assume(role, external_id.as_deref(), base, http).await
            }
            AwsCredentials::WebIdentity { role, token_file } => {
                let config = provider_config(role.region.as_deref(), None, http).await;
                let identity = StaticConfiguration {
                    web_identity_token_file: token_file.clone(),
                    role_arn: role.arn.clone(),
                    session_name: role.session_name.to_owned(),
                };
                let provider = WebIdentityTokenCredentialsProvider::builder();
                ask(&provider.static_configuration(identity).configure(&config).build(), from.to_string()).await
            }
            AwsCredentials::OfAccount { id, base } => of_account(id, find(base, http).await?, http).await,
        }
    }
    .boxed()
}

fn of_keys(keys: &AwsKeys) -> Credentials {
    let secret = String::from_utf8_lossy(keys.secret_access_key.expose());
    Credentials::new(&keys.access_key_id, secret, None, None, "configuration")
}

async fn ask(provider: &impl ProvideCredentials, place: String) -> Result<Found, NotFound> {
    match provider.provide_credentials().await {
        Ok(credentials) => Ok(Found { credentials, place }),
        Err(error) => Err(NotFound { place, why: causes(&error) }),
    }
}

async fn assume(
    role: &AwsRole,
    external_id: Option<&str>,
    base: Found,
    http: &CredentialHttp,
) -> Result<Found, NotFound> {
    let place = format!("{}, assumed with {}", role.arn, base.place);
    let sdk = sdk_config(role.region.as_deref(), base.credentials.clone(), http).await;
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(role.session_name).configure(&sdk);
    if let Some(id) = external_id {
        provider = provider.external_id(id);
    }
    ask(&provider.build_from_provider(base.credentials).await, place).await
}

/// As Backstage does it: the main account's own credential serves an account that nothing else is configured for, if it is
/// the same.
async fn of_account(id: &str, base: Found, http: &CredentialHttp) -> Result<Found, NotFound> {
    let sdk = sdk_config(None, base.credentials.clone(), http).await;
    match aws_sdk_sts::Client::new(&sdk).get_caller_identity().send().await {
        Ok(caller) if caller.account() == Some(id) => Ok(base),
        Ok(caller) => {
            let other = caller.account().unwrap_or("none");
            let why =
                format!("it belongs to account {other}, and no other is configured for {id}: add it to aws.accounts");
            Err(NotFound { place: base.place, why })
        }
        Err(error) => Err(NotFound { place: base.place, why: causes(&error) }),
    }
}

async fn provider_config(region: Option<&str>, profile: Option<&str>, http: &CredentialHttp) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_http_client(http.clone())
        .with_retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_region(Some(sts_region(region, profile).await))
}

async fn sdk_config(region: Option<&str>, credentials: Credentials, http: &CredentialHttp) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .region(sts_region(region, None).await)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}

/// Where STS is asked: as configured, or else in the region of the environment or the profile.
async fn sts_region(configured: Option<&str>, profile: Option<&str>) -> Region {
    match configured {
        Some(region) => Region::new(region.to_owned()),
        None => region(profile).await.unwrap_or(Region::from_static(STS_REGION)),
    }
}

/// The region that the environment or a profile names, as AWS's own programs read it. It waits for nothing but files.
pub(super) async fn region(profile: Option<&str>) -> Option<Region> {
    let mut of_profile = ProfileFileRegionProvider::builder();
    if let Some(name) = profile {
        of_profile = of_profile.profile_name(name);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(of_profile.build()).region().await
}

//! Where AWS's own programs look for a credential, link by link, so that it can be told where one was found, and why not.

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;

use super::issuer::{Found, NotFound};
use crate::chain::chain;

/// Tries of one request for instance metadata, the first included. Each may take two seconds.
const IMDS_ATTEMPTS: u32 = 2;

/// A place to look at, and what it is called.
type Link = (&'static str, Box<dyn ProvideCredentials>);

/// Looks at one place after the other, and no further than the first that has anything to say.
pub(super) async fn look(config: &ProviderConfig) -> Result<Found, NotFound> {
    let mut without = Vec::new();
    for (name, link) in links(config) {
        match link.provide_credentials().await {
            Ok(credentials) => return Ok(found(name, credentials)),
            Err(CredentialsError::CredentialsNotLoaded(nothing)) => {
                let why = std::error::Error::source(&CredentialsError::CredentialsNotLoaded(nothing)).map(chain);
                without.push(why.map_or_else(|| name.to_owned(), |why| format!("{name} ({why})")));
            }
            Err(error) => return Err(NotFound { place: name.to_owned(), why: chain(&error) }),
        }
    }
    let place = "the places where AWS's own programs look for a credential".to_owned();
    Err(NotFound { place, why: format!("none has one: {}", without.join("; ")) })
}

fn found(name: &str, credentials: Credentials) -> Found {
    Found { credentials, place: name.to_owned() }
}

/// In AWS's order. A file or a variable that has changed counts, since all of them are made anew each time.
fn links(config: &ProviderConfig) -> [Link; 5] {
    [
        (
            "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
            Box::new(EnvironmentVariableCredentialsProvider::new()),
        ),
        (
            "the profile of AWS_PROFILE, or else default, in AWS's files",
            Box::new(ProfileFileCredentialsProvider::builder().configure(config).build()),
        ),
        (
            "the web identity of AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
            Box::new(WebIdentityTokenCredentialsProvider::builder().configure(config).build()),
        ),
        (
            "the container's endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI)",
            Box::new(EcsCredentialsProvider::builder().configure(config).build()),
        ),
        ("the instance's role (IMDSv2)", Box::new(instance(config))),
    ]
}

/// Where there is no instance metadata, nobody answers: finding that out must not take as long as a reader waits.
fn instance(config: &ProviderConfig) -> ImdsCredentialsProvider {
    let client = imds::Client::builder().max_attempts(IMDS_ATTEMPTS).configure(config).build();
    ImdsCredentialsProvider::builder().imds_client(client).configure(config).build()
}

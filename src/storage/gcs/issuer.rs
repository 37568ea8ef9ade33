//! From credentials of whichever kind to a token that may read storage and nothing else.

use std::time::SystemTime;

use async_trait::async_trait;
use object_store::gcp::GcpCredential;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::default::{DefaultCredentials, Found};
use super::exchange::{Asker, Token, failed, json};
use super::federation;
use super::kinds::{AuthorizedUser, GoogleCredentials, Kind};
use super::service_account;
use crate::secret::Secret;
use crate::storage::credential::{IssueError, Issued, Issuer};

/// What tokens are asked for: with it even a credential that may write can't.
pub(super) const READ_ONLY: &str = "https://www.googleapis.com/auth/devstorage.read_only";

/// What they are asked for where it is tried what the account itself may do.
pub(super) const READ_WRITE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// What a token is asked for that only serves to impersonate a service account.
pub(super) const IMPERSONATE: &str = "https://www.googleapis.com/auth/iam";

/// How long a token of an impersonated service account is good, unless something else is written.
const LIFETIME_SECONDS: u32 = 3600;

/// Asks for tokens with the credentials that are configured, or else with those that the machine has.
#[derive(Debug)]
pub(super) struct GoogleIssuer {
    credentials: Option<GoogleCredentials>,
    default: DefaultCredentials,
    scope: &'static str,
    asker: Asker,
}

/// A service account that a token is asked for with another token.
pub(super) struct Target<'t> {
    pub(super) url: &'t Url,
    pub(super) delegates: &'t [String],
    pub(super) lifetime_seconds: Option<u32>,
}

/// How the IAM credentials API answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
    expire_time: String,
}

impl GoogleIssuer {
    /// One whose tokens are of this scope, or only for reading where no others are given out.
    pub(super) fn new(
        credentials: Option<GoogleCredentials>,
        default: DefaultCredentials,
        scope: &'static str,
        asker: Asker,
    ) -> Self {
        Self { credentials, default, scope, asker }
    }

    /// A token of this scope with the credentials that there are now.
    async fn current(&self, scope: &str) -> Result<Token, IssueError> {
        match &self.credentials {
            Some(GoogleCredentials(kind)) => self.token(kind, scope).await,
            None => match self.default.find().await? {
                Found::File(GoogleCredentials(kind)) => self.token(&kind, scope).await,
                Found::Machine => self.default.token_of_machine(scope, &self.asker).await,
            },
        }
    }

    /// A token of this scope.
    async fn token(&self, kind: &Kind, scope: &str) -> Result<Token, IssueError> {
        match kind {
            Kind::ServiceAccount(key) => service_account::token(key, scope, &self.asker).await,
            Kind::AuthorizedUser(user) => self.user_token(user).await,
            Kind::ExternalAccount(account) => federation::token(account, scope, &self.default.aws, &self.asker).await,
            Kind::ImpersonatedServiceAccount(account) => {
                let own = Box::pin(self.token(&account.source_credentials, IMPERSONATE)).await?;
                let url = &account.service_account_impersonation_url.0;
                let target = Target { url, delegates: &account.delegates, lifetime_seconds: None };
                target.token(&own, scope, &self.asker).await
            }
        }
    }

    /// A token of whatever the user has granted to `gcloud`: less can only be asked for by what was granted itself.
    async fn user_token(&self, user: &AuthorizedUser) -> Result<Token, IssueError> {
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &user.client_id),
            ("client_secret", &text(&user.client_secret)),
            ("refresh_token", &text(&user.refresh_token)),
        ];
        self.asker.token_for(user.token_uri(), &fields, None).await
    }
}

#[async_trait]
impl Issuer for GoogleIssuer {
    type Credential = GcpCredential;

    async fn issue(&self) -> Result<Issued<GcpCredential>, IssueError> {
        let token = match self.current(self.scope).await {
            // As on a machine that was made for reading only. Whom no token for writing is given can't write.
            Err(IssueError::Refused(_)) if self.scope != READ_ONLY => self.current(READ_ONLY).await,
            token => token,
        };
        token.map(Token::issued)
    }
}

impl Target<'_> {
    /// A token of the service account, by the leave of whoever `own` belongs to.
    pub(super) async fn token(&self, own: &Token, scope: &str, asker: &Asker) -> Result<Token, IssueError> {
        let seconds = self.lifetime_seconds.unwrap_or(LIFETIME_SECONDS);
        let asked = json!({ "scope": [scope], "lifetime": format!("{seconds}s"), "delegates": self.delegates });
        let request = asker.client.post(self.url.clone()).bearer_auth(own.text()).json(&asked);
        let Generated { access_token, expire_time } = json(request).await?;
        let expires_at: SystemTime = humantime::parse_rfc3339(&expire_time)
            .map_err(|_| failed("the token of the service account has no end that could be read"))?;
        Token::new(access_token, Some(expires_at))
    }
}

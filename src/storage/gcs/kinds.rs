//! The kinds of credentials that Google's tools write into files, as JSON that says in `type` which one it is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use jsonwebtoken::EncodingKey;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use crate::secret::Secret;

/// How many credentials may stand one inside the other: one that is impersonated from, and what that is made of.
const DEEPEST: usize = 3;

/// Where keys and users are exchanged for tokens, unless they say otherwise.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Credentials of one of Google's kinds. Nothing of their secrets prints.
#[derive(Debug, Clone)]
pub struct GoogleCredentials(pub(super) Arc<Kind>);

/// Why a text is none of the kinds, worded to stand after what it is called. It holds nothing of the text but names.
#[derive(Debug, thiserror::Error)]
pub enum NotCredentials {
    /// It is something else, or lacks something.
    #[error("is no JSON of Google credentials: {0}")]
    Form(#[from] serde_json::Error),
    /// A key that is none.
    #[error("has a private_key that is no RSA key in PEM form")]
    Key,
    /// A secret would go out in cleartext.
    #[error("would send a secret to {0} in cleartext: only https is taken, but for this machine itself")]
    Cleartext(String),
    /// A kind of federation that is not supported.
    #[error("takes its token from {0}, which is not supported: use a file, a url or AWS")]
    Source(&'static str),
    /// Impersonation of impersonation.
    #[error("holds credentials inside of credentials inside of credentials")]
    TooDeep,
}

impl GoogleCredentials {
    /// Reads them.
    ///
    /// # Errors
    /// Where the text is none of the kinds.
    pub fn parse(json: &[u8]) -> Result<Self, NotCredentials> {
        let kind: Kind = serde_json::from_slice(json)?;
        kind.check(DEEPEST)?;
        Ok(Self(Arc::new(kind)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Kind {
    /// The key of a service account.
    ServiceAccount(ServiceAccountKey),
    /// What `gcloud auth application-default login` writes.
    AuthorizedUser(AuthorizedUser),
    /// Somebody else's token, exchanged for one of Google's.
    ExternalAccount(Box<ExternalAccount>),
    /// A service account, by the leave of other credentials.
    ImpersonatedServiceAccount(Impersonated),
}

#[derive(Debug, Deserialize)]
pub(super) struct ServiceAccountKey {
    pub(super) client_email: String,
    pub(super) private_key_id: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) private_key: Secret,
    token_uri: Option<Address>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AuthorizedUser {
    pub(super) client_id: String,
    #[serde(deserialize_with = "secret")]
    pub(super) client_secret: Secret,
    #[serde(deserialize_with = "secret")]
    pub(super) refresh_token: Secret,
    token_uri: Option<Address>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Impersonated {
    pub(super) service_account_impersonation_url: Address,
    #[serde(default)]
    pub(super) delegates: Vec<String>,
    pub(super) source_credentials: Box<Kind>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ExternalAccount {
    pub(super) audience: String,
    pub(super) subject_token_type: String,
    pub(super) token_url: Address,
    pub(super) credential_source: Source,
    pub(super) service_account_impersonation_url: Option<Address>,
    #[serde(default)]
    pub(super) service_account_impersonation: Impersonation,
    pub(super) client_id: Option<String>,
    #[serde(default, deserialize_with = "some_secret")]
    pub(super) client_secret: Option<Secret>,
    pub(super) workforce_pool_user_project: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Impersonation {
    pub(super) token_lifetime_seconds: Option<u32>,
}

/// Where an external account's own token comes from. What tells them apart is which of the keys is there.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Source {
    Aws(AwsSource),
    File {
        file: PathBuf,
        #[serde(default)]
        format: Format,
    },
    Url {
        url: Address,
        #[serde(default)]
        headers: Headers,
        #[serde(default)]
        format: Format,
    },
    Executable {
        #[serde(rename = "executable")]
        _executable: IgnoredAny,
    },
    Certificate {
        #[serde(rename = "certificate")]
        _certificate: IgnoredAny,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct AwsSource {
    /// `aws1`, the one version that there is.
    #[serde(rename = "environment_id")]
    _environment_id: String,
    pub(super) region_url: Option<Address>,
    pub(super) url: Option<Address>,
    pub(super) regional_cred_verification_url: String,
    pub(super) imdsv2_session_token_url: Option<Address>,
}

/// Headers to ask with. They may hold secrets.
#[derive(Default)]
pub(super) struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

/// Where somebody is to be asked.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(pub(super) Url);

/// How the answer or file holds the token.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Format {
    /// It is all that there is.
    #[default]
    Text,
    /// It is this field of a map.
    Json { subject_token_field_name: String },
}

impl Kind {
    fn check(&self, deep: usize) -> Result<(), NotCredentials> {
        let deep = deep.checked_sub(1).ok_or(NotCredentials::TooDeep)?;
        match self {
            Self::ServiceAccount(key) => {
                key.signing_key()?;
                key.token_uri.as_ref().map_or(Ok(()), is_private)
            }
            Self::AuthorizedUser(user) => user.token_uri.as_ref().map_or(Ok(()), is_private),
            Self::ExternalAccount(account) => {
                account.credential_source.check()?;
                is_private(&account.token_url)?;
                account.service_account_impersonation_url.as_ref().map_or(Ok(()), is_private)
            }
            Self::ImpersonatedServiceAccount(account) => {
                is_private(&account.service_account_impersonation_url)?;
                account.source_credentials.check(deep)
            }
        }
    }
}

impl ServiceAccountKey {
    pub(super) fn signing_key(&self) -> Result<EncodingKey, NotCredentials> {
        EncodingKey::from_rsa_pem(self.private_key.expose()).map_err(|_| NotCredentials::Key)
    }

    pub(super) fn token_uri(&self) -> &str {
        self.token_uri.as_ref().map_or(TOKEN_URI, |address| address.0.as_str())
    }
}

impl AuthorizedUser {
    pub(super) fn token_uri(&self) -> &str {
        self.token_uri.as_ref().map_or(TOKEN_URI, |address| address.0.as_str())
    }
}

impl Source {
    fn check(&self) -> Result<(), NotCredentials> {
        match self {
            Self::Aws(_) | Self::File { .. } | Self::Url { .. } => Ok(()),
            Self::Executable { .. } => Err(NotCredentials::Source("a program that it runs")),
            Self::Certificate { .. } => Err(NotCredentials::Source("a certificate")),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("{text:?} is no URL: {error}"))
    }
}

/// Whether a secret may go to this place: over TLS, or not out of the machine.
fn is_private(Address(url): &Address) -> Result<(), NotCredentials> {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        _ => Err(NotCredentials::Cleartext(url.to_string())),
    }
}

fn secret<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn some_secret<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(Secret::new))
}

impl<'d> Deserialize<'d> for Headers {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        let written = BTreeMap::<String, String>::deserialize(deserializer)?;
        let header = |(name, value): (String, String)| {
            let wrong = || D::Error::custom(format_args!("{name:?} is no header, or its value is none"));
            let parsed_name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            Ok((parsed_name, HeaderValue::try_from(value).map_err(|_| wrong())?))
        };
        written.into_iter().map(header).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problem(value: &Value) -> String {
        GoogleCredentials::parse(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    fn user() -> Value {
        json!({ "type": "authorized_user", "client_id": "id", "client_secret": "sshhh", "refresh_token": "psst" })
    }

    fn federated(source: &Value) -> Value {
        json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x", "token_url": "https://sts.googleapis.com/v1/token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": source,
        })
    }

    #[test]
    fn what_is_no_credential_says_why() {
        assert!(problem(&json!({ "client_email": "a" })).contains("missing field `type`"));
        assert!(problem(&json!({ "type": "gdch_service_account" })).contains("unknown variant `gdch_service_account`"));
        assert!(problem(&json!({ "type": "authorized_user", "client_id": "x" })).contains("client_secret"));
        let key = json!({ "type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN" });
        assert!(problem(&key).contains("no RSA key"));
        assert!(problem(&federated(&json!({ "executable": { "command": "x" } }))).contains("a program that it runs"));
        assert!(problem(&federated(&json!({ "certificate": {} }))).contains("a certificate"));
    }

    #[test]
    fn no_secret_leaves_in_cleartext() {
        let mut user = user();
        user["token_uri"] = "http://oauth2.example.com/token".into();
        assert!(problem(&user).contains("http://oauth2.example.com/token in cleartext"));
        for here in ["http://127.0.0.1:1/token", "http://[::1]:1/token", "http://localhost/token"] {
            user["token_uri"] = here.into();
            GoogleCredentials::parse(user.to_string().as_bytes()).unwrap();
        }
    }

    #[test]
    fn impersonation_ends_somewhere() {
        let inside = |inner: &Value| {
            json!({
                "type": "impersonated_service_account", "source_credentials": inner,
                "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/x:generateAccessToken",
            })
        };
        GoogleCredentials::parse(inside(&inside(&user())).to_string().as_bytes()).unwrap();
        assert!(problem(&inside(&inside(&inside(&user())))).contains("inside of credentials"));
    }

    #[test]
    fn secrets_do_not_print() {
        let credentials = GoogleCredentials::parse(user().to_string().as_bytes()).unwrap();
        let source = json!({ "url": "http://169.254.169.254/", "headers": { "X-Secret": "sshhh" } });
        let federated = GoogleCredentials::parse(federated(&source).to_string().as_bytes()).unwrap();
        let printed = format!("{credentials:?}{federated:?}");
        assert!(printed.contains("x-secret") && !printed.contains("sshhh") && !printed.contains("psst"), "{printed}");
    }
}

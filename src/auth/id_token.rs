//! ID tokens of one OpenID provider for one holder: what a cloud's service shows when it calls
//! (OpenID Connect Core 1.0 §2, §3.1.3.7). Such a holder is no [`super::Principal`] and may read nothing.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use super::claims::IssuedAt;
use super::credential::{self, Credential, Resource};
use super::error::AuthError;
use super::jwks::KeySource;
use super::jws::Jws;
use super::options::JwksOptions;
use crate::clock::Clock;

/// The one algorithm that every provider has (OpenID Connect Discovery 1.0 §3), and that Google uses.
const ALGORITHM: &str = "RS256";

/// How far the provider's clock and ours may be apart.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Whose tokens are good.
#[derive(Debug, Clone)]
pub struct IdTokenOptions {
    /// Where the provider publishes its keys.
    pub keys: Url,
    /// The names that the provider goes by in `iss`.
    pub issuers: Vec<String>,
    /// What `aud` must be, and nothing beside it.
    pub audience: String,
    /// What `email` must be, and verified.
    pub email: String,
    /// How the keys are fetched.
    pub jwks: JwksOptions,
}

/// Verifies them.
#[derive(Debug)]
pub struct IdTokens {
    options: IdTokenOptions,
    keys: KeySource,
    clock: Clock,
}

impl IdTokens {
    /// A verifier that has fetched nothing yet. `http` must not follow redirections, as for [`super::Authenticator`].
    pub fn new(options: IdTokenOptions, clock: Clock, http: reqwest::Client) -> Self {
        let keys = KeySource::published(options.keys.clone(), http, clock.clone(), options.jwks.clone());
        Self { options, keys, clock }
    }

    /// Verifies the bearer token in `headers`. Nothing is fetched for one whose claims are wrong.
    ///
    /// # Errors
    ///
    /// Where there is none, it is another's, or it can't be verified just now.
    pub async fn verify(&self, headers: &HeaderMap) -> Result<(), AuthError> {
        let Credential::Bearer { token, .. } = Credential::from_headers(headers, Resource::Other, false)? else {
            return Err(AuthError::Missing);
        };
        let jws = Jws::parse(credential::text(token)?)?;
        if jws.algorithm_name() != ALGORITHM {
            return Err(AuthError::Algorithm(jws.algorithm_name().to_owned()));
        }
        if !self.options.issuers.iter().any(|issuer| jws.claims.text("iss") == Some(issuer)) {
            return Err(AuthError::UnknownToken);
        }
        let audiences = jws.claims.audiences();
        if audiences != [self.options.audience.as_str()] {
            let presented = audiences.into_iter().map(str::to_owned).collect();
            return Err(AuthError::Audience { presented, accepted: vec![self.options.audience.clone()] });
        }
        jws.claims.lifetime(self.clock.now(), TOLERANCE, IssuedAt::Required)?;
        self.keys.verify(&jws, "id token").await?;
        // Last: that a verified holder is not the one is another answer than that nobody knows who it is.
        if jws.claims.text("email") != Some(&self.options.email) || !jws.claims.is_true("email_verified") {
            let subject = jws.claims.text("email").unwrap_or_default().to_owned();
            return Err(AuthError::NotAllowed { subject, actor: None });
        }
        Ok(())
    }
}

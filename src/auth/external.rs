//! Callers from outside Backstage: `backend.auth.externalAccess` and the deprecated `backend.auth.keys`.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use url::Url;

use super::access::restrictions_allow_reading;
use super::claims::IssuedAt;
use super::error::AuthError;
use super::jwks::KeySource;
use super::jws::Jws;
use super::options::{ExternalMethod, Options};
use super::principal::Principal;
use super::remembered::TokenDigest;
use crate::clock::Timestamp;

/// All configured external callers, in the order of the configuration within each method.
pub(super) struct External {
    statics: Vec<(TokenDigest, Grant)>,
    legacies: Vec<(DecodingKey, Grant)>,
    issuers: Vec<Issuer>,
}

/// Whom a token makes its holder, and whether that helps here.
struct Grant {
    subject: String,
    may_read_docs: bool,
}

/// One entry of type `jwks`.
struct Issuer {
    keys: KeySource,
    issuers: Vec<String>,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    subject_prefix: Option<String>,
    may_read_docs: bool,
}

impl External {
    pub(super) fn new(options: &Options, keys_at: impl Fn(&Url) -> KeySource) -> Self {
        let mut all = Self { statics: Vec::new(), legacies: Vec::new(), issuers: Vec::new() };
        for access in &options.external {
            let may_read_docs = restrictions_allow_reading(access.restrictions.as_deref(), &options.audiences);
            let grant = |subject: &String| Grant { subject: subject.clone(), may_read_docs };
            match &access.method {
                ExternalMethod::Static { token, subject } => {
                    all.statics.push((TokenDigest::of(token.expose()), grant(subject)));
                }
                ExternalMethod::Legacy { secret, subject } => {
                    all.legacies.push((DecodingKey::from_secret(secret.expose()), grant(subject)));
                }
                ExternalMethod::Jwks { url, issuers, audiences, algorithms, subject_prefix } => {
                    all.issuers.push(Issuer {
                        keys: keys_at(url),
                        issuers: issuers.clone(),
                        audiences: audiences.clone(),
                        algorithms: algorithms.clone(),
                        subject_prefix: subject_prefix.clone(),
                        may_read_docs,
                    });
                }
            }
        }
        all
    }

    /// The caller whose configured token it is, if it is one. Every one is compared, in constant time.
    pub(super) fn verify_static(&self, token: &TokenDigest) -> Option<Result<Principal, AuthError>> {
        let mut found = None;
        for (configured, grant) in &self.statics {
            if configured.constant_time_eq(token) && found.is_none() {
                found = Some(grant);
            }
        }
        found.map(|grant| grant.principal(None))
    }

    /// Verifies a JWT that is no Backstage plugin's or user's.
    pub(super) async fn verify(
        &self,
        jws: &Jws<'_>,
        now: Timestamp,
        tolerance: Duration,
    ) -> Result<Principal, AuthError> {
        match jws.algorithm_name() {
            "HS256" => self.verify_legacy(jws, now, tolerance),
            _ => self.verify_issued(jws, now, tolerance).await,
        }
    }

    /// A token that shares a secret with us (`@backstage/backend-defaults`, `legacyTokenHandler`). Upstream takes such
    /// tokens without `exp` as well; here none is good for ever.
    fn verify_legacy(&self, jws: &Jws<'_>, now: Timestamp, tolerance: Duration) -> Result<Principal, AuthError> {
        // An empty audience is as good as none, as it is upstream.
        let addressed = jws.claims.has("aud") && jws.claims.text("aud") != Some("");
        if jws.claims.text("sub") != Some("backstage-server") || addressed || self.legacies.is_empty() {
            return Err(AuthError::UnknownToken);
        }
        let (_, grant) = self
            .legacies
            .iter()
            .find(|(key, _)| jws.is_signed_with(key, Algorithm::HS256))
            .ok_or(AuthError::Signature)?;
        let expires_at = jws.claims.lifetime(now, tolerance, IssuedAt::Optional)?;
        grant.principal(Some(expires_at))
    }

    /// A token of another issuer (`jwksTokenHandler`). Every entry that it could belong to is tried in turn; of several
    /// refusals the one that says most is told.
    async fn verify_issued(&self, jws: &Jws<'_>, now: Timestamp, tolerance: Duration) -> Result<Principal, AuthError> {
        jws.algorithm()?;
        let mut refusal = AuthError::UnknownToken;
        for issuer in self.issuers.iter().filter(|issuer| issuer.could_have_made(jws)) {
            match issuer.verify(jws, now, tolerance).await {
                Err(error) if says_more(&error, &refusal) => refusal = error,
                Err(_) => {}
                principal => return principal,
            }
        }
        Err(refusal)
    }
}

impl Grant {
    fn principal(&self, expires_at: Option<Timestamp>) -> Result<Principal, AuthError> {
        if !self.may_read_docs {
            return Err(AuthError::Restricted { subject: self.subject.clone() });
        }
        Ok(Principal::external(self.subject.clone(), expires_at))
    }
}

impl Issuer {
    fn could_have_made(&self, jws: &Jws<'_>) -> bool {
        let listed = |list: &[String], value: &str| list.iter().any(|item| item == value);
        let issued = jws.claims.text("iss").is_some_and(|iss| listed(&self.issuers, iss));
        let addressed = jws.claims.audiences().iter().any(|audience| listed(&self.audiences, audience));
        (self.issuers.is_empty() || issued)
            && (self.audiences.is_empty() || addressed)
            && (self.algorithms.is_empty() || listed(&self.algorithms, jws.algorithm_name()))
    }

    async fn verify(&self, jws: &Jws<'_>, now: Timestamp, tolerance: Duration) -> Result<Principal, AuthError> {
        let subject = jws.claims.subject()?;
        let expires_at = jws.claims.lifetime(now, tolerance, IssuedAt::Optional)?;
        let recheck_at = self.keys.verify(jws, "external").await?;
        let subject = match &self.subject_prefix {
            Some(prefix) => format!("external:{prefix}:{subject}"),
            None => format!("external:{subject}"),
        };
        let principal = Grant { subject, may_read_docs: self.may_read_docs }.principal(Some(expires_at))?;
        Ok(principal.verified_until(recheck_at))
    }
}

/// Of two refusals for the same token: that a verified one is not good enough here says most, then that we can't tell,
/// then what is wrong with it under the right key, and least that the key is another's.
fn says_more(error: &AuthError, than: &AuthError) -> bool {
    let weight = |error: &AuthError| match error {
        AuthError::UnknownToken => 0,
        AuthError::UnknownIssuer { .. } | AuthError::UnknownKey { .. } => 1,
        AuthError::Throttled { .. } | AuthError::KeysUnavailable { .. } => 3,
        AuthError::Restricted { .. } => 4,
        _ => 2,
    };
    weight(error) > weight(than)
}

impl External {
    /// The key sets that are configured, for [`super::Authenticator::probe`].
    pub(super) fn key_sources(&self) -> impl Iterator<Item = &KeySource> {
        self.issuers.iter().map(|issuer| &issuer.keys)
    }
}

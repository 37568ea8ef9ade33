//! Who asks, and whether they may read.
//!
//! A token's way through this room (a client certificate, which the connection has verified, takes `certificate` instead):
//!
//! 1. `credential`: found in the request's headers, without looking into it
//! 2. `remembered`: verified before? One hash and one look-up, and the way ends here
//! 3. `jws`: taken apart; its header says which kind it is, and only that kind's rules and keys are tried
//! 4. `claims`: for us, and good now? Nothing is fetched for a token that isn't
//! 5. `jwks`: the issuer's published keys, fetched rarely however often they are asked for
//! 6. `key_set`: signed with one of them?
//! 7. `access`: a verified caller, but one who may read here?
//!
//! Only a caller who has come all the way is a [`Principal`], and only then is the token remembered.

mod access;
mod algorithm;
mod backstage;
mod certificate;
mod claims;
mod credential;
mod discovery;
mod error;
mod external;
mod id_token;
mod jwks;
mod jws;
mod key_set;
pub mod mint;
mod options;
mod principal;
mod remembered;
#[cfg(test)]
mod tests;
mod turns;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

pub use access::is_plugin_id;
pub use certificate::{CertificateName, CertificateSubject, PeerCertificate};
pub use credential::{Credential, Resource};
pub use error::AuthError;
pub use id_token::{IdTokenOptions, IdTokens};
pub use jwks::{Budget, FetchError};
pub use key_set::{KeySet, KeySetError};
pub use options::*;
pub use principal::{Kind, Principal};

use self::access::Access;
use self::certificate::Certificates;
use self::external::External;
use self::jwks::Issuers;
use self::jws::{Jws, TokenKind};
use self::remembered::{Remembered, TokenDigest};
use crate::chain::chain;
use crate::clock::{Clock, Timestamp};

/// Tells who asks. Share it in an `Arc`.
pub struct Authenticator {
    options: Options,
    clock: Clock,
    access: Access,
    issuers: Issuers,
    external: External,
    certificates: Certificates,
    remembered: Remembered,
    anonymous: Arc<Principal>,
}

/// What [`Authenticator::probe`] found at one key set.
#[derive(Debug, Clone)]
pub struct KeySetProbe {
    /// Whose keys they are: `plugin:techdocs`, `users` or `external`.
    pub issuer: String,
    /// Where they are published, without anything secret; `pinned` for keys from the configuration.
    pub place: String,
    /// How many usable keys there are, or why nobody knows. None is no failure: a plugin that has not called anyone
    /// yet publishes none.
    pub keys: Result<usize, String>,
}

impl Authenticator {
    /// An authenticator that has fetched nothing yet.
    ///
    /// `http` must not follow redirections (`reqwest::redirect::Policy::none()`): a key set is trusted for the address
    /// that it comes from. An answer from elsewhere is refused in any case.
    pub fn new(options: Options, clock: Clock, http: reqwest::Client) -> Self {
        let access = Access::new(&options.allow);
        let issuers = Issuers::new(&options, &access, &clock, &http);
        let external = External::new(&options, |url| issuers.external(url));
        let certificates = Certificates::new(&options.certificates);
        let remembered = Remembered::new(options.remembered_tokens, options.jwks.refresh_after);
        let anonymous = Arc::new(Principal::anonymous());
        Self { options, clock, access, issuers, external, certificates, remembered, anonymous }
    }

    /// Finds what a request presents; where authentication is switched off nothing is even looked for.
    ///
    /// # Errors
    ///
    /// As [`Credential::from_headers`].
    pub fn credential<'a>(&self, headers: &'a HeaderMap, resource: Resource) -> Result<Credential<'a>, AuthError> {
        if !self.options.required {
            return Ok(Credential::Absent);
        }
        Credential::from_headers(headers, resource, self.options.cookies)
    }

    /// Who it is, if the token was verified before and is still good: one hash and one look-up, no allocation, no
    /// waiting. `None` sends the caller to [`Authenticator::verify`].
    pub fn remembered(&self, credential: &Credential<'_>) -> Option<Arc<Principal>> {
        if !self.options.required {
            return Some(Arc::clone(&self.anonymous));
        }
        let token = TokenDigest::of(credential.token()?);
        let principal = self.remembered.get(&token, self.clock.now())?;
        // Remembered is the token, not the way that it was shown.
        self.accepts_way(&principal, credential).is_ok().then_some(principal)
    }

    /// Whether the token was verified before and may still be good, though it has to be looked at again: it is no guess,
    /// whoever else guesses.
    pub fn knows(&self, credential: &Credential<'_>) -> bool {
        let digest = credential.token().map(TokenDigest::of);
        digest.is_some_and(|digest| self.remembered.knows(&digest, self.clock.now()))
    }

    /// Verifies the token from scratch, fetching the issuer's keys if need be, and remembers it if it is good.
    ///
    /// # Errors
    ///
    /// Any [`AuthError`]; its `status` is 401, 403 or 503.
    pub async fn verify(&self, credential: &Credential<'_>) -> Result<Arc<Principal>, AuthError> {
        if !self.options.required {
            return Ok(Arc::clone(&self.anonymous));
        }
        let now = self.clock.now();
        if let Credential::Certificate(peer) = credential {
            let holder = self.certificates.holder(peer, now).ok_or(AuthError::Missing)?;
            self.access.admit(holder, self.options.users)?;
            return Ok(Arc::clone(holder));
        }
        let token = credential.token().ok_or(AuthError::Missing)?;
        let digest = TokenDigest::of(token);
        let identified = self.identify(credential::text(token)?, &digest, credential, now).await;
        let principal = identified.inspect_err(|refused| {
            // Not for want of keys: then nobody knows.
            if refused.status() == StatusCode::UNAUTHORIZED {
                self.remembered.forget(&digest);
            }
        })?;
        self.accepts_way(&principal, credential)?;
        self.access.admit(&principal, self.options.users)?;
        let principal = Arc::new(principal);
        self.remembered.insert(digest, Arc::clone(&principal), now, self.options.clock_tolerance);
        Ok(principal)
    }

    /// Looks at every configured key set, fetching those that aren't known, one after another.
    pub async fn probe(&self) -> Vec<KeySetProbe> {
        let external = self.external.key_sources().map(|source| ("external".to_owned(), source.clone()));
        let mut probes = Vec::new();
        for (issuer, source) in self.issuers.configured().into_iter().chain(external) {
            let keys = source.count().await.map_err(|no_key| chain(&no_key));
            probes.push(KeySetProbe { issuer, place: source.shown(), keys });
        }
        probes
    }

    /// Finds out whose token it is. What kind it is decides which keys can make it good, so that no token is ever tried
    /// with one key after another.
    async fn identify(
        &self,
        token: &str,
        digest: &TokenDigest,
        credential: &Credential<'_>,
        now: Timestamp,
    ) -> Result<Principal, AuthError> {
        let jws = match Jws::parse(token) {
            Ok(jws) => jws,
            Err(malformed) => {
                let looks_like_jwt = token.bytes().filter(|&byte| byte == b'.').count() == 2;
                let refusal = if looks_like_jwt { malformed } else { AuthError::UnknownToken };
                return self.external.verify_static(digest).unwrap_or(Err(refusal));
            }
        };
        match jws.kind() {
            TokenKind::Plugin => self.verify_plugin(&jws, now).await,
            kind @ (TokenKind::User | TokenKind::LimitedUser | TokenKind::OldUser) => {
                self.accepts_users(credential)?;
                self.verify_user(&jws, kind, now).await
            }
            TokenKind::External => match self.external.verify_static(digest) {
                Some(principal) => principal,
                None => self.external.verify(&jws, now, self.options.clock_tolerance).await,
            },
        }
    }

    /// Whether a verified caller has shown its token in a way that is good for what it asks.
    fn accepts_way(&self, principal: &Principal, credential: &Credential<'_>) -> Result<(), AuthError> {
        match credential {
            // The cookie is made for limited tokens, which is all that a stolen one shall ever be worth.
            Credential::Cookie(_) if !principal.limited() => Err(AuthError::CookieKind),
            Credential::Bearer { resource: Resource::Other, .. } if principal.limited() && self.options.users => {
                Err(AuthError::Limited)
            }
            _ if principal.is_user_in_person() => self.accepts_users(credential),
            _ => Ok(()),
        }
    }

    /// Whether a user's own token is worth looking at, shown in this way.
    fn accepts_users(&self, credential: &Credential<'_>) -> Result<(), AuthError> {
        let accepted = match credential {
            Credential::Cookie(_) => self.options.cookies,
            Credential::Bearer { .. } | Credential::Certificate(_) | Credential::Absent => self.options.users,
        };
        if accepted { Ok(()) } else { Err(AuthError::UsersOff) }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("options", &self.options).finish_non_exhaustive()
    }
}

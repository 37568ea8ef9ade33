//! Why a caller is turned away: one enum, and what each reader of it is told.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::jwks::FetchError;
use crate::clock::Timestamp;

/// Why a caller is turned away.
///
/// `Display` and `source` are for our log and may name what the caller sent. What the caller is told is
/// [`AuthError::public_message`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuthError {
    /// No credential at all.
    #[error("no credentials")]
    Missing,
    /// `Authorization` is something other than `Bearer` and a token.
    #[error("Authorization header without a bearer token")]
    Scheme,
    /// More than one `Authorization` header.
    #[error("several Authorization headers")]
    SeveralAuthorizations,
    /// A token beyond the limit of 16 KiB.
    #[error("token of {bytes} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not a JWT in JWS compact form (RFC 7519, RFC 7515 §7.1), or with claims of the wrong type.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// An opaque token that is none of the configured ones, or a JWT that no configured issuer could have made.
    #[error("token of no known kind or issuer")]
    UnknownToken,
    /// `alg` is missing, `none`, not on the list, or not the key's.
    #[error("algorithm {0:?} not accepted here")]
    Algorithm(String),
    /// The header demands an extension that isn't understood (RFC 7515 §4.1.11).
    #[error("critical header parameters")]
    Critical,
    /// A claim that this kind of token must have is absent.
    #[error("claim {0:?} missing")]
    MissingClaim(&'static str),
    /// Past its `exp`.
    #[error("expired at {expired_at:?}, now {now:?}")]
    Expired {
        /// Its `exp`.
        expired_at: Timestamp,
        /// When it was shown.
        now: Timestamp,
    },
    /// `nbf` in the future.
    #[error("not valid before {starts_at:?}, now {now:?}")]
    NotYetValid {
        /// Its `nbf`.
        starts_at: Timestamp,
        /// When it was shown.
        now: Timestamp,
    },
    /// A plugin token for another plugin.
    #[error("audience {presented:?}, accepted {accepted:?}")]
    Audience {
        /// The token's `aud`.
        presented: Vec<String>,
        /// The plugin ids that are accepted.
        accepted: Vec<String>,
    },
    /// `sub` can't be a plugin id, or is empty.
    #[error("subject of impossible form")]
    Subject,
    /// There is no such plugin: its key set isn't there.
    #[error("no key set is published by {issuer:?}")]
    UnknownIssuer {
        /// The plugin id.
        issuer: String,
    },
    /// Too many unknown plugins or keys are being asked for; this one was not looked for, so that it may well be good.
    #[error("key set of {issuer:?} not looked at: too many unknown issuers or keys lately")]
    Throttled {
        /// The plugin id.
        issuer: String,
        /// When asking again may help.
        retry_after: Duration,
    },
    /// No published key has the token's `kid`.
    #[error("no published key {kid:?}")]
    UnknownKey {
        /// The token's `kid`.
        kid: Option<String>,
    },
    /// The signature isn't the key's.
    #[error("signature does not match")]
    Signature,
    /// A user token, where they are switched off.
    #[error("user tokens are switched off")]
    UsersOff,
    /// A limited user token for something other than a static file.
    #[error("limited user token for something other than a static file")]
    Limited,
    /// The cookie holds something other than a limited user token.
    #[error("cookie holds no limited user token")]
    CookieKind,
    /// The configuration names no backend whose keys could be read.
    #[error("no backend is configured whose keys could verify the token")]
    NoBackend,
    /// The user's token inside a plugin's is no good, or no limited one.
    #[error("token in obo claim")]
    OnBehalfOf(#[source] Box<AuthError>),
    /// The external token is restricted to other plugins or permissions.
    #[error("access restrictions of {subject:?} leave out reading docs")]
    Restricted {
        /// Whose token it is.
        subject: String,
    },
    /// A verified caller whom `callboard.auth.allow` doesn't name.
    #[error("{subject:?} may not read, nor may {actor:?} for it")]
    NotAllowed {
        /// Who it is.
        subject: String,
        /// The plugin that asks on its behalf.
        actor: Option<String>,
    },
    /// The keys that would tell aren't known, and can't be had just now.
    #[error("key set unavailable")]
    KeysUnavailable {
        /// When asking again may help.
        retry_after: Duration,
        /// What went wrong with the last try.
        #[source]
        source: Arc<FetchError>,
    },
}

impl AuthError {
    /// 401 where another credential could help, 403 where the caller is known and that is the trouble, 503 where it is
    /// our side that can't tell.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Restricted { .. } | Self::NotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::Throttled { .. } | Self::KeysUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::OnBehalfOf(inner) => inner.status(),
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// One word for the access log and the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Scheme => "scheme",
            Self::SeveralAuthorizations => "several_headers",
            Self::TooLarge { .. } => "too_large",
            Self::Malformed(_) => "malformed",
            Self::UnknownToken => "unknown_token",
            Self::Algorithm(_) => "algorithm",
            Self::Critical => "critical",
            Self::MissingClaim(_) => "missing_claim",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Audience { .. } => "audience",
            Self::Subject => "subject",
            Self::UnknownIssuer { .. } => "unknown_issuer",
            Self::Throttled { .. } => "throttled",
            Self::UnknownKey { .. } => "unknown_key",
            Self::Signature => "signature",
            Self::UsersOff => "users_off",
            Self::Limited => "limited",
            Self::CookieKind => "cookie_kind",
            Self::NoBackend => "no_backend",
            Self::OnBehalfOf(inner) => inner.reason(),
            Self::Restricted { .. } => "restricted",
            Self::NotAllowed { .. } => "not_allowed",
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }

    /// Every word that [`AuthError::reason`] may give, so that each series can be there from the start.
    pub const REASONS: &'static [&'static str] = &[
        "missing",
        "scheme",
        "several_headers",
        "too_large",
        "malformed",
        "unknown_token",
        "algorithm",
        "critical",
        "missing_claim",
        "expired",
        "not_yet_valid",
        "audience",
        "subject",
        "unknown_issuer",
        "throttled",
        "unknown_key",
        "signature",
        "users_off",
        "limited",
        "cookie_kind",
        "no_backend",
        "restricted",
        "not_allowed",
        "keys_unavailable",
    ];

    /// What the caller is told: which rule failed and what to do about it. It names nothing that is configured, apart
    /// from our plugin ids, and of the token only what a verified caller knows itself to be.
    pub fn public_message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Missing => "No credentials: send a Backstage token as 'Authorization: Bearer <token>'",
            Self::Scheme => "The Authorization header holds no bearer token: send 'Authorization: Bearer <token>'",
            Self::SeveralAuthorizations => "Several Authorization headers: send one",
            Self::TooLarge { .. } => "The token is too long: at most 16 KiB are accepted",
            Self::Malformed(_) => "The token is malformed: send a Backstage token or a configured external token",
            Self::UnknownToken => {
                "The token is neither a Backstage token nor one of a configured external caller: see backend.auth.externalAccess"
            }
            Self::Algorithm(_) => "The token's algorithm is not accepted for its issuer's keys",
            Self::Critical => "The token's header demands extensions that are not supported: drop 'crit'",
            Self::MissingClaim(claim) => return Cow::Owned(format!("The token lacks the claim '{claim}'")),
            Self::Expired { .. } => "The token has expired: get a new one, and compare the clocks if it is new",
            Self::NotYetValid { .. } => "The token is not valid yet: compare the clocks of issuer and server",
            Self::Audience { accepted, .. } => {
                let accepted = accepted.join("' or '");
                return Cow::Owned(format!("The token is for another plugin: its audience must be '{accepted}'"));
            }
            Self::Subject => "The token's subject is not one that Backstage would issue",
            Self::UnknownIssuer { .. } => "The token's issuer publishes no keys: is that plugin installed?",
            Self::Throttled { .. } => {
                "Too many unknown issuers or keys are being asked for to look for the token's just now: try again"
            }
            Self::UnknownKey { .. } => "The token's key is not among those that its issuer publishes: get a new token",
            Self::Signature => "The token's signature does not match its issuer's published key",
            Self::UsersOff => "User tokens are not accepted here: use a plugin token, or see callboard.auth.users",
            Self::Limited => "A limited user token is good for static files only: send a full user token",
            Self::CookieKind => {
                "The cookie 'backstage-auth' must hold a limited user token: send others as a bearer token"
            }
            Self::NoBackend => "Backstage tokens can't be verified here: backend.baseUrl is not configured",
            Self::OnBehalfOf(inner) => {
                return Cow::Owned(format!("The user token inside the plugin token: {}", inner.public_message()));
            }
            Self::Restricted { .. } => {
                "The token's accessRestrictions leave out reading docs: they need plugin 'techdocs' and 'catalog.entity.read'"
            }
            Self::NotAllowed { subject, actor } => {
                let subject: String = actor.as_ref().unwrap_or(subject).chars().take(200).collect();
                return Cow::Owned(format!("'{subject}' may not read here: add it to callboard.auth.allow"));
            }
            Self::KeysUnavailable { .. } => "The keys to verify the token with can't be read just now: try again",
        })
    }

    /// What `WWW-Authenticate` says beside a 401 or 403 (RFC 6750 §3).
    pub fn www_authenticate(&self) -> Option<&'static str> {
        match self {
            Self::Throttled { .. } | Self::KeysUnavailable { .. } => None,
            Self::Missing | Self::Scheme => Some("Bearer realm=\"callboard\""),
            Self::SeveralAuthorizations | Self::TooLarge { .. } => {
                Some("Bearer realm=\"callboard\", error=\"invalid_request\"")
            }
            Self::Restricted { .. } | Self::NotAllowed { .. } => {
                Some("Bearer realm=\"callboard\", error=\"insufficient_scope\"")
            }
            Self::OnBehalfOf(inner) => inner.www_authenticate(),
            _ => Some("Bearer realm=\"callboard\", error=\"invalid_token\""),
        }
    }

    /// Whom the token is known to belong to, where it was verified all the same: for the access log.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Restricted { subject } | Self::NotAllowed { subject, .. } => Some(subject),
            _ => None,
        }
    }

    /// The plugin that asks for that subject, where the token says so.
    pub fn actor(&self) -> Option<&str> {
        match self {
            Self::NotAllowed { actor, .. } => actor.as_deref(),
            _ => None,
        }
    }

    /// When asking again may help, for `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::KeysUnavailable { retry_after, .. } => Some(*retry_after),
            Self::OnBehalfOf(inner) => inner.retry_after(),
            _ => None,
        }
    }
}

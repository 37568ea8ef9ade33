//! What the auth room runs on: resolved, validated, knowing nothing of YAML.

use std::time::Duration;

use url::Url;

use super::key_set::KeySet;
use crate::secret::Secret;

/// Everything that decides who may read.
#[derive(Debug, Clone)]
pub struct Options {
    /// `false` only where Backstage's `dangerouslyDisableDefaultAuthPolicy` and our own
    /// `callboard.auth.dangerouslyAllowAnonymous` are both set.
    pub required: bool,
    /// Plugin ids accepted in a plugin token's `aud`.
    pub audiences: Vec<String>,
    /// Who may read: subjects such as `plugin:techdocs`, `external:ci` or `user:default/jane`; a trailing `*` matches
    /// any rest. Complete: the configuration has put the defaults in.
    pub allow: Vec<String>,
    /// Whether user tokens are accepted as bearer tokens.
    pub users: bool,
    /// Whether the cookie `backstage-auth` (a limited user token) is accepted for static files.
    pub cookies: bool,
    /// How far `exp` and `nbf` may be off.
    pub clock_tolerance: Duration,
    /// How many verified tokens are remembered. Each is until it expires, or until the keys that it was verified with
    /// are to be read again: at most for [`JwksOptions::refresh_after`].
    pub remembered_tokens: u64,
    /// Where plugins, and so their public keys, live. `None` where the configuration names no backend: then plugin
    /// and user tokens can't be verified and are refused.
    pub discovery: Option<Discovery>,
    /// Plugins whose keys are known for good and never fetched: the sample site's own, or a static key store's.
    pub pinned_keys: Vec<PinnedKeys>,
    /// External callers' credentials.
    pub external: Vec<ExternalAccess>,
    /// How key sets are fetched.
    pub jwks: JwksOptions,
}

/// The keys of a plugin that are known without asking it.
#[derive(Debug, Clone)]
pub struct PinnedKeys {
    /// The plugin's id.
    pub plugin: String,
    /// Its keys.
    pub keys: KeySet,
}

/// Where each plugin's base URL is: Backstage's `discovery.endpoints`, then `{backend.baseUrl}/api/{plugin}`.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// `backend.baseUrl`.
    pub base_url: Url,
    /// `discovery.endpoints`, in order; the last that names the plugin wins, then the last that names `*`
    /// (`@backstage/backend-defaults`, `HostDiscovery`).
    pub endpoints: Vec<DiscoveryEndpoint>,
}

/// One entry of `discovery.endpoints`, its internal target.
#[derive(Debug, Clone)]
pub struct DiscoveryEndpoint {
    /// URL with `{{pluginId}}`, white space inside the braces allowed, to be filled in.
    pub target: String,
    /// The plugins that live there.
    pub plugins: Vec<String>,
}

/// One entry of `backend.auth.externalAccess` or of the deprecated `backend.auth.keys`.
#[derive(Debug, Clone)]
pub struct ExternalAccess {
    /// How the caller proves itself.
    pub method: ExternalMethod,
    /// What the token is good for; `None` for everything.
    pub restrictions: Option<Vec<AccessRestriction>>,
}

/// How an external caller proves itself.
#[derive(Debug, Clone)]
pub enum ExternalMethod {
    /// An opaque token, compared in constant time.
    Static {
        /// The token.
        token: Secret,
        /// The configured subject, which is the principal's as it stands. `allow` may list it with or without a
        /// prefix `external:`.
        subject: String,
    },
    /// An HS256 token with `sub: backstage-server`.
    Legacy {
        /// The decoded key.
        secret: Secret,
        /// The configured subject; `external:backstage-plugin` for `backend.auth.keys`.
        subject: String,
    },
    /// A JWT of another issuer.
    Jwks {
        /// Where its keys are.
        url: Url,
        /// Accepted `iss`; empty for any.
        issuers: Vec<String>,
        /// Accepted `aud`; empty for any.
        audiences: Vec<String>,
        /// Accepted `alg`; empty for every asymmetric algorithm that fits the key. Symmetric ones are never accepted.
        algorithms: Vec<String>,
        /// Put between `external:` and the token's `sub`.
        subject_prefix: Option<String>,
    },
}

/// One entry of `accessRestrictions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRestriction {
    /// The plugin that the token may be used with.
    pub plugin: String,
    /// Permissions that it is limited to; `None` for all.
    pub permissions: Option<Vec<String>>,
    /// `permissionAttribute.action` values that it is limited to; `None` for all.
    pub actions: Option<Vec<String>>,
}

/// How key sets are fetched and kept.
#[derive(Debug, Clone)]
pub struct JwksOptions {
    /// How long one fetch may take.
    pub timeout: Duration,
    /// After this long a key set is read again when next used, and tokens that were verified with it and remembered are
    /// verified anew: so long does a key count that its owner withdrew, unless its endpoint is down.
    pub refresh_after: Duration,
    /// How long known keys stay good beyond `refresh_after` while their endpoint is down.
    pub outage_grace: Duration,
}

//! Which keys belong to which issuer.

use std::collections::HashMap;
use std::sync::Arc;

use url::Url;

use super::endpoint::{Endpoint, NoKey};
use super::strangers::Strangers;
use crate::auth::access::{Access, is_plugin_id};
use crate::auth::error::AuthError;
use crate::auth::jws::Jws;
use crate::auth::key_set::{self, KeySet};
use crate::auth::options::{Discovery, JwksOptions, Options};
use crate::auth::turns::turn;
use crate::clock::{Clock, Timestamp};

/// An issuer's keys: known for good, or published somewhere.
#[derive(Debug, Clone)]
pub(in crate::auth) enum KeySource {
    Pinned(KeySet),
    Published(Arc<Endpoint>),
}

impl KeySource {
    /// The keys that are published at `url`.
    pub(in crate::auth) fn published(url: Url, client: reqwest::Client, clock: Clock, options: JwksOptions) -> Self {
        Self::Published(Arc::new(Endpoint::new(url, client, clock, options)))
    }

    /// Verifies the signature of a token that names `issuer` as its issuer. It is good until the keys are read again,
    /// which may find that one was withdrawn; `None` for keys that can't be.
    pub(in crate::auth) async fn verify(&self, jws: &Jws<'_>, issuer: &str) -> Result<Option<Timestamp>, AuthError> {
        // Nothing is fetched for an algorithm that no key could be used with.
        jws.algorithm()?;
        match self {
            Self::Pinned(keys) => {
                let _turn = turn().await;
                keys.verify(jws).map(|()| None)
            }
            Self::Published(endpoint) => match endpoint.keys_with(jws.kid()).await {
                Ok(usable) => {
                    let _turn = turn().await;
                    usable.keys.verify(jws).map(|()| Some(usable.recheck_at))
                }
                Err(no_key) => Err(refusal(no_key, jws.kid(), issuer)),
            },
        }
    }

    /// How many keys there are, read now if need be.
    pub(in crate::auth) async fn count(&self) -> Result<usize, NoKey> {
        match self {
            Self::Pinned(keys) => Ok(keys.len()),
            Self::Published(endpoint) => endpoint.keys().await.map(|keys| keys.len()),
        }
    }

    /// Where the keys are from, fit to be shown.
    pub(in crate::auth) fn shown(&self) -> String {
        match self {
            Self::Pinned(_) => "pinned".to_owned(),
            Self::Published(endpoint) => endpoint.shown(),
        }
    }
}

fn refusal(no_key: NoKey, kid: Option<&str>, issuer: &str) -> AuthError {
    match no_key {
        NoKey::Unknown => key_set::unknown_key(kid),
        NoKey::NoSuchIssuer => AuthError::UnknownIssuer { issuer: issuer.to_owned() },
        NoKey::Throttled { retry_after } => AuthError::Throttled { issuer: issuer.to_owned(), retry_after },
        NoKey::Unavailable { retry_after, source } => AuthError::KeysUnavailable { retry_after, source },
    }
}

/// Every issuer's keys.
#[derive(Debug)]
pub(in crate::auth) struct Issuers {
    reach: Reach,
    discovery: Option<Discovery>,
    /// Plugins with pinned keys, and those that `callboard.auth.allow` names: always there.
    named: HashMap<String, KeySource>,
    /// Others that the configuration speaks of: always there too, so that no stranger gets in their way.
    mentioned: HashMap<String, KeySource>,
    users: Option<KeySource>,
    welcome: Strangers,
    unwelcome: Strangers,
}

/// What it takes to reach any endpoint.
#[derive(Debug, Clone)]
struct Reach {
    client: reqwest::Client,
    clock: Clock,
    options: JwksOptions,
}

impl Reach {
    fn endpoint(&self, url: Url) -> Endpoint {
        Endpoint::new(url, self.client.clone(), self.clock.clone(), self.options.clone())
    }

    fn source(&self, url: Url) -> KeySource {
        KeySource::Published(Arc::new(self.endpoint(url)))
    }
}

impl Issuers {
    pub(in crate::auth) fn new(options: &Options, access: &Access, clock: &Clock, client: &reqwest::Client) -> Self {
        let reach = Reach { client: client.clone(), clock: clock.clone(), options: options.jwks.clone() };
        let discovery = options.discovery.clone();
        let pinned = options.pinned_keys.iter().map(|p| (p.plugin.clone(), KeySource::Pinned(p.keys.clone())));
        let mut named: HashMap<_, _> = pinned.collect();
        for id in access.named_plugins() {
            if let Some(url) = discovery.as_ref().and_then(|discovery| discovery.plugin_keys(id)) {
                named.entry(id.to_owned()).or_insert_with(|| reach.source(url));
            }
        }
        let endpoints = discovery.iter().flat_map(|discovery| &discovery.endpoints);
        let mentioned = endpoints.flat_map(|endpoint| &endpoint.plugins).chain(&options.audiences);
        let mentioned = mentioned.filter(|id| is_plugin_id(id) && !named.contains_key(*id)).filter_map(|id| {
            let url = discovery.as_ref().and_then(|discovery| discovery.plugin_keys(id))?;
            Some((id.clone(), reach.source(url)))
        });
        let mentioned: HashMap<_, _> = mentioned.collect();
        let users = discovery.as_ref().and_then(Discovery::user_keys).map(|url| reach.source(url));
        let (welcome, unwelcome) = (Strangers::welcome(), Strangers::unwelcome());
        Self { reach, discovery, named, mentioned, users, welcome, unwelcome }
    }

    /// The keys of plugin `id`, which is made of letters, digits, `_` and `-` only.
    pub(in crate::auth) fn plugin(&self, id: &str, welcome: bool) -> Result<KeySource, AuthError> {
        if let Some(always_there) = self.named.get(id).or_else(|| self.mentioned.get(id)) {
            return Ok(always_there.clone());
        }
        let discovery = self.discovery.as_ref().ok_or(AuthError::NoBackend)?;
        let strangers = if welcome { &self.welcome } else { &self.unwelcome };
        let make = || discovery.plugin_keys(id).map(|url| self.reach.endpoint(url));
        match strangers.endpoint(id, self.reach.clock.now(), make) {
            Ok(endpoint) => Ok(KeySource::Published(endpoint)),
            Err(no_key) => Err(refusal(no_key, None, id)),
        }
    }

    /// The keys of user tokens.
    pub(in crate::auth) fn users(&self) -> Result<&KeySource, AuthError> {
        self.users.as_ref().ok_or(AuthError::NoBackend)
    }

    /// The keys of an external issuer.
    pub(in crate::auth) fn external(&self, url: &Url) -> KeySource {
        self.reach.source(url.clone())
    }

    /// All that are configured, each with a name to show, sorted.
    pub(in crate::auth) fn configured(&self) -> Vec<(String, KeySource)> {
        let named = self.named.iter().map(|(id, source)| (format!("plugin:{id}"), source.clone()));
        let users = self.users.iter().map(|source| ("users".to_owned(), source.clone()));
        let mut all: Vec<_> = named.chain(users).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

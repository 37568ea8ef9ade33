//! The whole room at work: real tokens, real key sets over HTTP, a clock moved by hand.

mod algorithms;
mod backstage_tokens;
mod errors;
mod external_callers;
mod key_sets;
mod memory;
mod publisher;
mod strangers;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::publisher::{Answer, Publisher, USER_PATH, plugin_path};
use super::mint::SigningKey;
use super::*;
use crate::clock::{Hand, Timestamp};

/// When every test begins, in seconds.
const START: u64 = 1_800_000_000;

/// An authenticator beside a Backstage in which the plugin `techdocs` and the user tokens have a key each.
struct Scene {
    publisher: Publisher,
    hand: Hand,
    techdocs: SigningKey,
    auth: SigningKey,
    room: Arc<Authenticator>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::with_publisher(|options, _| change(options)).await
    }

    async fn with_publisher(change: impl FnOnce(&mut Options, &Publisher)) -> Self {
        let publisher = Publisher::start().await;
        let (techdocs, auth) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        publisher.set(&plugin_path("techdocs"), Answer::Json(techdocs.public_jwks()));
        publisher.set(USER_PATH, Answer::Json(auth.public_jwks()));
        let mut options = options(&publisher);
        change(&mut options, &publisher);
        let hand = Hand::at(Timestamp::from_secs(START));
        let room = Arc::new(Authenticator::new(options, Clock::Manual(hand.clone()), client()));
        Self { publisher, hand, techdocs, auth, room }
    }

    /// A good token of plugin `techdocs`, with `changes` made to its claims; `null` takes one out.
    fn plugin_token(&self, changes: Value) -> String {
        plugin_token(&self.techdocs, self.now(), changes)
    }

    fn user_token(&self, typ: &str, changes: Value) -> String {
        let header = json!({ "typ": typ, "alg": "ES256", "kid": self.auth.kid() });
        let claims = json!({ "sub": "user:default/jane", "iat": self.now(), "exp": self.now() + 3600 });
        self.auth.sign(&header, &changed(claims, changes)).unwrap()
    }

    fn limited_token(&self) -> String {
        self.user_token("vnd.backstage.limited-user", json!({}))
    }

    fn now(&self) -> u64 {
        self.room.clock.now().as_secs()
    }

    /// Shows the token as a bearer token for something other than a static file.
    async fn show(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        self.room.verify(&bearer(token)).await
    }

    /// Who the token is found to belong to, or in one word why not.
    async fn verdict(&self, token: &str) -> String {
        told(self.show(token).await)
    }
}

fn told(outcome: Result<Arc<Principal>, AuthError>) -> String {
    match outcome {
        Ok(principal) => principal.subject().to_owned(),
        Err(error) => format!("{} {}", error.status().as_u16(), error.reason()),
    }
}

fn bearer(token: &str) -> Credential<'_> {
    Credential::Bearer { token: token.as_bytes(), resource: Resource::Other }
}

fn plugin_token(key: &SigningKey, now: u64, changes: Value) -> String {
    let header = json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": key.kid() });
    let claims = json!({ "sub": "techdocs", "aud": "callboard", "iat": now, "exp": now + 3600 });
    key.sign(&header, &changed(claims, changes)).unwrap()
}

/// `object` with the members of `changes` put in, and those that are `null` taken out.
fn changed(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

fn options(publisher: &Publisher) -> Options {
    Options {
        required: true,
        audiences: vec!["techdocs".to_owned(), "callboard".to_owned()],
        allow: vec!["plugin:techdocs".to_owned(), "user:*".to_owned()],
        users: false,
        cookies: false,
        clock_tolerance: Duration::from_secs(5),
        remembered_tokens: 10_000,
        discovery: Some(Discovery { base_url: publisher.base_url.clone(), endpoints: Vec::new() }),
        pinned_keys: Vec::new(),
        external: Vec::new(),
        certificates: Vec::new(),
        jwks: JwksOptions {
            timeout: Duration::from_secs(5),
            refresh_after: Duration::from_secs(600),
            outage_grace: Duration::from_secs(3600),
        },
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

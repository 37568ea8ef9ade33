//! A server that publishes a plugin's keys as Backstage does, for tests that are not about tokens. Those that are run
//! against the real thing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callboard::auth::mint::{PluginClaims, SigningKey};
use callboard::clock::{Clock, Timestamp};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

pub struct Backstage {
    address: SocketAddr,
    key: SigningKey,
    fetches: Arc<AtomicUsize>,
    traceparents: Arc<Mutex<Vec<Option<String>>>>,
    /// Tokens are issued then, whatever time it is meanwhile: a test's clock stands still, or leaps.
    started: Timestamp,
}

impl Backstage {
    pub async fn start() -> Self {
        let key = SigningKey::generate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fetches = Arc::new(AtomicUsize::new(0));
        let document = Bytes::from(key.public_jwks().to_string());
        let counter = Arc::clone(&fetches);
        let traceparents: Arc<Mutex<Vec<_>>> = Arc::default();
        let book = Arc::clone(&traceparents);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (document, counter, book) = (document.clone(), Arc::clone(&counter), Arc::clone(&book));
                let service = service_fn(move |request: Request<Incoming>| {
                    let traceparent = request.headers().get("traceparent");
                    book.lock().unwrap().push(traceparent.map(|value| value.to_str().unwrap().to_owned()));
                    counter.fetch_add(1, Ordering::SeqCst);
                    let document = document.clone();
                    async move { Ok::<_, Infallible>(Response::new(Full::new(document))) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, key, fetches, traceparents, started: Clock::System.now() }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often keys were fetched.
    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// The `traceparent` of each fetch.
    pub fn traceparents(&self) -> Vec<Option<String>> {
        self.traceparents.lock().unwrap().clone()
    }

    /// A token of the techdocs plugin that may read.
    pub fn token(&self) -> String {
        self.token_of("techdocs")
    }

    pub fn token_of(&self, plugin: &str) -> String {
        self.token_lasting(plugin, Duration::from_secs(3600))
    }

    /// The same for tests whose clock goes further than an hour.
    pub fn token_lasting(&self, plugin: &str, lasting: Duration) -> String {
        let exp = self.started.plus(lasting);
        let claims = PluginClaims { sub: plugin, aud: "callboard", iat: self.started, exp };
        self.key.plugin_token(&claims).unwrap()
    }

    /// A token of `plugin`, which acts for `user`.
    pub fn token_on_behalf(&self, plugin: &str, user: &str) -> String {
        let (iat, exp) = (self.started.as_secs(), self.started.as_secs() + 3600);
        let header = |typ: &str| json!({ "typ": typ, "alg": "ES256", "kid": self.key.kid() });
        let user = json!({ "sub": user, "iat": iat, "exp": exp });
        let user = self.key.sign(&header("vnd.backstage.limited-user"), &user).unwrap();
        let claims = json!({ "sub": plugin, "aud": "callboard", "iat": iat, "exp": exp, "obo": user });
        self.key.sign(&header("vnd.backstage.plugin"), &claims).unwrap()
    }

    /// A token that would be good, had Backstage signed it.
    pub fn forged_token(&self) -> String {
        let token = self.token();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let other = self.token_of("catalog");
        format!("{signed}.{}", other.rsplit_once('.').unwrap().1)
    }
}

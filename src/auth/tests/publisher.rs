//! A Backstage that does nothing but publish key sets, and counts how often it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use url::Url;

/// What it answers at a path; 404 where nothing is said.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Json(Value),
    Text(String),
    Status(u16),
    RedirectTo(String),
    Silence,
    /// The document as it is now, sent when somebody says so.
    Held(Value, Arc<Notify>),
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Answer>,
    asked: HashMap<String, usize>,
}

/// Ends with its runtime.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    pub(super) base_url: Url,
    state: Arc<Mutex<State>>,
}

impl Publisher {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let publisher = Self { base_url, state: Arc::default() };
        let serving = publisher.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                let service = service_fn(move |request| serving.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        publisher
    }

    pub(super) fn set(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.get(path).copied().unwrap_or_default()
    }

    pub(super) fn asked_in_all(&self) -> usize {
        self.state.lock().unwrap().asked.values().sum()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let answer = {
            let mut state = self.state.lock().unwrap();
            *state.asked.entry(path.clone()).or_default() += 1;
            state.answers.get(&path).cloned().unwrap_or(Answer::Status(404))
        };
        let response = Response::builder();
        Ok(match answer {
            Answer::Json(json) => response.body(Full::from(json.to_string())),
            Answer::Text(text) => response.body(Full::from(text)),
            Answer::Status(status) => response.status(status).body(Full::default()),
            Answer::RedirectTo(to) => response.status(302).header("location", to).body(Full::default()),
            Answer::Silence => std::future::pending().await,
            Answer::Held(json, release) => {
                release.notified().await;
                response.body(Full::from(json.to_string()))
            }
        }
        .unwrap())
    }
}

/// Where the plugin publishes its keys.
pub(super) fn plugin_path(plugin: &str) -> String {
    format!("/api/{plugin}/.backstage/auth/v1/jwks.json")
}

/// Where the auth plugin publishes the keys of user tokens.
pub(super) const USER_PATH: &str = "/api/auth/.well-known/jwks.json";

//! The hosts of the clouds, on loopback: a server that shows a certificate for each of their names, and a client that is
//! sent to it for them. The program itself is what it is elsewhere; only where names lead differs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::pki::Authority;

pub const SNS: &str = "sns.eu-central-1.amazonaws.com";
pub const GOOGLE: &str = "www.googleapis.com";
const NAMES: [&str; 2] = [SNS, GOOGLE];

/// What is answered at a place, such as `www.googleapis.com/oauth2/v3/certs`; 404 where nothing is said.
#[derive(Debug, Clone)]
pub enum Answer {
    Text(String),
    Status(u16),
    RedirectTo(String),
    /// What moto's SNS at this port answers.
    Moto(u64),
}

#[derive(Clone)]
pub struct Cloud {
    address: SocketAddr,
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// Every request's place and query, in order.
    asked: Vec<String>,
}

impl Cloud {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = listener.local_addr().unwrap();
        let authority = Arc::new(Authority::new());
        let address = authority.relay_as(&NAMES, plain).await;
        let cloud = Self { address, authority, state: Arc::default() };
        let serving = cloud.clone();
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
        cloud
    }

    /// A client as the program makes it, but for where the names lead.
    pub fn client(&self) -> reqwest::Client {
        let builder = self.authority.http_client().redirect(reqwest::redirect::Policy::none()).no_proxy();
        NAMES.iter().fold(builder, |builder, name| builder.resolve(name, self.address)).build().unwrap()
    }

    pub fn set(&self, place: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(place.to_owned(), answer);
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let host = request.headers()[HOST].to_str().unwrap();
        let place = format!("{host}{}", request.uri().path());
        let answer = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(format!("{host}{}", request.uri()));
            let page = state.answers.get(&place).or_else(|| state.answers.get(host));
            page.cloned().unwrap_or(Answer::Status(404))
        };
        let response = Response::builder();
        let response = match answer {
            Answer::Text(text) => response.body(Full::from(text)),
            Answer::Status(status) => response.status(status).body(Full::default()),
            Answer::RedirectTo(to) => response.status(302).header("location", to).body(Full::default()),
            Answer::Moto(port) => response.body(Full::from(of_moto(port, request.uri().path()).await)),
        };
        Ok(response.unwrap())
    }
}

/// moto finds out which service is meant by the credential, of which it asks no more than the form.
async fn of_moto(port: u64, path: &str) -> Bytes {
    let credential =
        "AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/sns/aws4_request, SignedHeaders=a, Signature=a";
    let request =
        reqwest::Client::new().get(format!("http://127.0.0.1:{port}{path}")).header(AUTHORIZATION, credential);
    request.send().await.unwrap().bytes().await.unwrap()
}

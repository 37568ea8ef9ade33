//! What Backstage says of 499 tokens, and what we say: `tests/vectors/tokens.json`.

mod minting;

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::auth::{AuthError, Authenticator, Principal, Resource};
use callboard::clock::{Clock, Hand, Timestamp};
use callboard::config::{Configuration, Environment, Problems, Sources};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::minting::Mint;

/// Where `iat` lies far in the future: upstream does not look, we take the clocks to be wrong and refuse.
const ISSUED_IN_THE_FUTURE: [&str; 2] = ["issued in the future", "exp before iat"];

#[tokio::test]
async fn verdicts_are_those_of_the_golden_vectors() {
    let vectors = read_vectors();
    let mint = Mint::new(&vectors);
    let base = publish(key_sets(&vectors, &mint)).await;
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut wrong = Vec::new();
    let recipes = vectors["recipes"].as_array().unwrap();
    assert!(recipes.len() >= 150);
    for recipe in recipes {
        let found = verdict(recipe, &vectors, &mint, &base, &client).await;
        if ISSUED_IN_THE_FUTURE.iter().any(|name| recipe["name"] == *name) {
            assert_eq!(found["reason"], "not_yet_valid", "{}", recipe["name"]);
        } else if !agrees(&found, &recipe["expect"]) {
            wrong.push(format!("{} {}: expected {}, found {found}", recipe["kind"], recipe["name"], recipe["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), recipes.len(), wrong.join("\n"));
}

/// What the configuration room takes although Backstage refuses it: the URL parser encodes the space.
const TAKEN: [&str; 1] = ["jwks: url with a space"];

#[test]
fn settings_that_backstage_refuses_are_problems() {
    let vectors = read_vectors();
    let mint = Mint::new(&vectors);
    let mut taken = Vec::new();
    for case in vectors["badSettings"].as_array().unwrap() {
        if configure(&case["settings"], &mint, "http://localhost:7007").is_ok() {
            taken.push(case["name"].as_str().unwrap());
        }
    }
    assert_eq!(taken, TAKEN, "taken, but must be refused");
}

fn read_vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tokens.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Shows the recipe's token to a verifier of its own, and once more if it was good: then it must be remembered.
async fn verdict(recipe: &Value, vectors: &Value, mint: &Mint, base: &str, client: &reqwest::Client) -> Value {
    let mut settings = vectors["defaults"].clone();
    settings.as_object_mut().unwrap().extend(recipe["settings"].as_object().unwrap().clone());
    // The default is what the configuration makes of nothing being said, which adds the external callers and users.
    if recipe["settings"].get("allow").is_none() {
        settings.as_object_mut().unwrap().remove("allow");
    }
    let options = configure(&settings, mint, base).unwrap().resolved.auth;
    let clock = Clock::Manual(Hand::at(Timestamp::from_secs(minting::NOW)));
    let room = Authenticator::new(options, clock, client.clone());
    let headers = headers(recipe, mint, base);
    let resource = if recipe["route"] == "metadata" { Resource::Other } else { Resource::StaticFile };
    let credential = match room.credential(&headers, resource) {
        Ok(credential) => credential,
        Err(refusal) => return told(Err(refusal)),
    };
    let first = room.verify(&credential).await;
    assert_eq!(room.remembered(&credential).as_ref(), first.as_ref().ok(), "{}", recipe["name"]);
    told(first)
}

fn told(verdict: Result<Arc<Principal>, AuthError>) -> Value {
    match verdict {
        Ok(principal) => json!({ "status": 200, "subject": principal.subject(), "actor": principal.actor() }),
        Err(error) => {
            json!({ "status": error.status().as_u16(), "subject": error.subject(), "reason": error.reason() })
        }
    }
}

/// `expected` says who it is only as far as that is known.
fn agrees(found: &Value, expected: &Value) -> bool {
    found["status"] == expected["status"]
        && (expected["subject"].is_null()
            || (found["subject"] == expected["subject"] && found["actor"] == expected["actor"]))
}

/// The headers that the recipe's token is shown in.
fn headers(recipe: &Value, mint: &Mint, base: &str) -> HeaderMap {
    let token = mint.token(recipe, base);
    let other = recipe.get("other").and_then(|other| mint.token(other, base)).unwrap_or_default();
    let bearer = json!([["Authorization", "Bearer {token}"]]);
    let present = recipe.get("present").unwrap_or(&bearer).as_array().unwrap();
    let mut headers = HeaderMap::new();
    for header in present {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        let value = value.replace("{token}", token.as_deref().unwrap_or_default()).replace("{other}", &other);
        let value = HeaderValue::from_str(value.trim()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

/// Reads the settings as an operator would write them.
fn configure(settings: &Value, mint: &Mint, base: &str) -> Result<Configuration, Problems> {
    let ours = |name: &str| settings.get(name).cloned().unwrap_or_default();
    let mut auth = json!({
        "users": ours("users"),
        "cookies": ours("cookies"),
        "audiences": ours("audiences"),
        "allow": ours("allow"),
        "dangerouslyAllowAnonymous": ours("honourDisabledPolicy"),
        "clockTolerance": { "seconds": settings.get("clockTolerance").unwrap_or(&json!(5)) },
    });
    auth.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut backend = json!({
        "externalAccess": ours("externalAccess"),
        "keys": ours("keys"),
        "dangerouslyDisableDefaultAuthPolicy": ours("disableDefaultAuthPolicy"),
    });
    backend.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let config = json!({
        "backend": { "baseUrl": base, "auth": backend },
        "callboard": { "auth": auth },
        "techdocs": { "publisher": { "type": "local", "local": { "publishDirectory": "." } } },
    });
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML too.
    std::fs::write(folder.path().join("app-config.yaml"), mint.filled_in(&config.to_string(), base)).unwrap();
    let environment = Environment { variables: Default::default(), directory: folder.path().to_owned() };
    callboard::config::read(&Sources { files: Vec::new(), environment })
}

/// The document that each path answers with.
fn key_sets(vectors: &Value, mint: &Mint) -> HashMap<String, String> {
    let endpoints = vectors["endpoints"].as_object().unwrap();
    let document = |names: &Value| {
        let keys: Vec<_> = names.as_array().unwrap().iter().map(|name| mint.jwk(name.as_str().unwrap())).collect();
        json!({ "keys": keys }).to_string()
    };
    endpoints.iter().map(|(path, names)| (path.clone(), document(names))).collect()
}

/// Serves the documents as long as the test's runtime lives.
async fn publish(documents: HashMap<String, String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let documents = Arc::new(documents);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let documents = Arc::clone(&documents);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let response = match documents.get(request.uri().path()) {
                    Some(document) => Response::new(Full::<Bytes>::from(document.clone())),
                    None => Response::builder().status(404).body(Full::default()).unwrap(),
                };
                async { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    base
}

//! The JSON API, as far as `techdocs-cli` publishes with it.

use hyper::Method;
use serde_json::{Value, json};

use super::{BUCKET, Cloud, Header, Request, Response, Stored, decoded, said};

impl Cloud {
    /// Answers whoever comes through the door without a token.
    pub fn let_in(&self, request: &Request) -> Response {
        let path = request.uri().path();
        let objects = format!("/b/{BUCKET}/o");
        let asked = request.parameters();
        match *request.method() {
            Method::GET if path == format!("/b/{BUCKET}") => told(&json!({ "name": BUCKET })),
            Method::GET if path == objects => {
                let prefix = asked.get("prefix").map_or("", String::as_str);
                let names = self.objects.lock().unwrap();
                let items: Vec<Value> = names
                    .iter()
                    .filter(|(name, _)| name.starts_with(prefix))
                    .map(|(name, stored)| resource(name, stored))
                    .collect();
                told(&json!({ "items": items }))
            }
            Method::DELETE => {
                let name = path.strip_prefix(&format!("{objects}/")).map(decoded);
                let gone = name.and_then(|name| self.objects.lock().unwrap().remove(&name));
                said(if gone.is_some() { 204 } else { 404 }, "")
            }
            Method::POST if asked.get("uploadType").is_some_and(|kind| kind == "resumable") => {
                let mut uploads = self.uploads.lock().unwrap();
                let session = format!("session-{}", uploads.len());
                uploads.insert(session.clone(), asked["name"].clone());
                let mut answer = said(200, "");
                let location = format!("http://{}/upload/{session}", request.header("host").unwrap());
                answer.headers_mut().insert("location", location.parse().unwrap());
                answer
            }
            Method::PUT => {
                let session = path.strip_prefix("/upload/").unwrap_or_default();
                let Some(name) = self.uploads.lock().unwrap().get(session).cloned() else { return said(404, "") };
                let stored = self.store(&name, request.body().clone());
                told(&resource(&name, &stored))
            }
            _ => said(404, ""),
        }
    }
}

fn told(resource: &Value) -> Response {
    let mut answer = said(200, resource.to_string());
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

fn resource(name: &str, stored: &Stored) -> Value {
    json!({
        "kind": "storage#object", "name": name, "bucket": BUCKET, "size": stored.body.len().to_string(),
        "generation": stored.generation.to_string(), "crc32c": stored.crc32c,
    })
}

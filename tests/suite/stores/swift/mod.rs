//! OpenStack Swift: the imitation for what can't be had from the real one, and the real one for all else.

mod imitated;
mod read_only;
mod real;
mod trouble;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::support::servers::Server;
use crate::support::{Callboard, Told};

/// A real Keystone and a real Swift.
struct Cloud {
    server: Server,
    client: Client,
}

impl Cloud {
    async fn start(options: &[&str]) -> Self {
        Self { server: Server::openstack(options).await, client: Client::new() }
    }

    /// `techdocs.publisher`, as a flow map, with this credential and with these keys more.
    fn publisher(&self, credential: &Value, more: &str) -> String {
        format!(
            "{{ type: openStackSwift, openStackSwift: {{ containerName: {}, authUrl: '{}', credentials: {{ id: {}, \
             secret: '{}' }}, {more} }} }}",
            self.server.said("/container"),
            self.server.said("/authUrl"),
            credential["id"].as_str().unwrap(),
            credential["secret"].as_str().unwrap(),
        )
    }

    /// `swiftUrl`, as it stands beside the other keys.
    fn swift_url(&self) -> String {
        format!("swiftUrl: '{}'", self.server.said("/swiftUrl"))
    }

    /// A Callboard that shows this credential.
    async fn callboard(&self, credential: &Value, section: &str) -> Callboard {
        let publisher = Some(self.publisher(credential, &self.swift_url()));
        Callboard::told(Told { section, publisher, ..Told::default() }).await
    }

    /// The credential that reads.
    fn reader(&self) -> &Value {
        &self.server.ready["reader"]
    }

    /// Has the rig do something.
    async fn told(&self, what: &str) -> Value {
        let answer = self.client.post(format!("{}/{what}", self.server.said("/control"))).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// A token of the one who writes.
    async fn writer(&self) -> String {
        let identity = json!({
            "methods": ["application_credential"],
            "application_credential": self.server.ready["writer"],
        });
        let login = self.client.post(format!("{}/v3/auth/tokens", self.server.said("/authUrl")));
        let answer = login.json(&json!({ "auth": { "identity": identity } })).send().await.unwrap();
        answer.headers()["x-subject-token"].to_str().unwrap().to_owned()
    }

    /// Writes an object; `path` is the container and the object's name, as they stand in a URL.
    async fn upload(&self, token: &str, path: &str, body: impl Into<Bytes>, headers: &[(&str, &str)]) -> Response {
        let (url, body) = (format!("{}/{path}", self.server.said("/swiftUrl")), body.into());
        // Swift wants the length also of nothing.
        let request = self.client.put(url).header("X-Auth-Token", token).header(CONTENT_LENGTH, body.len());
        let mut request = request.body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer
    }
}

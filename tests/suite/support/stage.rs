//! A real Backstage with Callboard behind it, as an operator has them: both read one app-config.yaml. What Backstage asks
//! of Callboard passes a relay, which can be a bad network, and can lead to another Callboard.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use callboard::app::{App, Running};
use callboard::clock::Clock;
use callboard::storage::DocStore;
use http::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

use super::redis::free_port;
use super::relay::Relay;
use super::servers::Server;
use super::{configuration, sum_of};

/// Components that the catalog knows. What storage has of them is a test's own affair.
const COMPONENTS: [&str; 5] = ["large-site", "Small-Site", "shop", "without-docs", SECRET];

/// One that nobody may read.
pub const SECRET: &str = "secret-site";

/// What stands in app-config.yaml, beside what always does.
#[derive(Default)]
pub struct Plan<'a> {
    /// `techdocs.publisher`, as a flow map.
    pub publisher: String,
    /// What `techdocs.callboard` has beside its `baseUrl`; without it Backstage does not know of Callboard.
    pub module: Option<&'a str>,
    /// Lines of the section `callboard:`, each indented by two spaces.
    pub callboard: &'a str,
    /// Lines of the section `backend:`, likewise.
    pub backend: &'a str,
    /// Sections of Backstage's own.
    pub sections: &'a str,
    /// Another store than the publisher's.
    pub store: Option<Arc<dyn DocStore>>,
    /// Backstage asks Callboard itself and not the relay.
    pub directly: bool,
}

pub struct Stage {
    pub backend: Server,
    /// Between Backstage and Callboard.
    pub relay: Relay,
    pub callboard: Running,
    pub reader: Reader,
    /// Holds app-config.yaml and the catalog.
    pub folder: TempDir,
    text: String,
    store: Option<Arc<dyn DocStore>>,
}

impl Stage {
    pub async fn set(plan: Plan<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        // Backstage has to know it before it listens there, and so has Callboard.
        let port = free_port();
        let relay = Relay::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let text = app_config(&plan, port, relay.address, &folder);
        let callboard = curtain_up(&text, plan.store.clone());
        relay.redirect(callboard.address);
        std::fs::write(folder.path().join("app-config.yaml"), &text).unwrap();
        let backend = Server::techdocs(&[&folder.path().join("app-config.yaml")]).await;
        let reader = Reader::sign_in(&backend).await;
        Self { backend, relay, callboard, reader, folder, text, store: plan.store }
    }

    /// Another Callboard of the same configuration, which nobody asks yet.
    pub fn understudy(&self) -> Running {
        self.understudy_told("")
    }

    /// The same, with more lines in the section `callboard:`.
    pub fn understudy_told(&self, more: &str) -> Running {
        let own = format!("listen: {}\n", self.callboard.address);
        let text = self.text.replace(&own, "listen: 127.0.0.1:0\n");
        curtain_up(&format!("{text}{more}"), self.store.clone())
    }

    /// Callboard ends, and starts again on the same port.
    pub async fn encore(&mut self) {
        let understudy = self.understudy();
        std::mem::replace(&mut self.callboard, understudy).stop().await;
        let again = curtain_up(&self.text, self.store.clone());
        std::mem::replace(&mut self.callboard, again).stop().await;
    }

    /// A backend started anew in place of the one that is, with these sections laid over its configuration.
    pub async fn recast(&mut self, more: &str) {
        self.backend.end().await;
        self.backend = self.another(more).await;
        self.reader = Reader::sign_in(&self.backend).await;
    }

    /// Another backend of the same configuration, with these sections laid over it.
    pub async fn another(&self, more: &str) -> Server {
        let files = [self.folder.path().join("app-config.yaml"), self.folder.path().join("more.yaml")];
        std::fs::write(&files[1], more).unwrap();
        Server::techdocs(&files.each_ref().map(PathBuf::as_path)).await
    }

    /// Where Backstage listens.
    pub fn address(&self) -> SocketAddr {
        self.backend.said("/url").strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// A file of an entity, or whatever else techdocs-backend has at this path.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.reader.get(path)
    }

    pub async fn status(&self, path: &str) -> u16 {
        self.get(path).send().await.unwrap().status().as_u16()
    }

    /// What Backstage has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(&self.folder)).unwrap()
    }

    /// The sum of Callboard's series whose line begins with `name` and holds all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum_of(self.callboard.admin_address, name, labels).await
    }
}

/// Somebody who has signed in as a guest.
pub struct Reader {
    pub token: String,
    /// As a browser sends it with whatever it loads below `/static`.
    pub cookie: String,
    base: String,
    client: Client,
}

impl Reader {
    pub async fn sign_in(backend: &Server) -> Self {
        let (client, url) = (Client::new(), backend.said("/url"));
        let session = client.get(format!("{url}/api/auth/guest/refresh")).send().await.unwrap();
        let session: Value = session.error_for_status().unwrap().json().await.unwrap();
        let token = session["backstageIdentity"]["token"].as_str().unwrap().to_owned();
        let base = format!("{url}/api/techdocs");
        let cookie = client.get(format!("{base}/.backstage/auth/v1/cookie")).bearer_auth(&token).send().await.unwrap();
        let cookie = cookie.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        Self { token, cookie, base, client }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.without_token(path).bearer_auth(&self.token)
    }

    pub fn get_with_cookie(&self, path: &str) -> RequestBuilder {
        self.without_token(path).header(COOKIE, &self.cookie)
    }

    pub fn without_token(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }
}

fn app_config(plan: &Plan<'_>, port: u16, relay: SocketAddr, folder: &TempDir) -> String {
    let (catalog, log) = (catalog(folder), log_file(folder).display().to_string());
    let listen = SocketAddr::from(([127, 0, 0, 1], if plan.directly { free_port() } else { 0 }));
    let asked = if plan.directly { listen } else { relay };
    let module = match plan.module {
        Some(more) => format!("  callboard: {{ baseUrl: 'http://{asked}', {more} }}\n"),
        None => String::new(),
    };
    let Plan { publisher, callboard, backend, sections, .. } = plan;
    format!(
        "backend:\n  baseUrl: http://127.0.0.1:{port}\n  listen: {{ host: 127.0.0.1, port: {port} }}\n{backend}\n\
         permission: {{ enabled: true }}\n\
         rig: {{ denied: [{SECRET}], log: '{log}' }}\n\
         catalog: {{ locations: [{{ type: file, target: '{catalog}' }}] }}\n\
         {sections}\n\
         techdocs:\n  builder: external\n  publisher: {publisher}\n{module}\
         callboard:\n  listen: {listen}\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
         telemetry: {{ accessLog: false }}\n{callboard}\n"
    )
}

/// Writes the catalog's file, and says where it is.
fn catalog(folder: &TempDir) -> String {
    let components = COMPONENTS.map(|name| {
        format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Component\n\
             metadata: {{ name: {name}, annotations: {{ backstage.io/techdocs-ref: 'dir:./{name}' }} }}\n\
             spec: {{ type: website, lifecycle: production, owner: guests }}\n"
        )
    });
    let file = folder.path().join("catalog.yaml");
    std::fs::write(&file, components.join("---\n")).unwrap();
    file.display().to_string()
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("backstage.log")
}

fn curtain_up(text: &str, store: Option<Arc<dyn DocStore>>) -> Running {
    let resolved = configuration(text).resolved;
    let app = match store {
        Some(store) => App::with_store(resolved, Clock::System, store),
        None => App::new(resolved, Clock::System),
    };
    app.unwrap().start().unwrap()
}

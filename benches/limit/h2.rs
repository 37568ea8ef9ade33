//! Row 10: HTTP/2 over TLS 1.3, and sessions that are taken up again.

use std::cell::Cell;
use std::net::SocketAddr;

use anyhow::ensure;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::callboard::{AccessLog, Callboard};
use super::client::{self, Job, request};
use super::contest::{Contender, Page, Rounds};
use super::h2load;
use super::json::merge;
use super::nginx::{self, Nginx};
use super::peers::{NGINX_HIT, origin};
use super::process::Server;
use super::report::Line;
use super::wire::Answer;
use super::wrk::Headers;

/// Requests of a first run, by whose rate the next ones are as long as they are to be.
const FIRST_RUN: u64 = 3000;

/// Both servers with the same certificate.
struct Servers {
    callboard: Callboard,
    nginx: Nginx,
    page: Answer,
    certificate: TempDir,
}

/// 100 streams on one connection.
pub(crate) fn streams(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    h2load::find()?;
    let servers = servers()?;
    let Servers { callboard, nginx, page, .. } = &servers;
    let headers = vec![callboard.authorization()];
    let cached = Page::ask(nginx.server().address, Callboard::PAGE, &headers, NGINX_HIT, page)?;
    let (body, cipher) = (page.body.len() as u64, Cell::new(String::new()));
    let loaded = |name, server, address| loaded(name, server, address, &headers, body, &cipher);
    rounds.run(
        row,
        &[
            loaded("Callboard", callboard.server(), callboard.address()),
            loaded("nginx proxy_cache", nginx.server(), nginx.tls_address).checked(move |_| cached.check()).goal(1.0),
            loaded("nginx, a file", nginx.server(), nginx.tls_file_address),
        ],
    )
}

/// A contender that is loaded by h2load. All must have agreed on the same cipher.
fn loaded<'a>(
    name: &'static str,
    server: &'a Server,
    address: SocketAddr,
    headers: &'a Headers,
    body: u64,
    cipher: &'a Cell<String>,
) -> Contender<'a> {
    let rate = Cell::new(None);
    Contender::new(name, server, move |seconds| {
        let requests = rate.get().map_or(FIRST_RUN, |rate: f64| (rate * seconds as f64) as u64);
        let load = h2load::run(address, Callboard::PAGE, headers, requests)?;
        rate.set(Some(load.rate));
        ensure!(load.bytes == requests * body, "{name} sent {} bytes in {requests} answers", load.bytes);
        let known = cipher.replace(load.cipher.clone());
        ensure!(known.is_empty() || known == load.cipher, "{name} speaks {} and not {known}", load.cipher);
        Ok(requests)
    })
}

/// A connection each for a 304, whose session was known before.
pub(crate) fn resumed(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let servers = servers()?;
    let Servers { callboard, nginx, certificate, .. } = &servers;
    let request = request(Callboard::PAGE, callboard.token(), &["If-None-Match: *"]);
    let loaded = |name, server, address| {
        let request = request.clone();
        Contender::new(name, server, move |seconds| {
            let certificate = certificate.path().join("tls.crt");
            client::run(&Job::Resume { address, request: request.clone(), certificate, seconds })
        })
    };
    rounds.run(
        row,
        &[
            loaded("Callboard", callboard.server(), callboard.address()),
            loaded("nginx proxy_cache", nginx.server(), nginx.tls_address).goal(1.0),
        ],
    )
}

fn servers() -> anyhow::Result<Servers> {
    let certificate = TempDir::new()?;
    let key = KeyPair::generate()?;
    let (cert_file, key_file) = (certificate.path().join("tls.crt"), certificate.path().join("tls.key"));
    let cert = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    std::fs::write(&cert_file, cert.pem())?;
    std::fs::write(&key_file, key.serialize_pem())?;
    let clear = Callboard::start(AccessLog::Off)?;
    let headers = vec![clear.authorization()];
    Answer::get(clear.address(), Callboard::PAGE, &headers)?;
    let page = Answer::get(clear.address(), Callboard::PAGE, &headers)?;
    drop(clear);
    let callboard = Callboard::start_as(AccessLog::Off, |_, configuration| {
        let certificates = json!([{ "cert": cert_file, "key": key_file }]);
        merge(configuration, &json!({ "callboard": { "tls": { "certificates": certificates } } }));
        Ok(())
    })?;
    let origin = origin(&page)?;
    let file = Some((Callboard::PAGE, &page));
    let options = nginx::Options { tls: Some((&cert_file, &key_file)), file, ..Default::default() };
    let nginx = Nginx::start(origin.address(), &options)?;
    Answer::get(nginx.server().address, Callboard::PAGE, &headers)?;
    Ok(Servers { callboard, nginx, page, certificate })
}

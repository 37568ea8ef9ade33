//! Outbound TLS: what Callboard reads from servers with a certificate of a private authority, and what it does not.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callboard::app::{App, Running};
use callboard::clock::Clock;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::pki::{Authority, run};
use crate::support::servers::Server;
use crate::support::{Backstage, SITE, configuration, until};

/// A line of the configuration that has `authority` believed.
fn trusting(authority: &Authority) -> String {
    format!("  trust: {{ caFiles: ['{}'] }}\n", authority.ca().display())
}

fn start(publisher: &str, backstage: &str, section: &str) -> Running {
    let text = format!(
        "backend: {{ baseUrl: '{backstage}' }}\n{publisher}\
         callboard:\n  listen: 127.0.0.1:0\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
         telemetry: {{ accessLog: false }}\n{section}"
    );
    App::new(configuration(&text).resolved, Clock::System).unwrap().start().unwrap()
}

async fn read(running: &Running, path: &str, token: &str) -> u16 {
    let url = format!("http://{}{path}", running.address);
    reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").trim_end_matches('/').replace("localhost", "127.0.0.1").parse().unwrap()
}

/// A proxy that makes tunnels (RFC 9110 §9.3.6), and how many it has made.
pub async fn proxy() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    request.push(byte);
                }
                let request = String::from_utf8(request).unwrap();
                let Some(target) = request.strip_prefix("CONNECT ") else { return };
                let target = target.split(' ').next().unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, tunnels)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_behind_a_private_certificate_is_read_with_its_authority_and_not_without() {
    let s3 = Server::s3().await;
    let authority = Authority::new();
    let relay = authority.relay(address(s3.said("/endpoint"))).await;
    let backstage = Backstage::start().await;
    let publisher = format!(
        "techdocs:\n  publisher:\n    type: awsS3\n    awsS3:\n      bucketName: {}\n      region: {}\n      \
         endpoint: https://127.0.0.1:{}\n      s3ForcePathStyle: true\n      \
         credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }}\n",
        s3.said("/bucket"),
        s3.said("/region"),
        relay.port(),
        s3.said("/reader/accessKeyId"),
        s3.said("/reader/secretAccessKey"),
    );
    let path = format!("/static/docs/{}/index.html", s3.said("/entity"));
    let believing = start(&publisher, &backstage.base_url(), &trusting(&authority));
    assert_eq!(read(&believing, &path, &backstage.token()).await, 200);
    // The same through a proxy, which sees nothing but the name.
    let (proxy, tunnels) = proxy().await;
    let with_proxy = publisher.replace("region:", &format!("httpsProxy: 'http://{proxy}'\n      region:"));
    let through = start(&with_proxy, &backstage.base_url(), &trusting(&authority));
    assert_eq!(read(&through, &path, &backstage.token()).await, 200);
    assert!(tunnels.load(Ordering::SeqCst) > 0);
    let doubting = start(&publisher, &backstage.base_url(), "");
    assert_eq!(read(&doubting, &path, &backstage.token()).await, 503);

    let folder = TempDir::new().unwrap();
    let text = format!("backend: {{ baseUrl: '{}' }}\n{publisher}", backstage.base_url());
    std::fs::write(folder.path().join("app-config.yaml"), &text).unwrap();
    let config = folder.path().join("app-config.yaml");
    let check = ["check", "--config", config.to_str().unwrap()];
    let (said, content) = run(env!("CARGO_BIN_EXE_callboard"), &check, "").await;
    assert!(!content && said.contains("invalid peer certificate"), "{said}");
    std::fs::write(&config, format!("{text}callboard:\n{}", trusting(&authority))).unwrap();
    let (said, content) = run(env!("CARGO_BIN_EXE_callboard"), &check, "").await;
    assert!(content && said.contains("S3 bucket"), "{said}");
}

#[tokio::test]
async fn token_keys_behind_a_private_certificate_are_read_with_its_authority_and_not_without() {
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("default/component/shop");
    std::fs::create_dir_all(&page).unwrap();
    std::fs::write(page.join("index.html"), "<h1>Shop</h1>").unwrap();
    let publisher =
        format!("techdocs: {{ publisher: {{ local: {{ publishDirectory: '{}' }} }} }}\n", folder.path().display());
    let backstage = Backstage::start().await;
    let authority = Authority::new();
    let relay = authority.relay(address(&backstage.base_url())).await;
    let base_url = format!("https://localhost:{}", relay.port());
    let path = format!("{SITE}/index.html");
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("app-config.yaml");
    std::fs::write(&config, format!("backend: {{ baseUrl: '{base_url}' }}\n{publisher}")).unwrap();
    let check = ["check", "--config", config.to_str().unwrap()];
    let (said, content) = run(env!("CARGO_BIN_EXE_callboard"), &check, "").await;
    assert!(
        !content && said.contains("keys of plugin:techdocs") && said.contains("invalid peer certificate"),
        "{said}"
    );
    for (section, status) in [(trusting(&authority), 200), (String::new(), 503), (trusting(&Authority::new()), 503)] {
        let running = start(&publisher, &base_url, &section);
        assert_eq!(read(&running, &path, &backstage.token()).await, status, "{section}");
    }
}

#[tokio::test]
async fn a_broken_pair_is_refused_with_one_warning_and_the_old_one_stays() {
    let authority = Authority::new();
    authority.keep("tls", &authority.server(&["localhost", "one.test"]));
    let folder = TempDir::new().unwrap();
    let text = format!(
        "techdocs: {{ publisher: {{ local: {{ publishDirectory: '.' }} }} }}\n\
         callboard:\n  listen: 127.0.0.1:0\n  admin: {{ listen: '127.0.0.1:0' }}\n  \
         telemetry: {{ log: {{ format: json }} }}\n{}",
        authority.section(&["tls"], "")
    );
    std::fs::write(folder.path().join("app-config.yaml"), text).unwrap();
    let mut process = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"))
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut line_with = async |word: &str| loop {
        let line = log.next_line().await.unwrap().expect("the program goes on");
        if line.contains(word) {
            return line;
        }
        assert!(!line.contains("refused"), "{line}");
    };
    let serving = line_with("serving").await;
    let serving: serde_json::Value = serde_json::from_str(&serving).unwrap();
    let address = serving.pointer("/fields/address").or(serving.get("address")).and_then(|value| value.as_str());
    let address = address.unwrap_or_else(|| panic!("{serving}")).to_owned();
    let shows = async |name: &str| {
        let certificate = run("openssl", &["s_client", "-connect", &address], "").await.0;
        run("openssl", &["x509", "-noout", "-ext", "subjectAltName"], &certificate).await.0.contains(name)
    };
    let two = authority.server(&["localhost", "two.test"]);
    // Half of the new pair, then garbage, then a file that is gone: a warning each, however often it is looked at.
    authority.write("tls.crt", &two.cert);
    assert!(line_with("new certificate refused").await.contains("tls.key is not the private key of the certificate"));
    assert!(shows("one.test").await);
    authority.write("tls.crt", "garbage");
    assert!(line_with("new certificate refused").await.contains("tls.crt holds no certificate"));
    std::fs::remove_file(authority.path("tls.crt")).unwrap();
    assert!(line_with("new certificate refused").await.contains("tls.crt can't be read"));
    assert!(shows("one.test").await);
    // `line_with` fails on any further refusal.
    authority.keep("tls", &two);
    line_with("certificate reloaded").await;
    until(async || shows("two.test").await).await;
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_told_before_anything_listens() {
    let authority = Authority::new();
    authority.keep("a", &authority.server(&["localhost"]));
    authority.keep("b", &authority.server(&["localhost"]));
    authority.write("b.crt", "garbage");
    authority.write("c.crt", &std::fs::read_to_string(authority.path("a.crt")).unwrap());
    authority.write("c.key", &authority.server(&["localhost"]).key);
    let folder = TempDir::new().unwrap();
    let text = format!(
        "techdocs: {{ publisher: {{ local: {{ publishDirectory: '.' }} }} }}\ncallboard:\n{}  trust: {{ caFiles: [nowhere.pem] }}\n",
        authority.section(&["a", "b", "c", "d"], ", clientCertificates: { mode: required }")
    );
    std::fs::write(folder.path().join("app-config.yaml"), text).unwrap();
    let config = folder.path().join("app-config.yaml");
    let (said, content) = run(env!("CARGO_BIN_EXE_callboard"), &["--config", config.to_str().unwrap()], "").await;
    assert!(!content);
    for told in [
        "callboard.tls.certificates[1].cert (",
        "b.crt holds no certificate in PEM form",
        "callboard.tls.certificates[2].key (",
        "c.key is not the private key of the certificate",
        "callboard.tls.certificates[3].cert (",
        "d.crt can't be read",
        "callboard.tls.clientCertificates.caFiles",
        "callboard.trust.caFiles",
        "nowhere.pem can't be read",
    ] {
        assert!(said.contains(told), "{told} in {said}");
    }
    assert!(!said.contains("certificates[0]"), "{said}");
}

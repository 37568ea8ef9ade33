//! TLS on the main listener, held against the clients and scanners that people use.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use callboard::trust::{self, Trust};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::pki::{Authority, RSA, bearer, callboard, curl, run};
use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, SITE, configuration, raw, soak, until};

/// A TLS connection by OpenSSL that asks for one page; what it tells of the connection.
async fn s_client(address: SocketAddr, arguments: &[&str]) -> String {
    let connect = address.to_string();
    let mut all = vec!["s_client", "-connect", &connect, "-ign_eof"];
    all.extend(arguments);
    run("openssl", &all, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.0
}

#[tokio::test]
async fn curl_reads_over_tls_with_both_protocols_and_both_versions() {
    let authority = Authority::new();
    let callboard = callboard(&authority, "").await;
    let token = bearer(&callboard);
    for (arguments, version) in [
        (["--http2", "--tlsv1.3", "--tls-max", "1.3"], "HTTP/2"),
        (["--http2", "--tlsv1.2", "--tls-max", "1.2"], "HTTP/2"),
        (["--http1.1", "--tlsv1.3", "--tls-max", "1.3"], "HTTP/1.1"),
        (["--http1.1", "--tlsv1.2", "--tls-max", "1.2"], "HTTP/1.1"),
    ] {
        let said = curl(&callboard, &authority, "localhost", &[&arguments[..], &["-H", &token]].concat()).await;
        assert_eq!(said, format!("<h1>Shop</h1> 200 {version}"), "{arguments:?}");
    }
    let without = curl(&callboard, &authority, "localhost", &[]).await;
    assert!(without.ends_with(" 401 HTTP/2"), "{without}");
    let other = curl(&callboard, &Authority::new(), "localhost", &["-H", &token]).await;
    assert!(other.contains("certificate"), "{other}");
    assert_eq!(callboard.metric("callboard_tls_handshakes_total", &["done"]).await, 5.0);
    assert_eq!(callboard.metric("callboard_tls_handshakes_total", &["failed"]).await, 1.0);
}

#[tokio::test]
async fn each_name_gets_its_own_certificate_and_unknown_names_the_first() {
    let authority = Authority::new();
    authority.keep("first", &authority.server(&["first.test"]));
    authority.keep("wild", &authority.server(&["*.docs.test"]));
    authority.keep("exact", &authority.server_with(&["exact.docs.test"], RSA));
    let callboard = Callboard::with(&authority.section(&["first", "wild", "exact"], "")).await;
    let token = bearer(&callboard);
    for name in ["first.test", "any.docs.test", "exact.docs.test"] {
        let said = curl(&callboard, &authority, name, &["-H", &token]).await;
        assert!(said.ends_with(" 200 HTTP/2"), "{name}: {said}");
    }
    for (arguments, shown) in [
        (vec!["-servername", "any.docs.test"], "*.docs.test"),
        (vec!["-servername", "exact.docs.test"], "exact.docs.test"),
        (vec!["-servername", "unknown.test"], "first.test"),
        (vec!["-noservername"], "first.test"),
    ] {
        let certificate = s_client(callboard.address, &arguments).await;
        let (names, _) = run("openssl", &["x509", "-noout", "-ext", "subjectAltName"], &certificate).await;
        assert!(names.contains(&format!("DNS:{shown}\n")), "{arguments:?}: {names}");
    }
}

#[tokio::test]
async fn openssl_finds_what_is_modern_resumes_and_is_refused_what_is_old() {
    let authority = Authority::new();
    let callboard = callboard(&authority, "").await;
    let ca = authority.ca();
    let session = authority.path("session.pem");
    let (ca, session) = (ca.to_str().unwrap(), session.to_str().unwrap());
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = s_client(callboard.address, &[version, "-CAfile", ca, "-sess_out", session]).await;
        assert!(said.contains(&format!("New, {name}")) && said.contains("Verify return code: 0 (ok)"), "{said}");
        let said = s_client(callboard.address, &[version, "-sess_in", session]).await;
        assert!(said.contains(&format!("Reused, {name}")), "{said}");
        // P-256 is what the certificate itself needs, in TLS 1.2.
        for group in ["X25519:P-256", "P-256", "P-384:P-256"] {
            let said = s_client(callboard.address, &[version, "-groups", group]).await;
            assert!(said.contains(&format!("New, {name}")), "{group}: {said}");
        }
    }
    // Without tickets, TLS 1.2 resumes by a session's number.
    s_client(callboard.address, &["-tls1_2", "-no_ticket", "-sess_out", session]).await;
    let said = s_client(callboard.address, &["-tls1_2", "-no_ticket", "-sess_in", session]).await;
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
    for version in ["-tls1", "-tls1_1"] {
        let said = s_client(callboard.address, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(said.contains("New, (NONE)") && said.contains("SSL alert number"), "{version}: {said}");
    }
    let said = s_client(callboard.address, &["-tls1_2", "-fallback_scsv"]).await;
    assert!(said.contains("inappropriate fallback"), "{said}");
    for cipher in ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"] {
        let said = s_client(callboard.address, &["-tls1_2", "-cipher", cipher]).await;
        assert!(said.contains("handshake failure"), "{cipher}: {said}");
    }
}

#[tokio::test]
async fn a_node_client_reads_with_https_and_http2() {
    const SCRIPT: &str = r"
        const [port, ca, path, authorization] = process.argv.slice(1);
        const options = { ca: require('fs').readFileSync(ca) };
        const origin = `https://localhost:${port}`;
        require('https').get(origin + path, { ...options, headers: { authorization } }, response => {
            console.log(response.httpVersion, response.statusCode);
            response.resume().on('end', () => {
                const session = require('http2').connect(origin, options);
                const request = session.request({ ':path': path, authorization });
                request.on('response', headers => console.log(session.alpnProtocol, headers[':status']));
                request.resume().on('end', () => session.close());
            });
        });";
    let authority = Authority::new();
    let callboard = callboard(&authority, "").await;
    let (port, ca, page) = (callboard.address.port().to_string(), authority.ca(), format!("{SITE}/index.html"));
    let token = format!("Bearer {}", callboard.backstage.token());
    let (said, _) = run("node", &["-e", SCRIPT, &port, ca.to_str().unwrap(), &page, &token], "").await;
    assert_eq!(said, "1.1 200\nh2 200\n");
}

/// Longer with `CALLBOARD_SOAK_SECONDS=60`.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_up_under_load_without_a_failed_request() {
    serves_while_certificates_change(soak().unwrap_or_default()).await;
}

/// Swaps certificates under load, three times and for this long at least.
async fn serves_while_certificates_change(for_at_least: Duration) {
    let authority = Authority::new();
    // As Kubernetes mounts a secret: the files are links through a link that is swapped.
    for (folder, name) in [("one", "one.test"), ("two", "two.test")] {
        std::fs::create_dir(authority.path(folder)).unwrap();
        authority.keep(&format!("{folder}/tls"), &authority.server(&["localhost", name]));
    }
    symlink("one", authority.path("..data")).unwrap();
    symlink("..data/tls.crt", authority.path("tls.crt")).unwrap();
    symlink("..data/tls.key", authority.path("tls.key")).unwrap();
    // Its clock stands still, and so would the budget of its one caller.
    let section = authority.section(&["tls"], "") + "  limits: { requests: { enabled: false } }\n";
    let callboard = Callboard::with(&section).await;
    let url = format!("https://localhost:{}{SITE}/index.html", callboard.address.port());
    let (token, done, served) = (callboard.backstage.token(), AtomicBool::new(false), AtomicUsize::new(0));
    let load = async |client: &reqwest::Client| {
        while !done.load(Ordering::SeqCst) {
            let answer = client.get(&url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.text().await.unwrap(), "<h1>Shop</h1>");
            served.fetch_add(1, Ordering::SeqCst);
        }
    };
    let shows = async |name: &str| {
        let certificate = s_client(callboard.address, &[]).await;
        run("openssl", &["x509", "-noout", "-ext", "subjectAltName"], &certificate).await.0.contains(name)
    };
    let swap = async {
        assert!(shows("one.test").await);
        let start = Instant::now();
        let sides = [("two", "two.test"), ("one", "one.test")];
        for (round, (folder, name)) in sides.into_iter().cycle().enumerate() {
            if round >= 3 && start.elapsed() >= for_at_least {
                break;
            }
            symlink(folder, authority.path("..new")).unwrap();
            std::fs::rename(authority.path("..new"), authority.path("..data")).unwrap();
            until(async || shows(name).await).await;
        }
        let before = served.load(Ordering::SeqCst);
        until(async || served.load(Ordering::SeqCst) > before + 20).await;
        done.store(true, Ordering::SeqCst);
    };
    // Connections that are kept, of both protocols, and one that is made anew for each request.
    let kept = authority.http_client().build().unwrap();
    let old = authority.http_client().http1_only().build().unwrap();
    let fresh = authority.http_client().pool_max_idle_per_host(0).build().unwrap();
    tokio::join!(load(&kept), load(&kept), load(&old), load(&fresh), swap);
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_handshake_is_let_go() {
    let authority = Authority::new();
    authority.keep("tls", &authority.server(&["localhost"]));
    let section = authority.section(&["tls"], "") + "  limits: { headerReadTimeout: 300ms }\n";
    let callboard = Callboard::with(&section).await;
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
    for start in [&b""[..], &hello[..1], &hello, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = TcpStream::connect(callboard.address).await.unwrap();
        socket.write_all(start).await.unwrap();
        raw::until_closed(&mut socket).await;
    }
    assert_eq!(callboard.metric("callboard_tls_handshakes_total", &["timeout"]).await, 3.0);
    assert_eq!(callboard.metric("callboard_tls_handshakes_total", &["failed"]).await, 1.0);
    // One that does, and then says nothing, is let go too.
    let said = run("openssl", &["s_client", "-connect", &callboard.address.to_string(), "-ign_eof"], "").await.0;
    assert!(said.contains("New, TLSv1.3"), "{said}");
    // A client that waits in its handshake does not hold up the end.
    let _socket = TcpStream::connect(callboard.address).await.unwrap();
    assert_eq!(callboard.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_the_backlog_gets_its_handshake_and_its_answer_after_the_word_to_stop() {
    let authority = Authority::new();
    authority.keep("tls", &authority.server(&["localhost"]));
    let callboard = Callboard::with(&(authority.section(&["tls"], "") + "  limits: { maxConnections: 1 }\n")).await;
    let _first = connect(&callboard, &authority).await;
    let waiting = TcpStream::connect(callboard.address).await.unwrap();
    let request = raw::get(&format!("{SITE}/index.html"), &callboard.backstage.token());
    let stopping = tokio::spawn(callboard.stop());
    let trust = Trust::load(&trust::Options { ca_files: vec![authority.ca()] }).unwrap();
    let connector = TlsConnector::from(trust.client_config());
    let mut stream = connector.connect("localhost".try_into().unwrap(), waiting).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("<h1>Shop</h1>"), "{answer}");
    assert_eq!(stopping.await.unwrap(), 0, "connections broken off");
}

/// A TLS connection by hand, with a small receive buffer.
async fn connect(callboard: &Callboard, authority: &Authority) -> TlsStream<TcpStream> {
    let trust = Trust::load(&trust::Options { ca_files: vec![authority.ca()] }).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(callboard.address).await.unwrap();
    TlsConnector::from(trust.client_config()).connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

#[tokio::test]
async fn who_does_not_read_is_let_go_and_who_reads_slowly_gets_everything() {
    let authority = Authority::new();
    authority.keep("tls", &authority.server(&["localhost"]));
    let film = Bytes::from(vec![7; 12 * 1024 * 1024]);
    let store = Scripted::new(Deed::Give(film.clone(), "v1"));
    let limits = "  limits: { writeTimeout: 1s, headerReadTimeout: 1s }\n";
    let callboard = Callboard::before(store, &(authority.section(&["tls"], "") + limits)).await;
    let request = raw::get(&format!("{SITE}/film.mp4"), &callboard.backstage.token());
    let mut stalled = connect(&callboard, &authority).await;
    stalled.write_all(&request).await.unwrap();
    let mut slow = connect(&callboard, &authority).await;
    slow.write_all(&request).await.unwrap();
    let (mut received, mut piece) = (0, vec![0; 128 * 1024]);
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    loop {
        pause.tick().await;
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            read => received += read,
        }
    }
    assert!(received > film.len(), "{received}");
    let ended = async || callboard.metric("http_server_request_duration_seconds_count", &["200"]).await == 2.0;
    until(ended).await;
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(rest.len() < film.len(), "{}", rest.len());
}

#[tokio::test]
async fn backstages_own_certificate_will_do() {
    use callboard::app::App;
    use callboard::clock::Clock;
    let authority = Authority::new();
    authority.keep("backstage", &authority.server(&["localhost"]));
    let [cert, key] = ["backstage.crt", "backstage.key"].map(|name| authority.path(name).display().to_string());
    let text = format!(
        "backend: {{ https: {{ certificate: {{ cert: {{ $file: '{cert}' }}, key: {{ $file: '{key}' }} }} }} }}\n\
         techdocs: {{ publisher: {{ local: {{ publishDirectory: '.' }} }} }}\n\
         callboard: {{ listen: '127.0.0.1:0', admin: {{ listen: '127.0.0.1:0' }} }}\n"
    );
    let running = App::new(configuration(&text).resolved, Clock::System).unwrap().start().unwrap();
    let url = format!("https://localhost:{}/.backstage/health/v1/liveness", running.address.port());
    let alive = authority.http_client().build().unwrap().get(url).send().await.unwrap();
    assert_eq!((alive.status(), alive.version()), (StatusCode::OK, reqwest::Version::HTTP_2));
}

#[tokio::test]
async fn scanners_find_nothing_to_complain_about() {
    let authority = Authority::new();
    authority.keep("rsa", &authority.server_with(&["localhost"], RSA));
    authority.keep("ecdsa", &authority.server(&["localhost"]));
    let callboard = Callboard::with(&authority.section(&["ecdsa", "rsa"], "")).await;
    let ca = authority.ca();
    let target = format!("localhost:{}", callboard.address.port());
    let sslyze = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/sslyze/bin/sslyze");
    let arguments = ["--mozilla_config=intermediate", "--certinfo_ca_file", ca.to_str().unwrap(), &target];
    let (said, content) = run(sslyze, &arguments, "").await;
    assert!(content && said.contains("OK - Compliant"), "{said}");
    let (said, _) = run("sslscan", &["--no-colour", "--ipv4", &target], "").await;
    for line in ["TLSv1.2   enabled", "TLSv1.3   enabled", "TLSv1.1   disabled", "TLSv1.0   disabled"] {
        assert!(said.contains(line), "{line} in {said}");
    }
    for line in ["SSLv2     disabled", "SSLv3     disabled", "Server supports TLS Fallback SCSV"] {
        assert!(said.contains(line), "{line} in {said}");
    }
    for weak in ["CBC", "RC4", "3DES", "SHA ", "vulnerable to"] {
        let found = said.lines().find(|line| line.contains(weak) && !line.contains("not vulnerable"));
        assert_eq!(found, None, "{said}");
    }
}

//! The main job on real input: a real MkDocs site of 250 pages, published by the real `techdocs-cli` to an S3 server that
//! checks signatures and policies, read through Callboard with tokens that a real Backstage minted.

use std::path::PathBuf;

use callboard::app::{App, Running};
use callboard::clock::Clock;
use callboard::docs::media_type;
use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE, VARY,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::encodings;
use crate::support::servers::{Server, files};
use crate::support::{configuration, until};

/// What a URL's path may hold unescaped (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Callboard between a real S3 and a real Backstage.
struct Rig {
    s3: Server,
    backstage: Server,
    callboard: Running,
    client: Client,
    token: String,
}

impl Rig {
    async fn start() -> Self {
        let (s3, backstage) = tokio::join!(Server::s3(), Server::backstage(None));
        let running = start(&s3.ready, &backstage);
        let client = Client::new();
        let token = mint(&client, &backstage, "techdocs").await;
        Self { s3, backstage, callboard: running, client, token }
    }

    fn request(&self, method: Method, entity: &str, file: &str) -> RequestBuilder {
        let file: Vec<_> = file.split('/').map(|name| utf8_percent_encode(name, SEGMENT).to_string()).collect();
        let path = format!("/api/techdocs/static/docs/{entity}/{}", file.join("/"));
        let url = format!("http://{}{path}", self.callboard.address);
        self.client.request(method, url).header(AUTHORIZATION, format!("Bearer {}", self.token))
    }
}

/// Callboard in front of the bucket that `s3` describes, with the reader's keys.
fn start(s3: &Value, backstage: &Server) -> Running {
    start_with(s3, backstage, "{}", "")
}

/// The same, with this for `callboard.auth`, and these lines under `backend:`.
fn start_with(s3: &Value, backstage: &Server, auth: &str, backend: &str) -> Running {
    let resolved = configuration(&config(s3, backstage, auth, backend)).resolved;
    App::new(resolved, Clock::System).unwrap().start().unwrap()
}

fn config(s3: &Value, backstage: &Server, auth: &str, backend: &str) -> String {
    let said = |pointer| s3.pointer(pointer).and_then(Value::as_str).unwrap();
    format!(
        "backend:\n  baseUrl: '{}'\n{backend}\
         techdocs:\n  publisher:\n    type: awsS3\n    awsS3:\n      bucketName: {}\n      region: {}\n      \
         endpoint: {}\n      s3ForcePathStyle: true\n      credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }}\n\
         callboard: {{ listen: '127.0.0.1:0', admin: {{ listen: '127.0.0.1:0' }}, telemetry: {{ accessLog: false }}, \
         storage: {{ timeout: 5s }}, auth: {auth} }}\n",
        backstage.said("/baseUrl"),
        said("/bucket"),
        said("/region"),
        said("/endpoint"),
        said("/reader/accessKeyId"),
        said("/reader/secretAccessKey"),
    )
}

/// A token of `plugin`, from Backstage itself.
async fn mint(client: &Client, backstage: &Server, plugin: &str) -> String {
    let url = format!("{}/api/{plugin}/mint?audience=callboard", backstage.said("/baseUrl"));
    let minted: Value = client.get(url).send().await.unwrap().json().await.unwrap();
    minted["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_published_site_is_read_back_byte_for_byte() {
    let rig = Rig::start().await;
    let (entity, folder) = (rig.s3.said("/entity"), PathBuf::from(rig.s3.said("/site_dir")));
    let files = files(&folder);
    assert!(files.iter().filter(|file| file.ends_with(".html")).count() >= 200, "{}", files.len());
    for kind in [".svg", ".pdf", ".png", "search_index.json"] {
        assert!(files.iter().any(|file| file.ends_with(kind)), "no {kind}");
    }
    assert!(files.iter().any(|file| file.contains(' ')) && files.iter().any(|file| !file.is_ascii()));
    for file in &files {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let get = rig.request(Method::GET, entity, file).send().await.unwrap();
        assert_eq!(get.status(), StatusCode::OK, "{file}");
        let headers = get.headers().clone();
        assert_eq!(headers[CONTENT_LENGTH], bytes.len().to_string(), "{file}");
        assert_eq!(headers[CONTENT_TYPE], media_type(file.rsplit('/').next().unwrap()), "{file}");
        assert!(headers.contains_key(LAST_MODIFIED));
        assert!(get.bytes().await.unwrap() == bytes, "{file} came otherwise than it was published");

        let head = rig.request(Method::HEAD, entity, file).send().await.unwrap();
        for name in [CONTENT_LENGTH, CONTENT_TYPE, ETAG] {
            assert_eq!(head.headers()[&name], headers[&name], "{file}");
        }
        let known = rig.request(Method::GET, entity, file).header(IF_NONE_MATCH, &headers[ETAG]).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{file}");
        if bytes.len() > 10 {
            let part = rig.request(Method::GET, entity, file).header(RANGE, "bytes=3-8").send().await.unwrap();
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{file}");
            assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 3-8/{}", bytes.len()));
            assert_eq!(part.bytes().await.unwrap(), bytes[3..9], "{file}");
        }
        if bytes.len() > 100 && file.len() % 10 == 0 {
            conditions_and_parts(&rig, entity, file, &bytes, &headers).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_published_site_comes_compressed_as_it_was_published() {
    let rig = Rig::start().await;
    let (entity, folder) = (rig.s3.said("/entity"), PathBuf::from(rig.s3.said("/site_dir")));
    let files = files(&folder);
    let counted = async |label: &str| {
        let url = format!("http://{}/metrics", rig.callboard.admin_address);
        let text = rig.client.get(url).send().await.unwrap().text().await.unwrap();
        let lines =
            text.lines().filter(|line| line.starts_with("callboard_cache_variants_total") && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    let ask = async |file: &str, coding: &str| {
        rig.request(Method::GET, entity, file).header(ACCEPT_ENCODING, coding).send().await.unwrap()
    };
    for coding in ["br", "zstd", "gzip"] {
        // What saved nothing is not tried in another coding.
        let useless = counted("useless").await;
        let mut varying = Vec::new();
        for file in &files {
            if ask(file, coding).await.headers().contains_key(VARY) {
                varying.push(file);
            }
        }
        encodings::until(async || counted(&format!("coding=\"{coding}\"")).await + useless == varying.len()).await;
        let mut compressed = 0;
        for file in varying {
            let answer = ask(file, coding).await;
            let sent_as = answer.headers().get(CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned());
            let sent = answer.bytes().await.unwrap();
            let published = std::fs::read(folder.join(file)).unwrap();
            compressed += usize::from(sent_as.is_some());
            assert!(
                encodings::decoded(sent_as.as_deref().unwrap_or_default(), &sent) == published,
                "{file} in {coding}"
            );
        }
        assert!(compressed >= 250, "{compressed} in {coding}");
    }
}

/// What costs too much to be asked of every file.
async fn conditions_and_parts(rig: &Rig, entity: &str, file: &str, bytes: &[u8], headers: &HeaderMap) {
    let modified = &headers[LAST_MODIFIED];
    for method in [Method::GET, Method::HEAD] {
        let since = rig.request(method, entity, file).header(IF_MODIFIED_SINCE, modified).send().await.unwrap();
        assert_eq!(since.status(), StatusCode::NOT_MODIFIED, "{file}");
    }
    let parts = rig.request(Method::GET, entity, file).header(RANGE, "bytes=0-9,50-59").send().await.unwrap();
    assert_eq!(parts.status(), StatusCode::PARTIAL_CONTENT, "{file}");
    let length: usize = parts.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    let body = parts.bytes().await.unwrap();
    assert_eq!(body.len(), length, "{file}");
    for piece in [&bytes[..10], &bytes[50..60]] {
        assert!(body.windows(10).any(|window| window == piece), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_capitals_and_its_metadata_are_found_as_techdocs_cli_wrote_them() {
    let rig = Rig::start().await;
    let folder = PathBuf::from(rig.s3.said("/small/site_dir"));
    for entity in [rig.s3.said("/small/published_as"), rig.s3.said("/small/entity")] {
        let page = rig.request(Method::GET, entity, "index.html").send().await.unwrap();
        assert_eq!(page.bytes().await.unwrap(), std::fs::read(folder.join("index.html")).unwrap());
        let url = format!("http://{}/metadata/techdocs/{entity}", rig.callboard.address);
        let metadata = rig.client.get(url).bearer_auth(&rig.token).send().await.unwrap().json::<Value>().await.unwrap();
        let written = std::fs::read(folder.join("techdocs_metadata.json")).unwrap();
        assert_eq!(metadata, serde_json::from_slice::<Value>(&written).unwrap());
        assert!(metadata["build_timestamp"].is_number() && metadata["files"].is_array());
    }
    let absent = rig.request(Method::GET, rig.s3.said("/entity"), "no/such/page.html").send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn backstages_own_tokens_decide_who_reads() {
    let rig = Rig::start().await;
    let read = async |token: String| {
        let request = rig.client.get(format!(
            "http://{}/static/docs/{}/index.html",
            rig.callboard.address,
            rig.s3.said("/entity")
        ));
        request.bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let base = rig.backstage.said("/baseUrl");
    let token_at = async |path: &str, field: &str| {
        let minted: Value = rig.client.get(format!("{base}{path}")).send().await.unwrap().json().await.unwrap();
        minted[field].as_str().unwrap().to_owned()
    };
    assert_eq!(read(rig.token.clone()).await, 200);
    assert_eq!(read(token_at("/api/techdocs/mint?audience=techdocs", "token").await).await, 200);
    assert_eq!(read(token_at("/api/techdocs/mint?audience=callboard&obo=user:default/jane", "token").await).await, 200);
    assert_eq!(read(token_at("/api/catalog/mint?audience=callboard", "token").await).await, 403);
    assert_eq!(read(token_at("/api/techdocs/mint?audience=catalog", "token").await).await, 401);
    assert_eq!(read(token_at("/api/auth/mint?user=user:default/jane", "token").await).await, 401);
    let mut forged = rig.token.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(read(forged).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_replicas_sign_with_keys_of_their_own() {
    let keys = tempfile::TempDir::new().unwrap();
    let file = keys.path().join("keys.json");
    let s3 = Server::s3().await;
    let first = Server::backstage(Some(&file)).await;
    let second = Server::backstage(Some(&file)).await;
    let callboard = start(&s3.ready, &first);
    let client = Client::new();
    let read = async |token: &str| {
        let url = format!("http://{}/static/docs/{}/index.html", callboard.address, s3.said("/entity"));
        client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let before = mint(&client, &first, "techdocs").await;
    assert_eq!(read(&before).await, 200);
    // The second replica's key is one that Callboard has not seen: it reads the keys again.
    let others = mint(&client, &second, "techdocs").await;
    assert_eq!(read(&others).await, 200);
    // With no Backstage left, what was known stays good, for tokens that were seen and for new ones.
    let unseen = mint(&client, &first, "techdocs").await;
    first.stop().await;
    second.stop().await;
    assert_eq!((read(&before).await, read(&unseen).await), (200, 200));
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_fails_is_no_absent_page_and_cached_pages_still_show() {
    let rig = Rig::start().await;
    let entity = rig.s3.said("/entity").to_owned();
    let read = async |file: &str| rig.request(Method::GET, &entity, file).send().await.unwrap().status().as_u16();
    assert_eq!(read("index.html").await, 200);
    rig.s3.signal(rustix::process::Signal::STOP);
    assert_eq!((read("index.html").await, read("files/one-byte.txt").await), (200, 504));
    rig.s3.signal(rustix::process::Signal::CONT);
    until(async || read("files/one-byte.txt").await == 200).await;
    rig.s3.signal(rustix::process::Signal::KILL);
    until(async || read("files/empty.txt").await == 503).await;
    assert_eq!(read("index.html").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_credential_or_a_missing_bucket_is_no_absent_page() {
    let (s3, backstage) = tokio::join!(Server::s3(), Server::backstage(None));
    let client = Client::new();
    let token = mint(&client, &backstage, "techdocs").await;
    for (part, replacement) in [("/bucket", "no-such-bucket"), ("/reader/secretAccessKey", "wrongwrongwrong")] {
        let mut other = s3.ready.clone();
        *other.pointer_mut(part).unwrap() = replacement.into();
        let callboard = start(&other, &backstage);
        let url = format!("http://{}/static/docs/{}/index.html", callboard.address, s3.said("/entity"));
        let answer = client.get(url).bearer_auth(&token).send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 502 | 503), "{part}: {}", answer.status());
        assert!(!answer.text().await.unwrap().contains("AccessDenied"));
        let ready = format!("http://{}/.backstage/health/v1/readiness", callboard.address);
        assert_eq!(client.get(ready).send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        callboard.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_cookies_and_external_callers_are_let_in_where_switched_on() {
    let (s3, backstage) = tokio::join!(Server::s3(), Server::backstage(None));
    let external = "  auth:\n    externalAccess:\n      - { type: static, options: { token: swordfish-swordfish, subject: ci } }\n\
                    \x20     - { type: static, options: { token: tunafish-tunafish, subject: other }, \
                    accessRestrictions: [{ plugin: catalog }] }\n";
    let callboard = start_with(&s3.ready, &backstage, "{ users: true, cookies: true }", external);
    let client = Client::new();
    let base = backstage.said("/baseUrl");
    let minted: Value =
        client.get(format!("{base}/api/auth/mint?user=user:default/jane")).send().await.unwrap().json().await.unwrap();
    let (user, limited) = (minted["token"].as_str().unwrap(), minted["limited"].as_str().unwrap());
    let page = format!("/static/docs/{}/index.html", s3.said("/entity"));
    let metadata = format!("/metadata/techdocs/{}", s3.said("/entity"));
    let ask = async |path: &str, name: &str, value: String| {
        let request = client.get(format!("http://{}{path}", callboard.address)).header(name, value);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&page, "authorization", format!("Bearer {user}")).await, 200);
    assert_eq!(ask(&metadata, "authorization", format!("Bearer {user}")).await, 200);
    assert_eq!(ask(&page, "cookie", format!("backstage-auth={limited}")).await, 200);
    assert_eq!(ask(&metadata, "cookie", format!("backstage-auth={limited}")).await, 401);
    assert_eq!(ask(&page, "authorization", "Bearer swordfish-swordfish".to_owned()).await, 200);
    assert_eq!(ask(&page, "authorization", "Bearer tunafish-tunafish".to_owned()).await, 403);
    assert_eq!(ask(&page, "authorization", "Bearer swordfish-swordfisk".to_owned()).await, 401);
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_the_sites_and_tells_a_refused_credential() {
    let (s3, backstage) = tokio::join!(Server::s3(), Server::backstage(None));
    let check = async |s3: &Value| {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("app-config.yaml"), config(s3, &backstage, "{}", "")).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_callboard"));
        let output = command.arg("check").current_dir(folder.path()).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, report) = check(&s3.ready).await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains(s3.said("/small/entity")), "{report}");
    let mut wrong = s3.ready.clone();
    *wrong.pointer_mut("/reader/secretAccessKey").unwrap() = "wrongwrongwrong".into();
    let (code, report) = check(&wrong).await;
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("s3:ListBucket") && !report.contains("wrongwrong"), "{report}");
}

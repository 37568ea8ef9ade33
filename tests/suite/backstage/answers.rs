//! What else techdocs-backend answers: metadata, events, what is not there, and what its reader may not see.

use std::path::Path;

use http::header::{ACCEPT, CONTENT_LENGTH, ETAG};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SHOP, local_publisher, path_of};
use crate::support::raw;
use crate::support::stage::{Plan, SECRET, Stage};

const SECRET_TEXT: &str = "<h1>For the board only</h1>";

/// Ways to write the way to the entity that nobody may read. None of them leads to another one.
const WAYS_TO_THE_SECRET: [&str; 34] = [
    "/static/docs/default/component/secret-site/index.html",
    "/static/docs/Default/Component/Secret-Site/index.html",
    "/static/docs/default/component/%73ecret-site/index.html",
    "/static/docs/default/component/secret%2Dsite/index.html",
    "/static/docs/default/component/secret%252Dsite/index.html",
    "/static/docs/default/component/secret-site//index.html",
    "/static/docs//default/component/secret-site/index.html",
    "/static/docs/default//component/secret-site/index.html",
    "/static/docs/default/component//secret-site/index.html",
    "//static/docs/default/component/secret-site/index.html",
    "/static//docs/default/component/secret-site/index.html",
    "/static/docs/./default/component/secret-site/index.html",
    "/static/docs/default/./component/secret-site/index.html",
    "/static/docs/default/component/./secret-site/index.html",
    "/static/docs/default/component/secret-site/./index.html",
    "/static/docs/x/../default/component/secret-site/index.html",
    "/static/docs/default/component/shop/../secret-site/index.html",
    "/static/docs/default/component/shop/%2e%2e/secret-site/index.html",
    "/static/docs/default/component/shop/%2E./secret-site/index.html",
    "/static/docs/default/component/shop/%252e%252e/secret-site/index.html",
    "/static/docs/default/component/shop/..%2fsecret-site/index.html",
    "/static/docs/default/component/shop/%2e%2e%2fsecret-site%2findex.html",
    "/static/docs/default/component/shop%2f..%2fsecret-site/index.html",
    "/static/docs/default/component/shop/guide/../../secret-site/index.html",
    "/static/docs/default/component/shop/..\\secret-site/index.html",
    "/static/docs/default/component/shop/..%5csecret-site/index.html",
    "/static/docs/default/component%2fsecret-site/index.html/x",
    "/static/docs/default%2fcomponent/secret-site/index.html/x",
    "/static/docs/default/component/secret-site%2f/index.html",
    "/static/docs/default/component/secret-site;x/index.html",
    "/static/docs/default/component/secret-site%00/index.html",
    "/static/docs/default/component/secret-site?x/index.html",
    "/static/docs/default/component/shop/index.html/../../secret-site/index.html",
    "/static/docs/default/component/shop/..%c0%afsecret-site/index.html",
];

fn write(folder: &Path, path: &str, contents: &str) {
    let path = folder.join("default/component").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
}

fn sites() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (file, contents) in [
        ("index.html", "<h1>Shop</h1>"),
        ("guide/first steps.html", "<h1>First steps</h1>"),
        ("Übersicht/設計 100%.html", "<h1>設計</h1>"),
        ("a+b=c & d@e.html", "<h1>Sums</h1>"),
        ("techdocs_metadata.json", r#"{"site_name":"Shop","site_description":"All of it","build_timestamp":1}"#),
    ] {
        write(folder.path(), &format!("shop/{file}"), contents);
    }
    write(folder.path(), &format!("{SECRET}/index.html"), SECRET_TEXT);
    write(folder.path(), &format!("{SECRET}/techdocs_metadata.json"), r#"{"site_name":"For the board only"}"#);
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_what_there_is_and_what_is_meant_for_readers() {
    let sites = sites();
    let external =
        "  auth: { externalAccess: [{ type: static, options: { token: swordfish-swordfish, subject: ci } }] }";
    let publisher = local_publisher(sites.path());
    let stage = Stage::set(Plan { publisher, module: Some(""), backend: external, ..Plan::default() }).await;
    names_may_hold_anything(&stage).await;
    metadata_and_events_come(&stage).await;
    what_is_not_there_is_said_not_to_be(&stage).await;
    nobody_without_credentials_reads(&stage).await;
    head_says_what_get_would(&stage).await;
    no_spelling_leads_to_what_is_not_for_readers(&stage).await;
}

async fn names_may_hold_anything(stage: &Stage) {
    for (file, expected) in [
        ("guide/first steps.html", "<h1>First steps</h1>"),
        ("Übersicht/設計 100%.html", "<h1>設計</h1>"),
        ("a+b=c & d@e.html", "<h1>Sums</h1>"),
    ] {
        let answer = stage.get(&path_of("default/component/shop", file)).send().await.unwrap();
        assert_eq!((answer.status(), answer.text().await.unwrap().as_str()), (StatusCode::OK, expected), "{file}");
    }
}

async fn metadata_and_events_come(stage: &Stage) {
    let metadata: Value = json_of(stage, "/metadata/techdocs/default/component/shop").await;
    assert_eq!(metadata, json!({"site_name": "Shop", "site_description": "All of it", "build_timestamp": 1}));
    let entity = json_of(stage, "/metadata/entity/default/component/shop").await;
    assert_eq!(entity["metadata"]["name"], "shop");
    let events = stage.get("/sync/default/component/shop").header(ACCEPT, "text/event-stream").send().await.unwrap();
    assert_eq!(events.text().await.unwrap(), "event: finish\ndata: {\"updated\":false}\n\n");
}

async fn json_of(stage: &Stage, path: &str) -> Value {
    stage.get(path).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
}

async fn what_is_not_there_is_said_not_to_be(stage: &Stage) {
    for path in [
        "/static/docs/default/component/shop/no/such/page.html",
        "/static/docs/default/component/shop/",
        "/static/docs/default/component/shop",
        "/static/docs/default/component/without-docs/index.html",
        "/static/docs/default/component/no-such-entity/index.html",
        "/metadata/techdocs/default/component/without-docs",
        "/metadata/techdocs/default/component/no-such-entity",
        "/sync/default/component/no-such-entity",
    ] {
        let answer = stage.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["name"], "NotFoundError", "{path}");
    }
}

async fn nobody_without_credentials_reads(stage: &Stage) {
    for path in [&format!("{SHOP}/index.html"), "/metadata/techdocs/default/component/shop"] {
        let answer = stage.reader.without_token(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    // A cookie is good for files alone.
    let metadata = stage.reader.get_with_cookie("/metadata/techdocs/default/component/shop").send().await.unwrap();
    assert_eq!(metadata.status(), StatusCode::UNAUTHORIZED);
}

async fn head_says_what_get_would(stage: &Stage) {
    let url = format!("http://{}/api/techdocs{SHOP}/index.html", stage.address());
    let head = Client::new().request(Method::HEAD, url).bearer_auth(&stage.reader.token).send().await.unwrap();
    let get = stage.get(&format!("{SHOP}/index.html")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    for name in [CONTENT_LENGTH, ETAG] {
        assert_eq!(head.headers()[&name], get.headers()[&name]);
    }
}

async fn no_spelling_leads_to_what_is_not_for_readers(stage: &Stage) {
    let secret = format!("http://{}{}", stage.callboard.address, WAYS_TO_THE_SECRET[0]);
    let there = Client::new().get(secret).bearer_auth("swordfish-swordfish").send().await.unwrap();
    assert_eq!(there.text().await.unwrap(), SECRET_TEXT, "it is there for who may read it");
    let ask = async |target: &str| raw::send(stage.address(), raw::get(target, &stage.reader.token)).await;
    let allowed = ask(&format!("/api/techdocs{SHOP}/index.html")).await;
    assert_eq!(allowed.status(), Some(200), "{}", allowed.text());
    let metadata = format!("/metadata/techdocs/default/component/{SECRET}");
    let metadata = [metadata.as_str(), "/metadata/techdocs/default/component/shop%2f..%2fsecret-site"];
    let mut answered = Vec::new();
    for way in WAYS_TO_THE_SECRET.into_iter().chain(metadata) {
        for target in [format!("/api/techdocs{way}"), format!("http://{}/api/techdocs{way}", stage.address())] {
            let answer = ask(&target).await;
            // Escapes that make no text are an error to techdocs-backend itself.
            if !matches!(answer.status(), Some(400..=500)) || answer.text().contains("For the board only") {
                answered.push((target, answer.status()));
            }
        }
    }
    assert_eq!(answered, []);
    let with_cookie = stage.reader.get_with_cookie(WAYS_TO_THE_SECRET[0]).send().await.unwrap();
    assert_eq!(with_cookie.status(), StatusCode::NOT_FOUND);
}

//! Purging, over HTTP and by the command.

use std::net::SocketAddr;
use std::process::Command;

use http::StatusCode;
use http::header::{ALLOW, ORIGIN};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ask_admin, message, page, read, replica, until_held};
use crate::support::redis::Redis;
use crate::support::scripted::Scripted;
use crate::support::{Callboard, until};

const SHOP: &str = "purge?entity=component:default/shop";

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_site_is_confirmed_by_all_replicas_before_it_is_served_again() {
    let (store, redis) = (Scripted::new(page("old", "1")), Redis::plain());
    let (one, other) = (replica(store.clone(), &redis, "").await, replica(store.clone(), &redis, "").await);
    for (round, what) in [SHOP, "purge?prefix=Default/Comp", "purge?all=true"].into_iter().enumerate() {
        let (before, after) = (format!("page {round}"), format!("page {}", round + 1));
        let tags = ["a", "b", "c", "d"];
        store.now(page(&before, tags[round]));
        // What the round before left behind is fresh; purge it, so that each round begins alike.
        ask_admin(&one, Method::POST, "purge?all=true").await;
        until_held(&one, "index.html", &before).await;
        until_held(&other, "index.html", &before).await;
        store.now(page(&after, tags[round + 1]));
        assert_eq!(read(&one, "index.html").await.0, before, "nobody has told of it yet");
        let answer = ask_admin(&one, Method::POST, what).await;
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        let report: Value = answer.json().await.unwrap();
        assert_eq!((&report["sites"], &report["documents"]), (&json!(1), &json!(1)), "{report}");
        assert_eq!(report["replicas"], "told", "{report}");
        assert_eq!(read(&one, "index.html").await.0, after, "{what}");
        until(async || read(&other, "index.html").await.0 == after).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_what_was_purged_and_of_others_nothing_is() {
    let store = Scripted::new(page("old", "1"));
    let callboard = Callboard::before(store.clone(), "").await;
    until_held(&callboard, "index.html", "old").await;
    until_held(&callboard, "guide.html", "old").await;
    store.now(page("new", "2"));
    for (query, expected) in [
        (
            "entity=component:shop-two",
            json!({"purged": {"entities": ["component:default/shop-two"]}, "sites": 1, "documents": 0, "replicas": "none"}),
        ),
        ("prefix=other/", json!({"purged": {"prefix": "other/"}, "sites": 0, "documents": 0, "replicas": "none"})),
    ] {
        let report: Value = ask_admin(&callboard, Method::POST, &format!("purge?{query}")).await.json().await.unwrap();
        assert_eq!(report, expected);
    }
    assert_eq!(read(&callboard, "index.html").await.0, "old");
    let both = "purge?entity=component:default/shop&entity=Component:shop-two";
    let report: Value = ask_admin(&callboard, Method::POST, both).await.json().await.unwrap();
    assert_eq!((&report["sites"], &report["documents"]), (&json!(2), &json!(2)), "{report}");
    assert_eq!(read(&callboard, "index.html").await.0, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_meant_is_refused_with_a_sentence() {
    let callboard = Callboard::start().await;
    for (query, part) in [
        ("", "which sites"),
        ("?entity=shop", "kind:namespace/name"),
        ("?entity=component:default/shop&all=true", "several things"),
        ("?prefix=", "all=true"),
        ("?site=shop", "\"site\""),
    ] {
        let answer = ask_admin(&callboard, Method::POST, &format!("purge{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        let told = message(answer).await;
        assert!(told.contains(part), "{query}: {told}");
    }
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        for target in [SHOP, "warm?all=true"] {
            let answer = ask_admin(&callboard, method.clone(), target).await;
            assert_eq!(
                (answer.status(), &answer.headers()[ALLOW].to_str().unwrap()),
                (StatusCode::METHOD_NOT_ALLOWED, &"POST")
            );
        }
    }
    // A page that the operator has open in a browser can send this, and must not get it done.
    let url = format!("http://{}/.callboard/v1/{SHOP}", callboard.admin);
    let answer = Client::new().post(url).header(ORIGIN, "https://evil.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    // What clouds tell is heard on the main listener alone.
    let answer = ask_admin(&callboard, Method::POST, "events/sns").await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_main_listener_those_who_are_listed_may_purge() {
    let section = "  auth: { allow: ['plugin:techdocs', 'plugin:catalog'] }\n  purge: { subjects: ['plugin:cat*'] }\n";
    let callboard = Callboard::with(section).await;
    let url = format!("http://{}/.callboard/v1/{SHOP}", callboard.address);
    let post = async |token: Option<String>| {
        let request = Client::new().post(&url);
        token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth).body("{}").send().await.unwrap()
    };
    assert_eq!(post(None).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(post(Some(callboard.backstage.forged_token())).await.status(), StatusCode::UNAUTHORIZED);
    let refused = post(Some(callboard.backstage.token())).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(message(refused).await.contains("callboard.purge.subjects"));
    let purged = post(Some(callboard.backstage.token_of("catalog"))).await;
    assert_eq!(purged.status(), StatusCode::OK);
    let report: Value = purged.json().await.unwrap();
    assert_eq!(report["purged"], json!({"entities": ["component:default/shop"]}));
    let get = callboard.get(&format!("/.callboard/v1/{SHOP}")).send().await.unwrap();
    assert_eq!((get.status(), &get.headers()[ALLOW].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, &"POST"));
    // Warming is done on the admin listener.
    let warm = callboard.request(Method::POST, "/.callboard/v1/warm?all=true").send().await.unwrap();
    assert_eq!(warm.status(), StatusCode::METHOD_NOT_ALLOWED);
    let route = "http_route=\"/.callboard/v1/{operation}\"";
    for (status, expected) in [("200", 1.0), ("401", 2.0), ("403", 1.0)] {
        let labels = [route, "http_request_method=\"POST\"", &format!("http_response_status_code=\"{status}\"")];
        until(async || callboard.metric("http_server_request_duration_seconds_count", &labels).await == expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_nobody_may_purge_on_the_main_listener() {
    let callboard = Callboard::start().await;
    let answer = callboard.request(Method::POST, &format!("/.callboard/v1/{SHOP}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}

/// Runs `callboard purge`: its exit code, and what it printed.
fn purge(arguments: &[&str], token: &str) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .arg("purge")
        .args(arguments)
        .env("TOKEN_OF_CI", token)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_purges_on_this_machine_and_elsewhere_and_says_what_it_did() {
    let section = "  purge: { subjects: ['plugin:techdocs'] }\n";
    let store = Scripted::new(page("old", "1"));
    let callboard = Callboard::before(store.clone(), section).await;
    until_held(&callboard, "index.html", "old").await;
    let (admin, main) = (callboard.admin.to_string(), format!("http://{}", callboard.address));
    store.now(page("new", "2"));
    let (code, told) = purge(&["component:default/shop", "--address", &admin], "");
    assert_eq!(code, 0, "{told}");
    for part in ["component:default/shop", "documents 1, sites 1", "Without Redis"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(read(&callboard, "index.html").await.0, "new");
    store.now(page("newer", "3"));
    let token = callboard.backstage.token();
    let (code, told) = purge(&["--all", "--url", &main, "--token-env", "TOKEN_OF_CI"], &token);
    assert_eq!((code, told.contains("all sites")), (0, true), "{told}");
    assert_eq!(read(&callboard, "index.html").await.0, "newer");
    for (arguments, expected, part) in [
        (vec!["--all", "--url", &main], 1, "401"),
        (vec!["--all", "--address", &nobody().to_string()], 1, "does Callboard run there"),
        (vec!["shop"], 64, "kind:namespace/name"),
        (vec![], 64, "--all"),
        (vec!["--all", "--prefix", "a"], 64, "--prefix"),
    ] {
        let (code, told) = purge(&arguments, "");
        assert_eq!(code, expected, "{arguments:?}: {told}");
        assert!(told.contains(part), "{arguments:?}: {told}");
    }
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

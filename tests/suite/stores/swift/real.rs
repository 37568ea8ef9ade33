//! Reading from the real servers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use callboard::docs::media_type;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::Cloud;
use crate::stores::contract;
use crate::support::relay::Relay;
use crate::support::servers::files;
use crate::support::{Callboard, SITE, Told};

/// What a URL's path may hold unescaped (RFC 3986 §3.3), and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Larger than what is kept in memory.
const LARGE: usize = 9 << 20;

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_does_what_every_store_does() {
    let cloud = Cloud::start(&[]).await;
    let (token, container) = (cloud.writer().await, cloud.server.said("/container"));
    let paths =
        contract::objects().into_iter().map(|object| (format!("{container}/{}", encoded(&object.name)), object.body));
    let uploads = stream::iter(paths).map(|(path, body)| {
        let (cloud, token) = (&cloud, &token);
        async move { cloud.upload(token, &path, body, &[]).await }
    });
    uploads.buffer_unordered(8).for_each(async |_| {}).await;
    let url: reqwest::Url = cloud.server.said("/swiftUrl").parse().unwrap();
    let address: SocketAddr = url.authority().parse().unwrap();
    let through = |relay: &Relay| {
        let more = format!("bucketRootPath: {}, swiftUrl: 'http://{}{}'", contract::ROOT, relay.address, url.path());
        cloud.publisher(cloud.reader(), &more)
    };
    let relay = Relay::to(address).await;
    let store = contract::store(&through(&relay));
    contract::holds(&*store).await;
    contract::bears_bad_networks(store, &relay, Duration::from_secs(5)).await;
    let relay = Relay::to(address).await;
    let held = contract::connections_for_many_misses(&through(&relay), &relay).await;
    println!("Swift: {held} connections at most under 200 misses at a time");
    assert!(held <= 80, "{held} connections: 64 places for readers, 16 for what nobody waits for");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_techdocs_cli_published_is_read_back_byte_for_byte() {
    let cloud = Cloud::start(&["--publish"]).await;
    let callboard = cloud.callboard(cloud.reader(), "").await;
    for site in ["large", "small"] {
        let said = |what: &str| cloud.server.said(&format!("/sites/{site}/{what}"));
        let (entity, folder) = (said("entity"), PathBuf::from(said("site_dir")));
        let files = files(&folder);
        assert!(site == "small" || files.iter().filter(|file| file.ends_with(".html")).count() >= 200);
        for file in &files {
            let path = format!("/static/docs/{entity}/{}", encoded(file));
            let answer = callboard.get(&path).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], media_type(file.rsplit('/').next().unwrap()), "{path}");
            let bytes = std::fs::read(folder.join(file)).unwrap();
            assert!(answer.bytes().await.unwrap() == bytes, "{path} came otherwise than it was published");
        }
        if site == "large" {
            cost_of_a_miss(&cloud, entity, &files).await;
        }
    }
}

/// Prints what a miss takes, and what a bare client's own GET of the same object does.
async fn cost_of_a_miss(cloud: &Cloud, entity: &str, files: &[String]) {
    let container = format!("{}/{}", cloud.server.said("/swiftUrl"), cloud.server.said("/container"));
    let token = cloud.writer().await;
    let callboard = cloud.callboard(cloud.reader(), "").await;
    let (mut bare, mut miss) = (Duration::ZERO, Duration::ZERO);
    for file in files.iter().map(|file| encoded(file)) {
        let start = Instant::now();
        let get = cloud.client.get(format!("{container}/{entity}/{file}")).header("X-Auth-Token", &token);
        get.send().await.unwrap().bytes().await.unwrap();
        bare += start.elapsed();
        let start = Instant::now();
        let get = callboard.get(&format!("/static/docs/{entity}/{file}"));
        get.send().await.unwrap().bytes().await.unwrap();
        miss += start.elapsed();
    }
    let ratio = miss.as_secs_f64() / bare.as_secs_f64();
    println!("Swift: {} misses {miss:?}, the bare client's GETs {bare:?}, {ratio:.2} times as much", files.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_whole_and_in_segments_are_read_in_parts() {
    let cloud = Cloud::start(&[]).await;
    let (token, container) = (cloud.writer().await, cloud.server.said("/container"));
    let film: Vec<u8> = (0..LARGE).map(|at| (at / 7) as u8).collect();
    let site = format!("{container}/default/component/shop");
    cloud.upload(&token, &format!("{site}/plain.mp4"), film.clone(), &[]).await;
    let (first, second) = film.split_at(5 << 20);
    for (part, bytes) in [("1", first), ("2", second)] {
        cloud.upload(&token, &format!("{container}/parts/film/{part}"), bytes.to_vec(), &[]).await;
    }
    let parts = ["1", "2"].map(|part| json!({ "path": format!("/{container}/parts/film/{part}") }));
    let manifest = format!("{site}/static.mp4?multipart-manifest=put");
    cloud.upload(&token, &manifest, json!(parts).to_string(), &[]).await;
    let manifest = [("X-Object-Manifest", &*format!("{container}/parts/film/"))];
    cloud.upload(&token, &format!("{site}/dynamic.mp4"), "what is here counts for nothing", &manifest).await;
    let callboard = cloud.callboard(cloud.reader(), "").await;
    for name in ["plain.mp4", "static.mp4", "dynamic.mp4"] {
        let get = || callboard.get(&format!("{SITE}/{name}"));
        let whole = get().send().await.unwrap();
        assert_eq!(whole.status().as_u16(), 200, "{name}");
        let is_segmented = whole.headers()[ETAG].to_str().unwrap().ends_with("-segments\"");
        assert_eq!(is_segmented, name != "plain.mp4", "{name}");
        assert!(whole.bytes().await.unwrap() == film, "{name}");
        let part = get().header(RANGE, "bytes=5242870-5242889").send().await.unwrap();
        assert_eq!(part.status().as_u16(), 206, "{name}");
        assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 5242870-5242889/{LARGE}"), "{name}");
        assert_eq!(part.bytes().await.unwrap(), film[5_242_870..5_242_890], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_swift_url_the_catalog_tells_where_swift_is_and_in_which_region() {
    let cloud = Cloud::start(&[]).await;
    let page = format!("{}/root/default/component/shop/index.html", cloud.server.said("/container"));
    cloud.upload(&cloud.writer().await, &page, "<h1>Shop</h1>", &[]).await;
    let (here, elsewhere) = (cloud.server.said("/region"), cloud.server.said("/otherRegion"));
    for (more, status) in [
        (format!("bucketRootPath: root, region: {here}"), 200),
        // Nothing listens there.
        (format!("bucketRootPath: root, region: {elsewhere}"), 503),
        ("bucketRootPath: root, region: nowhere".to_owned(), 502),
        // There are two regions, and none is named.
        ("bucketRootPath: root".to_owned(), 502),
        (format!("bucketRootPath: root, {}", cloud.swift_url()), 200),
    ] {
        let publisher = Some(cloud.publisher(cloud.reader(), &more));
        let callboard = Callboard::told(Told { publisher, ..Told::default() }).await;
        let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_missing_or_not_ours_to_read_is_no_404() {
    let cloud = Cloud::start(&[]).await;
    let writer = &cloud.server.ready["writer"];
    for (credential, status) in [(writer, 503), (cloud.reader(), 502)] {
        let publisher = cloud.publisher(credential, &cloud.swift_url());
        let publisher = Some(publisher.replace(cloud.server.said("/container"), "no-such-container"));
        let callboard = Callboard::told(Told { publisher, ..Told::default() }).await;
        let answer = callboard.get(&format!("{SITE}/index.html")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
    }
}

//! Where techdocs-backend builds sites itself, and where it is asked to though CI does.

use http::header::ACCEPT;
use tempfile::TempDir;

use super::{SHOP, local_publisher};
use crate::support::stage::{Plan, Stage};

/// Asks techdocs-backend to build the site if need be, and reads what it says until it has.
async fn sync(stage: &Stage) -> String {
    let events = stage.get("/sync/default/component/shop").header(ACCEPT, "text/event-stream");
    events.send().await.unwrap().text().await.unwrap()
}

async fn page(stage: &Stage) -> String {
    stage.get(&format!("{SHOP}/index.html")).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_built_by_backstage_shows_at_once_and_one_that_ci_builds_is_not_built() {
    let published = TempDir::new().unwrap();
    let shop = published.path().join("default/component/shop");
    std::fs::create_dir_all(&shop).unwrap();
    std::fs::write(shop.join("index.html"), "<h1>As it was</h1>").unwrap();
    std::fs::write(shop.join("techdocs_metadata.json"), r#"{"build_timestamp":1,"etag":"old"}"#).unwrap();
    let publisher = local_publisher(published.path());
    // Nothing but being told makes it look again.
    let callboard = "  purge: { subjects: ['plugin:techdocs'] }\n  cache: { freshFor: 1d }\n";
    let mut stage = Stage::set(Plan { publisher, module: Some(""), callboard, ..Plan::default() }).await;
    assert_eq!(page(&stage).await, "<h1>As it was</h1>");

    let source = stage.folder.path().join("shop");
    std::fs::create_dir_all(source.join("docs")).unwrap();
    std::fs::write(source.join("mkdocs.yml"), "site_name: Shop\nplugins: [techdocs-core]\n").unwrap();
    std::fs::write(source.join("docs/index.md"), "# As it is\n").unwrap();

    // Storage is CI's: whoever has techdocs-backend build all the same is told so.
    stage.recast("rig: { builds: always }\ntechdocs: { generator: { runIn: local } }").await;
    let refusal = sync(&stage).await;
    assert!(refusal.contains("event: error") && refusal.contains("CI"), "{refusal}");
    assert_eq!(page(&stage).await, "<h1>As it was</h1>");

    stage.recast("techdocs: { builder: local, generator: { runIn: local } }").await;
    let events = sync(&stage).await;
    assert!(events.ends_with("event: finish\ndata: {\"updated\":true}\n\n"), "{events}");
    let page = page(&stage).await;
    assert!(page.contains("As it is") && page.contains("</html>"), "{page}");
    let purges = ["/.callboard/v1/{operation}", "http_response_status_code=\"200\""];
    assert_eq!(stage.metric("http_server_request_duration_seconds_count", &purges).await, 1.0);
}

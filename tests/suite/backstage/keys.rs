//! Backstage's keys come and go, and readers notice nothing.

use serde_json::Value;
use tempfile::TempDir;

use super::{SHOP, local_publisher};
use crate::support::servers::Server;
use crate::support::stage::{Plan, Reader, Stage};

fn site() -> TempDir {
    let folder = TempDir::new().unwrap();
    let shop = folder.path().join("default/component/shop");
    std::fs::create_dir_all(&shop).unwrap();
    std::fs::write(shop.join("index.html"), "<h1>Shop</h1>").unwrap();
    folder
}

/// How many keys techdocs-backend publishes.
async fn keys(backend: &Server) -> usize {
    let url = format!("{}/api/techdocs/.backstage/auth/v1/jwks.json", backend.said("/url"));
    let keys: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    keys["keys"].as_array().unwrap().len()
}

async fn reads(reader: &Reader) -> bool {
    let answer = reader.get(&format!("{SHOP}/index.html")).send().await.unwrap();
    answer.status() == 200 && answer.text().await.unwrap() == "<h1>Shop</h1>"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_starts_again_with_new_keys_reads_on() {
    let site = site();
    let publisher = local_publisher(site.path());
    let mut stage = Stage::set(Plan { publisher, module: Some(""), ..Plan::default() }).await;
    assert!(reads(&stage.reader).await);
    // Its database was in memory: nothing of the old keys is left.
    stage.recast("").await;
    assert!(reads(&stage.reader).await);
    assert_eq!(keys(&stage.backend).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_replicas_have_keys_of_their_own() {
    let (site, database) = (site(), TempDir::new().unwrap());
    // Keys are shared, in a database for each plugin. Both writing to one catalog is more than SQLite is for.
    let backend = format!(
        "  database: {{ client: better-sqlite3, connection: {{ directory: '{}' }}, \
         plugin: {{ catalog: {{ connection: ':memory:' }} }} }}",
        database.path().display()
    );
    let publisher = local_publisher(site.path());
    let mut stage = Stage::set(Plan { publisher, module: Some(""), backend: &backend, ..Plan::default() }).await;
    assert!(reads(&stage.reader).await);
    assert_eq!(keys(&stage.backend).await, 1);
    // A replica shares the database and the name that both go by, and signs with a key of its own.
    let replica = stage.another("backend: { listen: { port: 0 } }").await;
    let neighbour = Reader::sign_in(&replica).await;
    for _ in 0..3 {
        assert!(reads(&neighbour).await && reads(&stage.reader).await);
    }
    assert_eq!((keys(&stage.backend).await, keys(&replica).await), (2, 2));
    // A rotation: a new key signs, and the old ones are still published.
    stage.recast("").await;
    assert!(reads(&stage.reader).await && reads(&neighbour).await);
    assert_eq!(keys(&stage.backend).await, 3);
}

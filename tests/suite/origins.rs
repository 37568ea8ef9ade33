//! Several stores at once: which of them is asked for what.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::clock::{Clock, Hand};
use callboard::docs::{EntityRef, Layout, Locator, Options, StorageKey};
use callboard::storage::{Bounds, Origin, OriginOptions, Origins, Scope, StoreError, StoreOptions, Wanted, Whole};
use callboard::telemetry::Instruments;

use crate::support::scripted::{Deed, Scripted};
use crate::support::{Callboard, Told, configuration, until};

const SITE: &str = "default/component/shop";

fn page(text: &'static str) -> Deed {
    Deed::Give(Bytes::from_static(text.as_bytes()), "v1")
}

fn down() -> Deed {
    Deed::Fail(StoreError::unavailable("connection refused"))
}

fn absent() -> Arc<Scripted> {
    Scripted::new(Deed::Fail(StoreError::Absent))
}

/// A store that holds the site, each of whose pages says `text`.
fn holding(text: &'static str) -> Arc<Scripted> {
    Scripted::new(page(text))
}

struct World {
    origins: Origins,
    hand: Hand,
    instruments: Instruments,
}

/// Stores in the order in which they are asked; each but the last falls through.
fn world(stores: &[Arc<Scripted>]) -> World {
    let options = |index: usize| OriginOptions {
        falls_through: index + 1 < stores.len(),
        ..OriginOptions::new(&format!("origin-{index}"), StoreOptions::Sample)
    };
    world_of(stores.iter().cloned().enumerate().map(|(index, store)| (store, options(index))).collect())
}

fn world_of(stores: Vec<(Arc<Scripted>, OriginOptions)>) -> World {
    let hand = Hand::at(Clock::System.now());
    let instruments = Instruments::new().unwrap();
    let origins = stores.into_iter().map(|(store, options)| {
        let counted = instruments.origin(&options.name, &StoreError::RESULTS);
        Origin::new(store, &options, Arc::new(counted))
    });
    let origins = Origins::new(origins.collect(), Clock::Manual(hand.clone()));
    World { origins, hand, instruments }
}

impl World {
    async fn read(&self, path: &str) -> Result<String, StoreError> {
        self.read_as_of(0, path).await
    }

    async fn read_as_of(&self, generation: u64, path: &str) -> Result<String, StoreError> {
        match self.origins.fetch(Wanted { key: &key(path), generation }, None, 1000).await? {
            Whole::Body(_, body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    async fn page(&self, name: &str) -> Result<String, StoreError> {
        self.read(&format!("{SITE}/{name}")).await
    }

    async fn metadata(&self) -> Result<String, StoreError> {
        self.page("techdocs_metadata.json").await
    }
}

fn key(path: &str) -> StorageKey {
    let locator = Locator::new(Options { case_sensitive_triplet: true });
    locator.locate(&format!("/static/docs/{path}")).unwrap().key
}

#[tokio::test]
async fn a_site_is_held_by_the_first_store_that_has_its_metadata() {
    let (new, old) = (absent(), holding("old"));
    let world = world(&[new.clone(), old.clone()]);
    for name in 0..10 {
        assert_eq!(world.page(&format!("{name}.html")).await.unwrap(), "old");
    }
    // Found out once, and remembered: no store is asked for pages that it does not hold.
    assert_eq!((new.gets(), new.stats(), old.stats(), old.gets()), (0, 1, 1, 10));
    assert_eq!(world.metadata().await.unwrap(), "old");

    // It is published to the new one, where some of its pages are gone.
    new.set(&format!("{SITE}/techdocs_metadata.json"), page("new"));
    new.set(&format!("{SITE}/1.html"), page("new"));
    assert_eq!(world.page("1.html").await.unwrap(), "old", "nobody has looked yet");
    assert_eq!(world.metadata().await.unwrap(), "new");
    assert_eq!(world.page("1.html").await.unwrap(), "new");
    assert!(matches!(world.page("2.html").await, Err(StoreError::Absent)), "one site is never mixed of two");
}

#[tokio::test]
async fn what_is_remembered_is_looked_at_again_after_a_while() {
    let (new, old) = (absent(), holding("old"));
    let world = world(&[new.clone(), old.clone()]);
    assert_eq!(world.page("a.html").await.unwrap(), "old");
    new.now(page("new"));
    assert_eq!(world.page("a.html").await.unwrap(), "old");
    world.hand.advance(Duration::from_secs(61));
    assert_eq!(world.page("a.html").await.unwrap(), "new");
}

#[tokio::test]
async fn what_was_found_out_of_an_earlier_generation_no_longer_counts() {
    let (new, old) = (absent(), holding("old"));
    let world = world(&[new.clone(), old]);
    let page = format!("{SITE}/a.html");
    assert_eq!(world.read_as_of(1, &page).await.unwrap(), "old");
    // Another replica has found the publish.
    new.now(self::page("new"));
    assert_eq!(world.read_as_of(1, &page).await.unwrap(), "old");
    assert_eq!(world.read_as_of(2, &page).await.unwrap(), "new");
    new.now(down());
    assert!(matches!(world.read_as_of(3, &page).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_site_that_no_store_has_is_absent() {
    let (new, old) = (absent(), absent());
    let world = world(&[new.clone(), old.clone()]);
    assert!(matches!(world.page("a.html").await, Err(StoreError::Absent)));
    assert!(matches!(world.metadata().await, Err(StoreError::Absent)));
    old.now(page("old"));
    assert_eq!(world.page("a.html").await.unwrap(), "old");
}

#[tokio::test]
async fn what_a_store_that_fails_may_hold_is_not_taken_from_a_later_one() {
    let (new, old) = (Scripted::new(down()), holding("old"));
    let world = world(&[new.clone(), old.clone()]);
    assert!(matches!(world.page("a.html").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(world.metadata().await, Err(StoreError::Unavailable(_))));
    assert_eq!((old.gets(), old.stats()), (0, 0));
}

#[tokio::test]
async fn a_site_that_is_known_to_be_in_a_later_store_is_read_while_an_earlier_one_fails() {
    let (new, old) = (absent(), holding("old"));
    let world = world(&[new.clone(), old.clone()]);
    assert_eq!(world.page("a.html").await.unwrap(), "old");
    new.now(down());
    for _ in 0..3 {
        world.hand.advance(Duration::from_secs(61));
        assert_eq!(world.page("a.html").await.unwrap(), "old");
        assert_eq!(world.metadata().await.unwrap(), "old");
    }
}

#[tokio::test]
async fn each_store_has_its_own_breaker_and_metrics() {
    let (api, rest) = (Scripted::new(down()), holding("rest"));
    let scope = Scope::new(&[], &["api".to_owned()], &[], &[]);
    let world = world_of(vec![
        (api.clone(), OriginOptions { scope, ..OriginOptions::new("api", StoreOptions::Sample) }),
        (rest.clone(), OriginOptions::new("rest", StoreOptions::Sample)),
    ]);
    for number in 0..20 {
        let _ = world.read(&format!("default/api/orders/{number}.html")).await;
    }
    assert_eq!(api.gets(), 5, "after so many failures it is left alone");
    assert_eq!(world.page("a.html").await.unwrap(), "rest");
    assert_eq!((rest.gets(), rest.stats()), (1, 0), "with one candidate nobody looks for metadata");
    let text = world.instruments.prometheus().unwrap();
    for line in [
        r#"callboard_storage_breaker{origin="api"} 1"#,
        r#"callboard_storage_breaker{origin="rest"} 0"#,
        r#"callboard_storage_operation_duration_seconds_count{operation="get",origin="rest",result="ok"} 1"#,
        r#"callboard_storage_operation_duration_seconds_count{operation="get",origin="api",result="unavailable"} 5"#,
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
}

#[tokio::test]
async fn a_store_that_holds_no_such_site_is_not_asked_for_it() {
    let shop: EntityRef = "component:default/shop".parse().unwrap();
    let (one, team) = (holding("one"), holding("team"));
    let scoped = |name, scope| OriginOptions { scope, ..OriginOptions::new(name, StoreOptions::Sample) };
    let world = world_of(vec![
        (one.clone(), scoped("one", Scope::new(&[], &[], &[shop], &[]))),
        (team.clone(), scoped("team", Scope::new(&[], &[], &[], &["team-a/".to_owned()]))),
    ]);
    assert_eq!(world.page("a.html").await.unwrap(), "one");
    assert_eq!(world.read("Team-A/component/pay/a.html").await.unwrap(), "team");
    assert!(matches!(world.read("team-b/component/pay/a.html").await, Err(StoreError::Absent)));
    assert_eq!((one.gets(), team.gets()), (1, 1));
}

#[tokio::test]
async fn one_store_keeps_the_case_and_lies_deeper_and_the_other_does_not() {
    let (legacy, lower) = (absent(), absent());
    legacy.set("old/docs/Default/Component/Shop/techdocs_metadata.json", page("legacy"));
    legacy.set("old/docs/Default/Component/Shop/Guide.html", page("legacy"));
    for site in ["default/component/shop", "default/component/new"] {
        lower.set(&format!("{site}/techdocs_metadata.json"), page("lower"));
        lower.set(&format!("{site}/Guide.html"), page("lower"));
    }
    let layout = Layout { root_path: "old/docs".to_owned(), case_sensitive_triplet: true };
    let world = world_of(vec![
        (legacy, OriginOptions { layout, falls_through: true, ..OriginOptions::new("legacy", StoreOptions::Sample) }),
        (lower, OriginOptions::new("lower", StoreOptions::Sample)),
    ]);
    assert_eq!(world.read("Default/Component/Shop/Guide.html").await.unwrap(), "legacy");
    assert_eq!(world.read("default/component/shop/Guide.html").await.unwrap(), "lower");
    assert_eq!(world.read("Default/Component/NEW/Guide.html").await.unwrap(), "lower");
}

#[tokio::test]
async fn the_folders_of_all_stores_are_found_together() {
    let (new, old) = (absent(), absent());
    new.set("default/component/a/index.html", page("x"));
    old.set("default/component/b/index.html", page("x"));
    let world = world(&[new, old.clone()]);
    assert_eq!(world.origins.folders("default/component", 10).await.unwrap(), ["a", "b"]);
    old.refuse_listing(StoreError::denied("403"));
    assert!(world.origins.folders("default/component", 10).await.is_err(), "half of them are not all of them");
}

#[tokio::test]
async fn a_slow_store_takes_no_places_of_another() {
    let (slow, quick) = (Scripted::held(page("slow")), holding("quick"));
    let bounds = Bounds { max_concurrent: 1, max_queue: 0, ..Bounds::default() };
    let scope = Scope::new(&["slow".to_owned()], &[], &[], &[]);
    let world = Arc::new(world_of(vec![
        (
            slow.clone(),
            OriginOptions { scope, bounds: bounds.clone(), ..OriginOptions::new("slow", StoreOptions::Sample) },
        ),
        (quick, OriginOptions { bounds, ..OriginOptions::new("quick", StoreOptions::Sample) }),
    ]));
    let held = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.read("slow/component/a/a.html").await }
    });
    until(async || slow.running() == 1).await;
    assert!(matches!(world.read("slow/component/a/b.html").await, Err(StoreError::Busy)));
    assert_eq!(world.page("a.html").await.unwrap(), "quick");
    slow.gate.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap(), "slow");
}

#[test]
fn an_object_belongs_to_a_site_of_the_origin_that_reads_its_bucket() {
    let text = "callboard: { origins: [{ name: docs, match: { kinds: [component] }, publisher: { type: awsS3, \
        awsS3: { bucketName: docs, bucketRootPath: docs/all } } }] }";
    let options = configuration(text).resolved.storage.origins.remove(0);
    let counted = Instruments::new().unwrap().origin(&options.name, &StoreError::RESULTS);
    let origin = Origin::new(absent(), &options, Arc::new(counted));
    // As where another origin keeps the case of names.
    let locator = Locator::new(Options { case_sensitive_triplet: true });
    let site = |bucket, name| origin.site_of_object(bucket, name, |seen| locator.site_of(seen));
    let shop = site("docs", "docs/all/default/component/shop/a/b.html").unwrap();
    assert_eq!(shop.site(), SITE);
    for (bucket, name) in [
        ("other", "docs/all/default/component/shop/index.html"),
        ("docs", "docs/allover/default/component/shop/index.html"),
        ("docs", "default/component/shop/index.html"),
        ("docs", "docs/all/default/api/orders/index.html"),
        // Readers of this origin look for it in lower case.
        ("docs", "docs/all/Default/Component/Shop/index.html"),
    ] {
        assert!(site(bucket, name).is_none(), "{bucket} {name}");
    }
}

/// From a folder with the old layout to one with the new, while people read.
#[tokio::test]
async fn a_site_moves_by_being_published_elsewhere() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |root: &std::path::Path, path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(old.path(), "Default/Component/Shop/techdocs_metadata.json", "{}");
    write(old.path(), "Default/Component/Shop/index.html", "old");
    let section = format!(
        "  site: {{ publishCheck: 1s }}\n  origins:\n  - {{ name: new, fallThrough: true, publisher: {{ local: {{ publishDirectory: '{}' }} }} }}\n  \
         - {{ name: old, legacyUseCaseSensitiveTripletPaths: true, publisher: {{ local: {{ publishDirectory: '{}' }} }} }}\n",
        new.path().display(),
        old.path().display(),
    );
    let callboard = Callboard::told(Told { section: &section, in_real_time: true, ..Told::default() }).await;
    let read = async || {
        let answer = callboard.get("/static/docs/Default/Component/Shop/index.html").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    assert_eq!(read().await, "old");
    write(new.path(), "default/component/shop/index.html", "new");
    write(new.path(), "default/component/shop/techdocs_metadata.json", "{\"moved\":true}");
    until(async || read().await == "new").await;
    callboard.stop().await;
}

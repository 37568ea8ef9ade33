//! What every store has to do, whatever it is. Each runs it against a real server that holds [`objects`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use callboard::app;
use callboard::docs::{Layout, Locator, Options, StorageKey};
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, Object, StoreError};
use callboard::telemetry::Instruments;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::relay::{Relay, Way};
use crate::support::{Callboard, Told, configuration};

/// The path below which the sites are: what lies beside it must stay out of reach.
pub const ROOT: &str = "docs/all";

const SHOP: &str = "default/component/shop";
const LARGE: &str = "large.bin";
const LARGE_BYTES: usize = 50_000_000;

/// Pages that are asked for at once.
const MANY: usize = 200;

/// Names that some client, somewhere, has spelled in another way.
const ODD_NAMES: [&str; 20] = [
    "Größe/ä ö.html",
    "a b.html",
    "hash#1.html",
    "percent%41.html",
    "slash%2Fslash.html",
    "question?x=1&y=2.html",
    "plus+plus.html",
    "quote'single\"double.html",
    "~tilde.html",
    "emoji-😀.html",
    "(parentheses)[brackets]{braces}.html",
    "semi;colon,comma.html",
    "at@colon:equals=.html",
    "star*bang!.html",
    "dollar$caret^pipe|.html",
    "less<more>.html",
    "back`tick.html",
    "..two.dots..html",
    " leading and trailing ",
    "combining-e\u{301}.html",
];

/// An object that a rig publishes before the contract is tried.
#[derive(Debug, Clone)]
pub struct Published {
    /// Its whole name in the store.
    pub name: String,
    pub body: Bytes,
}

/// Everything that the store holds.
pub fn objects() -> Vec<Published> {
    let inside = |path: &str, body: Bytes| Published { name: format!("{ROOT}/{path}"), body };
    let page = |path: &str| inside(path, Bytes::from(format!("<!doctype html><title>{path}</title>")));
    let mut objects = vec![
        page(&format!("{SHOP}/index.html")),
        page(&format!("{SHOP}/guide/index.html")),
        page(&format!("{SHOP}/techdocs_metadata.json")),
        page("default/api/orders/index.html"),
        page("team-a/component/pay/index.html"),
        inside(&format!("{SHOP}/empty.css"), Bytes::new()),
        inside(&format!("{SHOP}/{LARGE}"), large()),
        inside(&format!("{SHOP}/{}.html", "x".repeat(200)), Bytes::from_static(b"long")),
        Published { name: "docs/allover/default/component/shop/index.html".to_owned(), body: "beside".into() },
        Published { name: "other/default/component/shop/index.html".to_owned(), body: "elsewhere".into() },
    ];
    objects.extend((0..MANY).map(|number| page(&format!("{SHOP}/many/{number}.html"))));
    objects.extend(ODD_NAMES.iter().map(|name| page(&format!("{SHOP}/odd/{name}"))));
    objects
}

/// Publishes everything with a cloud's client.
pub async fn publish(client: &impl ObjectStore) {
    for Published { name, body } in objects() {
        let path = object_store::path::Path::parse(&name).unwrap();
        client.put(&path, body.into()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// The store that this publisher section names, made as the program makes it.
pub fn store(publisher: &str) -> Arc<dyn DocStore> {
    store_with(publisher, "")
}

/// The same, with these keys in `callboard.storage`.
pub fn store_with(publisher: &str, storage: &str) -> Arc<dyn DocStore> {
    let text =
        format!("techdocs: {{ publisher: {publisher} }}\ncallboard: {{ storage: {{ timeout: 5s, {storage} }} }}\n");
    let resolved = configuration(&text).resolved;
    let options = &resolved.storage.origins[0];
    let instruments = Instruments::new().unwrap().origin(&options.name, &StoreError::RESULTS);
    let trust = app::trust(&resolved.trust).unwrap();
    app::store(options, &trust, &Arc::new(instruments), &Arc::default()).unwrap()
}

/// Bytes of which no two megabytes are the same.
fn large() -> Bytes {
    let words = (0..LARGE_BYTES / 4).map(|word| u32::try_from(word).unwrap().wrapping_mul(2_654_435_761));
    words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

/// The key of a file as seen from the root path.
pub fn key(path: &str) -> StorageKey {
    let encoded: Vec<String> =
        path.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
    let locator = Locator::new(Options::default());
    locator.locate(&format!("/static/docs/{}", encoded.join("/"))).unwrap_or_else(|| panic!("{path}")).key
}

/// The root path, as an operator configures it.
pub fn layout() -> Layout {
    Layout { root_path: ROOT.to_owned(), case_sensitive_triplet: false }
}

/// Opens a file of the store.
pub async fn open(store: &dyn DocStore, path: &str, options: &GetOptions) -> Result<Object, StoreError> {
    store.get(&layout().place(&key(path)), options).await
}

/// A file, whole.
pub async fn read(store: &dyn DocStore, path: &str) -> Result<Bytes, StoreError> {
    read_with(store, path, &GetOptions::default()).await
}

async fn read_with(store: &dyn DocStore, path: &str, options: &GetOptions) -> Result<Bytes, StoreError> {
    let chunks: Vec<Bytes> = open(store, path, options).await?.body.try_collect().await?;
    Ok(chunks.concat().into())
}

/// Tries all of it.
pub async fn holds(store: &dyn DocStore) {
    everything_is_read_as_it_was_written(store).await;
    conditions_and_ranges_hold(store).await;
    what_is_not_there_is_absent(store).await;
    listings_end_at_the_root_and_the_limit(store).await;
    readers_who_leave_take_nothing_with_them(store).await;
}

async fn everything_is_read_as_it_was_written(store: &dyn DocStore) {
    for Published { name, body } in objects() {
        let Some(path) = layout().seen_from_root(&name).map(str::to_owned) else { continue };
        let meta = store.stat(&layout().place(&key(&path))).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(meta.size, body.len() as u64, "{name}");
        assert!(meta.etag.is_some(), "{name} has no tag");
        let object =
            open(store, &path, &GetOptions::default()).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(object.meta, meta, "{name}");
        let chunks: Vec<Bytes> = object.body.try_collect().await.unwrap();
        assert!(chunks.concat() == body, "{name} is not what was written");
    }
}

async fn conditions_and_ranges_hold(store: &dyn DocStore) {
    let page = format!("{SHOP}/index.html");
    let body = read(store, &page).await.unwrap();
    let tag = open(store, &page, &GetOptions::default()).await.unwrap().meta.etag;
    let other = ETag::from_store("0123456789abcdef0123456789abcdef");
    let unless = |tag: &Option<ETag>| GetOptions { if_none_match: tag.clone(), ..GetOptions::default() };
    let only_if = |tag: &Option<ETag>| GetOptions { if_match: tag.clone(), ..GetOptions::default() };
    assert!(matches!(read_with(store, &page, &unless(&tag)).await, Err(StoreError::NotModified)));
    assert_eq!(read_with(store, &page, &unless(&other)).await.unwrap(), body);
    assert_eq!(read_with(store, &page, &only_if(&tag)).await.unwrap(), body);
    let changed = read_with(store, &page, &only_if(&other)).await;
    assert!(matches!(changed, Err(StoreError::Changed)), "{changed:?}");

    let (large, path) = (large(), format!("{SHOP}/{LARGE}"));
    let end = large.len();
    for range in [0..1, 0..end, 1..2, end - 1..end, 12_345_678..13_345_679] {
        let options = GetOptions { range: Some(range.start as u64..range.end as u64), ..GetOptions::default() };
        let object = open(store, &path, &options).await.unwrap();
        assert_eq!(object.meta.size, end as u64, "of a part, too, the whole size is told");
        let chunks: Vec<Bytes> = object.body.try_collect().await.unwrap();
        assert!(chunks.concat() == large.slice(range.clone()), "{range:?}");
    }
}

async fn what_is_not_there_is_absent(store: &dyn DocStore) {
    let long = format!("{SHOP}/{}", "y".repeat(3000));
    for path in [
        "default/component/shop/absent.html",
        "default/component/absent/index.html",
        "absent/component/shop/index.html",
        // Folders, and beginnings of names.
        "default/component/shop/guide",
        "default/component/shop/index",
        "default/component/shop/index.html/below",
        &long,
    ] {
        let result = read(store, path).await;
        assert!(matches!(result, Err(StoreError::Absent)), "{path}: {result:?}");
        let result = store.stat(&layout().place(&key(path))).await;
        assert!(matches!(result, Err(StoreError::Absent)), "{path}: {result:?}");
    }
}

async fn listings_end_at_the_root_and_the_limit(store: &dyn DocStore) {
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let all: Vec<String> = objects().into_iter().map(|object| object.name).collect();
    let below = |prefix: &str| {
        let inside = format!("{prefix}/");
        sorted(all.iter().filter(|name| name.starts_with(&inside)).cloned().collect())
    };
    for prefix in [ROOT, "docs/all/default/component/shop", "docs/all/team-a"] {
        assert_eq!(sorted(store.list(prefix, 1000).await.unwrap()), below(prefix), "{prefix}");
    }
    assert_eq!(store.list(ROOT, 3).await.unwrap().len(), 3);
    assert!(store.list("docs/all/absent", 10).await.unwrap().is_empty());
    assert_eq!(sorted(store.folders(ROOT, 10).await.unwrap()), ["default", "team-a"]);
    assert_eq!(sorted(store.folders("docs/all/default", 10).await.unwrap()), ["api", "component"]);
    assert_eq!(store.folders("docs/all/default", 1).await.unwrap().len(), 1);
    assert!(store.folders("docs/all/absent", 10).await.unwrap().is_empty());
}

async fn readers_who_leave_take_nothing_with_them(store: &dyn DocStore) {
    for _ in 0..20 {
        let mut object = open(store, &format!("{SHOP}/{LARGE}"), &GetOptions::default()).await.unwrap();
        object.body.next().await.unwrap().unwrap();
    }
    let pages = join_all((0..200).map(|_| async { read(store, &format!("{SHOP}/guide/index.html")).await })).await;
    for page in pages {
        assert!(page.unwrap().ends_with(b"guide/index.html</title>"));
    }
}

/// How the store bears a network that is slow, cuts, hangs or refuses. `store` must reach its server through `relay`, and
/// give up connecting within `timeout`.
pub async fn bears_bad_networks(store: Arc<dyn DocStore>, relay: &Relay, timeout: Duration) {
    let (page, large) = (format!("{SHOP}/index.html"), format!("{SHOP}/{LARGE}"));
    let expected = read(&*store, &page).await.unwrap();
    relay.set(Way::Slow(Duration::from_millis(100)));
    assert_eq!(read(&*store, &page).await.unwrap(), expected);

    relay.set(Way::CutAfter(3_000_000));
    let cut = async {
        let object = open(&*store, &large, &GetOptions::default()).await?;
        let size = object.meta.size;
        let chunks: Vec<Bytes> = object.body.try_collect().await?;
        let came = chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        // Whoever reads counts the bytes: fewer than told are as good as an error.
        if came == size { Ok(came) } else { Err(StoreError::Truncated { expected: size, received: came }) }
    };
    let cut = tokio::time::timeout(4 * timeout, cut).await.expect("a cut connection is noticed");
    assert!(matches!(cut, Err(StoreError::Truncated { .. } | StoreError::Unavailable(_))), "{cut:?}");

    relay.set(Way::Refuse);
    let refused = tokio::time::timeout(4 * timeout, read(&*store, &page)).await.expect("a refusal is an answer");
    assert!(matches!(refused, Err(StoreError::Unavailable(_) | StoreError::Timeout(_))), "{refused:?}");

    // Whoever reads gives up after its deadline, which leaves nothing behind that others would wait for.
    relay.set(Way::Hang);
    let _ = tokio::time::timeout(timeout, read(&*store, &page)).await;
    relay.set(Way::Pass);
    let mut left = 20;
    loop {
        match tokio::time::timeout(4 * timeout, read(&*store, &page)).await {
            Ok(Ok(body)) => break assert_eq!(body, expected),
            failed if left == 0 => panic!("not back: {failed:?}"),
            _ => left -= 1,
        }
    }
}

/// How many connections a Callboard with this publisher section holds at most while it is asked for 200 pages at once
/// that it does not have, all of which it gives. The server must be reached through `relay`.
pub async fn connections_for_many_misses(publisher: &str, relay: &Relay) -> usize {
    connections_with(publisher, "", relay).await
}

/// The same, with these keys in `callboard.storage`.
pub async fn connections_with(publisher: &str, storage: &str, relay: &Relay) -> usize {
    // However long it takes: some of these servers do one thing at a time.
    let section = format!("  storage: {{ timeout: 60s, queueTimeout: 60s, {storage} }}\n");
    let publisher = Some(publisher.to_owned());
    let callboard = Callboard::told(Told { section: &section, publisher, ..Told::default() }).await;
    relay.set(Way::Slow(Duration::from_millis(50)));
    let read = async |number| {
        let answer = callboard.get(&format!("/static/docs/{SHOP}/many/{number}.html")).send().await.unwrap();
        answer.status().as_u16()
    };
    let statuses = join_all((0..MANY).map(read)).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    callboard.stop().await;
    relay.set(Way::Pass);
    relay.most()
}

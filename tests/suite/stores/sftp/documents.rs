//! What is read, and what is not there to be read.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use callboard::docs::{Layout, Locator, Options};
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, SftpOptions, SftpStore, StoreError};
use futures_util::future::join_all;
use futures_util::{FutureExt, TryStreamExt};

use super::{SITE, TIMEOUT, name, read, read_with, store, words};
use crate::support::sshd::Sshd;
use crate::support::until;

fn known(etag: Option<ETag>) -> GetOptions {
    GetOptions { if_none_match: etag, ..GetOptions::default() }
}

#[tokio::test]
async fn pages_are_read_whole_and_in_part() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "0123456789");
    let store = store(&sshd);
    assert_eq!(read(&store, "index.html").await.unwrap(), "0123456789");
    for (range, expected) in [(2..5, "234"), (0..10, "0123456789"), (9..10, "9"), (4..4, "")] {
        let part = GetOptions { range: Some(range), ..GetOptions::default() };
        assert_eq!(read_with(&store, "index.html", &part).await.unwrap(), expected);
    }
    let meta = store.stat(&name("index.html")).await.unwrap();
    assert_eq!((meta.size, meta.last_modified), (10, Some(crate::support::long_ago())));
    let etag = meta.etag;
    assert!(!etag.as_ref().unwrap().as_str().starts_with("W/"));
    assert!(matches!(read_with(&store, "index.html", &known(etag.clone())).await, Err(StoreError::NotModified)));
    assert_eq!(read_with(&store, "index.html", &known(ETag::from_store("other"))).await.unwrap(), "0123456789");
    let same = GetOptions { if_match: etag, ..GetOptions::default() };
    assert_eq!(read_with(&store, "index.html", &same).await.unwrap(), "0123456789");
    let other = GetOptions { if_match: ETag::from_store("other"), ..GetOptions::default() };
    assert!(matches!(read_with(&store, "index.html", &other).await, Err(StoreError::Changed)));
}

#[tokio::test]
async fn names_come_back_as_they_are() {
    let sshd = Sshd::start();
    let longest = "長".repeat(85);
    let names = [
        "ü.txt",
        "u\u{308}.txt",
        "with space",
        "c#.txt",
        "100%.txt",
        "%2F",
        "%2e%2e",
        "a+b",
        "a&b=c",
        "why?",
        "*",
        "[x]",
        "~",
        "-r",
        "it's \"quoted\"",
        "設計書",
        "🎉",
        "deep/er/down/page",
        &longest,
    ];
    for name in names {
        sshd.write(&format!("{SITE}/{name}"), name);
    }
    let store = store(&sshd);
    for name in names {
        assert_eq!(read(&store, name).await.unwrap(), name);
    }
    let mut listed = store.list(SITE, 100).await.unwrap();
    let mut written: Vec<String> = names.iter().map(|name| format!("{SITE}/{name}")).collect();
    listed.sort_unstable();
    written.sort_unstable();
    assert_eq!(listed, written);
}

#[tokio::test]
async fn files_of_every_size_come_whole() {
    let sshd = Sshd::start();
    let store = store(&sshd);
    const PART: usize = 32 * 1024;
    for size in [0, 1, PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 20 * PART + 7, 50 * 1024 * 1024]
    {
        let contents: Vec<u8> = (0..size).map(|at| (at / 7 % 251) as u8).collect();
        sshd.write(&format!("{SITE}/file"), &contents);
        assert!(read(&store, "file").await.unwrap() == contents, "{size}");
        if size > 3 * PART {
            let range = 12_345..size as u64 - 54_321;
            let part = GetOptions { range: Some(range), ..GetOptions::default() };
            assert!(read_with(&store, "file", &part).await.unwrap() == contents[12_345..size - 54_321], "{size}");
        }
    }
}

#[tokio::test]
async fn what_is_no_file_is_absent() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "page");
    fs::create_dir(sshd.docs().join(SITE).join("folder")).unwrap();
    let store = store(&sshd);
    let long = "x".repeat(300);
    let very_long = ["x"; 5000].join("/");
    for file in ["folder", "nothing", "index.html/below", "no/such/folder", &long, &very_long] {
        let result = read(&store, file).await;
        assert!(matches!(result, Err(StoreError::Absent)), "{file}: {result:?}");
        assert!(matches!(store.stat(&name(file)).await, Err(StoreError::Absent)), "{file}");
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_denied() {
    let sshd = Sshd::start();
    let file = sshd.write(&format!("{SITE}/secret"), "secret");
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let denied = read(&store(&sshd), "secret").await.unwrap_err();
    assert!(matches!(denied, StoreError::Denied(_)) && words(&denied).contains("Permission denied"), "{denied:?}");
}

#[tokio::test]
async fn no_symbolic_link_leads_out_of_the_root() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "page");
    fs::write(sshd.docs().join("../outside"), "outside").unwrap();
    let site = sshd.docs().join(SITE);
    symlink("index.html", site.join("inside")).unwrap();
    symlink("../../../../outside", site.join("file")).unwrap();
    symlink("/", site.join("folder")).unwrap();
    symlink("loop", site.join("loop")).unwrap();
    // A name that begins as the root's does.
    fs::create_dir(sshd.docs().join("../docs2")).unwrap();
    fs::write(sshd.docs().join("../docs2/file"), "outside").unwrap();
    symlink("/docs2", site.join("beside")).unwrap();
    let store = store(&sshd);
    assert_eq!(read(&store, "inside").await.unwrap(), "page");
    for file in ["file", "folder/outside", "folder/docs2/file", "beside/file", "loop"] {
        let result = read(&store, file).await;
        assert!(matches!(result, Err(StoreError::Absent)), "{file}: {result:?}");
        assert!(matches!(store.stat(&name(file)).await, Err(StoreError::Absent)), "{file}");
    }
    assert_eq!(store.list(&format!("{SITE}/folder"), 10).await.unwrap(), [""; 0]);
    assert_eq!(store.folders(&format!("{SITE}/beside"), 10).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_root_that_is_a_link_may_be_set_to_another_folder() {
    let sshd = Sshd::start();
    for version in ["v1", "v2"] {
        let page = sshd.write(&format!("{version}/{SITE}/index.html"), version);
        drop(page);
    }
    let current = sshd.docs().join("current");
    symlink("v1", &current).unwrap();
    let store = SftpStore::new(SftpOptions { root: "docs/current".into(), ..sshd.options() }, TIMEOUT);
    assert_eq!(read(&store, "index.html").await.unwrap(), "v1");
    fs::remove_file(&current).unwrap();
    symlink("v2", &current).unwrap();
    assert_eq!(read(&store, "index.html").await.unwrap(), "v2");
}

#[tokio::test]
async fn a_missing_root_is_an_outage_and_not_an_absent_page() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "page");
    let store = store(&sshd);
    assert!(matches!(read(&store, "nothing").await, Err(StoreError::Absent)));
    fs::rename(sshd.docs(), sshd.docs().join("../elsewhere")).unwrap();
    for _ in 0..2 {
        let result = read(&store, "index.html").await;
        assert!(
            matches!(&result, Err(error @ StoreError::Unavailable(_)) if words(error).contains("root")),
            "{result:?}"
        );
        assert!(matches!(store.list("", 10).await, Err(StoreError::Unavailable(_))));
    }
    let cold = super::store(&sshd);
    assert!(matches!(read(&cold, "index.html").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(cold.folders("default", 10).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn the_root_may_be_absolute_or_the_users_own_folder() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "page");
    for (root, below) in [("/docs", ""), ("/docs/", ""), ("docs", ""), ("/", "docs"), ("", "docs")] {
        let options = SftpOptions { root: root.into(), ..sshd.options() };
        let store = SftpStore::new(options, TIMEOUT);
        let key = Locator::new(Options::default()).locate(&format!("/static/docs/{SITE}/index.html")).unwrap().key;
        let layout = Layout { root_path: below.to_owned(), ..Layout::default() };
        let name = layout.place(&key);
        assert_eq!(store.stat(&name).await.unwrap().size, 4, "{root:?}");
        assert_eq!(store.list(below, 5).await.unwrap(), [name.as_str()], "{root:?}");
    }
}

#[tokio::test]
async fn listing_finds_files_and_folders_and_no_more_than_were_asked_for() {
    let sshd = Sshd::start();
    for page in 0..250 {
        sshd.write(&format!("{SITE}/p{}/{page}.html", page % 5), "");
    }
    symlink(sshd.docs(), sshd.docs().join("default/again")).unwrap();
    fs::write(sshd.docs().join(std::path::Path::new(std::ffi::OsStr::new("default"))).join("file"), "").unwrap();
    let not_utf8 = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    fs::create_dir(sshd.docs().join::<&std::ffi::OsStr>(not_utf8)).unwrap();
    let store = store(&sshd);
    assert_eq!(store.list("", 1000).await.unwrap().len(), 251);
    assert_eq!(store.list(SITE, 1000).await.unwrap().len(), 250);
    assert_eq!(store.list(&format!("{SITE}/p3"), 7).await.unwrap().len(), 7);
    assert!(store.list("other", 10).await.unwrap().is_empty());
    assert_eq!(store.folders("", 10).await.unwrap(), ["default"]);
    assert_eq!(store.folders("default", 10).await.unwrap(), ["component"]);
    assert_eq!(store.folders(SITE, 10).await.unwrap().len(), 5);
    assert_eq!(store.folders(SITE, 2).await.unwrap().len(), 2);
    assert!(store.folders("other", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_written_twice_in_a_second_is_read_again() {
    let sshd = Sshd::start();
    let page = format!("{SITE}/index.html");
    let store = store(&sshd);
    fs::create_dir_all(sshd.docs().join(SITE)).unwrap();
    let file = sshd.docs().join(&page);
    let now = std::time::SystemTime::now();
    let write = |contents: &str| {
        fs::write(&file, contents).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(now).unwrap();
    };
    write("old");
    let first = store.get(&name("index.html"), &GetOptions::default()).await.unwrap().meta;
    assert!(first.etag.as_ref().unwrap().as_str().starts_with("W/"), "{first:?}");
    write("new");
    assert_eq!(read_with(&store, "index.html", &known(first.etag.clone())).await.unwrap(), "new");
    // Nobody can tell that it is another, and so whoever streams it in parts may go on.
    let same = GetOptions { if_match: first.etag, ..GetOptions::default() };
    assert_eq!(read_with(&store, "index.html", &same).await.unwrap(), "new");
}

#[tokio::test]
async fn a_file_that_is_written_to_while_it_is_read_is_an_error_and_one_that_is_replaced_is_read_to_its_end() {
    let sshd = Sshd::start();
    let page = format!("{SITE}/large");
    let old = vec![b'a'; 4 * 1024 * 1024];
    let file = sshd.write(&page, &old);
    let store = store(&sshd);
    let object = store.get(&name("large"), &GetOptions::default()).await.unwrap();
    let other = sshd.write(&format!("{SITE}/other"), vec![b'b'; old.len()]);
    fs::rename(other, &file).unwrap();
    assert!(object.body.try_collect::<Vec<_>>().await.unwrap().concat() == old);

    for length in [old.len(), 100_000, 0, old.len() + 1] {
        sshd.write(&page, &old);
        let object = store.get(&name("large"), &GetOptions::default()).await.unwrap();
        fs::write(&file, vec![b'c'; length]).unwrap();
        let result = object.body.try_collect::<Vec<_>>().await;
        assert!(matches!(result, Err(StoreError::Changed)), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reads_at_a_time_find_their_way_through_one_channel() {
    let sshd = Sshd::start();
    for page in 0..1000 {
        sshd.write(&format!("{SITE}/{page}"), format!("page {page}").repeat(4000));
    }
    let options = SftpOptions { connections: 1, channels: 1, ..sshd.options() };
    let store = SftpStore::new(options, TIMEOUT);
    let reads = (0..1000).map(|page| {
        let store = &store;
        async move { assert_eq!(read(store, &page.to_string()).await.unwrap(), format!("page {page}").repeat(4000)) }
    });
    join_all(reads).await;
    assert_eq!((sshd.connections(), sshd.logins()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_early_leaves_no_file_open() {
    let sshd = Sshd::start();
    let file = sshd.write(&format!("{SITE}/large"), vec![b'a'; 4 * 1024 * 1024]);
    let store = Arc::new(store(&sshd));
    read(&store, "large").await.unwrap();
    for patience in 0..200 {
        let mut reading = Box::pin(read(&store, "large"));
        for _ in 0..patience {
            if reading.as_mut().now_or_never().is_some() {
                reading = Box::pin(read(&store, "large"));
            }
            tokio::task::yield_now().await;
        }
    }
    until(async || sshd.holds_open(&file) == 0).await;
    assert_eq!(read(&store, "large").await.unwrap().len(), 4 * 1024 * 1024);
    assert_eq!(sshd.logins(), sshd.connections());
}

#[tokio::test]
async fn a_reader_who_takes_nothing_holds_up_nobody() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/large"), vec![b'a'; 16 * 1024 * 1024]);
    sshd.write(&format!("{SITE}/page"), "page");
    let options = SftpOptions { connections: 1, channels: 1, ..sshd.options() };
    let store = SftpStore::new(options, TIMEOUT);
    let mut idle = Vec::new();
    for _ in 0..64 {
        let mut object = store.get(&name("large"), &GetOptions::default()).await.unwrap();
        object.body.try_next().await.unwrap();
        idle.push(object);
    }
    assert_eq!(read(&store, "page").await.unwrap(), "page");
    // What they have not taken is still theirs.
    for object in idle {
        let rest: usize =
            object.body.map_ok(|part| part.len()).try_fold(0, async |sum, part| Ok(sum + part)).await.unwrap();
        assert_eq!(rest, 16 * 1024 * 1024 - 32 * 1024);
    }
}

#[tokio::test]
async fn a_pipe_takes_only_its_own_channel_away() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    let made = Command::new("mkfifo").arg(sshd.docs().join(SITE).join("pipe")).status().unwrap();
    assert!(made.success());
    let store = SftpStore::new(sshd.options(), Duration::from_secs(1));
    let result = read(&store, "pipe").await;
    assert!(matches!(&result, Err(error) if words(error).contains("unanswered")), "{result:?}");
    assert_eq!(read(&store, "page").await.unwrap(), "page");
}

//! SFTP: a real OpenSSH server, as `sshd_config` would have it for Callboard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use callboard::docs::{Locator, Options, StorageKey};
use callboard::storage::{DocStore, GetOptions, SftpStore, StoreError};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use crate::support::sshd::Sshd;

const SITE: &str = "default/component/shop";
const TIMEOUT: Duration = Duration::from_secs(5);

fn key(file: &str) -> StorageKey {
    let locator = Locator::new(Options::default());
    locator.locate(&format!("/static/docs/{SITE}/index.html")).unwrap().key.sibling(file).unwrap()
}

fn store(sshd: &Sshd) -> SftpStore {
    SftpStore::new(sshd.options(), TIMEOUT)
}

async fn read_with(store: &SftpStore, file: &str, options: &GetOptions) -> Result<Bytes, StoreError> {
    let object = store.get(&key(file), options).await?;
    let chunks: Vec<Bytes> = object.body.try_collect().await?;
    Ok(chunks.concat().into())
}

async fn read(store: &SftpStore, file: &str) -> Result<Bytes, StoreError> {
    read_with(store, file, &GetOptions::default()).await
}

#[tokio::test]
async fn pages_are_read_whole_and_in_part() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/index.html"), "0123456789");
    let store = store(&sshd);
    assert_eq!(read(&store, "index.html").await.unwrap(), "0123456789");
    let part = GetOptions { range: Some(2..5), ..GetOptions::default() };
    assert_eq!(read_with(&store, "index.html", &part).await.unwrap(), "234");
    let meta = store.stat(&key("index.html")).await.unwrap();
    assert_eq!(meta.size, 10);
    let known = GetOptions { if_none_match: meta.etag.clone(), ..GetOptions::default() };
    assert!(matches!(read_with(&store, "index.html", &known).await, Err(StoreError::NotModified)));
    assert!(matches!(read(&store, "nothing").await, Err(StoreError::Absent)));
}

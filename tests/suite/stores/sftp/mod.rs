//! SFTP: a real OpenSSH server, as `sshd_config` would have it for Callboard.

mod contract;
mod documents;
mod least_policy;
mod logins;
mod outages;
mod read_only;
mod site;

use std::time::Duration;

use bytes::Bytes;
use callboard::docs::{Layout, Locator, ObjectName, Options, StorageKey};
use callboard::storage::{DocStore, GetOptions, SftpStore, StoreError};
use futures_util::TryStreamExt;

use crate::support::sshd::Sshd;

const SITE: &str = "default/component/shop";

/// Longer than anything takes that is not meant to be broken off.
const TIMEOUT: Duration = Duration::from_secs(20);

fn name(file: &str) -> ObjectName<'static> {
    let site = Locator::new(Options::default()).locate(&format!("/static/docs/{SITE}/index.html")).unwrap().key;
    // It borrows from its key.
    let key: &'static StorageKey = Box::leak(Box::new(site.sibling(file).unwrap()));
    Layout::default().place(key)
}

fn store(sshd: &Sshd) -> SftpStore {
    SftpStore::new(sshd.options(), TIMEOUT)
}

async fn read_with(store: &SftpStore, file: &str, options: &GetOptions) -> Result<Bytes, StoreError> {
    let object = store.get(&name(file), options).await?;
    let chunks: Vec<Bytes> = object.body.try_collect().await?;
    Ok(chunks.concat().into())
}

async fn read(store: &SftpStore, file: &str) -> Result<Bytes, StoreError> {
    read_with(store, file, &GetOptions::default()).await
}

/// What the error says, down to its cause.
fn words(error: &StoreError) -> String {
    callboard::chain::chain(error).to_string()
}

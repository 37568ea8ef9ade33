//! A real site, published over SFTP and read back through Callboard, and what a miss costs there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::storage::SftpStore;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use russh::client::{AuthResult, Config, Handler, connect};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, decode_secret_key};
use russh_sftp::client::SftpSession;

use super::{SITE, TIMEOUT};
use crate::support::Callboard;
use crate::support::servers::{Server, files};
use crate::support::sshd::Sshd;

/// What a URL's path may hold unescaped (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_published_site_is_read_back_byte_for_byte() {
    let folder = PathBuf::from(Server::s3().await.said("/site_dir"));
    let sshd = Sshd::writable();
    // `techdocs-cli` knows no SFTP: sites get there as their builders' pipelines put them.
    sshd.publish(&folder, "default/component/large-site");
    let store = Arc::new(SftpStore::new(sshd.options(), TIMEOUT));
    let callboard = Callboard::before(store, "").await;
    let files = files(&folder);
    assert!(files.iter().filter(|file| file.ends_with(".html")).count() >= 200, "{}", files.len());
    for file in &files {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let path: Vec<_> = file.split('/').map(|name| utf8_percent_encode(name, SEGMENT).to_string()).collect();
        let url = format!("/static/docs/default/component/large-site/{}", path.join("/"));
        let get = callboard.get(&url).send().await.unwrap();
        assert_eq!(get.status().as_u16(), 200, "{file}");
        assert!(get.bytes().await.unwrap() == bytes, "{file} came otherwise than it was published");
    }
}

/// Lets any server in: it is the test's own.
struct AnyServer;

impl Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_miss_costs_beside_the_bare_clients_own_read() {
    const PAGES: usize = 300;
    let sshd = Sshd::start();
    for page in 0..PAGES {
        sshd.write(&format!("{SITE}/{page}"), vec![b'a'; 20 * 1024]);
    }
    let key = decode_secret_key(&sshd.text("user_key"), None).unwrap();
    let config = Arc::new(Config { nodelay: true, ..Config::default() });
    let mut ssh = connect(config, ("127.0.0.1", sshd.port), AnyServer).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(matches!(ssh.authenticate_publickey("reader", key).await.unwrap(), AuthResult::Success));
    let channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let bare = SftpSession::new(channel.into_stream()).await.unwrap();
    let mut bare_took = Duration::ZERO;
    for page in 0..PAGES {
        let start = Instant::now();
        assert_eq!(bare.read(format!("docs/{SITE}/{page}")).await.unwrap().len(), 20 * 1024);
        bare_took += start.elapsed();
    }

    let store = Arc::new(SftpStore::new(sshd.options(), TIMEOUT));
    let callboard = Callboard::before(store, "").await;
    let mut took = Duration::ZERO;
    // Connecting is not what a miss costs.
    callboard.get(&format!("{}/nothing", crate::support::SITE)).send().await.unwrap();
    for page in 0..PAGES {
        let start = Instant::now();
        let answer = callboard.get(&format!("{}/{page}", crate::support::SITE)).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap().len(), 20 * 1024);
        took += start.elapsed();
    }
    let (miss, read) = (took / PAGES as u32, bare_took / PAGES as u32);
    println!("a miss of 20 KiB: {miss:?}; the bare client's read: {read:?}; {:.2}", miss.div_duration_f64(read));
}

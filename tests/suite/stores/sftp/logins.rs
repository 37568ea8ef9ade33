//! Who is let in, and to whom.

use callboard::secret::Secret;
use callboard::storage::{
    HostKey, HostKeys, SftpCredentials, SftpOptions, SftpStore, StoreError, UserKey, UserKeyProblem,
};
use futures_util::future::join_all;

use super::{SITE, TIMEOUT, read, store, words};
use crate::support::sshd::{PASSWORD, Sshd};
use crate::support::until;

fn with_password(password: &str) -> SftpCredentials {
    SftpCredentials { key: None, password: Some(Secret::new(password)) }
}

fn with(sshd: &Sshd, credentials: SftpCredentials) -> SftpStore {
    SftpStore::new(SftpOptions { credentials, ..sshd.options() }, TIMEOUT)
}

fn denied(result: Result<bytes::Bytes, StoreError>) -> String {
    match result {
        Err(error @ StoreError::Denied(_)) => words(&error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_of_each_kind_and_passwords_open_the_door() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    for (kind, passphrase) in [("ed25519", ""), ("ecdsa", ""), ("ed25519", "open sesame"), ("ecdsa", "open sesame")] {
        sshd.make_key("other_key", kind, passphrase);
        sshd.accept("other_key");
        let passphrase = Some(passphrase).filter(|passphrase| !passphrase.is_empty());
        let key = Some(sshd.key("other_key", passphrase));
        let store = with(&sshd, SftpCredentials { key, password: None });
        assert_eq!(read(&store, "page").await.unwrap(), "page", "{kind} {passphrase:?}");
    }
    assert_eq!(read(&with(&sshd, with_password(PASSWORD)), "page").await.unwrap(), "page");
}

#[tokio::test]
async fn a_server_may_want_both_or_ask_for_the_password_in_its_own_words() {
    let sshd = Sshd::with("Subsystem sftp internal-sftp -R\nAuthenticationMethods publickey,password\n");
    sshd.write(&format!("{SITE}/page"), "page");
    let both = SftpCredentials { key: Some(sshd.key("user_key", None)), ..with_password(PASSWORD) };
    assert_eq!(read(&with(&sshd, both), "page").await.unwrap(), "page");
    let told = denied(read(&store(&sshd), "page").await);
    assert!(told.contains("it takes: password"), "{told}");

    let sshd = Sshd::with(
        "Subsystem sftp internal-sftp -R\nUsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\n",
    );
    sshd.write(&format!("{SITE}/page"), "page");
    assert_eq!(read(&with(&sshd, with_password(PASSWORD)), "page").await.unwrap(), "page");
    let told = denied(read(&with(&sshd, with_password("wrong")), "page").await);
    assert!(told.contains("refuses the password"), "{told}");
}

#[tokio::test]
async fn a_refused_key_or_password_is_denied_and_not_tried_over_and_over() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    sshd.make_key("other_key", "ed25519", "");
    let key = SftpCredentials { key: Some(sshd.key("other_key", None)), password: None };
    for (credentials, word) in [(key, "refuses the key SHA256:"), (with_password("hunter2"), "refuses the password")] {
        let store = with(&sshd, credentials);
        let before = sshd.refusals();
        for result in join_all((0..100).map(|_| read(&store, "page"))).await {
            let told = denied(result);
            assert!(told.contains(word) && told.contains("\"reader\"") && !told.contains("hunter2"), "{told}");
        }
        // Nor by those who come after it is known.
        for _ in 0..5 {
            denied(read(&store, "page").await);
        }
        until(async || sshd.refusals() > before).await;
        assert_eq!(sshd.refusals(), before + 1);
    }
}

#[tokio::test]
async fn a_server_with_another_key_is_refused_until_that_key_is_known() {
    let sshd = Sshd::start();
    sshd.write(&format!("{SITE}/page"), "page");
    let file = sshd.docs().join("../known_hosts");
    let known = |key: &str| std::fs::write(&file, format!("[127.0.0.1]:{} {key}", sshd.port)).unwrap();
    known(&sshd.text("host_key.pub"));
    let host_keys = HostKeys { pinned: Vec::new(), file: Some(file.clone()) };
    let store = SftpStore::new(SftpOptions { host_keys, ..sshd.options() }, TIMEOUT);
    assert_eq!(read(&store, "page").await.unwrap(), "page");

    for kind in ["ed25519", "ecdsa"] {
        sshd.new_host_key(kind);
        sshd.restart();
        let logins = sshd.logins();
        let told = until_denied(&store).await;
        assert!(told.contains("host key changed"), "{told}");
        assert_eq!(sshd.logins(), logins);
        // Announced in the file, without a restart.
        known(&sshd.text("host_key.pub"));
        until(async || read(&store, "page").await.is_ok()).await;
    }
}

/// Until the connection that was there is found to have ended.
async fn until_denied(store: &SftpStore) -> String {
    loop {
        match read(store, "page").await {
            Err(error @ StoreError::Denied(_)) => return words(&error),
            Err(StoreError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_key_of_another_server_is_refused_before_anything_is_told() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let pinned = vec![HostKey::parse(&other.text("host_key.pub")).unwrap()];
    let options = SftpOptions {
        host_keys: HostKeys { pinned, file: None },
        credentials: with_password(PASSWORD),
        ..sshd.options()
    };
    let told = denied(read(&SftpStore::new(options, TIMEOUT), "page").await);
    assert!(told.contains("host key changed: 127.0.0.1:") && told.contains("SHA256:"), "{told}");
    assert!(!sshd.log().contains("reader"), "{}", sshd.log());
}

#[tokio::test]
async fn a_key_that_is_none_says_what_to_write() {
    let sshd = Sshd::start();
    sshd.make_key("rsa", "rsa", "");
    sshd.make_key("encrypted_rsa", "rsa", "x");
    sshd.make_key("encrypted", "ed25519", "open sesame");
    let parse = |text: &str, passphrase: Option<&str>| {
        UserKey::parse(&Secret::new(text), passphrase.map(Secret::new).as_ref()).unwrap_err()
    };
    assert_eq!(parse(&sshd.text("rsa"), None), UserKeyProblem::Unsupported);
    assert_eq!(
        parse("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", None),
        UserKeyProblem::Unsupported
    );
    assert_eq!(parse(&sshd.text("encrypted_rsa"), Some("x")), UserKeyProblem::Unsupported);
    assert_eq!(parse(&sshd.text("encrypted"), None), UserKeyProblem::Encrypted);
    assert_eq!(parse(&sshd.text("encrypted"), Some("wrong")), UserKeyProblem::WrongPassphrase);
    for text in ["", "nonsense", &sshd.text("user_key.pub")] {
        assert_eq!(parse(text, None), UserKeyProblem::NoKey, "{text}");
    }
    let printed = format!("{:?}", sshd.options());
    assert!(printed.contains("UserKey(SHA256:") && !printed.contains("BEGIN"), "{printed}");
}

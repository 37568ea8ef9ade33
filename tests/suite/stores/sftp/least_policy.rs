//! A real OpenSSH server with the block for its configuration that `callboard policy` prints.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use callboard::policy::{Form, Kind, Place, policy};
use callboard::storage::{SftpOptions, SftpStore};
use tempfile::TempDir;

use super::{SITE, TIMEOUT, read};
use crate::support::sshd::Sshd;

#[tokio::test]
async fn the_block_for_sshd_is_enough_to_read_and_lets_nobody_write() {
    let place = Place { bucket: "/mnt/docs".to_owned(), user: Some("reader".to_owned()), ..Place::default() };
    let block = policy(Kind::Sftp, &place, Form::Cli).unwrap().text;
    let page = TempDir::new().unwrap();
    std::fs::write(page.path().join("page"), "defaced").unwrap();
    let server = |block: &str| {
        let sshd = Sshd::with("Subsystem sftp internal-sftp\n");
        sshd.write(&format!("{SITE}/page"), "a page");
        // Inside of the chroot is a folder that everybody may write to, as far as the file system goes.
        let open = sshd.docs().join("docs/open");
        std::fs::create_dir_all(&open).unwrap();
        set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        sshd.configure(block);
        sshd
    };
    let careless = server(&block.replace("internal-sftp -R", "internal-sftp"));
    careless.publish(page.path(), "open");
    assert!(careless.docs().join("docs/open/page").exists(), "but for -R it could be written to");

    let sshd = server(&block);
    assert!(!sshd.try_to_publish(page.path(), "open").status.success());
    assert!(!sshd.docs().join("docs/open/page").exists());
    let options = SftpOptions { root: "/".to_owned(), ..sshd.options() };
    let store = SftpStore::new(options, TIMEOUT);
    assert_eq!(read(&store, "page").await.unwrap(), "a page");
}

//! What an account may do beside reading is found, and nothing is left of finding it.

use std::fs::{Permissions, metadata, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use super::SITE;
use crate::read_only::checked;
use crate::support::Backstage;
use crate::support::sshd::{PASSWORD, Sshd};

fn publisher(sshd: &Sshd) -> String {
    format!(
        "{{ type: sftp, sftp: {{ host: 127.0.0.1, port: {}, username: reader, root: docs, hostKeys: ['{}'], credentials: \
         {{ password: '{PASSWORD}' }} }} }}",
        sshd.port,
        sshd.text("host_key.pub").trim()
    )
}

/// Every file and folder that is there, and what tells whether it was changed.
fn held(folder: &Path) -> Vec<(String, SystemTime, u64)> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = metadata(&path).unwrap();
        if about.is_dir() {
            held.extend(self::held(&path));
            held.push((path.display().to_string(), SystemTime::UNIX_EPOCH, 0));
        } else {
            held.push((path.display().to_string(), about.modified().unwrap(), about.len()));
        }
    }
    held.sort();
    held
}

fn allow(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

async fn verdict(sshd: &Sshd) -> String {
    let before = held(&sshd.docs());
    let (verdict, code) = checked(&Backstage::start().await, &publisher(sshd), "").await;
    assert_eq!(code, Some(0), "{verdict}");
    assert_eq!(held(&sshd.docs()), before);
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lets_nobody_write_is_believed_whatever_the_files_permissions_are() {
    let sshd = Sshd::start();
    allow(&sshd.write(&format!("{SITE}/techdocs_metadata.json"), "{}"), 0o666);
    allow(&sshd.docs(), 0o777);
    let said = verdict(&sshd).await;
    assert!(said.starts_with("ok ") && said.contains("can do nothing but read"), "{said}");
    std::fs::create_dir(sshd.path("jail/payroll")).unwrap();
    let said = verdict(&sshd).await;
    assert!(said.starts_with("warning") && said.contains("can list what lies outside of the root path"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_lets_the_user_write_is_found() {
    let sshd = Sshd::with("Subsystem sftp internal-sftp\n");
    let page = sshd.write(&format!("{SITE}/techdocs_metadata.json"), "{}");
    let said = verdict(&sshd).await;
    assert!(said.starts_with("warning") && said.contains("internal-sftp -R"), "{said}");
    allow(&page, 0o666);
    let said = verdict(&sshd).await;
    assert!(said.contains("its credential can overwrite objects. It could not"), "{said}");
    allow(&page, 0o644);
    // One folder, below the one of the sites.
    allow(&sshd.docs().join("default/component"), 0o777);
    let said = verdict(&sshd).await;
    assert!(said.starts_with("warning") && said.contains("can write new objects and delete objects"), "{said}");
    // Where others may only remove what is theirs, so may the user: that much is done and told.
    let (said, code) = checked(&Backstage::start().await, &publisher(&sshd), "requireReadOnly: enforce").await;
    assert!(said.starts_with("FAILED"), "{said}");
    assert_eq!(code, Some(1));
}

//! A folder on this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use super::{checked, configured, printed};
use crate::support::Backstage;

fn publisher(folder: &Path) -> String {
    format!("{{ type: local, local: {{ publishDirectory: '{}' }} }}", folder.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_the_process_may_write_to_is_told_of_and_nothing_in_it_is_touched() {
    let folder = TempDir::new().unwrap();
    let site = folder.path().join("default/component/shop");
    std::fs::create_dir_all(&site).unwrap();
    std::fs::write(site.join("techdocs_metadata.json"), "{}").unwrap();
    let before = std::fs::metadata(&site).unwrap().modified().unwrap();
    let backstage = Backstage::start().await;
    let (verdict, code) = checked(&backstage, &publisher(folder.path()), "").await;
    assert!(verdict.starts_with("warning") && verdict.contains("can overwrite objects"), "{verdict}");
    assert_eq!(code, Some(0));
    let (verdict, code) = checked(&backstage, &publisher(folder.path()), "requireReadOnly: enforce").await;
    assert!(verdict.starts_with("FAILED"), "{verdict}");
    assert_eq!(code, Some(1));
    assert_eq!(std::fs::metadata(&site).unwrap().modified().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_belongs_to_somebody_else_is_read_only() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("index.html"), "a page").unwrap();
    let backstage = Backstage::start().await;
    let config = configured(&backstage, &publisher(folder.path()), "requireReadOnly: enforce");
    let may_read = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    std::fs::set_permissions(folder.path().join("index.html"), PermissionsExt::from_mode(0o444)).unwrap();
    may_read(folder.path());
    may_read(config.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.arg("check").current_dir(config.path());
    if rustix::process::geteuid().is_root() {
        // The superuser may write to everything: this is nobody.
        command.uid(65_534);
    }
    let output = command.output().await.unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let report = printed(&output);
    let verdict = report.lines().find(|line| line.contains("read only: ")).unwrap_or(&report);
    assert!(verdict.starts_with("ok") && verdict.contains("can do nothing but read"), "{verdict}");
}

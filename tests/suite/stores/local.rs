//! A folder.

use callboard::storage::LocalStore;

use super::contract;

#[tokio::test]
async fn a_folder_does_what_every_store_does() {
    let folder = tempfile::tempdir().unwrap();
    for object in contract::objects() {
        let path = folder.path().join(&object.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object.body).unwrap();
    }
    contract::holds(&LocalStore::new(folder.path().to_owned())).await;
}

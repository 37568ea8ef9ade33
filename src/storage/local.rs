//! A folder on this machine.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use futures_util::{StreamExt, stream};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use super::{DocStore, GetOptions, Object, ObjectMeta, StoreError};
use crate::docs::ObjectName;
use crate::http::etag::ETag;

/// Read in pieces of this size: large enough to be quick, small enough for hundreds at a time.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A folder, held open: every path is resolved beneath it by the kernel, so that neither `..` nor a symbolic link leads
/// out of it, whoever changes what meanwhile.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// A store of what lies below `root`. The folder need not exist yet: a publisher may make or replace it later.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Dir) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone();
        let task = spawn_blocking(move || {
            // Opened each time: a folder that a publisher swaps for a new one is then the new one.
            let root = Dir::open_ambient_dir(&root, ambient_authority()).map_err(StoreError::unavailable)?;
            work(&root)
        });
        task.await.unwrap_or(Err(StoreError::Abandoned))
    }
}

#[async_trait]
impl DocStore for LocalStore {
    async fn stat(&self, name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        let name = name.as_str().to_owned();
        self.blocking(move |root| open(root, &name).map(|(_, meta)| meta)).await
    }

    async fn get(&self, name: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let name = name.as_str().to_owned();
        let options = options.clone();
        self.blocking(move |root| {
            let (mut file, meta) = open(root, &name)?;
            if options.if_none_match.is_some() && options.if_none_match == meta.etag {
                return Err(StoreError::NotModified);
            }
            if options.if_match.is_some() && options.if_match != meta.etag {
                return Err(StoreError::Changed);
            }
            let range = options.range.unwrap_or(0..meta.size);
            file.seek(SeekFrom::Start(range.start)).map_err(StoreError::unavailable)?;
            let body = chunks(file, &meta, range).boxed();
            Ok(Object { meta, body })
        })
        .await
    }

    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |root| {
            let mut keys = Vec::new();
            if let Some(folder) = open_folder(root, &prefix)? {
                list_into(&folder, &prefix, limit, &mut keys).map_err(StoreError::unavailable)?;
            }
            Ok(keys)
        })
        .await
    }

    async fn folders(&self, parent: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let parent = parent.to_owned();
        self.blocking(move |root| {
            let folder = open_folder(root, &parent)?;
            folder.map_or(Ok(Vec::new()), |folder| folders_in(&folder, limit).map_err(StoreError::unavailable))
        })
        .await
    }
}

fn open(root: &Dir, name: &str) -> Result<(File, ObjectMeta), StoreError> {
    let mut options = OpenOptions::new();
    // Without this flag, opening a named pipe waits for a writer.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = root.open_with(Path::new(name), &options).map_err(|refusal| {
        if leaves_root(&refusal) {
            tracing::warn!(key = name, "a symbolic link leads out of the folder, or is absolute: it is not followed");
        }
        error(refusal)
    })?;
    let metadata = file.metadata().map_err(error)?;
    // A folder, a pipe or a device is no document.
    if !metadata.is_file() {
        return Err(StoreError::Absent);
    }
    Ok((file, object_meta(&metadata)))
}

fn object_meta(metadata: &Metadata) -> ObjectMeta {
    // Nanoseconds tell apart what was written twice within a second. The inode would too, but replicas that each have a
    // copy of the folder would never agree.
    let size = metadata.size();
    let tag = format!("{:x}.{:x}-{size:x}", metadata.mtime(), metadata.mtime_nsec());
    let seconds = u64::try_from(metadata.mtime()).ok();
    ObjectMeta {
        size,
        etag: ETag::from_store(&tag),
        last_modified: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
    }
}

/// What the file system's refusal means for a reader.
fn error(error: io::Error) -> StoreError {
    match error.kind() {
        // The last two: a folder on the way is a file, or a name is longer than any that the file system holds.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => StoreError::Absent,
        _ if leaves_root(&error) => StoreError::Absent,
        io::ErrorKind::PermissionDenied => StoreError::denied(error),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => StoreError::Absent,
        _ => StoreError::unavailable(error),
    }
}

/// Whether the refusal came from the sandbox, which has no errno, rather than from the file's permissions.
fn leaves_root(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// The bytes of `range`; an error at the end where the file was written to meanwhile.
fn chunks(
    file: File,
    meta: &ObjectMeta,
    range: Range<u64>,
) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> + Send + use<> {
    let (file, tag) = (Arc::new(Mutex::new(file)), meta.etag.clone());
    stream::try_unfold(Some(range), move |left| {
        let (file, tag) = (Arc::clone(&file), tag.clone());
        async move {
            let Some(range) = left else { return Ok(None) };
            let wanted = CHUNK_BYTES.min(range.end - range.start);
            let read = spawn_blocking(move || read_chunk(&file, wanted, tag.as_ref()));
            let (chunk, is_unchanged) = read.await.map_err(|_| StoreError::Abandoned)?.map_err(error)?;
            let rest = range.start + chunk.len() as u64..range.end;
            // A file that got shorter: whoever reads counts the bytes and calls the object truncated.
            let is_over = rest.is_empty() || chunk.is_empty();
            if is_over && !is_unchanged {
                return Err(StoreError::Changed);
            }
            Ok(Some((Bytes::from(chunk), (!is_over).then_some(rest))))
        }
    })
}

/// The next bytes of a file, at most `wanted`, and whether it is still the one that has `tag`.
fn read_chunk(file: &Mutex<File>, wanted: u64, tag: Option<&ETag>) -> io::Result<(Vec<u8>, bool)> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
    (&mut *file).take(wanted).read_to_end(&mut chunk)?;
    let is_unchanged = object_meta(&file.metadata()?).etag.as_ref() == tag;
    Ok((chunk, is_unchanged))
}

/// A folder below the root; `None` where there is none of this name.
fn open_folder(root: &Dir, path: &str) -> Result<Option<Dir>, StoreError> {
    match root.open_dir(if path.is_empty() { "." } else { path }) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::unavailable(error)),
    }
}

/// The names of folders; as everywhere, symbolic links are not followed in search of what there is.
fn folders_in(folder: &Dir, limit: usize) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        if names.len() >= limit {
            break;
        }
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    Ok(names)
}

/// Collects the files below `folder`; symbolic links are not followed, so that a loop can't catch it.
fn list_into(folder: &Dir, prefix: &str, limit: usize, keys: &mut Vec<String>) -> io::Result<()> {
    for entry in folder.entries()? {
        if keys.len() >= limit {
            return Ok(());
        }
        let entry = entry?;
        // A name that is not UTF-8 has no URL that leads to it.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list_into(&entry.open_dir()?, &key, limit, keys)?;
        } else if kind.is_file() {
            keys.push(key);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use futures_util::TryStreamExt;
    use tempfile::TempDir;

    use super::*;
    use crate::docs::{Layout, Locator, Options, StorageKey};

    fn key(path: &str) -> StorageKey {
        let locator = Locator::new(Options::default());
        locator.locate(&format!("/static/docs/default/component/shop/{path}")).unwrap().key
    }

    fn site() -> (TempDir, LocalStore) {
        let root = TempDir::new().unwrap();
        let docs = root.path().join("docs");
        fs::create_dir_all(docs.join("default/component/shop")).unwrap();
        fs::write(root.path().join("secret.txt"), "secret").unwrap();
        fs::write(docs.join("default/component/shop/index.html"), "0123456789").unwrap();
        let store = LocalStore::new(docs);
        (root, store)
    }

    async fn read(store: &LocalStore, path: &str, options: GetOptions) -> Result<Vec<u8>, StoreError> {
        let object = store.get(&Layout::default().place(&key(path)), &options).await?;
        let chunks: Vec<Bytes> = object.body.try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn files_are_read_whole_and_in_part() {
        let (_root, store) = site();
        assert_eq!(read(&store, "index.html", GetOptions::default()).await.unwrap(), b"0123456789");
        let part = GetOptions { range: Some(2..5), ..GetOptions::default() };
        assert_eq!(read(&store, "index.html", part).await.unwrap(), b"234");
        let etag = store.stat(&Layout::default().place(&key("index.html"))).await.unwrap().etag;
        let known = GetOptions { if_none_match: etag, ..GetOptions::default() };
        assert!(matches!(read(&store, "index.html", known).await, Err(StoreError::NotModified)));
        let other = GetOptions { if_match: ETag::from_store("other"), ..GetOptions::default() };
        assert!(matches!(read(&store, "index.html", other).await, Err(StoreError::Changed)));
    }

    #[tokio::test]
    async fn a_file_that_is_written_to_while_it_is_read_is_an_error() {
        let (root, store) = site();
        let file = root.path().join("docs/default/component/shop/index.html");
        let object = store.get(&Layout::default().place(&key("index.html")), &GetOptions::default()).await.unwrap();
        fs::write(&file, "9876543210").unwrap();
        let chunks: Result<Vec<Bytes>, _> = object.body.try_collect().await;
        assert!(matches!(chunks, Err(StoreError::Changed)), "{chunks:?}");
    }

    #[tokio::test]
    async fn no_symbolic_link_leads_out_of_the_folder() {
        let (root, store) = site();
        let site = root.path().join("docs/default/component/shop");
        symlink("../../../../secret.txt", site.join("relative")).unwrap();
        symlink(root.path().join("secret.txt"), site.join("absolute")).unwrap();
        symlink(root.path(), site.join("folder")).unwrap();
        symlink("loop", site.join("loop")).unwrap();
        symlink("index.html", site.join("inside")).unwrap();
        for path in ["relative", "absolute", "folder/secret.txt", "loop"] {
            let result = read(&store, path, GetOptions::default()).await;
            assert!(matches!(result, Err(StoreError::Absent)), "{path}: {result:?}");
        }
        assert_eq!(read(&store, "inside", GetOptions::default()).await.unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn what_is_no_file_is_absent() {
        let (root, store) = site();
        let site = root.path().join("docs/default/component/shop");
        fs::create_dir(site.join("folder")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(site.join("pipe")).status().unwrap();
        assert!(made.success());
        for path in ["folder", "pipe", "nothing", "index.html/below", &"x".repeat(5000)] {
            let result = read(&store, path, GetOptions::default()).await;
            assert!(matches!(result, Err(StoreError::Absent)), "{path}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_folder_is_an_outage_and_not_an_absent_page() {
        let store = LocalStore::new(PathBuf::from("/nonexistent/docs"));
        let result = read(&store, "index.html", GetOptions::default()).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }

    #[tokio::test]
    async fn listing_finds_files_below_a_prefix() {
        let (_root, store) = site();
        let expected = vec!["default/component/shop/index.html".to_owned()];
        assert_eq!(store.list("", 10).await.unwrap(), expected);
        assert_eq!(store.list("default/component", 10).await.unwrap(), expected);
        assert!(store.list("other", 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn folders_are_those_right_below() {
        let (root, store) = site();
        let default = root.path().join("docs/default");
        fs::create_dir(default.join("api")).unwrap();
        fs::write(default.join("file"), "").unwrap();
        symlink(root.path(), default.join("elsewhere")).unwrap();
        let mut found = store.folders("default", 10).await.unwrap();
        found.sort_unstable();
        assert_eq!(found, ["api", "component"]);
        assert_eq!(store.folders("", 10).await.unwrap(), ["default"]);
        assert_eq!(store.folders("default", 1).await.unwrap().len(), 1);
        assert!(store.folders("other", 10).await.unwrap().is_empty());
    }
}

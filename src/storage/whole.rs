//! Reading an object whole, and making sure that it is the one that the store holds.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::body::collect;
use super::{DocStore, GetOptions, ObjectMeta, StoreError};
use crate::docs::ObjectName;
use crate::http::etag::ETag;

/// So many objects in a row whose checksums can't be what their bodies hash to, and no checksum of the store's counts any
/// more: a bucket encrypted with keys of one's own must not pay for every body twice for ever.
const DISPROOFS: u32 = 3;

/// An object that was to be read whole.
#[derive(Debug)]
pub enum Whole {
    /// Here it is.
    Body(ObjectMeta, Bytes),
    /// It is larger than the caller would keep.
    TooLarge(ObjectMeta),
    /// It still has the tag that the caller named.
    NotModified,
}

/// What a body hashes to by MD5, for those who damage it by accident: nothing here rests on it being hard to forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum([u8; 16]);

impl Checksum {
    /// The checksum that a tag looks like: thirty-two hex digits. Those of objects that were written in parts have a dash,
    /// and those of objects encrypted with a key of KMS or the customer's are no checksums although they look like it.
    pub(super) fn from_tag(tag: &ETag) -> Option<Self> {
        let digits = tag.as_str().strip_prefix('"')?.strip_suffix('"')?.as_bytes();
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
        bytes.try_into().ok().map(Self)
    }
}

fn byte(pair: &[u8]) -> Option<u8> {
    let [high, low] = pair else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Reads objects whole, and knows whether the store's checksums are any.
#[derive(Debug, Default)]
pub(super) struct WholeReads {
    /// Objects in a row whose checksums were none.
    disproofs: AtomicU32,
}

/// What one try brings.
enum Try {
    Sound(Whole),
    /// The body does not have the checksum that the store tells.
    Doubtful(ObjectMeta, Bytes),
}

impl WholeReads {
    /// Reads an object into memory, unless it is larger than `max_bytes` or still has the tag `known`.
    ///
    /// A body that does not have its checksum is read once more. The same body again: then it is the checksum that is
    /// none. Another one that has its checksum: then the first was damaged. Else neither is to be believed.
    pub(super) async fn read(
        &self,
        store: &dyn DocStore,
        name: &ObjectName<'_>,
        known: Option<&ETag>,
        max_bytes: u64,
    ) -> Result<Whole, StoreError> {
        let options = GetOptions { if_none_match: known.cloned(), ..GetOptions::default() };
        let (meta, body) = match self.attempt(store, name, &options, max_bytes).await? {
            Try::Sound(whole) => return Ok(whole),
            Try::Doubtful(meta, body) => (meta, body),
        };
        match self.attempt(store, name, &GetOptions::default(), max_bytes).await? {
            Try::Sound(whole) => {
                tracing::warn!(key = %name, "storage sent a body without its checksum, and a sound one when asked again");
                Ok(whole)
            }
            Try::Doubtful(again, same) if again == meta && same == body => {
                self.disproved();
                Ok(Whole::Body(meta, body))
            }
            Try::Doubtful(..) => Err(StoreError::Corrupt),
        }
    }

    async fn attempt(
        &self,
        store: &dyn DocStore,
        name: &ObjectName<'_>,
        options: &GetOptions,
        max_bytes: u64,
    ) -> Result<Try, StoreError> {
        let object = match store.get(name, options).await {
            Err(StoreError::NotModified) => return Ok(Try::Sound(Whole::NotModified)),
            other => other?,
        };
        let meta = object.meta;
        if meta.size > max_bytes {
            return Ok(Try::Sound(Whole::TooLarge(meta)));
        }
        let told = if self.are_checksums() { store.checksum(&meta) } else { None };
        let Some(told) = told else {
            let body = collect(&meta, object.body, |_| {}).await?;
            return Ok(Try::Sound(Whole::Body(meta, body)));
        };
        // Piece by piece: a large body at once would keep others waiting.
        let mut hash = Md5::new();
        let body = collect(&meta, object.body, |piece| hash.update(piece)).await?;
        if Checksum(hash.finalize().into()) != told {
            return Ok(Try::Doubtful(meta, body));
        }
        self.disproofs.store(0, Ordering::Relaxed);
        Ok(Try::Sound(Whole::Body(meta, body)))
    }

    fn are_checksums(&self) -> bool {
        self.disproofs.load(Ordering::Relaxed) < DISPROOFS
    }

    fn disproved(&self) {
        if self.disproofs.fetch_add(1, Ordering::Relaxed) + 1 == DISPROOFS {
            tracing::info!(
                "storage's entity tags are no checksums, as where it encrypts: bodies are checked for length only"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::docs::{Layout, Locator, Options};
    use crate::storage::Object;

    /// Gives these bodies one after the other, each under this tag.
    #[derive(Debug)]
    struct Bodies(Mutex<VecDeque<(&'static str, &'static str)>>);

    impl Bodies {
        fn new(bodies: &[(&'static str, &'static str)]) -> Self {
            Self(Mutex::new(bodies.iter().copied().collect()))
        }

        fn left(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    #[async_trait]
    impl DocStore for Bodies {
        async fn stat(&self, _name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
            Err(StoreError::Absent)
        }

        async fn get(&self, _name: &ObjectName<'_>, _options: &GetOptions) -> Result<Object, StoreError> {
            let (tag, body) = self.0.lock().unwrap().pop_front().ok_or(StoreError::Absent)?;
            let meta = ObjectMeta { size: body.len() as u64, etag: ETag::from_store(tag), last_modified: None };
            Ok(Object { meta, body: stream::iter([Ok(Bytes::from_static(body.as_bytes()))]).boxed() })
        }

        async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        fn checksum(&self, meta: &ObjectMeta) -> Option<Checksum> {
            meta.etag.as_ref().and_then(Checksum::from_tag)
        }
    }

    /// MD5 of "page", and of nothing that is read here.
    const PAGE: &str = "71860c77c6745379b0d44304d66b6a13";
    const OTHER: &str = "0123456789abcdef0123456789abcdef";

    async fn read(reads: &WholeReads, store: &Bodies) -> Result<String, StoreError> {
        let key = Locator::new(Options::default()).locate("/static/docs/a/b/c/x").unwrap().key;
        match reads.read(store, &Layout::default().place(&key), None, 100).await? {
            Whole::Body(_, body) => Ok(String::from_utf8(body.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_tag_that_looks_like_one_is_a_checksum() {
        let checksum = |tag: &str| Checksum::from_tag(&ETag::from_store(tag).unwrap());
        let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        assert_eq!(checksum(OTHER), Some(Checksum([bytes, bytes].concat().try_into().unwrap())));
        assert_eq!(checksum(&OTHER.to_uppercase()), checksum(OTHER));
        let parts = format!("{PAGE}-2");
        let weak = format!("W/\"{PAGE}\"");
        for tag in [parts.as_str(), &weak, &PAGE[..31], &PAGE[..30], "v1", "+1860c77c6745379b0d44304d66b6a13"] {
            assert_eq!(checksum(tag), None, "{tag}");
        }
    }

    #[tokio::test]
    async fn a_sound_body_is_read_once() {
        let store = Bodies::new(&[(PAGE, "page"), (PAGE, "page")]);
        assert_eq!(read(&WholeReads::default(), &store).await.unwrap(), "page");
        assert_eq!(store.left(), 1);
    }

    #[tokio::test]
    async fn a_damaged_body_is_read_again() {
        let store = Bodies::new(&[(PAGE, "pagE"), (PAGE, "page")]);
        assert_eq!(read(&WholeReads::default(), &store).await.unwrap(), "page");
        // Replaced meanwhile, by one that has no checksum.
        let store = Bodies::new(&[(PAGE, "pagE"), ("v2", "new page")]);
        assert_eq!(read(&WholeReads::default(), &store).await.unwrap(), "new page");
    }

    #[tokio::test]
    async fn two_damaged_bodies_are_an_error() {
        for second in [(PAGE, "paGe"), (OTHER, "pagE")] {
            let store = Bodies::new(&[(PAGE, "pagE"), second]);
            let result = read(&WholeReads::default(), &store).await;
            assert!(matches!(result, Err(StoreError::Corrupt)), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_store_whose_tags_are_no_checksums_is_soon_asked_only_once() {
        let reads = WholeReads::default();
        let store = Bodies::new(&[(OTHER, "page"); 10]);
        for left in [8, 6, 4, 3, 2] {
            assert_eq!(read(&reads, &store).await.unwrap(), "page");
            assert_eq!(store.left(), left);
        }
    }

    #[tokio::test]
    async fn one_sound_body_shows_that_the_others_checksums_count() {
        let reads = WholeReads::default();
        let lie = [(OTHER, "page"); 4];
        let store = Bodies::new(&[&lie[..], &[(PAGE, "page")], &lie, &[(PAGE, "pagE"), (PAGE, "page")]].concat());
        for _ in 0..6 {
            assert_eq!(read(&reads, &store).await.unwrap(), "page");
        }
        assert_eq!(store.left(), 0);
    }
}

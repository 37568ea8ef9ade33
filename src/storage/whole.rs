//! Reading an object whole, and making sure that it is the one that the store holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::time::Instant;

use super::body::{Pace, collect};
use super::fill::{Fill, Opened};
use super::{DocStore, GetOptions, ObjectMeta, StoreError};
use crate::docs::ObjectName;
use crate::http::etag::ETag;

/// So many objects in a row whose checksums can't be what their bodies hash to, and no checksum of the store's counts any
/// more: a bucket encrypted with keys of one's own must not pay for every body twice for ever.
const DISPROOFS: u32 = 3;

/// An object larger than this may be read along while it is read whole. A smaller one is there after a few round trips
/// anyway, and until it is, a failure can still be told as one, and a damaged body be read again without anyone noticing.
const READ_ALONG_ABOVE: u64 = 64 * 1024;

/// An object that was to be read whole.
#[derive(Debug)]
pub enum Whole {
    /// Here it is.
    Body(ObjectMeta, Arc<[u8]>),
    /// It is larger than the caller would keep; with its body, where a reader may have that.
    TooLarge(ObjectMeta, Option<Opened>),
    /// It still has the tag that the caller named.
    NotModified,
}

/// What is to be read whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) store: &'a dyn DocStore,
    pub(super) name: &'a ObjectName<'a>,
    /// Not if it still has this tag.
    pub(super) known: Option<&'a ETag>,
    /// Not if it is larger.
    pub(super) max_bytes: u64,
    /// How long it may take or, where it is read along, until its first byte and then between any two pieces.
    pub(super) limit: Duration,
    /// Where it may be read along.
    pub(super) fill: Option<&'a Fill>,
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
    Doubtful(ObjectMeta, Arc<[u8]>),
}

impl WholeReads {
    /// Reads an object into memory, unless it is larger than its caller would keep or still has the tag that is known.
    ///
    /// A body that does not have its checksum is read once more. The same body again: then it is the checksum that is
    /// none. Another one that has its checksum: then the first was damaged. Else neither is to be believed.
    ///
    /// Those who read along have had all of the first body but its last piece by then. They are sent the rest where that
    /// makes up the second; else their answers are broken off, and only those who come later have it.
    pub(super) async fn read(&self, order: Order<'_>) -> Result<Whole, StoreError> {
        let pace = Pace::By(Instant::now() + order.limit, order.limit);
        let options = GetOptions { if_none_match: order.known.cloned(), ..GetOptions::default() };
        let (meta, body) = match self.attempt(order, &options, pace).await? {
            Try::Sound(whole) => return Ok(whole),
            Try::Doubtful(meta, body) => (meta, body),
        };
        let is_read_along = order.fill.is_some_and(Fill::has_begun);
        let pace = if is_read_along { Pace::Steady(order.limit) } else { pace };
        match self.attempt(Order { fill: None, ..order }, &GetOptions::default(), pace).await? {
            Try::Sound(whole) => {
                let key = order.name;
                tracing::warn!(%key, "storage sent a body without its checksum, and a sound one when asked again");
                if let Some(fill) = order.fill {
                    fill.settle_for(match &whole {
                        Whole::Body(again, body) if *again == meta => Some(body),
                        _ => None,
                    });
                }
                Ok(whole)
            }
            Try::Doubtful(again, same) if again == meta && same == body => {
                self.disproved();
                Ok(Whole::Body(meta, body))
            }
            Try::Doubtful(..) => Err(StoreError::Corrupt),
        }
    }

    async fn attempt(&self, order: Order<'_>, options: &GetOptions, pace: Pace) -> Result<Try, StoreError> {
        let object = match pace.keep(order.store.get(order.name, options)).await? {
            Err(StoreError::NotModified) => return Ok(Try::Sound(Whole::NotModified)),
            other => other?,
        };
        let meta = object.meta;
        if meta.size > order.max_bytes {
            return Ok(Try::Sound(Whole::TooLarge(meta, Some(Opened::new(object.body)))));
        }
        let fill = order.fill.filter(|_| meta.size > READ_ALONG_ABOVE);
        let pace = if fill.is_some() { Pace::Steady(order.limit) } else { pace };
        if let Some(fill) = fill {
            fill.begin(&meta);
        }
        let told = if self.are_checksums() { order.store.checksum(&meta) } else { None };
        let mut hash = told.map(|told| (told, Md5::new()));
        let body = collect(&meta, object.body, pace, |piece, received| {
            // Piece by piece: a large body at once would keep others waiting.
            if let Some((_, hash)) = &mut hash {
                hash.update(piece);
            }
            // The last piece only once the body is known to be sound.
            if let Some(fill) = fill.filter(|_| received < meta.size) {
                fill.push(piece);
            }
        });
        let body = body.await?;
        if let Some((told, hash)) = hash {
            if Checksum(hash.finalize().into()) != told {
                return Ok(Try::Doubtful(meta, body));
            }
            self.disproofs.store(0, Ordering::Relaxed);
        }
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
    use bytes::Bytes;
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
        let layout = Layout::default();
        let (name, limit) = (&layout.place(&key), Duration::from_secs(5));
        match reads.read(Order { store, name, known: None, max_bytes: 100, limit, fill: None }).await? {
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
    /// Gives a body of eight pieces, one every two seconds.
    #[derive(Debug)]
    struct Slow;

    const SLOW_PIECE: usize = 10_000;

    #[async_trait]
    impl DocStore for Slow {
        async fn stat(&self, _name: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
            Err(StoreError::Absent)
        }

        async fn get(&self, _name: &ObjectName<'_>, _options: &GetOptions) -> Result<Object, StoreError> {
            let body = stream::iter(0..8_u8).then(async |number| {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(Bytes::from(vec![number; SLOW_PIECE]))
            });
            let meta = ObjectMeta { size: 8 * SLOW_PIECE as u64, etag: None, last_modified: None };
            Ok(Object { meta, body: body.boxed() })
        }

        async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }

        async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_along_may_take_its_time_and_what_is_not_has_one_deadline() {
        let key = Locator::new(Options::default()).locate("/static/docs/a/b/c/x").unwrap().key;
        let (layout, reads) = (Layout::default(), WholeReads::default());
        let order = Order {
            store: &Slow,
            name: &layout.place(&key),
            known: None,
            max_bytes: 1 << 20,
            limit: Duration::from_secs(5),
            fill: None,
        };
        assert!(matches!(reads.read(order).await, Err(StoreError::Timeout(_))));
        let fill = Fill::new(|_, _| {});
        let whole = reads.read(Order { fill: Some(&fill), ..order }).await;
        assert!(matches!(whole, Ok(Whole::Body(_, body)) if body.len() == 8 * SLOW_PIECE));
        assert!(fill.has_begun());
        let hasty = Order { fill: Some(&fill), limit: Duration::from_secs(1), ..order };
        assert!(matches!(reads.read(hasty).await, Err(StoreError::Timeout(_))));
    }
}

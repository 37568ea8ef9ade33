//! What is kept of a document beside its body: what it is, and when storage last said so.
//!
//! These are two values. The first changes with the version only; the second is all that a confirmation writes, and is
//! sealed for one version, so that it can't be moved to another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use bytes::Bytes;

use super::body::Encoding;
use super::seal::Seal;
use crate::cache::generation::Generation;
use crate::clock::Timestamp;
use crate::docs::StorageKey;
use crate::http::etag::ETag;
use crate::storage::ObjectMeta;
use crate::telemetry::BadValue;

/// What is known of a stored document before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub(super) meta: ObjectMeta,
    pub(super) encoding: Encoding,
    /// Bytes of the body as it is stored.
    pub(super) stored: u64,
    /// SHA-256 of the body as it is served.
    pub(super) digest: Digest,
}

/// A SHA-256.
pub(in crate::cache) type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// When storage last confirmed a document, and in which generation of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) struct Confirmation {
    pub(in crate::cache) at: Timestamp,
    pub(in crate::cache) generation: Generation,
}

impl Header {
    /// The header that `sealed` is for `key`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(seal: &Seal, key: &StorageKey, sealed: &[u8]) -> Result<Self, BadValue> {
        Self::open_for(seal, &Self::context(key), sealed)
    }

    /// The header that `sealed` is for something else that has one.
    pub(super) fn open_for(seal: &Seal, context: &str, sealed: &[u8]) -> Result<Self, BadValue> {
        Self::decode(seal.judge(context, sealed)?).ok_or(BadValue::Format)
    }

    /// What the header of `key` is sealed for.
    pub fn context(key: &StorageKey) -> String {
        format!("document\0{key}")
    }

    pub(super) fn seal(&self, seal: &Seal, key: &StorageKey) -> Bytes {
        self.seal_for(seal, &Self::context(key))
    }

    pub(super) fn seal_for(&self, seal: &Seal, context: &str) -> Bytes {
        seal.seal(context, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.encoding as u8];
        bytes.extend(self.stored.to_be_bytes());
        bytes.extend(self.digest);
        bytes.extend(encode_meta(&self.meta));
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let [encoding] = take(&mut bytes)?;
        let encoding = Encoding::from_number(encoding)?;
        let stored = u64::from_be_bytes(take(&mut bytes)?);
        let digest = take(&mut bytes)?;
        Some(Self { meta: decode_meta(bytes)?, encoding, stored, digest })
    }
}

impl Confirmation {
    pub(super) fn open(seal: &Seal, key: &StorageKey, meta: &ObjectMeta, sealed: &[u8]) -> Result<Self, BadValue> {
        let mut bytes = seal.judge(&Self::context(key, meta), sealed)?;
        let numbers = take(&mut bytes).zip(take(&mut bytes)).filter(|_| bytes.is_empty());
        let (at, generation) = numbers.ok_or(BadValue::Format)?;
        let at = Timestamp::from_millis(u64::from_be_bytes(at));
        Ok(Self { at, generation: Generation::new(u64::from_be_bytes(generation)) })
    }

    pub(super) fn seal(self, seal: &Seal, key: &StorageKey, meta: &ObjectMeta) -> Bytes {
        let numbers = [self.at.as_millis().to_be_bytes(), self.generation.number().to_be_bytes()].concat();
        seal.seal(&Self::context(key, meta), &numbers)
    }

    fn context(key: &StorageKey, meta: &ObjectMeta) -> String {
        format!("confirmation\0{key}\0{}", hex(&identity(meta)))
    }
}

/// What one version of a document is told from another by.
pub(super) fn identity(meta: &ObjectMeta) -> Digest {
    sha256(&encode_meta(meta))
}

/// A digest as text.
pub(super) fn hex(digest: &Digest) -> String {
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// The SHA-256 of `bytes`.
pub(in crate::cache) fn sha256(bytes: &[u8]) -> Digest {
    let mut digesting = digest::Context::new(&digest::SHA256);
    digesting.update(bytes);
    finished(digesting)
}

/// What a digest has come to.
pub(super) fn finished(digesting: digest::Context) -> Digest {
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digesting.finish().as_ref());
    bytes
}

fn encode_meta(meta: &ObjectMeta) -> Vec<u8> {
    let mut bytes = meta.size.to_be_bytes().to_vec();
    match meta.last_modified {
        None => bytes.push(0),
        Some(time) => {
            bytes.push(1);
            bytes.extend(seconds(time).to_be_bytes());
        }
    }
    bytes.extend(meta.etag.iter().flat_map(|etag| etag.as_str().as_bytes()));
    bytes
}

fn decode_meta(mut bytes: &[u8]) -> Option<ObjectMeta> {
    let size = u64::from_be_bytes(take(&mut bytes)?);
    let last_modified = match take(&mut bytes)? {
        [0] => None,
        [1] => Some(time(i64::from_be_bytes(take(&mut bytes)?))?),
        _ => return None,
    };
    let etag = match bytes {
        [] => None,
        tag => {
            let etag = ETag::from_store(std::str::from_utf8(tag).ok()?)?;
            // What came out must be what went in, or two texts would stand for one tag.
            Some(etag).filter(|etag| etag.as_str().as_bytes() == tag).map(Some)?
        }
    };
    Some(ObjectMeta { size, etag, last_modified })
}

/// Whole seconds since the Unix epoch; negative before it.
fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, i64::wrapping_neg),
    }
}

fn time(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::docs::{Locator, Options};
    use crate::secret::Secret;

    fn key(file: &str) -> StorageKey {
        Locator::new(Options::default()).locate(&format!("/static/docs/default/component/shop/{file}")).unwrap().key
    }

    fn seal() -> Seal {
        Seal::new(Some(&Secret::new("an integrity key")), "callboard:")
    }

    fn header(meta: ObjectMeta) -> Header {
        Header { meta, encoding: Encoding::Zstd, stored: 500, digest: [7; 32] }
    }

    fn meta(size: u64, tag: Option<&str>, at: Option<i64>) -> ObjectMeta {
        ObjectMeta { size, etag: tag.and_then(ETag::from_store), last_modified: at.and_then(time) }
    }

    fn confirmation() -> Confirmation {
        Confirmation { at: Timestamp::from_secs(1_000_000), generation: Generation::new(17) }
    }

    fn metas() -> impl Strategy<Value = ObjectMeta> {
        let tag = prop::option::of("(W/)?[!#-~]{1,20}|ü");
        (any::<u64>(), tag, prop::option::of(-62_135_596_800..253_402_300_800_i64))
            .prop_map(|(size, tag, at)| meta(size, tag.as_deref(), at))
    }

    #[test]
    fn versions_are_told_apart_by_all_that_storage_says() {
        let versions = [
            meta(5, Some("a"), Some(9)),
            meta(6, Some("a"), Some(9)),
            meta(5, Some("W/a"), Some(9)),
            meta(5, None, Some(9)),
            meta(5, Some("a"), None),
            meta(5, Some("a"), Some(-9)),
        ];
        for (number, version) in versions.iter().enumerate() {
            for other in &versions[..number] {
                assert_ne!(identity(version), identity(other), "{version:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_header_is_good_for_its_own_key_only() {
        let sealed = header(meta(5, None, None)).seal(&seal(), &key("a.html"));
        assert!(Header::open(&seal(), &key("a.html"), &sealed).is_ok());
        assert_eq!(Header::open(&seal(), &key("b.html"), &sealed), Err(BadValue::Integrity));
    }

    #[test]
    fn a_confirmation_is_good_for_its_own_version_and_key_only() {
        let (old, new) = (meta(5, Some("a"), None), meta(5, Some("b"), None));
        let sealed = confirmation().seal(&seal(), &key("a.html"), &old);
        assert_eq!(Confirmation::open(&seal(), &key("a.html"), &old, &sealed), Ok(confirmation()));
        assert_eq!(Confirmation::open(&seal(), &key("a.html"), &new, &sealed), Err(BadValue::Integrity));
        assert_eq!(Confirmation::open(&seal(), &key("b.html"), &old, &sealed), Err(BadValue::Integrity));
        let as_header = Header::open(&seal(), &key("a.html"), &sealed);
        assert_eq!(as_header, Err(BadValue::Integrity));
    }

    #[test]
    fn what_is_sealed_but_makes_no_sense_is_refused() {
        let good = header(meta(5, Some("a"), Some(9))).encode();
        let mut unknown_encoding = good.clone();
        unknown_encoding[0] = 2;
        let mut two_texts_for_one_tag = good.clone();
        two_texts_for_one_tag.truncate(good.len() - 3);
        two_texts_for_one_tag.push(b'a');
        for bytes in [vec![], good[..40].to_vec(), good[..50].to_vec(), unknown_encoding, two_texts_for_one_tag] {
            let sealed = seal().seal(&Header::context(&key("a.html")), &bytes);
            assert_eq!(Header::open(&seal(), &key("a.html"), &sealed), Err(BadValue::Format), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn headers_come_out_as_they_went_in(meta in metas(), stored: u64, digest: Digest) {
            let header = Header { stored, digest, ..header(meta.clone()) };
            let sealed = header.seal(&seal(), &key("a.html"));
            prop_assert_eq!(Header::open(&seal(), &key("a.html"), &sealed), Ok(header));
            let confirmed = confirmation().seal(&seal(), &key("a.html"), &meta);
            prop_assert_eq!(Confirmation::open(&seal(), &key("a.html"), &meta, &confirmed), Ok(confirmation()));
        }

        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>) {
            let sealed = seal().seal(&Header::context(&key("a.html")), &bytes);
            if let Ok(header) = Header::open(&seal(), &key("a.html"), &sealed) {
                prop_assert_eq!(header.encode(), bytes.clone());
            }
            prop_assert!(Header::open(&seal(), &key("a.html"), &bytes).is_err());
            prop_assert!(Confirmation::open(&seal(), &key("a.html"), &meta(5, None, None), &bytes).is_err());
        }
    }
}

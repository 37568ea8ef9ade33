//! What makes sure that a value in Redis is one that a Callboard wrote, where it stands now.

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use subtle::ConstantTimeEq;

use crate::secret::Secret;
use crate::telemetry::BadValue;

/// The format of all that is written. A Callboard with another one starts from nothing.
const VERSION: u8 = 1;

const TAG_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// Seals values with the integrity key, or without one so that at least accidents show.
///
/// A sealed value is the format's version, a tag over version, realm, context and value, and the value as it is.
#[derive(Debug)]
pub struct Seal {
    key: Option<hmac::Key>,
    realm: String,
}

impl Seal {
    /// A seal that only one with the same key and of the same realm opens; realms are what different Callboards on one
    /// Redis are told apart by.
    pub fn new(key: Option<&Secret>, realm: &str) -> Self {
        Self { key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.expose())), realm: realm.to_owned() }
    }

    /// `value` under a seal that is good for `context` only, such as the key that it will stand under.
    pub fn seal(&self, context: &str, value: &[u8]) -> Bytes {
        let tag = self.tag(context, value);
        [&[VERSION], tag.as_slice(), value].concat().into()
    }

    /// The value, if it was sealed for `context`.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Option<Bytes> {
        self.judge(context, sealed).ok().map(Bytes::copy_from_slice)
    }

    /// The value, or what is wrong with it.
    pub(super) fn judge<'v>(&self, context: &str, sealed: &'v [u8]) -> Result<&'v [u8], BadValue> {
        let (&version, rest) = sealed.split_first().ok_or(BadValue::Format)?;
        if version != VERSION {
            return Err(BadValue::Version);
        }
        let (tag, value) = rest.split_at_checked(TAG_BYTES).ok_or(BadValue::Format)?;
        let is_ours: bool = self.tag(context, value).as_slice().ct_eq(tag).into();
        if is_ours { Ok(value) } else { Err(BadValue::Integrity) }
    }

    fn tag(&self, context: &str, value: &[u8]) -> Vec<u8> {
        // Each part behind its length, so that nothing of one can pass for a part of the next.
        let lengths = [self.realm.len(), context.len()].map(|length| (length as u64).to_be_bytes());
        let [realm_length, context_length] = &lengths;
        let parts: [&[u8]; 6] =
            [&[VERSION], realm_length, self.realm.as_bytes(), context_length, context.as_bytes(), value];
        match &self.key {
            Some(key) => {
                let mut signing = hmac::Context::with_key(key);
                parts.iter().for_each(|part| signing.update(part));
                signing.sign().as_ref().to_vec()
            }
            None => {
                let mut digesting = digest::Context::new(&digest::SHA256);
                parts.iter().for_each(|part| digesting.update(part));
                digesting.finish().as_ref().to_vec()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals() -> [Seal; 2] {
        [Seal::new(None, "callboard:"), Seal::new(Some(&Secret::new("an integrity key")), "callboard:")]
    }

    #[test]
    fn what_was_sealed_opens_where_it_was_sealed_for() {
        for seal in seals() {
            let sealed = seal.seal("site\0default/component/shop", b"17");
            assert_eq!(seal.open("site\0default/component/shop", &sealed).unwrap(), "17");
            assert_eq!(seal.judge("site\0default/component/other", &sealed), Err(BadValue::Integrity));
            assert_eq!(seal.judge("", &sealed), Err(BadValue::Integrity));
        }
    }

    #[test]
    fn another_key_none_or_another_realm_opens_nothing() {
        let [plain, keyed] = seals();
        let sealed = keyed.seal("x", b"17");
        for other in [
            plain,
            Seal::new(Some(&Secret::new("another key")), "callboard:"),
            Seal::new(Some(&Secret::new("an integrity key")), "staging:"),
        ] {
            assert_eq!(other.judge("x", &sealed), Err(BadValue::Integrity));
            assert_eq!(keyed.judge("x", &other.seal("x", b"17")), Err(BadValue::Integrity));
        }
    }

    #[test]
    fn another_format_is_told_from_a_forgery() {
        for seal in seals() {
            let mut sealed = seal.seal("x", b"17").to_vec();
            sealed[0] = 0;
            assert_eq!(seal.judge("x", &sealed), Err(BadValue::Version));
            assert_eq!(seal.judge("x", b""), Err(BadValue::Format));
            assert_eq!(seal.judge("x", &[VERSION; TAG_BYTES]), Err(BadValue::Format));
        }
    }

    proptest! {
        #[test]
        fn any_change_breaks_the_seal(value: Vec<u8>, at: prop::sample::Index, flip in 1..=u8::MAX) {
            for seal in seals() {
                let sealed = seal.seal("x", &value);
                let mut changed = sealed.to_vec();
                changed[at.index(sealed.len())] ^= flip;
                prop_assert!(seal.open("x", &changed).is_none());
                prop_assert!(seal.open("x", &sealed[..at.index(sealed.len())]).is_none());
            }
        }

        #[test]
        fn nothing_opens_by_chance(value: Vec<u8>) {
            for seal in seals() {
                prop_assert!(seal.open("x", &value).is_none());
            }
        }
    }
}

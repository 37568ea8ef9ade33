//! Entity tags (RFC 9110 §8.8.3).

use http::HeaderValue;

use super::negotiation::Coding;

/// An entity tag as it stands in a header, quotes and `W/` included. It is that of the bytes as they are in storage; each
/// [`Coding`] of them has one of its own that follows from it: `"abc-br"` from `"abc"`.
///
/// Held as text: a header's value costs two and a half times the memory, and the cache keeps a million tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(Box<str>);

impl ETag {
    /// Takes a tag as a store gives it; one that came without quotes gets them. `None` where it can't be a tag.
    pub fn from_store(raw: &str) -> Option<Self> {
        let (weak, opaque) = match raw.strip_prefix("W/") {
            Some(opaque) => ("W/", opaque),
            None => ("", raw),
        };
        let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(opaque);
        if opaque.is_empty() || !opaque.bytes().all(is_tag_byte) {
            return None;
        }
        // Without room to spare: what is cut off at the end of a small block is lost to the allocator.
        let mut text = String::with_capacity(weak.len() + opaque.len() + 2);
        text.extend([weak, "\"", opaque, "\""]);
        Some(Self(text.into_boxed_str()))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag of this coding as a header's value.
    pub fn header(&self, coding: Coding) -> Option<HeaderValue> {
        let (start, end) = (self.0.strip_suffix('"')?, suffix(coding));
        if end.is_empty() {
            return HeaderValue::from_str(&self.0).ok();
        }
        let mut text = String::with_capacity(self.0.len() + end.len());
        text.extend([start, end, "\""]);
        HeaderValue::try_from(text).ok()
    }

    /// Strong comparison of this coding's tag: both strong and the same (RFC 9110 §8.8.3.2).
    pub fn strongly_equals(&self, coding: Coding, other: &[u8]) -> bool {
        !is_weak(self.0.as_bytes()) && is_of(self.0.as_bytes(), coding, other)
    }

    /// Weak comparison of this coding's tag: the same but for `W/`.
    pub fn weakly_equals(&self, coding: Coding, other: &[u8]) -> bool {
        is_of(opaque(self.0.as_bytes()), coding, opaque(other))
    }
}

/// What the tag of a coding has before its last quote.
const fn suffix(coding: Coding) -> &'static str {
    match coding {
        Coding::Br => "-br",
        Coding::Zstd => "-zstd",
        Coding::Gzip => "-gzip",
        Coding::Identity => "",
    }
}

/// Whether `other` is `tag` with this coding's suffix.
fn is_of(tag: &[u8], coding: Coding, other: &[u8]) -> bool {
    let start = tag.strip_suffix(b"\"").unwrap_or(tag);
    other.strip_prefix(start).and_then(|rest| rest.strip_prefix(suffix(coding).as_bytes())) == Some(b"\"")
}

/// Splits a list of entity tags such as `"a", W/"b,c"` into its members; ends at the first that is none.
///
/// Commas inside of quotes belong to the tag, which is why splitting at commas would not do.
pub fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let prefix = if rest.starts_with(b"W/") { 2 } else { 0 };
        let [b'"', inner @ ..] = rest.get(prefix..)? else {
            return None;
        };
        let length = inner.iter().position(|&byte| byte == b'"')?;
        if !inner.get(..length)?.iter().copied().all(is_tag_byte) {
            return None;
        }
        let (tag, tail) = rest.split_at_checked(prefix + 1 + length + 1)?;
        rest = tail;
        Some(tag)
    })
}

/// Whether a header's value is one entity tag and nothing else.
pub fn is_tag(value: &[u8]) -> bool {
    tags(value).next() == Some(value)
}

fn is_tag_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

fn is_weak(tag: &[u8]) -> bool {
    tag.starts_with(b"W/")
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stores_tag_gets_its_quotes() {
        let header =
            |raw| ETag::from_store(raw).map(|tag| tag.header(Coding::Identity).unwrap().to_str().unwrap().to_owned());
        assert_eq!(header("abc").as_deref(), Some("\"abc\""));
        assert_eq!(header("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(header("W/\"abc\"").as_deref(), Some("W/\"abc\""));
        for bad in ["", "\"\"", "a b", "a\"b", "a\nb"] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tag_beyond_ascii_is_sent_as_it_came() {
        assert_eq!(ETag::from_store("ü").unwrap().header(Coding::Identity).unwrap().as_bytes(), "\"ü\"".as_bytes());
    }

    #[test]
    fn lists_are_split_outside_of_quotes() {
        let split = |list: &'static str| tags(list.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split(r#""a", W/"b,c" ,,"d""#), [&b"\"a\""[..], b"W/\"b,c\"", b"\"d\""]);
        assert_eq!(split(r#""a", b, "c""#), [&b"\"a\""[..]]);
        assert_eq!(split(r#""a"#), [&b""[..]; 0]);
        assert_eq!(split("W/"), [&b""[..]; 0]);
    }

    #[test]
    fn weak_tags_never_compare_strongly() {
        let weak = ETag::from_store("W/\"a\"").unwrap();
        let strong = ETag::from_store("a").unwrap();
        for coding in [Coding::Identity, Coding::Br] {
            let [weak_text, strong_text] = [&weak, &strong].map(|tag| tag.header(coding).unwrap());
            assert!(!weak.strongly_equals(coding, weak_text.as_bytes()));
            assert!(!strong.strongly_equals(coding, weak_text.as_bytes()));
            assert!(strong.strongly_equals(coding, strong_text.as_bytes()));
            assert!(weak.weakly_equals(coding, strong_text.as_bytes()));
            assert!(strong.weakly_equals(coding, weak_text.as_bytes()));
        }
    }

    #[test]
    fn each_coding_has_a_tag_of_its_own() {
        let codings = [Coding::Identity, Coding::Br, Coding::Zstd, Coding::Gzip];
        for (raw, texts) in [
            ("a", ["\"a\"", "\"a-br\"", "\"a-zstd\"", "\"a-gzip\""]),
            ("W/\"a\"", ["W/\"a\"", "W/\"a-br\"", "W/\"a-zstd\"", "W/\"a-gzip\""]),
        ] {
            let tag = ETag::from_store(raw).unwrap();
            for (coding, text) in codings.into_iter().zip(texts) {
                assert_eq!(tag.header(coding).unwrap(), text);
                let equal = codings.into_iter().filter(|other| tag.weakly_equals(*other, text.as_bytes()));
                assert_eq!(equal.collect::<Vec<_>>(), [coding]);
            }
        }
        let tag = ETag::from_store("a").unwrap();
        for other in ["\"a-br", "a-br\"", "\"a-brx\"", "\"a\"-br", "\"-br\"", "\"a-br\"\""] {
            assert!(!tag.weakly_equals(Coding::Br, other.as_bytes()), "{other}");
        }
    }
}

//! Entity tags (RFC 9110 §8.8.3).

use http::HeaderValue;

/// An entity tag as it stands in a header, quotes and `W/` included.
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

    /// The tag as a header's value.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// Strong comparison: both strong and the same (RFC 9110 §8.8.3.2).
    pub fn strongly_equals(&self, other: &[u8]) -> bool {
        !is_weak(self.0.as_bytes()) && self.0.as_bytes() == other
    }

    /// Weak comparison: the same but for `W/`.
    pub fn weakly_equals(&self, other: &[u8]) -> bool {
        opaque(self.0.as_bytes()) == opaque(other)
    }
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
        let header = |raw| ETag::from_store(raw).map(|tag| tag.header().unwrap().to_str().unwrap().to_owned());
        assert_eq!(header("abc").as_deref(), Some("\"abc\""));
        assert_eq!(header("\"abc\"").as_deref(), Some("\"abc\""));
        assert_eq!(header("W/\"abc\"").as_deref(), Some("W/\"abc\""));
        for bad in ["", "\"\"", "a b", "a\"b", "a\nb"] {
            assert_eq!(header(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_tag_beyond_ascii_is_sent_as_it_came() {
        assert_eq!(ETag::from_store("ü").unwrap().header().unwrap().as_bytes(), "\"ü\"".as_bytes());
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
        assert!(!weak.strongly_equals(b"W/\"a\"") && !strong.strongly_equals(b"W/\"a\""));
        assert!(strong.strongly_equals(b"\"a\""));
        assert!(weak.weakly_equals(b"\"a\"") && strong.weakly_equals(b"W/\"a\""));
    }
}

//! Conditional requests (RFC 9110 §13).

use std::time::SystemTime;

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};

use super::etag::{self, ETag};

/// What tells one version of a representation from another.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// Its entity tag.
    pub etag: Option<&'a ETag>,
    /// When it last changed, in whole seconds, as `Last-Modified` says it.
    pub last_modified: Option<SystemTime>,
}

/// What a request's preconditions ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the version that the client insists on is not this one.
    PreconditionFailed,
}

/// Weighs the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
///
/// A date that can't be read, or a header that stands twice where only one may, is ignored, as the RFC asks.
pub fn evaluate(headers: &HeaderMap, current: Validators<'_>) -> Verdict {
    if let Some(matched) = any_tag(
        headers,
        &IF_MATCH,
        |tag, other| tag.strongly_equals(other),
        current.etag,
    ) {
        if !matched {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(limit) = date(headers, &IF_UNMODIFIED_SINCE)
        && current.last_modified.is_some_and(|modified| modified > limit)
    {
        return Verdict::PreconditionFailed;
    }
    if let Some(matched) = any_tag(
        headers,
        &IF_NONE_MATCH,
        |tag, other| tag.weakly_equals(other),
        current.etag,
    ) {
        if matched {
            return Verdict::NotModified;
        }
    } else if let Some(since) = date(headers, &IF_MODIFIED_SINCE)
        && current.last_modified.is_some_and(|modified| modified <= since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or it names the current version (RFC 9110 §13.1.5).
pub fn range_applies(headers: &HeaderMap, current: Validators<'_>) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    if etag::is_tag(value.as_bytes()) {
        return current.etag.is_some_and(|tag| tag.strongly_equals(value.as_bytes()));
    }
    let date = value
        .to_str()
        .ok()
        .and_then(|text| httpdate::parse_http_date(text).ok());
    date.is_some() && date == current.last_modified
}

/// Whether a list of tags in `name` holds the current one; `None` where there is no such header.
fn any_tag(
    headers: &HeaderMap,
    name: &HeaderName,
    equals: impl Fn(&ETag, &[u8]) -> bool,
    current: Option<&ETag>,
) -> Option<bool> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    Some(values.any(|value| {
        // `*` means any version at all, and there is one: absence is answered before preconditions are weighed.
        value.as_bytes().trim_ascii() == b"*"
            || current.is_some_and(|tag| etag::tags(value.as_bytes()).any(|other| equals(tag, other)))
    }))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    const THEN: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const LATER: &str = "Thu, 01 Jan 1970 00:16:41 GMT";
    const EARLIER: &str = "Thu, 01 Jan 1970 00:16:39 GMT";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    fn with_current<T>(check: impl Fn(Validators<'_>) -> T) -> T {
        let tag = ETag::from_store("v1").unwrap();
        check(Validators {
            etag: Some(&tag),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(1000)),
        })
    }

    fn verdict(pairs: &[(HeaderName, &str)]) -> Verdict {
        with_current(|current| evaluate(&headers(pairs), current))
    }

    #[test]
    fn tags_decide_before_dates() {
        use Verdict::*;
        for (pairs, expected) in [
            (vec![], Proceed),
            (vec![(IF_NONE_MATCH, "\"v1\"")], NotModified),
            (vec![(IF_NONE_MATCH, "W/\"v1\"")], NotModified),
            (vec![(IF_NONE_MATCH, "*")], NotModified),
            (vec![(IF_NONE_MATCH, "\"v0\", \"v1\"")], NotModified),
            (vec![(IF_NONE_MATCH, "\"v0\""), (IF_NONE_MATCH, "\"v1\"")], NotModified),
            (vec![(IF_NONE_MATCH, "v1")], Proceed),
            (vec![(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, LATER)], Proceed),
            (vec![(IF_MODIFIED_SINCE, THEN)], NotModified),
            (vec![(IF_MODIFIED_SINCE, LATER)], NotModified),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], Proceed),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Proceed),
            (vec![(IF_MODIFIED_SINCE, LATER), (IF_MODIFIED_SINCE, LATER)], Proceed),
            (vec![(IF_MATCH, "\"v1\"")], Proceed),
            (vec![(IF_MATCH, "*")], Proceed),
            (vec![(IF_MATCH, "W/\"v1\"")], PreconditionFailed),
            (vec![(IF_MATCH, "\"v0\"")], PreconditionFailed),
            (vec![(IF_MATCH, "\"v1\""), (IF_UNMODIFIED_SINCE, EARLIER)], Proceed),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], PreconditionFailed),
            (vec![(IF_UNMODIFIED_SINCE, THEN)], Proceed),
            (vec![(IF_UNMODIFIED_SINCE, "nonsense")], Proceed),
            (vec![(IF_MATCH, "\"v1\""), (IF_NONE_MATCH, "\"v1\"")], NotModified),
        ] {
            assert_eq!(verdict(&pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn if_range_wants_the_very_same_version() {
        for (value, expected) in [
            ("\"v1\"", true),
            ("W/\"v1\"", false),
            ("\"v0\"", false),
            (THEN, true),
            (LATER, false),
            (EARLIER, false),
            ("nonsense", false),
            ("\"v1\", \"v2\"", false),
        ] {
            let applies = with_current(|current| range_applies(&headers(&[(IF_RANGE, value)]), current));
            assert_eq!(applies, expected, "{value}");
        }
        assert!(with_current(|current| range_applies(&HeaderMap::new(), current)));
    }

    proptest! {
        #[test]
        fn any_header_gets_a_verdict(value in "[ -~]{0,40}") {
            for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
                let headers = headers(&[(name, value.as_str())]);
                with_current(|current| (evaluate(&headers, current), range_applies(&headers, current)));
            }
        }
    }
}

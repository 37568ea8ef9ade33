//! Conditional requests (RFC 9110 §13).

use std::time::SystemTime;

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};

use super::etag::{self, ETag};
use super::negotiation::{Accepted, Coding};

/// What tells one version of a document from another.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// Its entity tag, from which those of its codings follow.
    pub etag: Option<&'a ETag>,
    /// The codings that the client may be sent: a tag of any of these tells this version.
    pub codings: Accepted,
    /// When it last changed, in whole seconds, as `Last-Modified` says it.
    pub last_modified: Option<SystemTime>,
}

/// What a request's preconditions ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has this version, in this coding where its tag says so.
    NotModified(Option<Coding>),
    /// 412: the version that the client insists on is not this one.
    PreconditionFailed,
}

/// What a GET or HEAD may be made conditional by, ranges apart.
const CONDITIONS: [HeaderName; 4] = [IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH, IF_MODIFIED_SINCE];

/// Weighs the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
///
/// A date that can't be read, or a header that stands twice where only one may, is ignored, as the RFC asks.
pub fn evaluate(headers: &HeaderMap, current: Validators<'_>) -> Verdict {
    // One look at each name that there is costs less than a search for each that there might be.
    if !headers.keys().any(|name| CONDITIONS.contains(name)) {
        return Verdict::Proceed;
    }
    match any_tag(headers, &IF_MATCH, ETag::strongly_equals, current) {
        Some(Known::Nothing) => return Verdict::PreconditionFailed,
        Some(Known::Coding(_) | Known::Anything) => {}
        None => {
            let limit = date(headers, &IF_UNMODIFIED_SINCE);
            if limit.is_some_and(|limit| current.last_modified.is_some_and(|modified| modified > limit)) {
                return Verdict::PreconditionFailed;
            }
        }
    }
    match any_tag(headers, &IF_NONE_MATCH, ETag::weakly_equals, current) {
        Some(Known::Nothing) => {}
        Some(Known::Coding(coding)) => return Verdict::NotModified(Some(coding)),
        Some(Known::Anything) => return Verdict::NotModified(None),
        None => {
            let since = date(headers, &IF_MODIFIED_SINCE);
            if since.is_some_and(|since| current.last_modified.is_some_and(|modified| modified <= since)) {
                return Verdict::NotModified(None);
            }
        }
    }
    Verdict::Proceed
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or it names the current version (RFC 9110 §13.1.5) as it is,
/// since parts are sent of nothing else.
pub fn range_applies(headers: &HeaderMap, current: Validators<'_>) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    let Some(value) = values.next() else { return true };
    if values.next().is_some() {
        return false;
    }
    if etag::is_tag(value.as_bytes()) {
        return current.etag.is_some_and(|tag| tag.strongly_equals(Coding::Identity, value.as_bytes()));
    }
    let date = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    date.is_some() && date == current.last_modified
}

/// What a list of tags says that the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// None that the current version has.
    Nothing,
    /// The current version, in this coding.
    Coding(Coding),
    /// Any version at all.
    Anything,
}

/// What the list of tags in `name` says; `None` where there is no such header.
fn any_tag(
    headers: &HeaderMap,
    name: &HeaderName,
    equals: impl Fn(&ETag, Coding, &[u8]) -> bool,
    current: Validators<'_>,
) -> Option<Known> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let known = values.find_map(|value| {
        // `*` means any version at all, and there is one: absence is answered before preconditions are weighed.
        if value.as_bytes().trim_ascii() == b"*" {
            return Some(Known::Anything);
        }
        let tag = current.etag?;
        let coding = |other| current.codings.all().find(|coding| equals(tag, *coding, other));
        etag::tags(value.as_bytes()).find_map(coding).map(Known::Coding)
    });
    Some(known.unwrap_or(Known::Nothing))
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

    use http::header::ACCEPT_ENCODING;
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
        let last_modified = Some(UNIX_EPOCH + Duration::from_secs(1000));
        check(Validators { etag: Some(&tag), codings: Accepted::IDENTITY, last_modified })
    }

    fn verdict(pairs: &[(HeaderName, &str)]) -> Verdict {
        with_current(|current| evaluate(&headers(pairs), current))
    }

    #[test]
    fn tags_decide_before_dates() {
        use Verdict::{PreconditionFailed, Proceed};
        let known = Verdict::NotModified(Some(Coding::Identity));
        let unchanged = Verdict::NotModified(None);
        for (pairs, expected) in [
            (vec![], Proceed),
            (vec![(IF_NONE_MATCH, "\"v1\"")], known),
            (vec![(IF_NONE_MATCH, "W/\"v1\"")], known),
            (vec![(IF_NONE_MATCH, "*")], unchanged),
            (vec![(IF_NONE_MATCH, "\"v0\", \"v1\"")], known),
            (vec![(IF_NONE_MATCH, "\"v0\""), (IF_NONE_MATCH, "\"v1\"")], known),
            (vec![(IF_NONE_MATCH, "v1")], Proceed),
            (vec![(IF_NONE_MATCH, "\"v0\""), (IF_MODIFIED_SINCE, LATER)], Proceed),
            (vec![(IF_MODIFIED_SINCE, THEN)], unchanged),
            (vec![(IF_MODIFIED_SINCE, LATER)], unchanged),
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
            (vec![(IF_MATCH, "\"v1\""), (IF_NONE_MATCH, "\"v1\"")], known),
        ] {
            assert_eq!(verdict(&pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_version_is_known_by_the_tag_of_any_coding_that_the_client_takes() {
        let judged = |accepted: &str, name: HeaderName, value: &str| {
            let headers = headers(&[(ACCEPT_ENCODING, accepted), (name, value)]);
            with_current(|current| evaluate(&headers, Validators { codings: Accepted::of(&headers), ..current }))
        };
        let known = |coding| Verdict::NotModified(Some(coding));
        for (accepted, value, expected) in [
            ("br, gzip", "\"v1-br\"", known(Coding::Br)),
            ("br, gzip", "W/\"v1-gzip\"", known(Coding::Gzip)),
            ("br, gzip", "\"v1\"", known(Coding::Identity)),
            ("br, gzip", "\"v1-zstd\"", Verdict::Proceed),
            ("br, gzip", "\"v1-zstd\", \"v1-gzip\"", known(Coding::Gzip)),
            ("br, identity;q=0", "\"v1\"", Verdict::Proceed),
            ("identity", "\"v1-br\"", Verdict::Proceed),
            ("br", "\"v0-br\"", Verdict::Proceed),
            ("br", "*", Verdict::NotModified(None)),
        ] {
            assert_eq!(judged(accepted, IF_NONE_MATCH, value), expected, "{accepted}: {value}");
        }
        assert_eq!(judged("br", IF_MATCH, "\"v1-br\""), Verdict::Proceed);
        assert_eq!(judged("gzip", IF_MATCH, "\"v1-br\""), Verdict::PreconditionFailed);
        assert_eq!(judged("br", IF_MATCH, "W/\"v1-br\""), Verdict::PreconditionFailed);
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
            ("\"v1-br\"", false),
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

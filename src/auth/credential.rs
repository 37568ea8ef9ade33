//! What a request presents, borrowed from its headers.

use std::fmt;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::certificate::PeerCertificate;
use super::error::AuthError;

/// Longest token that is looked at, in bytes. Backstage's are about 290, 710 with `obo`; 16 KiB is also what Node's
/// HTTP server takes for all headers together, so nothing longer can have worked before.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The cookie that `@backstage/backend-defaults` (`httpAuthServiceFactory`) issues; it holds a limited user token.
const COOKIE_NAME: &[u8] = b"backstage-auth";

/// What is wrong with what is no token at all.
const IMPOSSIBLE: &str = "the credential is empty or holds impossible characters";

/// What is asked for, as far as it decides which credentials are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A file of a site, which a browser fetches with nothing but its cookie: limited user tokens will do.
    StaticFile,
    /// Everything else.
    Other,
}

/// What a request presents. It has been looked at no further than its syntax.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// Nothing.
    Absent,
    /// `Authorization: Bearer …`.
    Bearer {
        /// The token: visible ASCII, at most 16 KiB.
        token: &'a [u8],
        /// What it is shown for.
        resource: Resource,
    },
    /// The cookie `backstage-auth`, which is looked at for static files only.
    Cookie(&'a [u8]),
    /// No token; but the connection's client has shown a certificate.
    Certificate(&'a PeerCertificate),
}

impl<'a> Credential<'a> {
    /// Finds the credential in `headers`.
    ///
    /// A bearer token goes before the cookie, whatever either is worth: a request with a bad bearer token is refused
    /// even beside a good cookie. Another scheme, or a header that can't be read as a bearer token, leaves a cookie to
    /// decide, as `httpAuthServiceFactory` does. The cookie counts for static files, and only where `cookies` says so.
    ///
    /// # Errors
    ///
    /// Where there is a credential, but none that could be verified: several `Authorization` headers, a scheme other
    /// than `Bearer`, a token with impossible characters or beyond 16 KiB.
    pub fn from_headers(headers: &'a HeaderMap, resource: Resource, cookies: bool) -> Result<Self, AuthError> {
        let authorization = Authorization::from_headers(headers)?;
        if let Authorization::Bearer(token) = authorization {
            return Ok(Self::Bearer { token, resource });
        }
        if cookies
            && resource == Resource::StaticFile
            && let Some(token) = cookie(headers)?
        {
            return Ok(Self::Cookie(token));
        }
        match authorization {
            Authorization::Other => Err(AuthError::Scheme),
            _ => Ok(Self::Absent),
        }
    }

    /// The same, or the connection's certificate where the request presents nothing: a token decides first.
    pub fn or_certificate(self, peer: Option<&'a PeerCertificate>) -> Self {
        match (self, peer) {
            (Self::Absent, Some(peer)) => Self::Certificate(peer),
            _ => self,
        }
    }

    /// The presented token.
    pub(super) fn token(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Absent | Self::Certificate(_) => None,
            Self::Bearer { token, .. } | Self::Cookie(token) => Some(token),
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Bearer { resource, .. } => write!(f, "Bearer(***, {resource:?})"),
            Self::Cookie(_) => f.write_str("Cookie(***)"),
            Self::Certificate(peer) => write!(f, "{peer:?}"),
        }
    }
}

/// What the `Authorization` header says.
enum Authorization<'a> {
    Absent,
    Bearer(&'a [u8]),
    /// Another scheme, or no token or several words behind ours.
    Other,
}

impl<'a> Authorization<'a> {
    fn from_headers(headers: &'a HeaderMap) -> Result<Self, AuthError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(Self::Absent);
        };
        if values.next().is_some() {
            // Whoever stands in front of us may have looked at the other one.
            return Err(AuthError::SeveralAuthorizations);
        }
        let Some(word) = word_after_bearer(value.as_bytes()) else { return Ok(Self::Other) };
        match token(word) {
            // Several words.
            Err(_) if word.iter().any(u8::is_ascii_whitespace) => Ok(Self::Other),
            token => token.map(Self::Bearer),
        }
    }
}

/// What stands behind the scheme, in any case, and one space or more.
fn word_after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer".len())?;
    let start = rest.iter().position(|&byte| byte != b' ')?;
    let word = rest.get(start..)?;
    let readable = scheme.eq_ignore_ascii_case(b"bearer") && start > 0;
    readable.then_some(word)
}

/// The first `backstage-auth` cookie that holds anything. HTTP/2 clients may spread cookies over several headers
/// (RFC 9113 §8.2.3).
fn cookie(headers: &HeaderMap) -> Result<Option<&[u8]>, AuthError> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = pair.split_at(equals);
            (name.trim_ascii() == COOKIE_NAME).then(|| unquoted(value.get(1..).unwrap_or_default().trim_ascii()))
        })
        .find(|value| !value.is_empty())
        .map(token)
        .transpose()
}

/// A cookie's value may stand in double quotes (RFC 6265 §4.1.1).
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// A token that has passed as one, for those who take it apart; whoever only looks it up does without.
pub(super) fn text(token: &[u8]) -> Result<&str, AuthError> {
    std::str::from_utf8(token).map_err(|_| AuthError::Malformed(IMPOSSIBLE))
}

/// Takes `bytes` for a token if it can be one at all.
fn token(bytes: &[u8]) -> Result<&[u8], AuthError> {
    if bytes.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::TooLarge { bytes: bytes.len() });
    }
    // All are looked at before any is judged: that way several are at a time.
    let is_graphic = bytes.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
    if is_graphic && !bytes.is_empty() { Ok(bytes) } else { Err(AuthError::Malformed(IMPOSSIBLE)) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn found(list: &[(&'static str, &str)]) -> String {
        match Credential::from_headers(&headers(list), Resource::StaticFile, true) {
            Ok(Credential::Absent) => "absent".to_owned(),
            Ok(Credential::Bearer { token, .. }) => format!("bearer {}", token.escape_ascii()),
            Ok(Credential::Cookie(token)) => format!("cookie {}", token.escape_ascii()),
            Ok(Credential::Certificate(_)) => "certificate".to_owned(),
            Err(error) => error.reason().to_owned(),
        }
    }

    #[test]
    fn scheme_is_case_insensitive_and_may_be_followed_by_several_spaces() {
        assert_eq!(found(&[("authorization", "Bearer abc")]), "bearer abc");
        assert_eq!(found(&[("authorization", "bEARER    abc")]), "bearer abc");
    }

    #[test]
    fn bearer_that_is_no_token_is_refused() {
        assert_eq!(found(&[("authorization", "Bearer \u{e4}")]), "malformed");
        for value in ["Bearer", "Bearer ", "Bearer a b", "bearer a\tb", "Bearer\ta", "Beareré", ""] {
            assert_eq!(found(&[("authorization", value)]), "scheme", "{value:?}");
            assert_eq!(found(&[("authorization", value), ("cookie", "backstage-auth=c")]), "cookie c", "{value:?}");
        }
    }

    #[test]
    fn bearer_goes_before_the_cookie_even_if_it_is_bad() {
        assert_eq!(found(&[("authorization", "Bearer a"), ("cookie", "backstage-auth=c")]), "bearer a");
        assert_eq!(found(&[("authorization", "Bearer \u{e4}"), ("cookie", "backstage-auth=c")]), "malformed");
    }

    #[test]
    fn other_scheme_is_refused_unless_there_is_a_cookie() {
        assert_eq!(found(&[("authorization", "Basic eA=="), ("cookie", "backstage-auth=c")]), "cookie c");
        assert_eq!(found(&[("authorization", "Basic eA==")]), "scheme");
        assert_eq!(found(&[("authorization", "BearerX abc")]), "scheme");
    }

    #[test]
    fn several_authorization_headers_are_refused() {
        assert_eq!(found(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]), "several_headers");
    }

    #[test]
    fn cookie_is_found_among_others_quoted_and_over_several_headers() {
        assert_eq!(found(&[("cookie", "a=b; backstage-auth=\"c\"; d")]), "cookie c");
        assert_eq!(found(&[("cookie", "a=\u{fc}"), ("cookie", " backstage-auth = c ")]), "cookie c");
        assert_eq!(found(&[("cookie", "backstage-auth=; backstage-auth=c")]), "cookie c");
        assert_eq!(found(&[("cookie", "xbackstage-auth=c; backstage-authx=c; backstage-auth")]), "absent");
    }

    #[test]
    fn cookie_is_looked_at_for_static_files_and_where_switched_on() {
        let headers = headers(&[("cookie", "backstage-auth=c")]);
        for (resource, cookies) in [(Resource::Other, true), (Resource::StaticFile, false)] {
            assert_eq!(Credential::from_headers(&headers, resource, cookies).unwrap(), Credential::Absent);
        }
    }

    #[test]
    fn oversized_token_is_refused() {
        let fits = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES));
        assert!(found(&[("authorization", &fits)]).starts_with("bearer"));
        assert_eq!(found(&[("authorization", &format!("{fits}a"))]), "too_large");
        assert_eq!(found(&[("cookie", &format!("backstage-auth={}", "a".repeat(MAX_TOKEN_BYTES + 1)))]), "too_large");
    }

    #[test]
    fn debug_hides_the_token() {
        let bearer = Credential::Bearer { token: b"hunter2", resource: Resource::Other };
        assert!(!format!("{bearer:?} {:?}", Credential::Cookie(b"hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_headers_are_parsed_without_panic_into_a_usable_token(
            authorization in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..3),
            cookies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..3),
            prefix in proptest::sample::select(vec!["", "Bearer ", "backstage-auth="]),
        ) {
            let mut headers = HeaderMap::new();
            for (name, values) in [(AUTHORIZATION, authorization), (COOKIE, cookies)] {
                for value in values {
                    let value = [prefix.as_bytes(), &value].concat();
                    if let Ok(value) = HeaderValue::from_bytes(&value) {
                        headers.append(name.clone(), value);
                    }
                }
            }
            if let Ok(credential) = Credential::from_headers(&headers, Resource::StaticFile, true)
                && let Some(token) = credential.token()
            {
                prop_assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
            }
        }
    }
}

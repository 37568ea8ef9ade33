//! Whom a request is for (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! Callboard is one site and looks its documents up by path alone. What a request says about the host is checked all the
//! same: those in front of us choose by it, and a request that can be read in two ways is how they are deceived.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Uri, Version};

/// What is wrong with a request's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongHost {
    /// There is none, or an empty one.
    Missing,
    /// There is more than one `Host` header.
    Several,
    /// It is no host with an optional port, or the target is for another scheme than HTTP.
    Malformed,
    /// `Host` and `:authority` differ.
    Contradictory,
}

/// Checks whom a request is for.
///
/// - HTTP/1.1 needs exactly one `Host` header. Where the target is absolute (`GET http://host/path`) the target's host
///   counts, and `Host` must be there all the same.
/// - HTTP/1.0 may come without.
/// - HTTP/2 needs `:authority` or `Host`; both must name the same.
///
/// # Errors
/// Where one of these, or the form of either, is violated.
pub fn check(head: &Parts) -> Result<(), WrongHost> {
    let host = single_host(&head.headers)?;
    check_target(&head.uri)?;
    if head.version >= Version::HTTP_2 {
        let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
        return match (authority, host) {
            (None, None) => Err(WrongHost::Missing),
            (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(WrongHost::Contradictory),
            _ => Ok(()),
        };
    }
    if host.is_none() && head.version == Version::HTTP_11 { Err(WrongHost::Missing) } else { Ok(()) }
}

/// The value of the one `Host` header that there may be, well-formed.
fn single_host(headers: &HeaderMap) -> Result<Option<&[u8]>, WrongHost> {
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(WrongHost::Several);
    }
    match host.as_bytes() {
        b"" => Err(WrongHost::Missing),
        host if is_host_and_port(host) => Ok(Some(host)),
        _ => Err(WrongHost::Malformed),
    }
}

/// A host in the target, as absolute targets and HTTP/2 have it, must be well-formed, and of HTTP.
fn check_target(target: &Uri) -> Result<(), WrongHost> {
    let is_http = target.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    let host_is_well_formed =
        target.authority().is_none_or(|authority| is_host_and_port(authority.as_str().as_bytes()));
    if is_http && host_is_well_formed { Ok(()) } else { Err(WrongHost::Malformed) }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), with a name that is not empty and a port that exists. User names, which the
/// grammar leaves no place for, are refused with the rest.
fn is_host_and_port(text: &[u8]) -> bool {
    let end = match text {
        [b'[', ..] => text.iter().position(|&byte| byte == b']').map_or(text.len(), |end| end + 1),
        _ => text.iter().position(|&byte| byte == b':').unwrap_or(text.len()),
    };
    let Some((host, port)) = text.split_at_checked(end) else { return false };
    is_host(host) && is_port(port)
}

fn is_host(host: &[u8]) -> bool {
    if let Some(literal) = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        return std::str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
    }
    // Nearly all names are of these alone, and compilers look at many bytes at a time.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'.') | (byte == b'-');
    let is_name = || host.iter().all(|&byte| is_name(byte)) && percent_signs_are_encodings(host);
    !host.is_empty() && (host.iter().fold(true, |all, &byte| all & is_plain(byte)) || is_name())
}

/// What a name is made of (RFC 3986 §3.2.2).
const fn is_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

fn percent_signs_are_encodings(host: &[u8]) -> bool {
    host.split(|&byte| byte == b'%')
        .skip(1)
        .all(|rest| matches!(rest, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn is_port(text: &[u8]) -> bool {
    match text {
        b"" => true,
        [b':', digits @ ..] => {
            let number = digits.iter().fold(0_u32, |number, &digit| {
                number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
            });
            digits.iter().all(u8::is_ascii_digit) && number <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn checked(version: Version, target: &str, hosts: &[&str]) -> Result<(), WrongHost> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for host in
            ["docs", "docs.example.com:7008", "127.0.0.1:80", "[::1]:7008", "[::1]", "a_b", "x%20y", "docs:", "web.1"]
        {
            assert_eq!(checked(Version::HTTP_11, "/", &[host]), Ok(()), "{host}");
        }
        for host in ["a b", "a/b", "a@b", "a:b", "a:99999", "[::1", "[x]", "a,b:1:2", "::1", ":80", "%zz", "a?"] {
            assert_eq!(checked(Version::HTTP_11, "/", &[host]), Err(WrongHost::Malformed), "{host}");
        }
    }

    #[test]
    fn http_1_1_needs_exactly_one() {
        assert_eq!(checked(Version::HTTP_11, "/", &[]), Err(WrongHost::Missing));
        assert_eq!(checked(Version::HTTP_11, "/", &[""]), Err(WrongHost::Missing));
        assert_eq!(checked(Version::HTTP_11, "/", &["a", "a"]), Err(WrongHost::Several));
        assert_eq!(checked(Version::HTTP_10, "/", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_10, "/", &["a", "b"]), Err(WrongHost::Several));
    }

    #[test]
    fn an_absolute_target_names_the_host_and_needs_the_header_all_the_same() {
        assert_eq!(checked(Version::HTTP_11, "http://a/x", &["b"]), Ok(()));
        assert_eq!(checked(Version::HTTP_11, "http://a/x", &[]), Err(WrongHost::Missing));
        assert_eq!(checked(Version::HTTP_11, "http://me@a/x", &["a"]), Err(WrongHost::Malformed));
        assert_eq!(checked(Version::HTTP_11, "ftp://a/x", &["a"]), Err(WrongHost::Malformed));
    }

    #[test]
    fn http_2_needs_one_of_both_and_no_contradiction() {
        assert_eq!(checked(Version::HTTP_2, "http://a:1/x", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "http://a:1/x", &["A:1"]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "http://a:1/x", &["b"]), Err(WrongHost::Contradictory));
        assert_eq!(checked(Version::HTTP_2, "/x", &["b"]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, "/x", &[]), Err(WrongHost::Missing));
    }

    proptest! {
        #[test]
        fn what_passes_is_also_an_authority(host in proptest::collection::vec(any::<u8>(), 0..40)) {
            if is_host_and_port(&host) {
                prop_assert!(http::uri::Authority::try_from(host.as_slice()).is_ok());
            }
        }
    }
}

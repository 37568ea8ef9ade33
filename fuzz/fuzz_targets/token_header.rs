//! Any headers give a token that can be one, or none.
//!
//! Each line of the input is a header: `A` and `C` say which, what follows is its value.

#![no_main]

use callboard::auth::{Credential, Resource};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const LONGEST: usize = 16 * 1024;

fuzz_target!(|input: &[u8]| {
    let headers = headers(input);
    for resource in [Resource::StaticFile, Resource::Other] {
        for cookies in [false, true] {
            check(&headers, resource, cookies);
        }
    }
});

fn headers(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|&byte| byte == b'\n').take(16) {
        let (name, value) = match line.split_first() {
            Some((b'A', value)) => (AUTHORIZATION, value),
            Some((b'C', value)) => (COOKIE, value),
            _ => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

fn check(headers: &HeaderMap, resource: Resource, cookies: bool) {
    let authorizations = headers.get_all(AUTHORIZATION).iter().count();
    match Credential::from_headers(headers, resource, cookies) {
        Ok(Credential::Absent) => assert_eq!(authorizations, 0),
        Ok(Credential::Bearer { token, resource: shown_for }) => {
            assert_eq!(authorizations, 1);
            assert_eq!(shown_for, resource);
            check_token(token, headers.get_all(AUTHORIZATION).iter());
        }
        Ok(Credential::Cookie(token)) => {
            assert!(cookies && resource == Resource::StaticFile && authorizations <= 1);
            check_token(token, headers.get_all(COOKIE).iter());
        }
        Ok(Credential::Certificate(_)) => unreachable!("no header makes a certificate"),
        Err(refused) => {
            assert!(matches!(refused.status().as_u16(), 401 | 403 | 503));
            assert!(!refused.reason().is_empty() && !refused.public_message().is_empty());
        }
    }
}

fn check_token<'a>(token: &[u8], mut headers: impl Iterator<Item = &'a HeaderValue>) {
    assert!(!token.is_empty() && token.len() <= LONGEST && token.iter().all(u8::is_ascii_graphic));
    assert!(headers.any(|header| header.as_bytes().windows(token.len()).any(|part| part == token)));
}

//! A token in JWS compact form (RFC 7515 §7.1), taken apart but not yet believed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::algorithm;
use super::claims::Claims;
use super::error::AuthError;

/// What a token says it is. Backstage puts it in the header (`@backstage/plugin-auth-node`, `tokenTypes`), so that no
/// kind is ever tried with another kind's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `vnd.backstage.plugin`.
    Plugin,
    /// `vnd.backstage.user`.
    User,
    /// `vnd.backstage.limited-user`.
    LimitedUser,
    /// Before Backstage 1.24: no such type, and the audience `backstage`.
    OldUser,
    /// Anything else, to be recognised by an external caller's configuration.
    External,
}

/// A token taken apart. Nothing in it is to be believed before its signature is verified.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    header: Map<String, Value>,
    pub(super) claims: Claims,
    /// What the signature is over: the first two parts with their dot.
    signed: &'a [u8],
    /// In base64url.
    signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes `token` apart. Only `typ`, `alg`, `kid` and `crit` of the header mean anything here: keys that a token
    /// brings or points to itself (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
    pub(super) fn parse(token: &'a str) -> Result<Self, AuthError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed("not three parts"))?;
        let (header, payload) = signed.split_once('.').ok_or(AuthError::Malformed("not three parts"))?;
        if payload.contains('.') {
            return Err(AuthError::Malformed("not three parts"));
        }
        let header = json_object(header).ok_or(AuthError::Malformed("header is not a JSON object"))?;
        let payload = json_object(payload).ok_or(AuthError::Malformed("payload is not a JSON object"))?;
        if header.contains_key("crit") {
            return Err(AuthError::Critical);
        }
        // `jsonwebtoken` takes the text, but what is malformed is to be refused before any key is looked for.
        decode(signature).ok_or(AuthError::Malformed("signature is not base64url"))?;
        Ok(Self { header, claims: Claims::new(payload), signed: signed.as_bytes(), signature })
    }

    pub(super) fn kind(&self) -> TokenKind {
        match self.header_text("typ") {
            Some("vnd.backstage.plugin") => TokenKind::Plugin,
            Some("vnd.backstage.user") => TokenKind::User,
            Some("vnd.backstage.limited-user") => TokenKind::LimitedUser,
            _ if self.claims.text("aud") == Some("backstage") => TokenKind::OldUser,
            _ => TokenKind::External,
        }
    }

    /// The name of the algorithm, empty where there is none.
    pub(super) fn algorithm_name(&self) -> &str {
        self.header_text("alg").unwrap_or_default()
    }

    /// The algorithm, if it is one that a published key may be used with.
    pub(super) fn algorithm(&self) -> Result<Algorithm, AuthError> {
        let name = self.algorithm_name();
        algorithm::accepted(name).ok_or_else(|| AuthError::Algorithm(name.to_owned()))
    }

    /// Whether `key` signed it, used with `algorithm`; what the header says of either is for the caller to compare.
    pub(super) fn is_signed_with(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        matches!(crypto::verify(self.signature, self.signed, key, algorithm), Ok(true))
    }

    /// Which of the issuer's keys signed it.
    pub(super) fn kid(&self) -> Option<&str> {
        self.header_text("kid")
    }

    /// The same for kinds of token whose issuers always say it.
    pub(super) fn named_key(&self) -> Result<&str, AuthError> {
        self.kid().ok_or(AuthError::UnknownKey { kid: None })
    }

    fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }
}

fn json_object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decode(part)?).ok().map(|Members(members)| members)
}

/// The members of a JSON object, none of which comes twice: which of them counted would be anyone's guess, and so
/// RFC 7515 §4 and RFC 7519 §4 allow to refuse them.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
        let mut members = Map::new();
        while let Some((name, value)) = access.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("member given twice"));
            }
        }
        Ok(Members(members))
    }
}

/// Base64url as RFC 7515 §2 wants it: no padding, no stray bits at the end, so that no two spellings mean the same.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn member_that_comes_twice_is_refused() {
        assert!(Jws::parse(&token(r#"{"kid":"a"}"#, r#"{"sub":"a"}"#)).is_ok());
        assert!(Jws::parse(&token(r#"{"kid":"a","kid":"a"}"#, r#"{"sub":"a"}"#)).is_err());
        assert!(Jws::parse(&token(r#"{"kid":"a"}"#, r#"{"sub":"a","sub":null}"#)).is_err());
        assert!(Jws::parse(&token(r#"{"kid":"a"}"#, r#"{"sub":"a","s\u0075b":"b"}"#)).is_err());
    }

    #[test]
    fn only_one_spelling_of_the_parts_is_accepted() {
        assert!(Jws::parse("e30.e30.YQ").is_ok());
        for token in ["e30.e30.YR", "e30.e30.YQ==", "e30.e30.Y Q", "e31.e30.YQ", "e30=.e30.YQ", "e30.e30.+/+/"] {
            assert!(Jws::parse(token).is_err(), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,100}") {
            let _ = Jws::parse(&text);
        }

        #[test]
        fn any_header_and_payload_are_looked_at_without_panic(
            header in r#"\{("(typ|alg|kid|crit)":("x"|1|null|\[\]|"vnd.backstage.plugin"),?){0,4}\}"#,
            payload in r#"\{("(sub|aud|exp|iat)":("backstage"|-1e400|9|null|\{\}|\[1,"a"\]),?){0,4}\}"#,
        ) {
            if let Ok(jws) = Jws::parse(&token(&header, &payload)) {
                let _ = (jws.kind(), jws.algorithm(), jws.kid(), jws.claims.audiences(), jws.claims.subject());
            }
        }
    }
}

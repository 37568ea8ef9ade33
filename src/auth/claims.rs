//! A token's claims, and the rules about when it is good (RFC 7519 §4.1).

use std::time::Duration;

use serde_json::{Map, Value};

use super::error::AuthError;
use crate::clock::Timestamp;

/// A token's payload.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// Whether a kind of token must say when it was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IssuedAt {
    Required,
    Optional,
}

impl Claims {
    pub(super) const fn new(payload: Map<String, Value>) -> Self {
        Self(payload)
    }

    /// A claim that is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Whether a claim is there and true.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// `sub`, which no kind of token does without.
    pub(super) fn subject(&self) -> Result<&str, AuthError> {
        match self.present("sub") {
            None => Err(AuthError::MissingClaim("sub")),
            Some(Value::String(subject)) if !subject.is_empty() => Ok(subject),
            Some(_) => Err(AuthError::Subject),
        }
    }

    /// Whether the claim is there; `null` is as good as absent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.present(name).is_some()
    }

    /// Whether the claim is there, be it `null`.
    pub(super) fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// `aud`: one string or a list (RFC 7519 §4.1.3).
    pub(super) fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(audience)) => vec![audience],
            Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Checks `exp` and `nbf` and returns `exp`. An `iat` has to be a time and, for Backstage's tokens, to be there; one in
    /// the future only tells that the issuer's clock is ahead of ours, and is taken as upstream takes it.
    pub(super) fn lifetime(&self, now: Timestamp, tolerance: Duration, iat: IssuedAt) -> Result<Timestamp, AuthError> {
        let expired_at = self.instant("exp")?.ok_or(AuthError::MissingClaim("exp"))?;
        // At that very instant it has expired, not after it (RFC 7519 §4.1.4).
        if now >= expired_at.plus(tolerance) {
            return Err(AuthError::Expired { expired_at, now });
        }
        if iat == IssuedAt::Required && !self.has("iat") {
            return Err(AuthError::MissingClaim("iat"));
        }
        self.instant("iat")?;
        match self.instant("nbf")? {
            Some(starts_at) if starts_at > now.plus(tolerance) => Err(AuthError::NotYetValid { starts_at, now }),
            _ => Ok(expired_at),
        }
    }

    /// A `NumericDate`: seconds since the epoch, fractions allowed (RFC 7519 §2).
    fn instant(&self, name: &str) -> Result<Option<Timestamp>, AuthError> {
        let Some(value) = self.present(name) else {
            return Ok(None);
        };
        let seconds = value.as_f64().ok_or(AuthError::Malformed("a time that is not a number"))?;
        // `as` saturates: before the epoch is the epoch, and what no clock will ever show is the end of time.
        Ok(Some(Timestamp::from_millis((seconds * 1000.0) as u64)))
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const TOLERANCE: Duration = Duration::from_secs(5);

    fn verdict(payload: Value) -> Result<u64, &'static str> {
        let Value::Object(payload) = payload else { panic!("not an object") };
        let lifetime = Claims::new(payload).lifetime(NOW, TOLERANCE, IssuedAt::Required);
        lifetime.map(Timestamp::as_millis).map_err(|error| error.reason())
    }

    #[test]
    fn token_is_good_until_exp_plus_tolerance() {
        assert_eq!(verdict(json!({"iat": 999_000, "exp": 1_000_010})), Ok(1_000_010_000));
        assert_eq!(verdict(json!({"iat": 999_000, "exp": 999_995.001})), Ok(999_995_001));
        assert_eq!(verdict(json!({"iat": 999_000, "exp": 999_995})), Err("expired"));
        assert_eq!(verdict(json!({"iat": 999_000, "exp": -1})), Err("expired"));
        assert_eq!(verdict(json!({"iat": 999_000, "exp": 1e300})), Ok(u64::MAX));
    }

    #[test]
    fn token_is_good_from_nbf_less_tolerance_whenever_it_was_issued() {
        assert!(verdict(json!({"iat": 1_000_005, "nbf": 1_000_005, "exp": 1_000_010})).is_ok());
        assert!(verdict(json!({"iat": 1_000_009, "exp": 1_000_010})).is_ok());
        assert_eq!(verdict(json!({"iat": 1, "nbf": 1_000_006, "exp": 1_000_010})), Err("not_yet_valid"));
    }

    #[test]
    fn times_must_be_there_and_be_numbers() {
        assert_eq!(verdict(json!({"iat": 1})), Err("missing_claim"));
        assert_eq!(verdict(json!({"iat": 1, "exp": null})), Err("missing_claim"));
        assert_eq!(verdict(json!({"exp": 1_000_010})), Err("missing_claim"));
        assert_eq!(verdict(json!({"iat": 1, "exp": "1000010"})), Err("malformed"));
        assert_eq!(verdict(json!({"iat": true, "exp": 1_000_010})), Err("malformed"));
        assert_eq!(verdict(json!({"iat": 1, "nbf": [], "exp": 1_000_010})), Err("malformed"));
    }

    #[test]
    fn audience_is_a_string_or_a_list() {
        let claims = |payload: Value| Claims::new(payload.as_object().unwrap().clone());
        assert_eq!(claims(json!({"aud": "a"})).audiences(), ["a"]);
        assert_eq!(claims(json!({"aud": ["a", 1, "b"]})).audiences(), ["a", "b"]);
        assert!(claims(json!({"aud": {"a": 1}})).audiences().is_empty());
    }
}

//! Public keys as issuers publish them, a JWK set (RFC 7517), parsed once and ready to verify with.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::algorithm;
use super::error::AuthError;
use super::jws::Jws;

/// Keys beyond this number are left out. Fifty replicas that each made a new key every hour and published it for three
/// would publish 150.
const MAX_KEYS: usize = 1_000;

/// A longer `kid` is no key's: it bounds what remembering an unknown one can cost.
pub(super) const MAX_KID_BYTES: usize = 256;

/// The public keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Arc<[PublicKey]>,
    skipped: usize,
}

/// A document that is no JWK set.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or no `keys` in it.
    #[error("not a JWK set")]
    Malformed(#[source] Arc<serde_json::Error>),
}

impl KeySet {
    /// Reads a JWK set. Keys of unknown type, for other uses or with impossible values are skipped and counted: they
    /// do the others no harm (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// Where `json` is not an object with a list called `keys`.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document =
            serde_json::from_slice(json).map_err(|error| KeySetError::Malformed(Arc::new(error)))?;
        let published = document.keys.len();
        let keys: Arc<[PublicKey]> = document.keys.into_iter().filter_map(PublicKey::from_jwk).take(MAX_KEYS).collect();
        let skipped = published.saturating_sub(keys.len());
        Ok(Self { keys, skipped })
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable. A plugin that has not signed anything yet publishes such a set.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many published keys were left out.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether there is a key called `kid`; with no name to go by, whether there is any.
    pub(super) fn knows(&self, kid: Option<&str>) -> bool {
        match kid {
            Some(kid) => self.keys.iter().any(|key| key.kid.as_deref() == Some(kid)),
            None => !self.is_empty(),
        }
    }

    /// Verifies the signature of `jws` with the key that it names. A token that names none is good only where no more
    /// than one key could have signed it, as `jose` has it.
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Result<(), AuthError> {
        let algorithm = jws.algorithm()?;
        let kid = jws.kid();
        if !self.knows(kid) {
            return Err(unknown_key(kid));
        }
        let candidates: Vec<&PublicKey> = self
            .keys
            .iter()
            .filter(|key| kid.is_none() || key.kid.as_deref() == kid)
            .filter(|key| key.algorithms.contains(&algorithm))
            .collect();
        match candidates.as_slice() {
            [] => Err(AuthError::Algorithm(jws.algorithm_name().to_owned())),
            [_, _, ..] if kid.is_none() => Err(unknown_key(kid)),
            candidates if candidates.iter().any(|candidate| jws.is_signed_with(&candidate.key, algorithm)) => Ok(()),
            _ => Err(AuthError::Signature),
        }
    }
}

pub(super) fn unknown_key(kid: Option<&str>) -> AuthError {
    AuthError::UnknownKey { kid: kid.map(str::to_owned) }
}

/// One usable key, and the algorithms that it may be used with, which for an RSA key may be several.
#[derive(Debug)]
struct PublicKey {
    kid: Option<String>,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// The members of a JWK that matter here (RFC 7517 §4, RFC 7518 §6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl PublicKey {
    fn from_jwk(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let verifies = jwk.r#use.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"))
            && jwk.kid.as_ref().is_none_or(|kid| kid.len() <= MAX_KID_BYTES);
        if !verifies {
            return None;
        }
        let (key, mut algorithms) = match jwk.kty.as_str() {
            "EC" => elliptic(&jwk)?,
            "OKP" => edwards(&jwk)?,
            "RSA" => rsa(&jwk)?,
            _ => return None,
        };
        if let Some(name) = &jwk.alg {
            let only = algorithm::accepted(name)?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        (!algorithms.is_empty()).then_some(Self { kid: jwk.kid, key, algorithms })
    }
}

/// RFC 7518 §6.2.1. That the point lies on the curve is checked with every signature.
fn elliptic(jwk: &Jwk) -> Option<(DecodingKey, Vec<Algorithm>)> {
    let (algorithm, coordinate_bytes) = match jwk.crv.as_deref()? {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        _ => return None,
    };
    let (x, y) = (text_of(&jwk.x, coordinate_bytes)?, text_of(&jwk.y, coordinate_bytes)?);
    Some((DecodingKey::from_ec_components(x, y).ok()?, vec![algorithm]))
}

/// RFC 8037 §2.
fn edwards(jwk: &Jwk) -> Option<(DecodingKey, Vec<Algorithm>)> {
    if jwk.crv.as_deref()? != "Ed25519" {
        return None;
    }
    Some((DecodingKey::from_ed_components(text_of(&jwk.x, 32)?).ok()?, vec![Algorithm::EdDSA]))
}

/// RFC 7518 §6.3.1, whose numbers have no leading zeros. Moduli below 2048 bits are refused (§3.3), and those that no
/// signature could be verified with.
fn rsa(jwk: &Jwk) -> Option<(DecodingKey, Vec<Algorithm>)> {
    let number = |value| decoded(value).filter(|bytes| bytes.first().is_some_and(|first| *first != 0));
    let (n, e) = (number(&jwk.n)?, number(&jwk.e)?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let key = (2048..=8192).contains(&bits).then(|| DecodingKey::from_rsa_raw_components(&n, &e))?;
    Some((key, AlgorithmFamily::Rsa.algorithms().to_vec()))
}

/// A member as it stands, if it is so many bytes in base64url.
fn text_of(value: &Option<String>, bytes: usize) -> Option<&str> {
    (decoded(value)?.len() == bytes).then_some(value.as_deref()?)
}

fn decoded(value: &Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_ref()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::mint::SigningKey;

    #[test]
    fn unusable_keys_are_skipped_and_counted() {
        let good = SigningKey::generate().unwrap().public_jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            jwk
        };
        let number = |first: u8, bytes: usize| URL_SAFE_NO_PAD.encode([vec![first], vec![0xff; bytes - 1]].concat());
        let keys = json!({"keys": [
            good,
            {"kty": "RSA", "n": number(0x80, 256), "e": "AQAB"},
            with("kty", json!("EX")),
            with("alg", json!("ES384")),
            with("alg", json!("none")),
            with("crv", json!("P-384")),
            with("x", json!("AA")),
            with("x", json!(format!("{}=", good["x"].as_str().unwrap()))),
            {"kty": "EC", "crv": "P-521", "x": number(1, 66), "y": number(1, 66)},
            with("use", json!("enc")),
            with("kid", json!("k".repeat(MAX_KID_BYTES + 1))),
            with("kid", json!(7)),
            with("alg", json!("ES512")),
            {"kty": "RSA", "n": number(0xff, 255), "e": "AQAB"},
            {"kty": "RSA", "n": number(0x7f, 256), "e": "AQAB"},
            {"kty": "RSA", "n": number(0, 300), "e": "AQAB"},
            {"kty": "RSA", "n": number(1, 1025), "e": "AQAB"},
            {"kty": "RSA", "n": number(0x80, 256), "e": "AAEAAQ"},
            {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
            {"kty": "OKP", "crv": "X25519", "x": good["x"]},
            null,
        ]});
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        assert_eq!((set.len(), set.skipped()), (2, 19));
    }

    #[test]
    fn number_of_keys_is_bounded() {
        let jwk = SigningKey::generate().unwrap().public_jwk();
        let set = KeySet::parse(json!({"keys": vec![jwk; MAX_KEYS + 10]}).to_string().as_bytes()).unwrap();
        assert_eq!((set.len(), set.skipped()), (MAX_KEYS, 10));
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        for text in ["", "[]", "{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, "{\"keys\":[]"] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(KeySet::parse(br#"{"keys":[],"more":1}"#).unwrap().is_empty());
    }
}

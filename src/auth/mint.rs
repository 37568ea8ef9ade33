//! Keys and tokens for trials: what `callboard token` prints, what the sample site hands out and what tests show.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::key_set::{KeySet, KeySetError};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Why no key or token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No randomness, or the cryptography refused to work.
    #[error("the key could not be used")]
    Crypto(#[source] aws_lc_rs::error::Unspecified),
    /// Not the PKCS#8 of a P-256 key.
    #[error("not a P-256 private key")]
    Rejected(#[source] aws_lc_rs::error::KeyRejected),
    /// Not PEM with the label `PRIVATE KEY`.
    #[error("not a PKCS#8 private key in PEM form")]
    Pem,
    /// The key's own public half could not be read back.
    #[error("the public key could not be read back")]
    KeySet(#[source] KeySetError),
}

/// An ES256 key that signs tokens as a Backstage plugin does.
#[derive(Debug)]
pub struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
}

/// A plugin token's claims; `@backstage/backend-defaults` puts no others in, but for `obo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginClaims<'a> {
    /// Who calls: a plugin id.
    pub sub: &'a str,
    /// Who is called: a plugin id.
    pub aud: &'a str,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it expires.
    pub exp: Timestamp,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    ///
    /// Where there is no randomness.
    pub fn generate() -> Result<Self, MintError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::of).map_err(MintError::Crypto)
    }

    /// The key that [`SigningKey::to_pem`] wrote, or another P-256 key in PKCS#8.
    ///
    /// # Errors
    ///
    /// Where it isn't one.
    pub fn from_pem(pem: &str) -> Result<Self, MintError> {
        let (_, rest) = pem.split_once(PEM_BEGIN).ok_or(MintError::Pem)?;
        let (body, _) = rest.split_once(PEM_END).ok_or(MintError::Pem)?;
        let body: String = body.split_ascii_whitespace().collect();
        let pkcs8 = STANDARD.decode(body).map_err(|_| MintError::Pem)?;
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map(Self::of).map_err(MintError::Rejected)
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        let kid = thumbprint(&pair);
        Self { pair, kid }
    }

    /// The private key as PKCS#8 in PEM form (RFC 7468 §10).
    ///
    /// # Errors
    ///
    /// Where the key can't be encoded.
    pub fn to_pem(&self) -> Result<Secret, MintError> {
        let pkcs8 = self.pair.to_pkcs8v1().map_err(MintError::Crypto)?;
        let base64 = STANDARD.encode(pkcs8.as_ref());
        let mut pem = format!("{PEM_BEGIN}\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, behind) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = behind;
        }
        pem.push_str(PEM_END);
        pem.push('\n');
        Ok(Secret::new(pem))
    }

    /// The public key, with its `kid` and `alg` as Backstage publishes them.
    pub fn public_jwk(&self) -> Value {
        let (x, y) = coordinates(&self.pair);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.kid, "x": x, "y": y })
    }

    /// A key set of this one key, to be served or to be pinned.
    pub fn public_jwks(&self) -> Value {
        json!({ "keys": [self.public_jwk()] })
    }

    /// The same, ready to be pinned in [`super::PinnedKeys`].
    ///
    /// # Errors
    ///
    /// None that could come of a key that was made here.
    pub fn key_set(&self) -> Result<KeySet, MintError> {
        KeySet::parse(self.public_jwks().to_string().as_bytes()).map_err(MintError::KeySet)
    }

    /// A plugin token.
    ///
    /// # Errors
    ///
    /// Where there is no randomness.
    pub fn plugin_token(&self, claims: &PluginClaims<'_>) -> Result<String, MintError> {
        let header = json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": self.kid });
        let PluginClaims { sub, aud, iat, exp } = claims;
        let payload = json!({ "sub": sub, "aud": aud, "iat": iat.as_secs(), "exp": exp.as_secs() });
        self.sign(&header, &payload)
    }

    /// Any token, good or not, signed as ES256 whatever its header says.
    ///
    /// # Errors
    ///
    /// Where there is no randomness.
    pub fn sign(&self, header: &Value, payload: &Value) -> Result<String, MintError> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(payload));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(MintError::Crypto)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What the key is called.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Characters a line (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// The public point's coordinates as a JWK has them (RFC 7518 §6.2.1).
fn coordinates(pair: &EcdsaKeyPair) -> (String, String) {
    let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}

/// RFC 7638: the same key always has the same name.
fn thumbprint(pair: &EcdsaKeyPair) -> String {
    let (x, y) = coordinates(pair);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_its_pem_form() {
        let key = SigningKey::generate().unwrap();
        let pem = key.to_pem().unwrap();
        let text = pem.expose_text().unwrap();
        assert!(text.lines().all(|line| line.len() <= PEM_LINE));
        assert_eq!(SigningKey::from_pem(text).unwrap().public_jwk(), key.public_jwk());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for pem in ["", PEM_BEGIN, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----"] {
            assert!(matches!(SigningKey::from_pem(pem), Err(MintError::Pem)), "{pem}");
        }
        let empty = format!("{PEM_BEGIN}\nAAAA\n{PEM_END}");
        assert!(matches!(SigningKey::from_pem(&empty), Err(MintError::Rejected(_))));
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = SigningKey::generate().unwrap();
        assert!(!format!("{key:?}").to_lowercase().contains("private"), "{key:?}");
    }
}

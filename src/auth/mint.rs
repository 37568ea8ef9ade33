//! Keys and tokens for trials: what `callboard token` prints, what the sample site hands out and what tests show.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::key_set::{KeySet, KeySetError};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Why no key or token could be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// No randomness.
    #[error("no key could be made")]
    Generate(#[source] aws_lc_rs::error::Unspecified),
    /// Not an elliptic curve's private key in PKCS#8, as PEM with the label `PRIVATE KEY`.
    #[error("not a PKCS#8 private key in PEM form")]
    Pem(#[source] jsonwebtoken::errors::Error),
    /// Another curve's key, or a broken one.
    #[error("not a P-256 private key")]
    Rejected(#[source] jsonwebtoken::errors::Error),
    /// No randomness, or the cryptography refused to work.
    #[error("the key could not be used")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The key's own public half could not be read back.
    #[error("the public key could not be read back")]
    KeySet(#[source] KeySetError),
}

/// An ES256 key that signs tokens as a Backstage plugin does.
#[derive(Debug)]
pub struct SigningKey {
    /// PKCS#8 (RFC 5958) inside.
    key: EncodingKey,
    jwk: Value,
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
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(MintError::Generate)?;
        Self::of(EncodingKey::from_ec_der(pkcs8.as_ref())).map_err(MintError::Rejected)
    }

    /// The key that [`SigningKey::to_pem`] wrote, or another P-256 key in PKCS#8.
    ///
    /// # Errors
    ///
    /// Where it isn't one.
    pub fn from_pem(pem: &str) -> Result<Self, MintError> {
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(MintError::Pem)?;
        Self::of(key).map_err(MintError::Rejected)
    }

    /// Its `kid` is its thumbprint (RFC 7638): the same key always has the same name.
    fn of(key: EncodingKey) -> jsonwebtoken::errors::Result<Self> {
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        Ok(Self { key, jwk: serde_json::to_value(jwk)?, kid })
    }

    /// The private key as PKCS#8 in PEM form (RFC 7468 §10).
    pub fn to_pem(&self) -> Secret {
        let base64 = STANDARD.encode(self.key.as_bytes());
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
        Secret::new(pem)
    }

    /// The public key, with its `kid` and `alg` as Backstage publishes them.
    pub fn public_jwk(&self) -> Value {
        self.jwk.clone()
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
        let signature = crypto::sign(signed.as_bytes(), &self.key, Algorithm::ES256).map_err(MintError::Sign)?;
        Ok(format!("{signed}.{signature}"))
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;

    use super::*;

    #[test]
    fn key_survives_its_pem_form() {
        let key = SigningKey::generate().unwrap();
        let pem = key.to_pem();
        let text = pem.expose_text().unwrap();
        assert!(text.lines().all(|line| line.len() <= PEM_LINE));
        assert_eq!(SigningKey::from_pem(text).unwrap().public_jwk(), key.public_jwk());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let empty = format!("{PEM_BEGIN}\nAAAA\n{PEM_END}");
        for pem in ["", PEM_BEGIN, "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", &empty] {
            assert!(matches!(SigningKey::from_pem(pem), Err(MintError::Pem(_))), "{pem}");
        }
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let p384 = format!("{PEM_BEGIN}\n{}\n{PEM_END}", STANDARD.encode(p384.as_ref()));
        assert!(matches!(SigningKey::from_pem(&p384), Err(MintError::Rejected(_))));
    }

    #[test]
    fn debug_shows_no_private_key() {
        let key = SigningKey::generate().unwrap();
        assert!(!format!("{key:?}").to_lowercase().contains("private"), "{key:?}");
    }
}

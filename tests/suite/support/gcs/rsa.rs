//! An RSA key, and JSON web tokens of it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

pub const KID: &str = "key-1";

pub struct Rsa(KeyPair);

impl Rsa {
    pub fn generate() -> Self {
        Self(KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    pub fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT", "kid": KID })), part(claims));
        let signature = self.0.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token that this key has signed and whose times are right, or what is wrong with it.
    pub fn verify(&self, token: &str) -> Result<Value, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("no JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("no JWT")?;
        let json = |part: &str| -> Result<Value, &'static str> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64")?).map_err(|_| "no JSON")
        };
        let header = json(header)?;
        if header["alg"] != "RS256" || header["typ"] != "JWT" || header["kid"] != KID {
            return Err("Invalid JWT header.");
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no base64")?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.der_bytes())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "Invalid JWT Signature.")?;
        let claims = json(claims)?;
        let time = |name: &str| claims[name].as_u64().ok_or("Invalid JWT: iat and exp must be numbers");
        let (iat, exp, now) = (time("iat")?, time("exp")?, seconds(SystemTime::now()));
        if iat > now + 60 || exp <= now || exp.saturating_sub(iat) > 3600 {
            return Err("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
        }
        Ok(claims)
    }
}

pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

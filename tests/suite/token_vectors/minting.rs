//! Makes the keys, secrets and tokens of the recipes, as `tests/vectors/README.md` tells.
//!
//! `jsonwebtoken` signs, which verifies in the program too; that it does both as others do is tested in the auth room.

use std::collections::HashMap;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// The second that all tokens are made in, and shown in.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) struct Mint {
    keys: HashMap<String, Key>,
    secrets: HashMap<String, String>,
}

struct Key {
    signing: EncodingKey,
    algorithm: Algorithm,
    jwk: Value,
    public_pem: String,
}

impl Mint {
    pub(super) fn new(vectors: &Value) -> Self {
        let described = vectors["keys"].as_object().unwrap();
        let mut keys: HashMap<String, Key> = HashMap::new();
        let (whole, derived): (Vec<_>, Vec<_>) = described.iter().partition(|(_, key)| key.get("of").is_none());
        for (name, description) in whole.into_iter().chain(derived) {
            let algorithm: Algorithm = description["alg"].as_str().unwrap().parse().unwrap();
            let (signing, public_pem) = match description.get("of") {
                Some(of) => keys.get(of.as_str().unwrap()).map(|key| (key.signing.clone(), key.public_pem.clone())),
                None => Some(generate(algorithm)),
            }
            .unwrap();
            let jwk = published(&signing, algorithm, name, description);
            keys.insert(name.clone(), Key { signing, algorithm, jwk, public_pem });
        }
        let secrets = vectors["secrets"].as_array().unwrap().iter();
        let secrets = secrets.map(|name| (name.as_str().unwrap().to_owned(), secret())).collect();
        Self { keys, secrets }
    }

    pub(super) fn jwk(&self, name: &str) -> &Value {
        &self.keys[name].jwk
    }

    /// `text` with the placeholders for secrets and the base URL replaced.
    pub(super) fn filled_in(&self, text: &str, base: &str) -> String {
        let filled = text.replace("{base}", base);
        self.secrets.iter().fold(filled, |text, (name, secret)| text.replace(&format!("{{secret:{name}}}"), secret))
    }

    /// The recipe's token, spoiled if it says so; `None` for a recipe without one.
    pub(super) fn token(&self, recipe: &Value, base: &str) -> Option<String> {
        let token = match (recipe["literal"].as_str(), recipe["key"].as_str()) {
            (Some(literal), _) => self.filled_in(literal, base),
            (None, Some(key)) => {
                let header = self.part(recipe, "header", base);
                let signed = format!("{header}.{}", self.part(recipe, "claims", base));
                format!("{signed}.{}", self.signature(key, &signed, &recipe["header"]["alg"]))
            }
            (None, None) => return None,
        };
        Some(match recipe["mutate"].as_str() {
            Some(mutation) => self.mutate(mutation, &token, &recipe["swap"], base),
            None => token,
        })
    }

    /// The recipe's `header` or `claims`, encoded.
    fn part(&self, recipe: &Value, name: &str, base: &str) -> String {
        let text = match recipe[format!("{name}Text")].as_str() {
            Some(text) => with_times(text),
            None => self.evaluated(&recipe[name], base).to_string(),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    fn evaluated(&self, value: &Value, base: &str) -> Value {
        match value {
            Value::Object(members) => {
                if let Some(seconds) = members.get("$now") {
                    return match seconds.as_i64() {
                        Some(seconds) => json!(NOW.strict_add_signed(seconds)),
                        None => json!(NOW as f64 + seconds.as_f64().unwrap()),
                    };
                }
                if let Some(recipe) = members.get("$token") {
                    return json!(self.token(recipe, base));
                }
                if let Some(key) = members.get("$jwk") {
                    return self.jwk(key.as_str().unwrap()).clone();
                }
                members.iter().map(|(name, value)| (name.clone(), self.evaluated(value, base))).collect()
            }
            Value::Array(items) => items.iter().map(|item| self.evaluated(item, base)).collect(),
            Value::String(text) => json!(self.filled_in(text, base)),
            other => other.clone(),
        }
    }

    fn signature(&self, key: &str, signed: &str, stated: &Value) -> String {
        let shared = |secret: &[u8]| {
            let algorithm = match stated.as_str() {
                Some("HS384") => hmac::HMAC_SHA384,
                Some("HS512") => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes()))
        };
        match key.split(':').collect::<Vec<_>>().as_slice() {
            ["none"] => String::new(),
            ["secret", name] => shared(&URL_SAFE_NO_PAD.decode(&self.secrets[*name]).unwrap()),
            ["text", name] => shared(self.secrets[*name].as_bytes()),
            ["hmac", name, "pem"] => shared(self.keys[*name].public_pem.as_bytes()),
            ["hmac", name, "jwk"] => shared(self.jwk(name).to_string().as_bytes()),
            ["hmac", name, "x"] => shared(&URL_SAFE_NO_PAD.decode(self.jwk(name)["x"].as_str().unwrap()).unwrap()),
            [name] => {
                let Key { signing, algorithm, .. } = &self.keys[*name];
                jsonwebtoken::crypto::sign(signed.as_bytes(), signing, *algorithm).unwrap()
            }
            _ => panic!("unknown key {key}"),
        }
    }

    fn mutate(&self, mutation: &str, token: &str, swap: &Value, base: &str) -> String {
        match mutation {
            "append-garbage" => return format!("{token}garbage"),
            "upper-case" => return token.to_uppercase(),
            "drop-last" => return token[..token.len() - 1].to_owned(),
            "swap-case" => return token.chars().map(swap_case).collect(),
            _ => {}
        }
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let with_bytes = |change: fn(&mut Vec<u8>)| {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            change(&mut bytes);
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        let swapped = || URL_SAFE_NO_PAD.encode(self.evaluated(swap, base).to_string());
        match mutation {
            "flip-signature-bit" => with_bytes(|bytes| bytes[10] ^= 1),
            "zero-signature" => with_bytes(|bytes| bytes.fill(0)),
            "shorten-signature" => with_bytes(|bytes| bytes.truncate(bytes.len() - 1)),
            "lengthen-signature" => with_bytes(|bytes| bytes.push(0)),
            "strip-signature" => format!("{header}.{payload}."),
            "drop-signature-part" => format!("{header}.{payload}"),
            "append-part" => format!("{token}.{signature}"),
            "empty-header" => format!(".{payload}.{signature}"),
            "empty-payload" => format!("{header}..{signature}"),
            "swap-parts" => format!("{payload}.{header}.{signature}"),
            "pad-signature" => format!("{token}=="),
            "noncanonical-signature" => noncanonical(token),
            "swap-payload" => format!("{header}.{}.{signature}", swapped()),
            "swap-header" => format!("{}.{payload}.{signature}", swapped()),
            _ => panic!("unknown mutation {mutation}"),
        }
    }
}

/// A key pair, and its public half as PEM.
fn generate(algorithm: Algorithm) -> (EncodingKey, String) {
    let (private, public) = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let p256 = algorithm == Algorithm::ES256;
            let curve = if p256 { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
            let pair = EcdsaKeyPair::generate(curve).unwrap();
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), public)
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().unwrap();
            (pair.to_pkcs8v1().unwrap().as_ref().to_vec(), pair.public_key().as_der().unwrap())
        }
        _ => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            (private.as_ref().to_vec(), pair.public_key().as_der().unwrap())
        }
    };
    let private = pem("PRIVATE KEY", &private);
    let signing = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
        _ => EncodingKey::from_rsa_pem(private.as_bytes()),
    };
    (signing.unwrap(), pem("PUBLIC KEY", public.as_ref()))
}

fn published(signing: &EncodingKey, algorithm: Algorithm, name: &str, description: &Value) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(signing, algorithm).unwrap()).unwrap();
    let members = jwk.as_object_mut().unwrap();
    members.insert("kid".to_owned(), json!(name));
    members.insert("alg".to_owned(), description["alg"].clone());
    members.extend(
        description["jwk"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())),
    );
    members.retain(|_, value| !value.is_null());
    jwk
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// 32 random bytes in base64url, with letters of both cases.
fn secret() -> String {
    loop {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        if text.contains(char::is_lowercase) && text.contains(char::is_uppercase) {
            return text;
        }
    }
}

/// `text` with each `<now+n>` replaced by that second.
fn with_times(text: &str) -> String {
    let mut pieces = text.split("<now");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |filled, piece| {
        let (seconds, rest) = piece.split_once('>').unwrap();
        format!("{filled}{}{rest}", NOW.strict_add_signed(seconds.parse().unwrap_or_default()))
    })
}

/// The last character of a 64-byte signature stands for two bits that count and four that don't.
fn noncanonical(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).unwrap() ^ 1;
    format!("{rest}{}", &ALPHABET[value..=value])
}

fn swap_case(character: char) -> char {
    if character.is_ascii_lowercase() { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() }
}

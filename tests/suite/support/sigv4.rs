//! AWS's signatures (Signature Version 4), checked as AWS does: by making them again.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use http::request::Parts;

/// What a signed request says of itself.
pub struct Signed {
    pub key_id: String,
    /// Date, region, service and `aws4_request`.
    scope: String,
    headers: String,
    signature: String,
}

impl Signed {
    /// Reads the `Authorization` of a request; `None` where it has none that is a signature.
    pub fn of(parts: &Parts) -> Option<Self> {
        let authorization = parts.headers.get("authorization")?.to_str().ok()?;
        let fields = authorization.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let credential = field("Credential")?;
        let (key_id, scope) = credential.split_once('/')?;
        Some(Self {
            key_id: key_id.to_owned(),
            scope: scope.to_owned(),
            headers: field("SignedHeaders")?,
            signature: field("Signature")?,
        })
    }

    pub fn service(&self) -> &str {
        self.scope.split('/').nth(2).unwrap_or_default()
    }

    pub fn region(&self) -> &str {
        self.scope.split('/').nth(1).unwrap_or_default()
    }

    /// Whether the request was signed with `secret` as it came, its body and session token included.
    pub fn is_by(&self, secret: &str, parts: &Parts, body: &[u8]) -> bool {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let hashed = hex(digest(&SHA256, body).as_ref());
        let payload = match header("x-amz-content-sha256") {
            "" => hashed.clone(),
            told if told == "UNSIGNED-PAYLOAD" || told == hashed => told.to_owned(),
            _ => return false,
        };
        let is_token_signed = self.headers.split(';').any(|name| name == "x-amz-security-token");
        if parts.headers.contains_key("x-amz-security-token") && !is_token_signed {
            return false;
        }
        let mut query: Vec<&str> =
            parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
        query.sort_unstable();
        let mut canonical = format!("{}\n{}\n{}\n", parts.method, parts.uri.path(), query.join("&"));
        for name in self.headers.split(';') {
            writeln!(canonical, "{name}:{}", header(name).trim()).unwrap();
        }
        write!(canonical, "\n{}\n{payload}", self.headers).unwrap();
        let hash = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{}\n{hash}", header("x-amz-date"), self.scope);
        let first = format!("AWS4{secret}").into_bytes();
        let key = self.scope.split('/').fold(first, |key, part| sign(&key, part));
        hex(&sign(&key, &to_sign)) == self.signature
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

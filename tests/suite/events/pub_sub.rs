//! Pub/Sub: tokens as Google makes them, with a key of the test's own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::cloud::GOOGLE;
use super::*;

const NOW: u64 = 1_800_000_000;

/// Google, as far as it makes tokens.
struct Google(KeyPair);

impl Google {
    fn new() -> Self {
        Self(KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn keys(&self) -> Answer {
        let public = self.0.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) =
            (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
        let key = json!({"kty": "RSA", "use": "sig", "kid": "google-1", "n": number(n), "e": number(e)});
        Answer::Text(json!({ "keys": [key] }).to_string())
    }

    /// A good token's header, with `changes` to its header and claims.
    fn authorization(&self, header: &Value, changes: &Value) -> String {
        let header = merged(json!({"alg": "RS256", "kid": "google-1", "typ": "JWT"}), header);
        let claims = json!({"aud": AUDIENCE, "azp": "113774264463038321964", "email": ACCOUNT,
            "sub": "113774264463038321964", "email_verified": true, "exp": NOW + 3600, "iat": NOW,
            "iss": "https://accounts.google.com"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&merged(claims, changes)));
        let mut signature = vec![0; self.0.public_modulus_len()];
        let encoding: &dyn RsaEncoding = if header["alg"] == "RS512" { &RSA_PKCS1_SHA512 } else { &RSA_PKCS1_SHA256 };
        self.0.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn merged(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

fn push() -> Value {
    let attributes = json!({"eventType": "OBJECT_FINALIZE", "bucketId": "docs", "objectId": "a b.html"});
    json!({"message": {"attributes": attributes, "messageId": "1"}, "subscription": "s"})
}

async fn scene(google: &Google) -> Scene {
    let scene = Scene::at(Timestamp::from_secs(NOW)).await;
    scene.cloud.set(&format!("{GOOGLE}/oauth2/v3/certs"), google.keys());
    scene
}

pub async fn shown_with_a_good_token(body: &Value) -> Result<Received, EventError> {
    let google = Google::new();
    let token = google.authorization(&json!({}), &json!({}));
    scene(&google).await.post(Source::PubSub, &[("authorization", &token)], body).await
}

#[tokio::test]
async fn only_the_service_accounts_tokens_for_the_audience_are_good() {
    let (google, another) = (Google::new(), Google::new());
    let scene = scene(&google).await;
    for (header, changes, verdict) in [
        (json!({}), json!({}), "docs/a b.html"),
        (json!({}), json!({"iss": "accounts.google.com"}), "docs/a b.html"),
        (json!({}), json!({"exp": NOW - 4}), "docs/a b.html"),
        (json!({}), json!({"exp": NOW - 5}), "401 untrusted"),
        (json!({}), json!({"exp": null}), "401 untrusted"),
        (json!({}), json!({"iat": null}), "401 untrusted"),
        (json!({}), json!({"iss": "https://evil.test"}), "401 untrusted"),
        (json!({}), json!({"iss": null}), "401 untrusted"),
        (json!({}), json!({"aud": "https://other.test"}), "401 untrusted"),
        (json!({}), json!({"aud": [AUDIENCE, "https://other.test"]}), "401 untrusted"),
        (json!({}), json!({"aud": null}), "401 untrusted"),
        (json!({}), json!({"email": "other@docs.iam.gserviceaccount.com"}), "403 foreign"),
        (json!({}), json!({"email": null}), "403 foreign"),
        (json!({}), json!({"email_verified": false}), "403 foreign"),
        (json!({}), json!({"email_verified": "true"}), "403 foreign"),
        (json!({"alg": "RS512"}), json!({}), "401 untrusted"),
        (json!({"alg": "none"}), json!({}), "401 untrusted"),
        (json!({"alg": "HS256"}), json!({}), "401 untrusted"),
        (json!({"kid": "google-2"}), json!({}), "401 untrusted"),
    ] {
        let token = google.authorization(&header, &changes);
        let outcome = scene.post(Source::PubSub, &[("authorization", &token)], &push()).await;
        assert_eq!(told(&outcome), verdict, "{header} {changes}");
    }
    for (authorization, verdict) in [
        (another.authorization(&json!({}), &json!({})), "401 untrusted"),
        ("Bearer a.b.c".to_owned(), "401 untrusted"),
        ("Basic YTpi".to_owned(), "401 untrusted"),
    ] {
        let outcome = scene.post(Source::PubSub, &[("authorization", &authorization)], &push()).await;
        assert_eq!(told(&outcome), verdict, "{authorization}");
    }
    assert_eq!(told(&scene.post(Source::PubSub, &[], &push()).await), "401 unsigned");
}

#[tokio::test]
async fn keys_are_fetched_once_and_an_outage_is_no_verdict() {
    let google = Google::new();
    let scene = scene(&google).await;
    let token = google.authorization(&json!({}), &json!({}));
    let post = || async { told(&scene.post(Source::PubSub, &[("authorization", &token)], &push()).await) };
    scene.cloud.set(&format!("{GOOGLE}/oauth2/v3/certs"), Answer::Status(500));
    assert_eq!(post().await, "503 unavailable");
    scene.cloud.set(&format!("{GOOGLE}/oauth2/v3/certs"), google.keys());
    scene.hand.advance(Duration::from_secs(60));
    for _ in 0..3 {
        assert_eq!(post().await, "docs/a b.html");
    }
    assert_eq!(scene.cloud.asked().len(), 2);
}

#[tokio::test]
async fn nobody_is_told_what_is_wrong_with_a_body_before_the_token_is_good() {
    let google = Google::new();
    let scene = scene(&google).await;
    let unwrapped = json!({"kind": "storage#object", "bucket": "docs", "name": "a.html"});
    assert_eq!(told(&scene.post(Source::PubSub, &[], &unwrapped).await), "401 unsigned");
    let token = google.authorization(&json!({}), &json!({}));
    let outcome = scene.post(Source::PubSub, &[("authorization", &token)], &unwrapped).await.unwrap_err();
    assert_eq!(outcome.status(), 400);
    assert!(outcome.public_message().contains("--push-no-wrapper"), "{outcome}");
}

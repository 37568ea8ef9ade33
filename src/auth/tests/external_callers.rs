//! Static, legacy and other issuers' tokens.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::secret::Secret;

fn access(method: ExternalMethod) -> ExternalAccess {
    ExternalAccess { method, restrictions: None }
}

fn restricted(method: ExternalMethod, plugin: &str) -> ExternalAccess {
    let entry = AccessRestriction { plugin: plugin.to_owned(), permissions: None, actions: None };
    ExternalAccess { method, restrictions: Some(vec![entry]) }
}

fn fixed(token: &str, subject: &str) -> ExternalMethod {
    ExternalMethod::Static { token: Secret::new(token), subject: subject.to_owned() }
}

fn legacy(secret: &str, subject: &str) -> ExternalMethod {
    ExternalMethod::Legacy { secret: Secret::new(secret), subject: subject.to_owned() }
}

fn issuer(publisher: &Publisher, path: &str) -> ExternalMethod {
    ExternalMethod::Jwks {
        url: publisher.base_url.join(path).unwrap(),
        issuers: Vec::new(),
        audiences: Vec::new(),
        algorithms: Vec::new(),
        subject_prefix: None,
    }
}

fn hs256(secret: &str, header: Value, claims: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(changed(json!({"alg": "HS256"}), header)), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test]
async fn static_token_is_its_subject_for_ever() {
    let scene = Scene::with(|options| {
        options.external = vec![
            access(fixed("first-token", "external:ci")),
            restricted(fixed("for.techdocs.only", "external:docs"), "techdocs"),
            restricted(fixed("for-catalog-only", "external:catalog"), "catalog"),
            access(fixed("not-listed", "external:stranger")),
            access(fixed("first-token", "external:second")),
        ];
        options.allow = ["ci", "docs", "catalog"].map(|subject| format!("external:{subject}")).to_vec();
    })
    .await;
    for (token, verdict) in [
        ("first-token", "external:ci"),
        ("for.techdocs.only", "external:docs"),
        ("for-catalog-only", "403 restricted"),
        ("not-listed", "403 not_allowed"),
        ("first-toke", "401 unknown_token"),
        ("first-token1", "401 unknown_token"),
        ("First-token", "401 unknown_token"),
    ] {
        assert_eq!(scene.verdict(token).await, verdict, "{token}");
    }
    assert!(scene.room.remembered(&bearer("first-token")).is_some());
    scene.hand.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(scene.verdict("first-token").await, "external:ci");
    let message = scene.show("for-catalog-only").await.unwrap_err().public_message().into_owned();
    assert!(!message.contains("external:catalog"), "{message}");
}

#[tokio::test]
async fn legacy_token_is_signed_with_one_of_the_secrets_and_expires() {
    let scene = Scene::with(|options| {
        options.external = vec![
            access(legacy("first secret", "external:old")),
            access(legacy("second secret", "external:backstage-plugin")),
        ];
        options.allow = vec!["external:*".to_owned()];
    })
    .await;
    let claims = |changes| changed(json!({"sub": "backstage-server", "exp": START + 60}), changes);
    for (secret, header, changes, verdict) in [
        ("first secret", json!({}), json!({}), "external:old"),
        ("second secret", json!({"typ": "JWT"}), json!({}), "external:backstage-plugin"),
        ("third secret", json!({}), json!({}), "401 signature"),
        ("first secret", json!({}), json!({"aud": "callboard"}), "401 unknown_token"),
        ("first secret", json!({}), json!({"sub": "someone"}), "401 unknown_token"),
        ("first secret", json!({}), json!({"exp": null}), "401 missing_claim"),
        ("first secret", json!({}), json!({"exp": START - 5}), "401 expired"),
        ("first secret", json!({}), json!({"nbf": START + 60}), "401 not_yet_valid"),
        ("first secret", json!({"alg": "HS512"}), json!({}), "401 algorithm"),
        ("first secret", json!({"alg": "none"}), json!({}), "401 algorithm"),
        ("first secret", json!({"alg": null}), json!({}), "401 algorithm"),
    ] {
        let token = hs256(secret, header.clone(), claims(changes.clone()));
        assert_eq!(scene.verdict(&token).await, verdict, "{secret} {header} {changes}");
    }
}

#[tokio::test]
async fn public_key_is_never_a_shared_secret() {
    let scene = Scene::new().await;
    let x = scene.techdocs.public_jwk()["x"].as_str().unwrap().to_owned();
    let header = json!({"typ": "vnd.backstage.plugin", "kid": scene.techdocs.kid()});
    let claims = json!({"sub": "techdocs", "aud": "callboard", "iat": START, "exp": START + 60});
    assert_eq!(scene.verdict(&hs256(&x, header.clone(), claims.clone())).await, "401 algorithm");
    let mut none = hs256(&x, changed(header, json!({"alg": "none"})), claims);
    assert_eq!(scene.verdict(&none).await, "401 algorithm");
    none.truncate(none.rfind('.').unwrap() + 1);
    assert_eq!(scene.verdict(&none).await, "401 algorithm");
    assert_eq!(scene.publisher.asked_in_all(), 0);
}

#[tokio::test]
async fn other_issuers_tokens_are_known_by_issuer_audience_and_algorithm() {
    let ci = SigningKey::generate().unwrap();
    let scene = Scene::with_publisher(|options, publisher| {
        publisher.set("/ci", Answer::Json(ci.public_jwks()));
        let ExternalMethod::Jwks { url, .. } = issuer(publisher, "/ci") else { unreachable!() };
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        options.external = vec![access(ExternalMethod::Jwks {
            url,
            issuers: list(&["https://ci", "https://ci2"]),
            audiences: list(&["docs"]),
            algorithms: list(&["ES256"]),
            subject_prefix: Some("ci".to_owned()),
        })];
        options.allow = vec!["external:ci:*".to_owned()];
    })
    .await;
    let good = json!({"iss": "https://ci", "aud": ["docs", "x"], "sub": "build", "exp": START + 60});
    for (header, changes, verdict) in [
        (json!({}), json!({}), "external:ci:build"),
        (json!({"typ": "JWT"}), json!({"iss": "https://ci2", "aud": "docs"}), "external:ci:build"),
        (json!({}), json!({"iss": "https://other"}), "401 unknown_token"),
        (json!({}), json!({"iss": null}), "401 unknown_token"),
        (json!({}), json!({"aud": "x"}), "401 unknown_token"),
        (json!({}), json!({"aud": null}), "401 unknown_token"),
        (json!({}), json!({"sub": null}), "401 missing_claim"),
        (json!({}), json!({"exp": null}), "401 missing_claim"),
        (json!({}), json!({"exp": START - 5}), "401 expired"),
        (json!({"alg": "ES384"}), json!({}), "401 unknown_token"),
        (json!({"alg": "none"}), json!({}), "401 algorithm"),
        (json!({"alg": "HS256"}), json!({}), "401 unknown_token"),
    ] {
        let header = changed(json!({"alg": "ES256", "kid": ci.kid()}), header);
        let token = ci.sign(&header, &changed(good.clone(), changes.clone())).unwrap();
        assert_eq!(scene.verdict(&token).await, verdict, "{header} {changes}");
    }
    let header = json!({"alg": "ES256", "kid": ci.kid()});
    let forged = SigningKey::generate().unwrap().sign(&header, &good).unwrap();
    assert_eq!(scene.verdict(&forged).await, "401 signature");
}

#[tokio::test]
async fn every_issuer_that_fits_is_tried_and_the_most_telling_refusal_told() {
    let (first, second) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let scene = Scene::with_publisher(|options, publisher| {
        publisher.set("/first", Answer::Json(first.public_jwks()));
        publisher.set("/second", Answer::Json(second.public_jwks()));
        options.external = vec![
            access(issuer(publisher, "/first")),
            restricted(issuer(publisher, "/second"), "catalog"),
            access(issuer(publisher, "/gone")),
        ];
        options.allow = vec!["external:*".to_owned()];
    })
    .await;
    let claims = json!({"sub": "build", "exp": START + 60});
    let token = |key: &SigningKey| key.sign(&json!({"alg": "ES256", "kid": key.kid()}), &claims).unwrap();
    assert_eq!(scene.verdict(&token(&first)).await, "external:build");
    assert_eq!(scene.verdict(&token(&second)).await, "403 restricted");
    assert_eq!(scene.verdict(&token(&scene.techdocs)).await, "401 unknown_key");
    scene.publisher.set("/gone", Answer::Status(500));
    scene.hand.advance(Duration::from_secs(11));
    assert_eq!(scene.verdict(&token(&scene.auth)).await, "503 keys_unavailable");
}

#[tokio::test]
async fn other_issuers_token_need_not_name_its_key_if_there_is_only_one() {
    let scene = Scene::with_publisher(|options, publisher| {
        options.external = vec![access(issuer(publisher, "/ci"))];
        options.allow = vec!["external:*".to_owned()];
    })
    .await;
    let token = scene.techdocs.sign(&json!({"alg": "ES256"}), &json!({"sub": "ci", "exp": START + 9999})).unwrap();
    let both = json!({"keys": [scene.techdocs.public_jwk(), scene.auth.public_jwk()]});
    scene.publisher.set("/ci", Answer::Json(both));
    assert_eq!(scene.verdict(&token).await, "401 unknown_key");
    scene.publisher.set("/ci", Answer::Json(scene.techdocs.public_jwks()));
    scene.hand.advance(Duration::from_secs(601));
    assert_eq!(scene.verdict(&token).await, "external:ci");
}

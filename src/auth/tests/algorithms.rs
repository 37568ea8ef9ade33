//! Every algorithm and kind of key, signed by another implementation than the one that verifies.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::*;

fn pem(der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der)).into_bytes()
}

/// The key's public half as published by an issuer that says neither `alg` nor `use`.
fn published(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    changed(jwk, json!({"kid": kid, "alg": null}))
}

fn token(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> String {
    let mut header = Header::new(algorithm);
    header.typ = Some("vnd.backstage.plugin".to_owned());
    header.kid = Some(kid.to_owned());
    let claims = json!({"sub": "techdocs", "aud": "callboard", "iat": START, "exp": START + 60});
    encode(&header, &claims, key).unwrap()
}

#[tokio::test]
async fn every_asymmetric_algorithm_is_verified_with_a_key_of_its_kind_and_no_other() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let scene = Scene::new().await;
    let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    let rsa = EncodingKey::from_rsa_pem(&pem(rsa.as_ref())).unwrap();
    let p256 = EncodingKey::from_ec_pem(scene.techdocs.to_pem().unwrap().expose()).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let p384 = EncodingKey::from_ec_pem(&pem(p384.as_ref())).unwrap();
    let ed =
        EncodingKey::from_ed_pem(&pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref())).unwrap();
    let kinds: [(&str, &EncodingKey, &[Algorithm]); 4] = [
        ("rsa", &rsa, &[RS256, RS384, RS512, PS256, PS384, PS512]),
        ("p256", &p256, &[ES256]),
        ("p384", &p384, &[ES384]),
        ("ed", &ed, &[EdDSA]),
    ];
    let mut keys: Vec<Value> = kinds.iter().map(|(kid, key, fit)| published(key, fit[0], kid)).collect();
    keys.push(changed(keys[0].clone(), json!({"kid": "rs256", "alg": "RS256"})));
    keys.push(changed(keys[0].clone(), json!({"kid": "enc", "use": "enc"})));
    keys.push(changed(keys[0].clone(), json!({"kid": "ops", "key_ops": ["encrypt"]})));
    keys.push(changed(keys[1].clone(), json!({"kid": "off", "x": keys[1]["y"]})));
    keys.push(changed(keys[1].clone(), json!({"kid": "k256", "crv": "secp256k1"})));
    keys.push(json!({"kid": "oct", "kty": "oct", "k": "c2VjcmV0"}));
    keys.push(json!("nonsense"));
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(json!({"keys": keys})));

    for (own_kid, key, fitting) in kinds {
        for &algorithm in fitting {
            for (kid, ..) in kinds {
                let expected = if kid == own_kid { "plugin:techdocs" } else { "401 algorithm" };
                assert_eq!(scene.verdict(&token(key, algorithm, kid)).await, expected, "{algorithm:?} with {kid}");
            }
        }
    }
    assert_eq!(scene.verdict(&token(&rsa, RS256, "rs256")).await, "plugin:techdocs");
    assert_eq!(scene.verdict(&token(&rsa, PS256, "rs256")).await, "401 algorithm");
    for (key, algorithm, kid) in [
        (&rsa, RS256, "enc"),
        (&rsa, RS256, "ops"),
        (&p256, ES256, "off"),
        (&p256, ES256, "k256"),
        (&EncodingKey::from_secret(b"secret"), Algorithm::HS256, "oct"),
    ] {
        let expected = if kid == "oct" { "401 algorithm" } else { "401 unknown_key" };
        assert_eq!(scene.verdict(&token(key, algorithm, kid)).await, expected, "{kid}");
    }
}

//! Every algorithm and kind of key. `jsonwebtoken` signs here, and verifies in the room: that others sign alike is what
//! the examples of the RFCs are for.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
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
    let p256 = EncodingKey::from_ec_pem(scene.techdocs.to_pem().expose()).unwrap();
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
    assert_eq!(scene.verdict(&token(&p256, ES256, "off")).await, "401 signature", "a point off the curve");
    for (key, algorithm, kid) in [
        (&rsa, RS256, "enc"),
        (&rsa, RS256, "ops"),
        (&p256, ES256, "k256"),
        (&EncodingKey::from_secret(b"secret"), Algorithm::HS256, "oct"),
    ] {
        let expected = if kid == "oct" { "401 algorithm" } else { "401 unknown_key" };
        assert_eq!(scene.verdict(&token(key, algorithm, kid)).await, expected, "{kid}");
    }
}

#[tokio::test]
async fn token_and_key_of_an_algorithm_that_is_not_on_the_list_are_told_so() {
    let scene = Scene::new().await;
    let coordinate = URL_SAFE_NO_PAD.encode([1; 66]);
    let key = json!({"kty": "EC", "crv": "P-521", "alg": "ES512", "kid": "p521", "x": coordinate, "y": coordinate});
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(json!({"keys": [key]})));
    let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES512", "kid": "p521"});
    let claims = json!({"sub": "techdocs", "aud": "callboard", "iat": START, "exp": START + 60});
    let error = scene.show(&scene.techdocs.sign(&header, &claims).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "algorithm \"ES512\" not accepted here");
    assert_eq!(error.public_message(), "The token's algorithm is not accepted for its issuer's keys");
}

/// RFC 7515, appendices A.2 and A.3.
#[test]
fn examples_of_the_rfc_are_verified() {
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rs256 = (
        json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPC\
            JrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5\
            rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8N\
            Aco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1\
         dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jz\
         DwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQG\
         e77Rw",
    );
    let es256 = (
        json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    for (key, header, signature) in [rs256, es256] {
        let keys = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
        let verified = |payload: &str| {
            let token = format!("{header}.{payload}.{signature}");
            keys.verify(&Jws::parse(&token).unwrap())
        };
        assert!(verified(PAYLOAD).is_ok(), "{header}");
        assert!(matches!(verified("e30"), Err(AuthError::Signature)), "{header}");
    }
}

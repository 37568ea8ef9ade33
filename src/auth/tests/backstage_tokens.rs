//! Plugin and user tokens.

use super::*;

#[tokio::test]
async fn good_plugin_token_is_its_plugin() {
    let scene = Scene::new().await;
    let principal = scene.show(&scene.plugin_token(json!({}))).await.unwrap();
    assert_eq!((principal.subject(), principal.kind()), ("plugin:techdocs", Kind::Plugin));
    assert_eq!(principal.expires_at(), Some(Timestamp::from_secs(START + 3600)));
    assert_eq!((principal.actor(), principal.limited()), (None, false));
}

#[tokio::test]
async fn plugin_tokens_claims_are_all_required_and_checked() {
    let scene = Scene::new().await;
    let now = scene.now();
    for (changes, verdict) in [
        (json!({"aud": "techdocs"}), "plugin:techdocs"),
        (json!({"aud": ["catalog", "techdocs"]}), "plugin:techdocs"),
        (json!({"aud": "catalog"}), "401 audience"),
        (json!({"aud": []}), "401 audience"),
        (json!({"aud": null}), "401 missing_claim"),
        (json!({"iat": null}), "401 missing_claim"),
        (json!({"exp": null}), "401 missing_claim"),
        (json!({"sub": null}), "401 missing_claim"),
        (json!({"sub": ""}), "401 subject"),
        (json!({"sub": 7}), "401 subject"),
        (json!({"sub": "../techdocs"}), "401 subject"),
        (json!({"sub": "tech%64ocs"}), "401 subject"),
        (json!({"sub": "techdocs?"}), "401 subject"),
        (json!({"exp": now}), "plugin:techdocs"),
        (json!({"exp": now - 5}), "401 expired"),
        (json!({"exp": "9999999999"}), "401 malformed"),
        (json!({"iat": now + 3600}), "plugin:techdocs"),
        (json!({"nbf": now + 6}), "401 not_yet_valid"),
        (json!({"iss": "anyone"}), "plugin:techdocs"),
    ] {
        assert_eq!(scene.verdict(&scene.plugin_token(changes.clone())).await, verdict, "{changes}");
    }
}

#[tokio::test]
async fn header_decides_the_kind_and_brings_no_keys() {
    let scene = Scene::new().await;
    let other = SigningKey::generate().unwrap();
    let now = scene.now();
    let claims = json!({ "sub": "techdocs", "aud": "callboard", "iat": now, "exp": now + 60 });
    let header = json!({ "typ": "vnd.backstage.plugin", "alg": "ES256", "kid": scene.techdocs.kid() });
    for (key, changes, verdict) in [
        (&scene.techdocs, json!({}), "plugin:techdocs"),
        (&scene.techdocs, json!({"kid": null}), "401 unknown_key"),
        (&scene.techdocs, json!({"kid": 1}), "401 unknown_key"),
        (&scene.techdocs, json!({"kid": "other"}), "401 unknown_key"),
        (&scene.techdocs, json!({"typ": null}), "401 unknown_token"),
        (&scene.techdocs, json!({"typ": "JWT"}), "401 unknown_token"),
        (&scene.techdocs, json!({"typ": "VND.backstage.plugin"}), "401 unknown_token"),
        (&scene.techdocs, json!({"typ": "vnd.backstage.user"}), "401 users_off"),
        (&scene.techdocs, json!({"crit": ["exp"]}), "401 critical"),
        (&scene.techdocs, json!({"crit": []}), "401 critical"),
        (&other, json!({}), "401 signature"),
        (
            &other,
            json!({"jwk": other.public_jwk(), "jku": scene.publisher.base_url.as_str(), "x5u": "x"}),
            "401 signature",
        ),
    ] {
        let token = key.sign(&changed(header.clone(), changes.clone()), &claims).unwrap();
        assert_eq!(scene.verdict(&token).await, verdict, "{changes}");
    }
}

#[tokio::test]
async fn what_is_no_jwt_is_refused_without_any_fetch() {
    let scene = Scene::new().await;
    let good = scene.plugin_token(json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for (token, verdict) in [
        ("x".to_owned(), "401 unknown_token"),
        ("..".to_owned(), "401 malformed"),
        ("a.b.c".to_owned(), "401 malformed"),
        (format!("{good}."), "401 unknown_token"),
        (format!("{good}="), "401 malformed"),
        (format!("{signed}.{signature}!"), "401 malformed"),
        (signed.to_owned(), "401 unknown_token"),
        (format!("e30.{signed}.{signature}"), "401 unknown_token"),
        (format!("W10.e30.{signature}"), "401 malformed"),
    ] {
        assert_eq!(scene.verdict(&token).await, verdict, "{token}");
    }
    assert_eq!(scene.verdict(&format!("{signed}.")).await, "401 signature");
    assert_eq!(scene.publisher.asked_in_all(), 1);
}

#[tokio::test]
async fn nothing_is_fetched_for_a_token_that_would_be_refused_anyway() {
    let scene = Scene::new().await;
    for changes in [json!({"exp": 1}), json!({"aud": "catalog"}), json!({"sub": "../x"}), json!({"iat": null})] {
        assert!(scene.show(&scene.plugin_token(changes)).await.is_err());
    }
    assert_eq!(scene.publisher.asked_in_all(), 0);
}

#[tokio::test]
async fn verified_plugin_that_is_not_listed_is_told_so() {
    let scene = Scene::new().await;
    let catalog = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(catalog.public_jwks()));
    let token = plugin_token(&catalog, scene.now(), json!({"sub": "catalog"}));
    let error = scene.show(&token).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.reason()), (403, "not_allowed"));
    assert!(error.public_message().contains("'plugin:catalog'"));
    let forged = plugin_token(&scene.techdocs, scene.now(), json!({"sub": "catalog"}));
    assert_eq!(scene.verdict(&forged).await, "401 unknown_key");
}

#[tokio::test]
async fn user_in_a_plugins_token_reads_as_long_as_both_last() {
    let scene = Scene::new().await;
    let limited = scene.user_token("vnd.backstage.limited-user", json!({"exp": START + 100}));
    let token = scene.plugin_token(json!({"obo": limited}));
    let principal = scene.show(&token).await.unwrap();
    assert_eq!((principal.subject(), principal.actor()), ("user:default/jane", Some("plugin:techdocs")));
    assert_eq!((principal.kind(), principal.limited()), (Kind::User, false));
    assert_eq!(principal.expires_at(), Some(Timestamp::from_secs(START + 100)));
    assert_eq!(scene.room.remembered(&bearer(&token)), Some(principal));
}

#[tokio::test]
async fn both_signatures_of_an_obo_token_count_and_so_does_the_actor() {
    let scene = Scene::new().await;
    let limited = scene.limited_token();
    let forged = SigningKey::generate().unwrap();
    let header = json!({"typ": "vnd.backstage.limited-user", "alg": "ES256", "kid": scene.auth.kid()});
    let forged = forged.sign(&header, &json!({"sub": "user:default/jane", "iat": START, "exp": START + 9})).unwrap();
    for (obo, verdict) in [
        (json!(forged), "401 signature"),
        (json!(scene.user_token("vnd.backstage.limited-user", json!({"exp": 1}))), "401 expired"),
        (json!(scene.plugin_token(json!({}))), "401 unknown_token"),
        (json!(""), "401 malformed"),
        (json!(7), "401 malformed"),
        (json!(scene.user_token("vnd.backstage.user", json!({}))), "401 unknown_token"),
    ] {
        assert_eq!(scene.verdict(&scene.plugin_token(json!({"obo": obo}))).await, verdict);
    }
    let catalog = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(catalog.public_jwks()));
    let token = plugin_token(&catalog, scene.now(), json!({"sub": "catalog", "obo": limited}));
    assert_eq!(scene.verdict(&token).await, "403 not_allowed");
}

#[tokio::test]
async fn user_tokens_are_refused_unless_switched_on() {
    let scene = Scene::new().await;
    for typ in ["vnd.backstage.user", "vnd.backstage.limited-user"] {
        assert_eq!(scene.verdict(&scene.user_token(typ, json!({}))).await, "401 users_off");
    }
    assert_eq!(scene.verdict(&scene.user_token("JWT", json!({"aud": "backstage"}))).await, "401 users_off");
    assert_eq!(scene.publisher.asked_in_all(), 0);
}

#[tokio::test]
async fn user_tokens_old_and_new_are_verified_with_the_auth_plugins_keys() {
    let scene = Scene::with(|options| options.users = true).await;
    let jane = "user:default/jane";
    for (typ, changes, verdict) in [
        ("vnd.backstage.user", json!({"aud": "backstage"}), jane),
        ("vnd.backstage.user", json!({"iat": null}), "401 missing_claim"),
        ("vnd.backstage.user", json!({"sub": null}), "401 missing_claim"),
        ("vnd.backstage.user", json!({"exp": START - 5}), "401 expired"),
        ("JWT", json!({"aud": "backstage", "iat": null}), jane),
        ("JWT", json!({"aud": "backstage", "exp": null}), "401 missing_claim"),
        ("JWT", json!({"aud": ["backstage"]}), "401 unknown_token"),
        ("vnd.backstage.plugin", json!({"aud": "callboard", "sub": "techdocs"}), "401 unknown_key"),
        ("vnd.backstage.user", json!({"sub": "plugin:techdocs"}), "403 not_allowed"),
        ("vnd.backstage.user", json!({"sub": "group:default/x"}), "403 not_allowed"),
    ] {
        assert_eq!(scene.verdict(&scene.user_token(typ, changes.clone())).await, verdict, "{typ} {changes}");
    }
}

#[tokio::test]
async fn limited_token_is_good_for_static_files_only() {
    let scene = Scene::with(|options| options.users = true).await;
    let token = scene.limited_token();
    let for_a_file = Credential::Bearer { token: token.as_bytes(), resource: Resource::StaticFile };
    assert_eq!(scene.verdict(&token).await, "401 limited");
    let principal = scene.room.verify(&for_a_file).await.unwrap();
    assert!(principal.limited());
    assert!(scene.room.remembered(&for_a_file).is_some());
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
    assert_eq!(scene.verdict(&token).await, "401 limited");
}

#[tokio::test]
async fn cookie_holds_limited_tokens_and_no_others() {
    let scene = Scene::with(|options| options.cookies = true).await;
    let limited = scene.limited_token();
    let (plugin, user) = (scene.plugin_token(json!({})), scene.user_token("vnd.backstage.user", json!({})));
    assert!(scene.room.verify(&Credential::Cookie(limited.as_bytes())).await.is_ok());
    assert!(scene.room.remembered(&Credential::Cookie(limited.as_bytes())).is_some());
    assert!(scene.show(&plugin).await.is_ok());
    assert_eq!(scene.room.remembered(&Credential::Cookie(plugin.as_bytes())), None);
    for other in [plugin, user] {
        assert_eq!(told(scene.room.verify(&Credential::Cookie(other.as_bytes())).await), "401 cookie_kind");
    }
}

#[tokio::test]
async fn token_remembered_from_the_cookie_is_no_bearer_token() {
    let scene = Scene::with(|options| options.cookies = true).await;
    let limited = scene.limited_token();
    let as_bearer = Credential::Bearer { token: limited.as_bytes(), resource: Resource::StaticFile };
    assert!(scene.room.verify(&Credential::Cookie(limited.as_bytes())).await.is_ok());
    assert_eq!(scene.room.remembered(&as_bearer), None);
    assert_eq!(told(scene.room.verify(&as_bearer).await), "401 users_off");
}

#[tokio::test]
async fn without_credentials_nobody_reads_and_everybody_where_none_are_required() {
    let scene = Scene::new().await;
    assert_eq!(scene.room.remembered(&Credential::Absent), None);
    assert_eq!(told(scene.room.verify(&Credential::Absent).await), "401 missing");
    let open = Scene::with(|options| options.required = false).await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic eA==".parse().unwrap());
    let credential = open.room.credential(&headers, Resource::Other).unwrap();
    assert_eq!(open.room.remembered(&credential).unwrap().kind(), Kind::Anonymous);
    assert_eq!(told(open.room.verify(&credential).await), "anonymous");
}

#[tokio::test]
async fn pinned_keys_need_no_backstage() {
    let key = SigningKey::generate().unwrap();
    let scene = Scene::with(|options| {
        options.discovery = None;
        options.pinned_keys = vec![PinnedKeys { plugin: "techdocs".to_owned(), keys: key.key_set().unwrap() }];
    })
    .await;
    assert_eq!(scene.verdict(&plugin_token(&key, scene.now(), json!({}))).await, "plugin:techdocs");
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "401 unknown_key");
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"sub": "catalog"}))).await, "401 no_backend");
    assert_eq!(scene.publisher.asked_in_all(), 0);
}

//! Plugins that nobody has configured by name.

use super::*;

#[tokio::test]
async fn invented_plugins_share_one_budget_and_starve_nobody() {
    let scene = Scene::new().await;
    let catalog = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(catalog.public_jwks()));
    let stranger = plugin_token(&catalog, START, json!({"sub": "catalog"}));
    assert_eq!(scene.verdict(&stranger).await, "403 not_allowed");
    for second in 0..60 {
        for n in 0..20 {
            let token = scene.plugin_token(json!({"sub": format!("invented-{second}-{n}")}));
            let verdict = scene.verdict(&token).await;
            assert!(["401 unknown_issuer", "401 throttled"].contains(&verdict.as_str()), "{verdict}");
        }
        assert_eq!(scene.verdict(&stranger).await, "403 not_allowed");
        scene.hand.advance(Duration::from_secs(1));
    }
    assert!((5..=10).contains(&scene.publisher.asked_in_all()), "{}", scene.publisher.asked_in_all());
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
}

#[tokio::test]
async fn unknown_kids_of_strangers_are_in_the_strangers_budget() {
    let scene = Scene::new().await;
    let plugins: Vec<String> = (0..10).map(|n| format!("plugin{n}")).collect();
    for plugin in &plugins {
        scene.publisher.set(&plugin_path(plugin), Answer::Json(scene.auth.public_jwks()));
    }
    for n in 0..120 {
        for plugin in &plugins {
            let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": format!("unknown-{n}")});
            let claims = json!({"sub": plugin, "aud": "callboard", "iat": START, "exp": START + 3600});
            assert!(scene.show(&scene.techdocs.sign(&header, &claims).unwrap()).await.is_err());
        }
        scene.hand.advance(Duration::from_millis(500));
    }
    assert!((5..=10).contains(&scene.publisher.asked_in_all()), "{}", scene.publisher.asked_in_all());
}

#[tokio::test]
async fn company_that_lets_every_plugin_read_can_start_with_many() {
    let scene = Scene::with(|options| options.allow = vec!["plugin:*".to_owned()]).await;
    for n in 0..30 {
        let (key, plugin) = (SigningKey::generate().unwrap(), format!("plugin{n}"));
        scene.publisher.set(&plugin_path(&plugin), Answer::Json(key.public_jwks()));
        let token = plugin_token(&key, START, json!({"sub": plugin}));
        assert_eq!(scene.verdict(&token).await, format!("plugin:{plugin}"));
    }
}

#[tokio::test]
async fn inventing_plugins_pushes_out_none_that_is_real() {
    let scene = Scene::new().await;
    let catalog = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(catalog.public_jwks()));
    let stranger = |n: u64| plugin_token(&catalog, START, json!({"sub": "catalog", "n": n}));
    assert_eq!(scene.verdict(&stranger(0)).await, "403 not_allowed");
    for n in 0..1000 {
        scene.verdict(&scene.plugin_token(json!({"sub": format!("invented-{n}")}))).await;
    }
    assert_eq!(scene.verdict(&stranger(1)).await, "403 not_allowed");
    assert_eq!(scene.publisher.asked(&plugin_path("catalog")), 1);
}

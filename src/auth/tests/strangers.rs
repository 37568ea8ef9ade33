//! Plugins that nobody has configured by name.

use super::*;

/// A scene in which every plugin may read, and `catalog` has a key.
async fn scene_of_a_company() -> (Scene, SigningKey) {
    let scene = Scene::with(|options| options.allow = vec!["plugin:*".to_owned()]).await;
    let catalog = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(catalog.public_jwks()));
    (scene, catalog)
}

/// Shows tokens of plugins that don't exist until none is looked for any more, and as many again.
async fn flood(scene: &Scene, round: u64) {
    for n in 0..200 {
        let token = scene.plugin_token(json!({"sub": format!("invented-{round}-{n}")}));
        let verdict = scene.verdict(&token).await;
        assert!(["401 unknown_issuer", "503 throttled"].contains(&verdict.as_str()), "{verdict}");
    }
}

fn catalog_token(scene: &Scene, key: &SigningKey) -> String {
    plugin_token(key, scene.now(), json!({"sub": "catalog"}))
}

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
            assert!(["401 unknown_issuer", "503 throttled"].contains(&verdict.as_str()), "{verdict}");
        }
        assert_eq!(scene.verdict(&stranger).await, "403 not_allowed");
        scene.hand.advance(Duration::from_secs(1));
    }
    assert!((5..=10).contains(&scene.publisher.asked_in_all()), "{}", scene.publisher.asked_in_all());
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
}

#[tokio::test]
async fn plugin_that_was_not_looked_for_is_asked_to_come_back() {
    let (scene, catalog) = scene_of_a_company().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"sub": "invented"}))).await, "401 unknown_issuer");
    flood(&scene, 0).await;
    let error = scene.show(&catalog_token(&scene, &catalog)).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.reason(), error.www_authenticate()), (503, "throttled", None));
    // It does as it is told, while the stranger goes on.
    for second in 1..=error.retry_after().unwrap().as_secs() {
        scene.hand.advance(Duration::from_secs(1));
        flood(&scene, second).await;
    }
    assert_eq!(scene.verdict(&catalog_token(&scene, &catalog)).await, "plugin:catalog");
}

#[tokio::test]
async fn plugin_that_has_shown_keys_is_kept_and_read_again_whatever_strangers_do() {
    let (scene, catalog) = scene_of_a_company().await;
    assert_eq!(scene.verdict(&catalog_token(&scene, &catalog)).await, "plugin:catalog");
    for round in 0..10 {
        // Beyond `refresh_after + outage_grace`, so that the keys must be read again to tell.
        scene.hand.advance(Duration::from_secs(5000));
        for minute in 0..3 {
            flood(&scene, round * 3 + minute).await;
            scene.hand.advance(Duration::from_secs(60));
        }
        flood(&scene, 1_000 + round).await;
        assert_eq!(scene.verdict(&catalog_token(&scene, &catalog)).await, "plugin:catalog");
    }
    assert_eq!(scene.publisher.asked(&plugin_path("catalog")), 11);

    let rotated = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("catalog"), Answer::Json(rotated.public_jwks()));
    assert_eq!(scene.verdict(&catalog_token(&scene, &rotated)).await, "plugin:catalog");
}

#[tokio::test]
async fn plugins_that_the_configuration_mentions_are_not_among_the_strangers() {
    let scene = Scene::with_publisher(|options, publisher| {
        options.allow = vec!["plugin:*".to_owned()];
        let endpoint = DiscoveryEndpoint {
            target: format!("{}api/{{{{pluginId}}}}", publisher.base_url),
            plugins: vec!["search".to_owned(), "*".to_owned()],
        };
        options.discovery.as_mut().unwrap().endpoints.push(endpoint);
    })
    .await;
    scene.publisher.set(&plugin_path("search"), Answer::Json(scene.auth.public_jwks()));
    flood(&scene, 0).await;
    let search = plugin_token(&scene.auth, START, json!({"sub": "search"}));
    assert_eq!(scene.verdict(&search).await, "plugin:search");
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs", "an accepted audience");
}

#[tokio::test]
async fn unknown_kids_of_plugins_that_have_shown_keys_have_a_budget_each() {
    let (scene, catalog) = scene_of_a_company().await;
    let mut verdicts = Vec::new();
    for second in 0..60 {
        for n in 0..10 {
            let kid = format!("unknown-{second}-{n}");
            let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": kid});
            let claims = json!({"sub": "catalog", "aud": "callboard", "iat": START, "exp": START + 3600});
            verdicts.push(scene.verdict(&catalog.sign(&header, &claims).unwrap()).await);
        }
        scene.hand.advance(Duration::from_secs(1));
    }
    assert!(verdicts.iter().all(|verdict| ["401 unknown_key", "503 throttled"].contains(&verdict.as_str())));
    assert!((5..=11).contains(&scene.publisher.asked_in_all()), "{}", scene.publisher.asked_in_all());
    let later = plugin_token(&scene.auth, START, json!({"sub": "later"}));
    scene.publisher.set(&plugin_path("later"), Answer::Json(scene.auth.public_jwks()));
    assert_eq!(scene.verdict(&later).await, "plugin:later");
}

#[tokio::test]
async fn other_capitalisations_of_a_plugin_stay_in_the_strangers_budget() {
    let (scene, catalog) = scene_of_a_company().await;
    let names: Vec<String> = (0_u32..128)
        .map(|bits| {
            let letters = "catalog".bytes().enumerate();
            letters.map(|(n, letter)| char::from(if bits >> n & 1 == 1 { letter - 32 } else { letter })).collect()
        })
        .collect();
    for name in &names {
        // Backstage's router takes paths in any case.
        scene.publisher.set(&plugin_path(name), Answer::Json(catalog.public_jwks()));
    }
    for second in 0..60 {
        for name in &names {
            let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": format!("unknown-{second}")});
            let claims = json!({"sub": name, "aud": "callboard", "iat": START, "exp": START + 3600});
            assert!(scene.show(&catalog.sign(&header, &claims).unwrap()).await.is_err());
        }
        scene.hand.advance(Duration::from_secs(1));
    }
    // Of the strangers 30 and 5 at once and one of each every two seconds, and ten reloads of the real one.
    assert!(scene.publisher.asked_in_all() <= 35 + 60 + 10, "{}", scene.publisher.asked_in_all());
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

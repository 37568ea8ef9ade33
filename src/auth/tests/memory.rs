//! Tokens that were verified before.

use super::*;

#[tokio::test]
async fn remembered_token_is_good_until_it_expires() {
    let scene = Scene::new().await;
    let token = scene.plugin_token(json!({"exp": START + 300}));
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
    let principal = scene.show(&token).await.unwrap();
    scene.hand.advance(Duration::from_secs(304));
    assert_eq!(scene.room.remembered(&bearer(&token)), Some(principal));
    scene.hand.advance(Duration::from_secs(1));
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
    assert_eq!(scene.verdict(&token).await, "401 expired");
}

#[tokio::test]
async fn withdrawn_key_counts_for_remembered_tokens_no_longer_than_for_others() {
    let scene = Scene::new().await;
    let long = json!({"exp": START + 1_000_000});
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(scene.auth.public_jwks()));
    scene.hand.advance(Duration::from_secs(599));
    // Shown for the first time when the keys are almost due: what counts is when they were read.
    let token = scene.plugin_token(long);
    assert_eq!(scene.verdict(&token).await, "plugin:techdocs");
    assert!(scene.room.remembered(&bearer(&token)).is_some());
    scene.hand.advance(Duration::from_secs(1));
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
    assert_eq!(scene.verdict(&token).await, "401 unknown_key");
}

#[tokio::test]
async fn withdrawn_user_key_counts_as_long_inside_a_plugins_token() {
    let scene = Scene::new().await;
    let obo = scene.limited_token();
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"obo": obo}))).await, "user:default/jane");
    scene.hand.advance(Duration::from_secs(300));
    // The plugin's keys are read once more, the user's are not.
    let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": "unknown"});
    assert!(
        scene
            .show(
                &scene
                    .techdocs
                    .sign(
                        &header,
                        &json!({"sub": "techdocs", "aud": "callboard",
        "iat": START, "exp": START + 3600})
                    )
                    .unwrap()
            )
            .await
            .is_err()
    );
    let token = scene.plugin_token(json!({"obo": obo}));
    assert_eq!(scene.verdict(&token).await, "user:default/jane");
    scene.hand.advance(Duration::from_secs(299));
    assert!(scene.room.remembered(&bearer(&token)).is_some());
    scene.hand.advance(Duration::from_secs(1));
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
}

#[tokio::test]
async fn tokens_are_remembered_through_an_outage_from_one_try_to_the_next() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Status(500));
    scene.hand.advance(Duration::from_secs(600));
    let token = scene.plugin_token(json!({}));
    assert_eq!(scene.verdict(&token).await, "plugin:techdocs");
    assert!(scene.room.remembered(&bearer(&token)).is_some());
    scene.hand.advance(Duration::from_secs(1));
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
    assert_eq!(scene.verdict(&token).await, "plugin:techdocs");
}

#[tokio::test]
async fn token_that_differs_in_one_byte_is_not_the_remembered_one() {
    let scene = Scene::new().await;
    let token = scene.plugin_token(json!({}));
    scene.show(&token).await.unwrap();
    for position in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(scene.room.remembered(&bearer(&forged)), None);
        assert!(scene.show(&forged).await.is_err(), "byte {position}");
    }
    for forged in [format!("{token}A"), token[..token.len() - 1].to_owned()] {
        assert_eq!(scene.room.remembered(&bearer(&forged)), None);
        assert!(scene.show(&forged).await.is_err());
    }
    assert!(scene.room.remembered(&bearer(&token)).is_some());
}

#[tokio::test]
async fn refused_tokens_are_not_remembered() {
    let scene = Scene::with(|options| options.allow.clear()).await;
    let token = scene.plugin_token(json!({}));
    assert_eq!(scene.verdict(&token).await, "403 not_allowed");
    assert_eq!(scene.room.remembered(&bearer(&token)), None);
}

#[tokio::test]
async fn memory_is_bounded() {
    let scene = Scene::with(|options| options.remembered_tokens = 10).await;
    let mut tokens = Vec::new();
    for n in 0..100 {
        tokens.push(scene.plugin_token(json!({"n": n})));
        scene.show(tokens.last().unwrap()).await.unwrap();
    }
    scene.room.remembered.run_pending_tasks();
    let kept = tokens.iter().filter(|token| scene.room.remembered(&bearer(token)).is_some()).count();
    assert!(kept <= 10, "{kept}");
    assert!(scene.room.remembered(&bearer(&tokens[99])).is_some());
}

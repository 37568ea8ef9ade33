//! How rarely key sets are asked for, and what happens while they can't be had.

use futures_util::future::join_all;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn count(scene: &Scene) -> usize {
    scene.publisher.asked(&plugin_path("techdocs"))
}

/// A token whose `kid` nobody has published.
fn unknown_kid(scene: &Scene, n: usize) -> String {
    let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": format!("unknown-{n}")});
    let claims = json!({"sub": "techdocs", "aud": "callboard", "iat": scene.now(), "exp": scene.now() + 3600});
    scene.techdocs.sign(&header, &claims).unwrap()
}

async fn verdicts(scene: &Scene, tokens: &[String]) -> Vec<String> {
    join_all(tokens.iter().map(|token| scene.verdict(token))).await
}

#[tokio::test]
async fn thousand_first_uses_make_one_fetch() {
    let scene = Scene::new().await;
    let tokens: Vec<_> = (0..1000).map(|n| scene.plugin_token(json!({"n": n}))).collect();
    assert!(verdicts(&scene, &tokens).await.iter().all(|verdict| verdict == "plugin:techdocs"));
    assert_eq!(count(&scene), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousand_first_uses_on_several_threads_make_one_fetch() {
    let scene = Arc::new(Scene::new().await);
    let uses = (0..1000).map(|n| {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { scene.verdict(&scene.plugin_token(json!({"n": n}))).await })
    });
    for verdict in join_all(uses).await {
        assert_eq!(verdict.unwrap(), "plugin:techdocs");
    }
    assert_eq!(count(&scene), 1);
}

#[tokio::test]
async fn first_caller_who_leaves_ends_no_fetch() {
    let scene = Scene::new().await;
    let token = scene.plugin_token(json!({}));
    {
        let credential = bearer(&token);
        let mut first = Box::pin(scene.room.verify(&credential));
        assert!(futures_util::poll!(&mut first).is_pending());
    }
    assert_eq!(scene.verdict(&token).await, "plugin:techdocs");
    assert_eq!(count(&scene), 1);
}

#[tokio::test]
async fn unknown_kids_make_no_more_than_ten_reloads_a_minute() {
    let scene = Scene::new().await;
    let tokens: Vec<_> = (0..1000).map(|n| unknown_kid(&scene, n)).collect();
    assert!(verdicts(&scene, &tokens).await.iter().all(|verdict| verdict == "401 unknown_key"));
    assert_eq!(count(&scene), 2, "one for the first, and one that began after all the others were shown");
    for second in 0..60 {
        for n in 0..20 {
            let verdict = scene.verdict(&unknown_kid(&scene, 1000 + second * 20 + n)).await;
            assert!(["401 unknown_key", "503 throttled"].contains(&verdict.as_str()), "{verdict}");
        }
        scene.hand.advance(Duration::from_secs(1));
    }
    assert!((5..=12).contains(&count(&scene)), "{}", count(&scene));
}

#[tokio::test]
async fn new_key_that_is_not_looked_for_is_not_called_unknown() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    for n in 0..10 {
        assert!(scene.show(&unknown_kid(&scene, n)).await.is_err());
    }
    let new = SigningKey::generate().unwrap();
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(new.public_jwks()));
    let error = scene.show(&plugin_token(&new, START, json!({}))).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.reason()), (503, "throttled"));
    scene.hand.advance(error.retry_after().unwrap());
    assert_eq!(scene.verdict(&plugin_token(&new, START, json!({}))).await, "plugin:techdocs");
}

#[tokio::test]
async fn one_unknown_kid_is_looked_for_once_in_a_while() {
    let scene = Scene::new().await;
    for _ in 0..100 {
        assert_eq!(scene.verdict(&unknown_kid(&scene, 0)).await, "401 unknown_key");
    }
    assert_eq!(count(&scene), 1);
    scene.hand.advance(Duration::from_secs(10));
    assert_eq!(scene.verdict(&unknown_kid(&scene, 0)).await, "401 unknown_key");
    assert_eq!(count(&scene), 2);
}

#[tokio::test]
async fn overlong_kid_is_not_looked_for() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    let header = json!({"typ": "vnd.backstage.plugin", "alg": "ES256", "kid": "k".repeat(257)});
    let claims = json!({"sub": "techdocs", "aud": "callboard", "iat": START, "exp": START + 60});
    let token = scene.techdocs.sign(&header, &claims).unwrap();
    assert_eq!(scene.verdict(&token).await, "401 unknown_key");
    assert_eq!(count(&scene), 1);
}

#[tokio::test]
async fn rotated_key_is_found_at_once_and_the_old_one_is_good_while_published() {
    let scene = Scene::new().await;
    let before = scene.plugin_token(json!({}));
    assert_eq!(scene.verdict(&before).await, "plugin:techdocs");
    let new = SigningKey::generate().unwrap();
    let both = json!({"keys": [scene.techdocs.public_jwk(), new.public_jwk()]});
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(both));
    assert_eq!(scene.verdict(&plugin_token(&new, START, json!({}))).await, "plugin:techdocs");
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"n": 1}))).await, "plugin:techdocs");
    assert_eq!(count(&scene), 2);

    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(new.public_jwks()));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"n": 2}))).await, "plugin:techdocs");
    scene.hand.advance(Duration::from_secs(600));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({"n": 3}))).await, "401 unknown_key");
    assert_eq!(scene.verdict(&plugin_token(&new, scene.now(), json!({"n": 4}))).await, "plugin:techdocs");
    assert_eq!(count(&scene), 3);
}

#[tokio::test]
async fn new_key_is_looked_for_once_more_if_the_fetch_under_way_began_before_it_was_published() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    let (new, release) = (SigningKey::generate().unwrap(), Arc::new(tokio::sync::Notify::new()));
    let before = Answer::Held(scene.techdocs.public_jwks(), Arc::clone(&release));
    scene.publisher.set(&plugin_path("techdocs"), before);
    let stranger = unknown_kid(&scene, 0);
    let rotation = async {
        while count(&scene) < 2 {
            tokio::task::yield_now().await;
        }
        let both = json!({"keys": [scene.techdocs.public_jwk(), new.public_jwk()]});
        scene.publisher.set(&plugin_path("techdocs"), Answer::Json(both));
        let token = plugin_token(&new, START, json!({}));
        let credential = bearer(&token);
        let mut first_use = Box::pin(scene.room.verify(&credential));
        assert!(futures_util::poll!(&mut first_use).is_pending());
        release.notify_one();
        told(first_use.await)
    };
    let (strangers, rotated) = tokio::join!(scene.verdict(&stranger), rotation);
    assert_eq!((strangers.as_str(), rotated.as_str()), ("401 unknown_key", "plugin:techdocs"));
    assert_eq!(count(&scene), 3);
}

#[tokio::test]
async fn known_keys_are_good_through_an_outage_until_the_grace_is_over() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Status(500));
    for _ in 0..69 {
        scene.hand.advance(MINUTE);
        assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    }
    assert_eq!(scene.verdict(&unknown_kid(&scene, 0)).await, "503 keys_unavailable");
    scene.hand.advance(MINUTE);
    let error = scene.show(&scene.plugin_token(json!({}))).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert!(error.retry_after().unwrap() <= Duration::from_secs(30));
    assert_eq!(error.www_authenticate(), None);

    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(scene.techdocs.public_jwks()));
    scene.hand.advance(MINUTE);
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
}

#[tokio::test]
async fn plugin_whose_key_set_vanishes_is_treated_as_an_outage() {
    let scene = Scene::new().await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Status(404));
    scene.hand.advance(Duration::from_secs(601));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.hand.advance(Duration::from_secs(3600));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "401 unknown_issuer");
}

#[tokio::test]
async fn endpoint_that_is_down_is_not_asked_for_every_request() {
    let scene = Scene::new().await;
    scene.publisher.set(&plugin_path("techdocs"), Answer::Status(503));
    for _ in 0..600 {
        let tokens: Vec<_> = (0..3).map(|n| scene.plugin_token(json!({"n": n}))).collect();
        assert!(verdicts(&scene, &tokens).await.iter().all(|verdict| verdict == "503 keys_unavailable"));
        scene.hand.advance(Duration::from_millis(500));
    }
    // At 0, 1, 3, 7, 15, 31 s and then every 30 s of the 300.
    assert_eq!(count(&scene), 6 + 8);
}

#[tokio::test]
async fn endpoint_that_hangs_costs_its_time_out_once() {
    let scene = Scene::with(|options| options.jwks.timeout = Duration::from_millis(50)).await;
    scene.publisher.set(&plugin_path("techdocs"), Answer::Silence);
    let tokens: Vec<_> = (0..100).map(|n| scene.plugin_token(json!({"n": n}))).collect();
    for _ in 0..2 {
        assert!(verdicts(&scene, &tokens).await.iter().all(|verdict| verdict == "503 keys_unavailable"));
    }
    assert_eq!(count(&scene), 1);
}

#[tokio::test]
async fn nobody_waits_for_an_endpoint_that_hung_last_time_while_its_keys_are_known() {
    let scene = Scene::with(|options| options.jwks.timeout = Duration::from_millis(1000)).await;
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Silence);
    scene.hand.advance(Duration::from_secs(600));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    scene.hand.advance(MINUTE);
    let token = scene.plugin_token(json!({}));
    let credential = bearer(&token);
    let mut verifying = Box::pin(scene.room.verify(&credential));
    // It lets others go first who are ready, and waits for nothing that takes time.
    let mut verdict = futures_util::poll!(&mut verifying);
    for _ in 0..100 {
        if verdict.is_pending() {
            tokio::task::yield_now().await;
            verdict = futures_util::poll!(&mut verifying);
        }
    }
    assert!(matches!(verdict, std::task::Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn answer_from_elsewhere_is_refused_even_if_the_client_follows_redirections() {
    let scene = Scene::new().await;
    scene.publisher.set("/elsewhere", Answer::Json(scene.techdocs.public_jwks()));
    scene.publisher.set(&plugin_path("techdocs"), Answer::RedirectTo("/elsewhere".to_owned()));
    let follower = reqwest::Client::builder().no_proxy().build().unwrap();
    let room = Authenticator::new(scene.room.options.clone(), scene.room.clock.clone(), follower);
    let token = scene.plugin_token(json!({}));
    assert_eq!(told(room.verify(&bearer(&token)).await), "503 keys_unavailable");
}

#[tokio::test]
async fn answers_that_are_no_key_set_are_failures() {
    for answer in [
        Answer::Text("<html>".to_owned()),
        Answer::Json(json!([])),
        Answer::Json(json!({"keys": {}})),
        Answer::Text(format!("{{\"keys\":[]{}}}", " ".repeat(256 * 1024))),
        Answer::RedirectTo("/elsewhere".to_owned()),
        Answer::Status(204),
    ] {
        let scene = Scene::new().await;
        scene.publisher.set("/elsewhere", Answer::Json(scene.techdocs.public_jwks()));
        scene.publisher.set(&plugin_path("techdocs"), answer.clone());
        assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "503 keys_unavailable", "{answer:?}");
        assert_eq!(scene.publisher.asked("/elsewhere"), 0);
    }
}

#[tokio::test]
async fn plugin_that_has_signed_nothing_yet_has_no_key() {
    let scene = Scene::new().await;
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(json!({"keys": []})));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "401 unknown_key");
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(scene.techdocs.public_jwks()));
    scene.hand.advance(Duration::from_secs(10));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
    assert_eq!(count(&scene), 2);
}

#[tokio::test]
async fn plugin_that_is_not_installed_is_asked_for_again_when_it_may_have_started() {
    let scene = Scene::new().await;
    scene.publisher.set(&plugin_path("techdocs"), Answer::Status(404));
    for _ in 0..10 {
        assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "401 unknown_issuer");
    }
    assert_eq!(count(&scene), 1);
    scene.publisher.set(&plugin_path("techdocs"), Answer::Json(scene.techdocs.public_jwks()));
    scene.hand.advance(Duration::from_secs(10));
    assert_eq!(scene.verdict(&scene.plugin_token(json!({}))).await, "plugin:techdocs");
}

#[tokio::test]
async fn probe_says_what_is_where() {
    let scene = Scene::with_publisher(|options, publisher| {
        let mut url = publisher.base_url.join("/ci?secret").unwrap();
        url.set_username("user").unwrap();
        options.allow.push("plugin:catalog".to_owned());
        options.external = vec![ExternalAccess {
            method: ExternalMethod::Jwks {
                url,
                issuers: Vec::new(),
                audiences: Vec::new(),
                algorithms: Vec::new(),
                subject_prefix: None,
            },
            restrictions: None,
        }];
        publisher.set("/ci", Answer::Status(500));
    })
    .await;
    let probes = scene.room.probe().await;
    let told: Vec<_> = probes.iter().map(|probe| (probe.issuer.as_str(), probe.keys.clone())).collect();
    assert_eq!(
        told,
        [
            ("plugin:catalog", Err("status 404 Not Found: no such plugin is installed there".to_owned())),
            ("plugin:techdocs", Ok(1)),
            ("users", Ok(1)),
            ("external", Err("key set unavailable: status 500 Internal Server Error".to_owned())),
        ]
    );
    assert!(probes[3].place.ends_with("/ci") && !probes[3].place.contains("user"));
}

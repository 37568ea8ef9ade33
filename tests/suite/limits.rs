//! How much one caller gets: counted to the request, on a clock that is moved by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::support::{Callboard, Told, raw, soak};

const PAGE: &str = "/static/docs/default/component/shop/index.html";

async fn read(callboard: &Callboard, token: &str) -> Response {
    callboard.get_without_token(PAGE).bearer_auth(token).send().await.unwrap()
}

/// How many of so many requests are answered with a page; all others must be 429.
async fn admitted(callboard: &Callboard, token: &str, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        match read(callboard, token).await.status() {
            StatusCode::OK => admitted += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    admitted
}

async fn exceeded(callboard: &Callboard, reason: &str) -> f64 {
    callboard.metric("callboard_limit_exceeded_total", &[reason]).await
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_principal_gets_its_burst_and_then_its_rate() {
    let callboard = Callboard::with("  limits: { requests: { perSecond: 10, burst: 20 } }\n").await;
    let token = callboard.backstage.token();
    assert_eq!(admitted(&callboard, &token, 30).await, 20);
    callboard.hand.advance(Duration::from_millis(500));
    assert_eq!(admitted(&callboard, &token, 30).await, 5);
    // Another token of the same caller is no other caller.
    assert_eq!(admitted(&callboard, &callboard.backstage.token(), 3).await, 0);
    callboard.hand.advance(Duration::from_secs(100));
    assert_eq!(admitted(&callboard, &token, 30).await, 20);
    assert_eq!(exceeded(&callboard, "principal").await, 10.0 + 25.0 + 3.0 + 10.0);
    let counted = callboard.metric("http_server_request_duration_seconds_count", &["\"429\""]).await;
    assert_eq!(counted, exceeded(&callboard, "principal").await);
}

#[tokio::test]
async fn who_is_over_the_limit_is_told_when_to_come_back() {
    let callboard = Callboard::with("  limits: { requests: { perSecond: 1, burst: 3 } }\n").await;
    let token = callboard.backstage.token();
    assert_eq!(admitted(&callboard, &token, 3).await, 3);
    let answer = read(&callboard, &token).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&answer, "retry-after"), "1");
    assert_eq!(header(&answer, "ratelimit-policy"), "\"principal\";q=3;w=3");
    assert_eq!(header(&answer, "ratelimit"), "\"principal\";r=0;t=1");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["name"], "TooManyRequestsError");
    assert_eq!(body["error"]["message"], "Too many requests: try again in 1 s.");
    assert_eq!((&body["request"]["url"], &body["response"]["statusCode"]), (&PAGE.into(), &429.into()));
    // Who waits as long as it was told is served.
    callboard.hand.advance(Duration::from_secs(1));
    let answer = read(&callboard, &token).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("ratelimit"), "nothing is added to an answer within the limit");
}

#[tokio::test]
async fn each_principal_has_its_own_budget_and_some_have_another_or_none() {
    let callboard = Callboard::with(
        "  auth: { allow: ['plugin:*'] }\n  limits: { requests: { perSecond: 1, burst: 3, overrides: [\
         { subject: 'plugin:search', perSecond: 1, burst: 5 }, { subject: 'plugin:ci-*', enabled: false }] } }\n",
    )
    .await;
    for (plugin, budget) in [("techdocs", 3), ("catalog", 3), ("search", 5), ("ci-nightly", 12)] {
        let token = callboard.backstage.token_of(plugin);
        assert_eq!(admitted(&callboard, &token, 12).await, budget, "{plugin}");
    }
}

#[tokio::test]
async fn a_plugin_answers_for_all_whom_it_acts_for() {
    let callboard = Callboard::with("  limits: { requests: { perSecond: 1, burst: 4 } }\n").await;
    let mut served = 0;
    for user in ["user:default/jane", "user:default/john", "user:default/jim"] {
        let token = callboard.backstage.token_on_behalf("techdocs", user);
        served += admitted(&callboard, &token, 2).await;
    }
    assert_eq!(served, 4);
}

#[tokio::test]
async fn limits_can_be_switched_off() {
    let callboard = Callboard::with(
        "  limits: { requests: { enabled: false, burst: 1 }, failedAuthentication: { enabled: false, burst: 1 } }\n",
    )
    .await;
    for _ in 0..10 {
        assert_eq!(read(&callboard, &callboard.backstage.forged_token()).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(admitted(&callboard, &callboard.backstage.token(), 30).await, 30);
}

#[tokio::test]
async fn health_is_told_whoever_is_over_a_limit() {
    let callboard = Callboard::with("  limits: { requests: { perSecond: 1, burst: 1 } }\n").await;
    admitted(&callboard, &callboard.backstage.token(), 5).await;
    let health = callboard.get_without_token("/.backstage/health/v1/liveness").send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
}

const FEW_FAILURES: &str = "  limits: { failedAuthentication: { perMinute: 60, burst: 5 } }\n";

#[tokio::test]
async fn after_too_many_bad_tokens_unknown_ones_are_not_looked_at() {
    let callboard = Callboard::with(FEW_FAILURES).await;
    let known = callboard.backstage.token();
    assert_eq!(read(&callboard, &known).await.status(), StatusCode::OK);
    for bad in 0..5 {
        let token = if bad % 2 == 0 { callboard.backstage.forged_token() } else { format!("guess-{bad}") };
        assert_eq!(read(&callboard, &token).await.status(), StatusCode::UNAUTHORIZED);
    }
    let verified = async || callboard.metric("callboard_auth_tokens_total", &["verified"]).await;
    let looked_at = async || callboard.metric("callboard_auth_tokens_total", &[]).await;
    let before = looked_at().await;
    for token in [callboard.backstage.forged_token(), "guess".to_owned(), callboard.backstage.token()] {
        let answer = read(&callboard, &token).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(header(&answer, "retry-after"), "1");
        assert_eq!(header(&answer, "ratelimit-policy"), "\"failed_authentication\";q=5;w=5");
        assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
    }
    assert_eq!(looked_at().await, before, "none of them was looked at");
    assert_eq!(exceeded(&callboard, "failed_authentication").await, 3.0);
    // Who shares the address and was known before does not notice; who shows nothing is told what to show.
    assert_eq!(admitted(&callboard, &known, 50).await, 50);
    let nothing = callboard.get_without_token(PAGE).send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::UNAUTHORIZED);
    // A second later one may try again, and a good one costs nothing.
    callboard.hand.advance(Duration::from_secs(1));
    for _ in 0..20 {
        assert_eq!(read(&callboard, &callboard.backstage.token()).await.status(), StatusCode::OK);
    }
    assert_eq!(verified().await, 21.0);
    assert_eq!(read(&callboard, "guess").await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(read(&callboard, &callboard.backstage.token()).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn one_address_fails_for_itself() {
    let callboard = Callboard::with(FEW_FAILURES).await;
    let from = async |last: u8, token: &str| {
        let answer = raw::send_from([127, 0, 0, last], callboard.address, raw::get(PAGE, token)).await;
        answer.status().unwrap()
    };
    for _ in 0..5 {
        assert_eq!(from(2, "guess").await, 401);
    }
    assert_eq!(from(2, &callboard.backstage.token()).await, 429);
    assert_eq!(from(3, &callboard.backstage.token()).await, 200);
}

#[tokio::test]
async fn what_is_no_attempt_does_not_count_as_failed() {
    let callboard = Callboard::with(FEW_FAILURES).await;
    for _ in 0..50 {
        let nothing = callboard.get_without_token(PAGE).send().await.unwrap();
        assert_eq!(nothing.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(read(&callboard, &callboard.backstage.token()).await.status(), StatusCode::OK);
    }
    assert_eq!(exceeded(&callboard, "failed_authentication").await, 0.0);
}

#[tokio::test]
async fn a_known_caller_who_may_not_read_uses_up_its_own_budget_and_nobody_elses() {
    let callboard = Callboard::with("  limits: { requests: { perSecond: 1, burst: 5 } }\n").await;
    let stranger = callboard.backstage.token_of("scaffolder");
    for _ in 0..5 {
        assert_eq!(read(&callboard, &stranger).await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(read(&callboard, &stranger).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(read(&callboard, &callboard.backstage.token()).await.status(), StatusCode::OK);
    assert_eq!(exceeded(&callboard, "failed_authentication").await, 0.0);
}

#[tokio::test]
async fn a_token_that_was_good_is_looked_at_again_however_many_are_no_good() {
    let callboard = Callboard::with(FEW_FAILURES).await;
    let token = callboard.backstage.token();
    assert_eq!(read(&callboard, &token).await.status(), StatusCode::OK);
    // It is due to be verified anew, among guesses from the same address that have used up its budget.
    callboard.hand.advance(Duration::from_secs(600));
    for _ in 0..100 {
        read(&callboard, "guess").await;
    }
    assert_eq!(read(&callboard, "guess").await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(read(&callboard, &token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_override_for_an_external_caller_counts_with_and_without_its_prefix_in_the_configuration() {
    let section = "  limits: { requests: { overrides: [{ subject: 'external:ci', perSecond: 1, burst: 2 }] } }\n";
    let external = r#"[{"type":"static","options":{"token":"swordfish-swordfish","subject":"ci"}}]"#;
    let variables = [("APP_CONFIG_backend_auth_externalAccess", external)];
    let callboard = Callboard::told(Told { section, variables: &variables, ..Told::default() }).await;
    for expected in [200, 200, 429] {
        assert_eq!(read(&callboard, "swordfish-swordfish").await.status().as_u16(), expected);
    }
}

/// `CALLBOARD_SOAK_SECONDS=60 cargo test --test suite -- --nocapture under_load_at_the_limit` is the long one.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_at_the_limit_every_answer_is_right() {
    const RATE: u64 = 200;
    const BURST: u64 = 50;
    let section = format!("  limits: {{ requests: {{ perSecond: {RATE}, burst: {BURST} }} }}\n");
    let callboard = Arc::new(Callboard::with(&section).await);
    let token = callboard.backstage.token();
    // The hand of the clock goes with the time.
    let (start, soak) = (Instant::now(), soak().unwrap_or(Duration::from_secs(3)));
    let hand = callboard.hand.clone();
    let ticking = tokio::spawn(async move {
        let mut ticked = Duration::ZERO;
        while ticked < soak {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let elapsed = Duration::from_millis(u64::try_from(start.elapsed().as_millis()).unwrap());
            hand.advance(elapsed.saturating_sub(ticked));
            ticked = elapsed;
        }
        ticked
    });
    let readers = (0..16).map(|_| {
        let (callboard, token) = (Arc::clone(&callboard), token.clone());
        tokio::spawn(async move {
            let (mut served, mut limited) = (0_u64, 0_u64);
            while start.elapsed() < soak {
                let answer = read(&callboard, &token).await;
                match answer.status() {
                    StatusCode::OK => {
                        assert_eq!(answer.text().await.unwrap(), "<h1>Shop</h1>");
                        served += 1;
                    }
                    StatusCode::TOO_MANY_REQUESTS => {
                        assert_eq!(answer.headers()[RETRY_AFTER], "1");
                        let body: Value = answer.json().await.unwrap();
                        assert_eq!(body["error"]["name"], "TooManyRequestsError");
                        limited += 1;
                    }
                    status => panic!("{status}"),
                }
            }
            (served, limited)
        })
    });
    let counts = join_all(readers).await.into_iter().map(Result::unwrap);
    let (served, limited) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let seconds = ticking.await.unwrap().as_secs_f64();
    println!(
        "{seconds:.1} s: {served} pages, {limited} times 429, nothing else; {:.1} pages a second",
        served as f64 / seconds
    );
    assert!(limited > 0);
    // Never more than the rate and the burst allow; and nearly as many where the machine has time for it.
    let most = (seconds * RATE as f64).ceil() as u64 + BURST;
    assert!(served <= most && served * 2 >= most, "{served} of {most}");
    assert_eq!(exceeded(&callboard, "principal").await as u64, limited);
}

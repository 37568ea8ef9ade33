//! What readers see while Callboard is started again, while it is down, and while storage is.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::header::{CACHE_CONTROL, CACHE_STATUS, CONTENT_TYPE};
use reqwest::Response;
use serde_json::Value;

use super::{SHOP, path_of, s3_publisher};
use crate::support::ailing::{Ailing, contents};
use crate::support::redis::Redis;
use crate::support::relay::{Relay, Way};
use crate::support::servers::Server;
use crate::support::stage::{Plan, Stage};
use crate::support::until;

/// Readers who load pages over and over, until they are told to stop.
struct Crowd {
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
    leave: Arc<AtomicBool>,
    loaded: Arc<AtomicUsize>,
}

impl Crowd {
    /// Four readers of these pages, each of which has to come with its bytes.
    fn gather(stage: &Stage, pages: &[(String, Vec<u8>)]) -> Self {
        let (leave, loaded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let reader = |_| {
            let requests: Vec<_> =
                pages.iter().map(|(path, bytes)| (path.clone(), stage.get(path), bytes.clone())).collect();
            let (leave, loaded) = (Arc::clone(&leave), Arc::clone(&loaded));
            tokio::spawn(async move {
                let mut failures = Vec::new();
                for (path, request, bytes) in requests.iter().cycle() {
                    if leave.load(Ordering::Relaxed) {
                        break;
                    }
                    let failure = match request.try_clone().unwrap().send().await {
                        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                            Ok(body) if body == *bytes => None,
                            other => Some(format!("{path}: {:?}", other.map(|body| body.len()))),
                        },
                        other => Some(format!("{path}: {:?}", other.map(|answer| answer.status()))),
                    };
                    failures.extend(failure);
                    loaded.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        Self { tasks: (0..4).map(reader).collect(), leave, loaded }
    }

    /// Waits until so many more pages have come.
    async fn loads(&self, more: usize) {
        let goal = self.loaded.load(Ordering::Relaxed) + more;
        until(async || self.loaded.load(Ordering::Relaxed) >= goal).await;
    }

    /// Has them leave, and says what failed for them.
    async fn leaves(self) -> Vec<String> {
        self.leave.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for task in self.tasks {
            failures.extend(task.await.unwrap());
        }
        failures
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_keeps_showing_and_what_can_not_be_shown_says_so() {
    let (s3, redis) = (Server::s3().await, Redis::plain());
    let address = s3.said("/endpoint").strip_prefix("http://").unwrap().parse().unwrap();
    let storage = Relay::to(address).await;
    let callboard = format!("  storage: {{ timeout: 2s }}\n  cache: {{ redis: {} }}\n", redis.config());
    let publisher = s3_publisher(&s3.ready, &format!("http://{}", storage.address));
    let plan = Plan { publisher, module: Some("timeout: 5s"), callboard: &callboard, ..Plan::default() };
    let mut stage = Stage::set(plan).await;
    let (entity, folder) = (s3.said("/entity"), PathBuf::from(s3.said("/site_dir")));
    let pages = ["index.html", "section-01/index.html", "files/diagram.svg"]
        .map(|file| (path_of(entity, file), std::fs::read(folder.join(file)).unwrap()));
    for (path, bytes) in &pages {
        assert!(stage.get(path).send().await.unwrap().bytes().await.unwrap() == *bytes, "{path}");
    }
    until(async || redis.command::<usize>(&["DBSIZE"]) >= pages.len()).await;
    storage.set(Way::Refuse);
    callboard_is_replaced_while_pages_load(&mut stage, &pages).await;
    what_can_not_be_shown_ends_as_an_error(&stage, entity).await;
    storage.set(Way::Pass);
    until(async || stage.status(&path_of(entity, "section-02/index.html")).await == 200).await;
    callboard_is_out_of_reach(&stage, entity).await;
    what_was_wrong_is_in_the_log(&stage);
}

/// As a rolling update does it: the new one takes over before the old one ends. Storage is down, so that the new one has
/// what it shows from Redis.
async fn callboard_is_replaced_while_pages_load(stage: &mut Stage, pages: &[(String, Vec<u8>)]) {
    let crowd = Crowd::gather(stage, pages);
    crowd.loads(40).await;
    for _ in 0..3 {
        let next = stage.understudy();
        stage.relay.redirect(next.address);
        let old = std::mem::replace(&mut stage.callboard, next);
        assert_eq!(old.stop().await, 0, "connections were broken off");
        crowd.loads(40).await;
    }
    let served =
        stage.metric("http_server_request_duration_seconds_count", &["http_response_status_code=\"200\""]).await;
    assert!(served >= 30.0, "the last one served {served}");
    assert_eq!(crowd.leaves().await, Vec::<String>::new());
}

/// As the reader in the browser needs it, which shows no other answers.
async fn what_can_not_be_shown_ends_as_an_error(stage: &Stage, entity: &str) {
    let load = async |file: &str| stage.get(&path_of(entity, file)).send().await.unwrap();
    let page = load("section-03/index.html").await;
    assert!(matches!(page.status().as_u16(), 502..=504), "{}", page.status());
    not_kept(&page);
    assert!(page.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    let text = page.text().await.unwrap();
    assert!(text.contains("can't be read right now") && text.contains("<link rel=\"stylesheet\""), "{text}");
    // The one that the error page asks for, and one that is not cached.
    for file in ["section-03/main.ca11b0ad.min.css", "assets/stylesheets/main.00000000.min.css"] {
        let style = load(file).await;
        assert_eq!(style.status(), 200, "{file}");
        assert_eq!(style.headers()[CONTENT_TYPE], "text/css; charset=utf-8", "{file}");
        not_kept(&style);
    }
    let image = load("section-03/images/figure 3.png").await;
    assert!(matches!(image.status().as_u16(), 502..=504), "{}", image.status());
    not_kept(&image);
    let told: Value = image.json().await.unwrap();
    assert!(told["error"]["message"].is_string(), "{told}");
}

fn not_kept(answer: &Response) {
    assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
}

async fn callboard_is_out_of_reach(stage: &Stage, entity: &str) {
    stage.relay.set(Way::Refuse);
    what_can_not_be_shown_ends_as_an_error(stage, entity).await;
    assert_eq!(stage.status(&format!("/metadata/techdocs/{entity}")).await, 404);
    assert_eq!(stage.status(&format!("/sync/{entity}")).await, 200);
    stage.relay.set(Way::Hang);
    assert_eq!(stage.status(&path_of(entity, "index.html")).await, 504);
    stage.relay.set(Way::Pass);
    until(async || stage.status(&path_of(entity, "index.html")).await == 200).await;
}

fn what_was_wrong_is_in_the_log(stage: &Stage) {
    let log = stage.log();
    let about: Vec<_> = log.lines().filter(|line| line.contains("Callboard")).collect();
    assert!(about.iter().any(|line| line.starts_with("warn") || line.starts_with("error")), "{log}");
    // The head of every token.
    assert!(!log.contains("eyJ"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_fallback_no_page_fails_while_callboard_is_down() {
    let storage = Ailing::start().await;
    let module = Some("fallback: true, timeout: 2s");
    let mut stage = Stage::set(Plan { publisher: storage.publisher(), module, ..Plan::default() }).await;
    let pages = pages_of_an_ailing_bucket();
    let from_callboard = async |stage: &Stage| {
        let answer = stage.get(&pages[0].0).send().await.unwrap();
        answer.headers().contains_key(CACHE_STATUS)
    };
    assert!(from_callboard(&stage).await);
    let crowd = Crowd::gather(&stage, &pages);
    crowd.loads(20).await;
    let gets = storage.gets();
    for _ in 0..2 {
        let next = stage.understudy();
        // It is gone before the next one is there.
        stage.relay.set(Way::Refuse);
        let old = std::mem::replace(&mut stage.callboard, next);
        old.stop().await;
        crowd.loads(20).await;
        assert!(!from_callboard(&stage).await);
        stage.relay.redirect(stage.callboard.address);
        stage.relay.set(Way::Pass);
        until(async || from_callboard(&stage).await).await;
    }
    stage.relay.set(Way::Hang);
    crowd.loads(20).await;
    assert!(storage.gets() > gets + 40, "Backstage's own publisher read them");
    assert_eq!(crowd.leaves().await, Vec::<String>::new());
}

fn pages_of_an_ailing_bucket() -> [(String, Vec<u8>); 2] {
    ["index.html", "guide.html"].map(|file| {
        let path = format!("{SHOP}/{file}");
        (path.clone(), contents(path.strip_prefix("/static/docs/").unwrap()).to_vec())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callboard_that_starts_again_in_place_fails_no_page() {
    let storage = Ailing::start().await;
    let plan = Plan { publisher: storage.publisher(), module: Some(""), directly: true, ..Plan::default() };
    let mut stage = Stage::set(plan).await;
    let crowd = Crowd::gather(&stage, &pages_of_an_ailing_bucket());
    crowd.loads(40).await;
    for _ in 0..5 {
        stage.encore().await;
        crowd.loads(40).await;
    }
    assert_eq!(crowd.leaves().await, Vec::<String>::new());
    // Each of them has fetched the two anew.
    assert!(storage.gets() >= 2 * 6, "{}", storage.gets());
}

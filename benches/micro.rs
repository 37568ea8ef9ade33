//! The steps of a hit, each on its own and all together, in memory: `cargo bench --bench micro`.
//!
//! What a whole request costs, sockets and all, is what `page.rs` measures; this tells which step it comes from.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use callboard::auth::{Authenticator, Credential, Resource};
use callboard::cache::DocCache;
use callboard::clock::Clock;
use callboard::config::{self, Environment, Resolved, Sources};
use callboard::docs::Locator;
use callboard::events::Events;
use callboard::http::cache_status::CacheOutcome;
use callboard::http::conditional::{self, Validators};
use callboard::http::etag::ETag;
use callboard::http::negotiation::{Accepted, Coding};
use callboard::http::range;
use callboard::limit::{Address, Limiter};
use callboard::pipeline::{Body, Health, Journey, Notifications, Operations, Rooms};
use callboard::telemetry::{AccessLog, Instruments, RequestLabels};
use callboard::{app, sample};
use criterion::{BatchSize, Criterion};
use futures_util::FutureExt;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, ETAG, HOST, IF_NONE_MATCH, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tempfile::TempDir;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAGE: &str = "/api/techdocs/static/docs/default/component/callboard/kitchen-sink/index.html";

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    token(&mut criterion)?;
    route(&mut criterion);
    conditions(&mut criterion)?;
    instruments(&mut criterion)?;
    journey(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// A token that was verified before, from the header to the principal.
fn token(criterion: &mut Criterion) -> anyhow::Result<()> {
    let (resolved, token) = resolved()?;
    let authenticator =
        Authenticator::new(resolved.auth, Clock::System, app::key_set_client(&app::trust(&resolved.trust)?)?);
    let credential = Credential::Bearer { token: token.as_bytes(), resource: Resource::StaticFile };
    tokio::runtime::Builder::new_current_thread().build()?.block_on(authenticator.verify(&credential))?;
    let headers = request(&token, None)?.into_parts().0.headers;
    criterion.bench_function("token/find in headers", |bencher| {
        bencher.iter(|| Credential::from_headers(black_box(&headers), Resource::StaticFile, true).is_ok());
    });
    criterion.bench_function("token/remembered", |bencher| {
        bencher.iter(|| authenticator.remembered(black_box(&credential)));
    });
    Ok(())
}

/// All that a hit is counted with.
fn instruments(criterion: &mut Criterion) -> anyhow::Result<()> {
    let instruments = Instruments::new()?;
    let labels = RequestLabels {
        method: &Method::GET,
        route: "static",
        status: StatusCode::OK,
        outcome: Some(CacheOutcome::Hit),
    };
    criterion.bench_function("metrics of a hit", |bencher| {
        bencher.iter(|| {
            instruments.request_started(&Method::GET);
            instruments.token_remembered();
            instruments.request(black_box(labels), black_box(Duration::from_micros(80)));
        });
    });
    Ok(())
}

/// From a path to a storage key.
fn route(criterion: &mut Criterion) {
    let locator = Locator::new(callboard::docs::Options::default());
    for (name, path) in [
        ("plain", PAGE),
        ("upper case", "/static/docs/Default/Component/Callboard/kitchen-sink/index.html"),
        ("escapes", "/static/docs/default/component/callboard/%C3%BCber%20uns/a%2Bb.html"),
        ("dots", "/static/docs/default/component/callboard/a/b/../../c/./d.html"),
        ("nowhere", "/static/docs/default/component/callboard/../../../etc/passwd"),
    ] {
        criterion.bench_function(&format!("route/{name}"), |bencher| {
            bencher.iter(|| locator.locate(black_box(path)));
        });
    }
}

/// What the request's conditions and ranges ask for.
fn conditions(criterion: &mut Criterion) -> anyhow::Result<()> {
    let tag = ETag::from_store("9c1c2d5b-5000").context("no tag")?;
    let current = Validators { etag: Some(&tag), codings: Accepted::IDENTITY, last_modified: None };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("docs.example.com"));
    criterion.bench_function("conditional/none", |bencher| {
        bencher.iter(|| conditional::evaluate(black_box(&headers), current));
    });
    criterion.bench_function("range/none", |bencher| {
        bencher.iter(|| range::select(black_box(&headers), 20_480));
    });
    headers.insert(IF_NONE_MATCH, tag.header(Coding::Identity).context("no header")?);
    criterion.bench_function("conditional/if-none-match", |bencher| {
        bencher.iter(|| conditional::evaluate(black_box(&headers), current));
    });
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br, zstd"));
    criterion.bench_function("negotiation", |bencher| {
        bencher.iter(|| Accepted::of(black_box(&headers)).best(|_| true));
    });
    for (name, value) in [("one", "bytes=0-1023"), ("three", "bytes=0-1023, 4096-8191, -512")] {
        headers.insert(RANGE, HeaderValue::from_static(value));
        criterion.bench_function(&format!("range/{name}"), |bencher| {
            bencher.iter(|| range::select(black_box(&headers), 20_480));
        });
    }
    Ok(())
}

/// The whole way of a request for a page that memory holds, from its head to the last piece of the answer's body; with
/// the access log, also the line, but for its way to the disk.
fn journey(criterion: &mut Criterion) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    for (logging, name) in [(false, "access log off"), (true, "access log to nowhere")] {
        let (journey, token) = warm_journey(&runtime, logging)?;
        let page = runtime.block_on(Arc::clone(&journey).answer(request(&token, None)?, client()));
        anyhow::ensure!(page.status() == StatusCode::OK, "the page is answered with {}", page.status());
        let tag = page.headers().get(ETAG).context("no tag")?.clone();
        for (what, tag, expected) in [("page", None, StatusCode::OK), ("304", Some(tag), StatusCode::NOT_MODIFIED)] {
            let model = request(&token, tag)?;
            criterion.bench_function(&format!("journey/{what}, {name}"), |bencher| {
                bencher.iter_batched(
                    || model.clone(),
                    |request| {
                        let answer = Arc::clone(&journey).answer(request, client()).now_or_never();
                        assert_eq!(answer.as_ref().map(Response::status), Some(expected));
                        answer.map(to_the_end)
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    Ok(())
}

/// Where requests come from.
fn client() -> Address {
    Address::from(IpAddr::from(Ipv4Addr::LOCALHOST))
}

/// Takes the body as hyper would, which ends the request's record.
fn to_the_end(answer: Response<Body>) -> usize {
    let body = http_body_util::BodyExt::collect(answer.into_body()).now_or_never();
    body.and_then(Result::ok).map_or(0, |body| body.to_bytes().len())
}

/// A journey with the sample site in memory. `App` shows nothing of its inside, so the rooms are put together here.
fn warm_journey(runtime: &tokio::runtime::Runtime, logging: bool) -> anyhow::Result<(Arc<Journey>, String)> {
    let (resolved, token) = resolved()?;
    let instruments = Arc::new(Instruments::new()?);
    let trust = app::trust(&resolved.trust)?;
    let storage = Arc::new(app::origins(&resolved.storage, &Clock::System, &trust, &instruments)?);
    let access_log = if logging {
        AccessLog::to(std::io::sink(), true, Arc::clone(&instruments))
    } else {
        AccessLog::off(Arc::clone(&instruments))
    };
    let locator = Locator::new(resolved.docs);
    let cache = DocCache::new(Arc::clone(&storage), None, resolved.cache, Clock::System, Arc::clone(&instruments));
    let events = Events::new(resolved.events, Clock::System, app::key_set_client(&trust)?, Arc::clone(&instruments));
    let rooms = Rooms {
        authenticator: Authenticator::new(resolved.auth, Clock::System, app::key_set_client(&trust)?),
        limiter: Arc::new(Limiter::new(resolved.limits, &Clock::System)),
        operations: Arc::new(Operations::new(Arc::clone(&cache), locator.clone(), Vec::new())),
        notifications: Notifications::new(
            events,
            Arc::clone(&storage),
            Arc::clone(&cache),
            locator.clone(),
            Arc::clone(&instruments),
        ),
        locator,
        cache,
        health: Arc::new(Health::new(storage)),
        instruments,
        access_log,
    };
    let journey = Arc::new(Journey::new(rooms, resolved.pipeline));
    drop(runtime.block_on(Arc::clone(&journey).answer(request(&token, None)?, client())));
    Ok((journey, token))
}

/// What the sample site runs on, kept fresh for longer than the bench takes, and a token for it.
fn resolved() -> anyhow::Result<(Resolved, String)> {
    let nowhere = TempDir::new()?;
    // Limited, so that it is measured, but never beyond the limit.
    let variables = [
        ("APP_CONFIG_callboard_cache_freshFor", "24h"),
        ("APP_CONFIG_callboard_limits_requests_perSecond", "1000000"),
        ("APP_CONFIG_callboard_limits_requests_burst", "1000000"),
    ];
    let environment = Environment {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        directory: nowhere.path().to_owned(),
    };
    let sources = Sources { files: Vec::new(), environment };
    let mut resolved = config::read(&sources)?.resolved;
    let token = sample::trust_throw_away_key(&mut resolved.auth, &Clock::System)?;
    Ok((resolved, token))
}

fn request(token: &str, known: Option<HeaderValue>) -> anyhow::Result<Request<Empty<bytes::Bytes>>> {
    let request = Request::get(PAGE)
        .header(HOST, "docs.example.com")
        .header(USER_AGENT, "bench")
        .header(AUTHORIZATION, format!("Bearer {token}"));
    let request = match known {
        Some(tag) => request.header(IF_NONE_MATCH, tag),
        None => request,
    };
    Ok(request.body(Empty::new())?)
}

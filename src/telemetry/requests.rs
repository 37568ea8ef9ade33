//! The instruments of requests, the only ones that a hit touches: bound to their labels beforehand, so that counting
//! is an index into a table and a few atomic additions.

use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, BoundUpDownCounter, Histogram, Meter};

use super::instruments::histogram;
use super::span::method_word;
use crate::http::cache_status::CacheOutcome;

/// The statuses that the program answers with; any other would be counted under the last.
const STATUSES: [u16; 18] = [200, 206, 304, 400, 401, 403, 404, 405, 412, 413, 414, 416, 429, 499, 502, 503, 504, 500];

/// What a request was for, in one word, and the value of the label `http.route`.
const ROUTES: [(&str, &str); 4] = [
    ("static", "/static/docs/{namespace}/{kind}/{name}/{file}"),
    ("metadata", "/metadata/techdocs/{namespace}/{kind}/{name}"),
    ("health", "/.backstage/health/v1/{probe}"),
    ("other", "other"),
];

const METHODS: [&str; 3] = ["GET", "HEAD", "_OTHER"];

/// Without a cache outcome: errors before the cache, health.
const NO_OUTCOME: &str = "none";

const OUTCOMES: usize = CacheOutcome::ALL.len() + 1;

/// What a finished request is counted under.
#[derive(Debug, Clone, Copy)]
pub struct RequestLabels<'a> {
    /// Any but GET and HEAD count as one.
    pub method: &'a Method,
    /// `static`, `metadata`, `health`; anything else counts as `other`.
    pub route: &'static str,
    /// The status answered; 499 where the client left before there was one.
    pub status: StatusCode,
    /// What the cache did, where the request came that far.
    pub outcome: Option<CacheOutcome>,
}

/// The template of the paths that a route word stands for, where it stands for any.
pub fn route_template(route: &str) -> Option<&'static str> {
    ROUTES.iter().find(|(word, template)| *word == route && word != template).map(|(_, template)| *template)
}

/// How many requests there are, and how long they took.
#[derive(Debug)]
pub(super) struct Requests {
    durations: Histogram<f64>,
    /// By [`Place`].
    bound: Vec<OnceLock<BoundHistogram<f64>>>,
    /// By method.
    active: [BoundUpDownCounter<i64>; METHODS.len()],
}

/// A combination of labels, each as its index in its list of values.
#[derive(Debug, Clone, Copy)]
struct Place {
    method: usize,
    route: usize,
    outcome: usize,
    status: usize,
}

impl Requests {
    pub(super) fn new(meter: &Meter) -> Self {
        let active = meter
            .i64_up_down_counter("http.server.active_requests")
            .with_description("Requests that are being answered.")
            .build();
        let requests = Self {
            durations: histogram(
                meter,
                "http.server.request.duration",
                "From a request's header to the last byte of its answer.",
            ),
            bound: (0..Place::COUNT).map(|_| OnceLock::new()).collect(),
            active: METHODS.map(|method| active.bind(&[KeyValue::new("http.request.method", method)])),
        };
        for place in Place::all().filter(|place| place.is_usual()) {
            requests.with(place, |_| ());
        }
        requests
    }

    pub(super) fn started(&self, method: &Method) {
        if let Some(active) = self.active.get(method_index(method)) {
            active.add(1);
        }
    }

    pub(super) fn ended(&self, labels: RequestLabels<'_>, duration: Duration) {
        let place = Place::of(labels);
        if let Some(active) = self.active.get(place.method) {
            active.add(-1);
        }
        self.with(place, |bound| bound.record(duration.as_secs_f64()));
    }

    fn with(&self, place: Place, use_it: impl FnOnce(&BoundHistogram<f64>)) {
        if let Some(bound) = self.bound.get(place.index()) {
            use_it(bound.get_or_init(|| self.durations.bind(&place.labels())));
        }
    }
}

impl Place {
    const COUNT: usize = METHODS.len() * ROUTES.len() * OUTCOMES * STATUSES.len();

    fn of(labels: RequestLabels<'_>) -> Self {
        let status = labels.status.as_u16();
        Self {
            method: method_index(labels.method),
            route: ROUTES.iter().position(|(word, _)| *word == labels.route).unwrap_or(ROUTES.len() - 1),
            outcome: labels.outcome.map_or(OUTCOMES - 1, CacheOutcome::index),
            status: STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(|index| Self {
            status: index % STATUSES.len(),
            outcome: index / STATUSES.len() % OUTCOMES,
            route: index / (STATUSES.len() * OUTCOMES) % ROUTES.len(),
            method: index / (STATUSES.len() * OUTCOMES * ROUTES.len()),
        })
    }

    const fn index(self) -> usize {
        ((self.method * ROUTES.len() + self.route) * OUTCOMES + self.outcome) * STATUSES.len() + self.status
    }

    /// Whether its series is there from the start, at zero. Each takes some twenty lines of a scrape, so those that
    /// can't happen are left out, and those of HEAD and of the rarest failures begin with their first request.
    fn is_usual(self) -> bool {
        let (method, route, outcome, status) = self.words();
        match (method, route, outcome) {
            ("_OTHER", "other", None) => status == 405,
            ("GET", "static" | "metadata", Some(CacheOutcome::Gone)) => status == 404,
            ("GET", "static" | "metadata", Some(CacheOutcome::Pass)) => matches!(status, 200 | 206 | 304 | 412 | 416),
            ("GET", "static" | "metadata", Some(_)) => matches!(status, 200 | 206 | 304 | 404 | 412 | 416),
            ("GET", "static" | "metadata", None) => matches!(status, 401 | 403 | 404 | 429 | 499 | 502 | 503 | 504),
            ("GET", "health", None) => matches!(status, 200 | 503),
            ("GET", "other", None) => matches!(status, 400 | 401 | 403 | 404 | 414 | 429 | 499 | 503),
            _ => false,
        }
    }

    fn labels(self) -> [KeyValue; 4] {
        let (method, _, outcome, status) = self.words();
        let route = ROUTES.get(self.route).map_or("other", |(_, template)| template);
        [
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status)),
            KeyValue::new("callboard.cache.outcome", outcome.map_or(NO_OUTCOME, CacheOutcome::as_str)),
        ]
    }

    fn words(self) -> (&'static str, &'static str, Option<CacheOutcome>, u16) {
        (
            METHODS.get(self.method).copied().unwrap_or("_OTHER"),
            ROUTES.get(self.route).map_or("other", |(word, _)| word),
            CacheOutcome::ALL.get(self.outcome).copied(),
            STATUSES.get(self.status).copied().unwrap_or_default(),
        )
    }
}

fn method_index(method: &Method) -> usize {
    match method_word(method) {
        "GET" => 0,
        "HEAD" => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_has_a_place_of_its_own() {
        for (index, place) in Place::all().enumerate() {
            assert_eq!(place.index(), index);
        }
        let usual = Place::all().filter(|place| place.is_usual()).count();
        assert!((50..140).contains(&usual), "{usual} series of some twenty lines each from the start");
    }
}

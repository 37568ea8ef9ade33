//! Readers who never stop.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use reqwest::Client;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use super::{Callboard, SITE, until};

/// Between two requests of a reader, so that the rest of the test gets its share of the processor.
const PAUSE: Duration = Duration::from_millis(20);

/// A page, and what it holds.
pub type Page = (String, Bytes);

/// Where a site is read.
pub struct Place {
    /// The URL that the names of its pages come after.
    pub base: String,
    pub token: String,
}

impl Place {
    pub fn of(callboard: &Callboard) -> Self {
        Self { base: format!("http://{}{SITE}/", callboard.address), token: callboard.backstage.token() }
    }
}

/// Readers of some pages, each over a connection of its own that it keeps. Every other request is conditional.
pub struct Load {
    _turn: OwnedMutexGuard<()>,
    readers: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

#[derive(Default)]
struct Tally {
    answers: AtomicUsize,
    /// Whatever was not the page, by what it was instead.
    failures: std::sync::Mutex<BTreeMap<String, usize>>,
}

/// Waits for the turn to load the machine: two loads at a time would each take the other's slowness for a fault.
pub async fn turn() -> OwnedMutexGuard<()> {
    static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);
    Arc::clone(&TURN).lock_owned().await
}

impl Load {
    /// So many readers of a site at each of these places, who take turns at its pages.
    pub async fn start(places: &[Place], pages: &Arc<[Page]>, readers: usize) -> Self {
        let mut load =
            Self { _turn: turn().await, readers: JoinSet::new(), is_over: Arc::default(), tally: Arc::default() };
        for Place { base, token } in places {
            for first in 0..readers {
                let (base, token) = (base.clone(), token.clone());
                let (pages, tally, is_over) = (Arc::clone(pages), Arc::clone(&load.tally), Arc::clone(&load.is_over));
                load.readers.spawn(async move {
                    let client = Client::new();
                    let mut turn = first;
                    while !is_over.load(Ordering::Relaxed) {
                        tally.read(&client, &base, &token, &pages[turn % pages.len()]).await;
                        turn += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                });
            }
        }
        load
    }

    /// Waits for so many more answers.
    pub async fn goes_on(&self, answers: usize) {
        let enough = self.answers() + answers;
        until(async || {
            tokio::time::sleep(PAUSE).await;
            self.answers() >= enough
        })
        .await;
    }

    pub fn answers(&self) -> usize {
        self.tally.answers.load(Ordering::Relaxed)
    }

    /// Whatever was not the page so far, by what it was instead.
    pub fn failures(&self) -> BTreeMap<String, usize> {
        self.tally.failures.lock().unwrap().clone()
    }

    /// Ends it, once the requests in flight are answered; what was not the page, of how many.
    pub async fn stop(mut self) -> (BTreeMap<String, usize>, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(reader) = self.readers.join_next().await {
            reader.unwrap();
        }
        (self.failures(), self.answers())
    }
}

impl Tally {
    /// Reads a page, and then asks whether it has changed.
    async fn read(&self, client: &Client, base: &str, token: &str, (name, contents): &Page) {
        let get = || client.get(format!("{base}{name}")).bearer_auth(token);
        let etag = match get().send().await {
            Ok(answer) if answer.status().as_u16() == 200 => {
                let etag = answer.headers()[ETAG].clone();
                match answer.bytes().await {
                    Ok(body) if body == *contents => self.count(None),
                    Ok(_) => self.count(Some("another body".to_owned())),
                    Err(error) => self.count(Some(format!("{error:?}"))),
                }
                etag
            }
            Ok(answer) => return self.count(Some(answer.status().to_string())),
            Err(error) => return self.count(Some(format!("{error:?}"))),
        };
        match get().header(IF_NONE_MATCH, etag).send().await {
            Ok(answer) if answer.status().as_u16() == 304 => self.count(None),
            Ok(answer) => self.count(Some(format!("{} for 304", answer.status()))),
            Err(error) => self.count(Some(format!("{error:?}"))),
        }
    }

    fn count(&self, failure: Option<String>) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = failure {
            *self.failures.lock().unwrap().entry(failure).or_default() += 1;
        }
    }
}

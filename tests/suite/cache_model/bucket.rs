//! The storage of the model: objects with a history, faults by key, and a record of everything that was asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use callboard::clock::{Clock, Timestamp};
use callboard::docs::ObjectName;
use callboard::http::etag::ETag;
use callboard::storage::{DocStore, GetOptions, Object, ObjectMeta, StoreError};
use futures_util::{StreamExt, stream};

use super::Page;
use super::rules::RULES;

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}.{:03}", self.number, self.at.as_secs() % 100_000, self.at.as_millis() % 1000)
    }
}

/// A point in a run: many things happen at one time of the clock, and still one after the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    number: u64,
    pub at: Timestamp,
}

/// How storage fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Unavailable,
    Denied,
    Truncated,
    /// Never answers.
    Hanging,
    /// Answers so many milliseconds later with what was there when it was asked.
    Slow(u64),
}

/// What somebody wrote; no contents where it was deleted.
#[derive(Debug, Clone)]
pub struct Write {
    pub page: Page,
    pub object: Option<(ObjectMeta, Bytes)>,
    pub at: Moment,
}

/// What a cache asked for, and what it was told.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which cache.
    pub by: usize,
    pub page: Page,
    pub began: Moment,
    /// Not yet: nothing.
    pub ended: Option<Moment>,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    None,
    /// This version, with its body or as a 304.
    Is {
        tag: ETag,
        with_body: bool,
    },
    Absent,
    Failed {
        is_refusal: bool,
    },
}

/// Everything that happened to storage, and what time it is.
pub struct Bucket {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    moments: u64,
    writes: Vec<Write>,
    asks: Vec<Ask>,
    faults: BTreeMap<Page, Fault>,
}

impl Bucket {
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    /// The next moment.
    pub fn moment(&self) -> Moment {
        self.next(&mut self.state())
    }

    /// Puts contents that no version of this page had before; where `is_same` is set, the newest ones once more.
    pub fn write(&self, page: Page, is_same: bool) {
        let mut state = self.state();
        let versions: Vec<&Write> =
            state.writes.iter().filter(|write| write.page == page && write.object.is_some()).collect();
        let number = versions.len() - usize::from(is_same && !versions.is_empty());
        let at = self.next(&mut state);
        let body = page.body(number);
        let meta = ObjectMeta {
            size: body.len() as u64,
            // Pages that are of one version have one tag, as those of equal contents do.
            etag: ETag::from_store(&format!("v{number}")),
            last_modified: Some(Timestamp::from_secs(at.at.as_secs()).into()),
        };
        state.writes.push(Write { page, object: Some((meta, body)), at });
    }

    pub fn delete(&self, page: Page) {
        let mut state = self.state();
        let at = self.next(&mut state);
        state.writes.push(Write { page, object: None, at });
    }

    /// From now on.
    pub fn fail(&self, page: Page, fault: Option<Fault>) {
        match fault {
            Some(fault) => self.state().faults.insert(page, fault),
            None => self.state().faults.remove(&page),
        };
    }

    /// What there is now.
    pub fn current(&self, page: Page) -> Option<ObjectMeta> {
        self.state().current(page).map(|(meta, _)| meta)
    }

    /// Everything that was written and asked so far.
    pub fn history(&self) -> (Vec<Write>, Vec<Ask>) {
        let state = self.state();
        (state.writes.clone(), state.asks.clone())
    }

    fn next(&self, state: &mut State) -> Moment {
        state.moments += 1;
        Moment { number: state.moments, at: self.clock.now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn current(&self, page: Page) -> Option<(ObjectMeta, Bytes)> {
        self.writes.iter().rev().find(|write| write.page == page)?.object.clone()
    }
}

/// The bucket as one cache sees it.
pub struct Door {
    pub bucket: Arc<Bucket>,
    pub by: usize,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.by)
    }
}

#[async_trait]
impl DocStore for Door {
    async fn stat(&self, _key: &ObjectName<'_>) -> Result<ObjectMeta, StoreError> {
        Err(StoreError::Absent)
    }

    async fn get(&self, key: &ObjectName<'_>, options: &GetOptions) -> Result<Object, StoreError> {
        let Some(page) = Page::of(key.as_str()) else { return Err(StoreError::Absent) };
        let asking = Asking::begin(self, page);
        let (current, fault) = {
            let state = self.bucket.state();
            (state.current(page), state.faults.get(&page).copied())
        };
        match fault {
            // Told later, if at all.
            None | Some(Fault::Truncated) => {}
            Some(Fault::Slow(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Some(Fault::Hanging) => std::future::pending().await,
            Some(Fault::Unavailable) => return Err(StoreError::unavailable("503")),
            Some(Fault::Denied) => {
                asking.end(Answer::Failed { is_refusal: true });
                return Err(StoreError::denied("403"));
            }
        }
        let Some((meta, body)) = current else {
            asking.end(Answer::Absent);
            return Err(StoreError::Absent);
        };
        let tag = meta.etag.clone().unwrap();
        let is_known = options.if_none_match.as_ref() == Some(&tag);
        // Of what is too large only the head is wanted.
        if fault == Some(Fault::Truncated) && !is_known && meta.size <= RULES.max_object_bytes {
            let half = stream::iter([Ok(body.slice(..body.len() / 2))]).boxed();
            return Ok(Object { meta, body: half });
        }
        asking.end(Answer::Is { tag, with_body: !is_known });
        if is_known {
            return Err(StoreError::NotModified);
        }
        Ok(Object { meta, body: stream::iter([Ok(body)]).boxed() })
    }

    async fn folders(&self, _parent: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn list(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// Something asked that has not been answered; has failed where it is given up.
struct Asking<'a> {
    bucket: &'a Bucket,
    place: usize,
}

impl<'a> Asking<'a> {
    fn begin(door: &'a Door, page: Page) -> Self {
        let mut state = door.bucket.state();
        let began = door.bucket.next(&mut state);
        state.asks.push(Ask { by: door.by, page, began, ended: None, answer: Answer::None });
        Self { bucket: &door.bucket, place: state.asks.len() - 1 }
    }

    fn end(&self, answer: Answer) {
        let mut state = self.bucket.state();
        let ended = self.bucket.next(&mut state);
        let ask = &mut state.asks[self.place];
        if ask.ended.is_none() {
            (ask.ended, ask.answer) = (Some(ended), answer);
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.end(Answer::Failed { is_refusal: false });
    }
}

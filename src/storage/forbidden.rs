//! Telling an object that is absent from one that may not be read, where a store says 403 to both: so do AWS, Ceph and
//! Google wherever listing is not granted.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::ForbiddenIsAbsent;
use crate::chain::chain;

/// What S3 says where it is the credential that it does not take, whatever is asked for: nothing follows from that for any
/// object, nor for what a good credential could do.
pub const CODES_OF_THE_CREDENTIAL: [&str; 9] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
    "AccountProblem",
    "AuthFailure",
];

/// What it says where it knows who asks, and does not let them.
const OF_THE_OBJECT: &str = "AccessDenied";

/// Objects that were read and are kept in mind, each of another folder: any of them may be deleted.
const KNOWN_OBJECTS: usize = 4;

/// How a store tells an object that is absent from one that it may not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// It says which.
    Told,
    /// By the configuration, a refusal always means absence.
    Absent,
    /// By the configuration, a refusal never means absence.
    Denied,
    /// It may be listed: what is refused is looked for in the listing, and taken to be absent where it is not there, as long
    /// as what was read before can be read.
    Listed,
    /// It may not be listed: what is refused is taken to be absent as long as what was read before can be read.
    Compared,
    /// It may not be listed, and nothing has been read yet that a refusal could be compared with.
    Undecided,
}

/// What is known of a store that refuses objects.
#[derive(Debug)]
pub(super) struct Refusals {
    rule: ForbiddenIsAbsent,
    known: Mutex<Known>,
    last_look: tokio::sync::Mutex<Option<Look>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Whether it may be listed, once that was tried.
    may_list: Option<bool>,
    /// What was read, the last first.
    read: VecDeque<String>,
}

/// A look at what was read before.
#[derive(Debug, Clone, Copy)]
struct Look {
    began_at: Instant,
    found_any: bool,
}

impl Refusals {
    pub(super) fn new(rule: ForbiddenIsAbsent) -> Self {
        Self { rule, known: Mutex::default(), last_look: tokio::sync::Mutex::default() }
    }

    pub(super) fn rule(&self) -> ForbiddenIsAbsent {
        self.rule
    }

    pub(super) fn verdict(&self) -> Forbidden {
        let known = self.known();
        match self.rule {
            ForbiddenIsAbsent::Always => Forbidden::Absent,
            ForbiddenIsAbsent::Never => Forbidden::Denied,
            ForbiddenIsAbsent::Auto if known.may_list != Some(false) => Forbidden::Listed,
            ForbiddenIsAbsent::Auto if known.read.is_empty() => Forbidden::Undecided,
            ForbiddenIsAbsent::Auto => Forbidden::Compared,
        }
    }

    /// Takes in how a listing ended.
    pub(super) fn listing_ended(&self, refusal: Option<&(dyn Error + 'static)>) {
        let mut known = self.known();
        match refusal {
            None => known.may_list = Some(true),
            // Whether it may be listed with another one is to be found out again.
            Some(refusal) if blames_credential(refusal) => known.may_list = None,
            Some(refusal) if blames_object(refusal) => known.may_list = Some(false),
            Some(_) => {}
        }
    }

    /// Takes in that an object could be read.
    pub(super) fn was_read(&self, key: &str) {
        if self.rule != ForbiddenIsAbsent::Auto {
            return;
        }
        let mut known = self.known();
        if known.read.front().is_some_and(|last| last == key) {
            return;
        }
        known.read.retain(|other| folder(other) != folder(key));
        known.read.push_front(key.to_owned());
        known.read.truncate(KNOWN_OBJECTS);
    }

    /// Whether any of what was read before can be read now, by asking for one after the other. There is one such look at a
    /// time, and all who ask before it begins share it.
    pub(super) async fn can_still_read<F: Future<Output = bool>>(&self, read: impl Fn(String) -> F) -> bool {
        let asked_at = Instant::now();
        let mut last_look = self.last_look.lock().await;
        if let Some(look) = *last_look
            && look.began_at >= asked_at
        {
            return look.found_any;
        }
        let began_at = Instant::now();
        let candidates: Vec<String> = self.known().read.iter().cloned().collect();
        let mut found_any = false;
        for key in candidates {
            found_any = read(key).await;
            if found_any {
                break;
            }
        }
        *last_look = Some(Look { began_at, found_any });
        found_any
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a store blames the credential itself.
pub(super) fn blames_credential(error: &(dyn Error + 'static)) -> bool {
    let words = chain(error);
    CODES_OF_THE_CREDENTIAL.iter().any(|code| words.contains(&format!("<Code>{code}")))
}

/// Whether a store knows who asks, and refuses what is asked for.
pub(super) fn blames_object(error: &(dyn Error + 'static)) -> bool {
    chain(error).contains(&format!("<Code>{OF_THE_OBJECT}</Code>"))
}

fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn refusals() -> Refusals {
        Refusals::new(ForbiddenIsAbsent::Auto)
    }

    fn refusal(code: &str) -> std::io::Error {
        std::io::Error::other(format!("403 Forbidden: <Error><Code>{code}</Code></Error>"))
    }

    #[test]
    fn a_refused_listing_decides_unless_it_was_the_credential_that_was_refused() {
        let refusals = refusals();
        refusals.was_read("a/index.html");
        assert_eq!(refusals.verdict(), Forbidden::Listed);
        refusals.listing_ended(Some(&refusal("InvalidAccessKeyId")));
        assert_eq!(refusals.verdict(), Forbidden::Listed);
        refusals.listing_ended(Some(&refusal("AccessDenied")));
        assert_eq!(refusals.verdict(), Forbidden::Compared);
        refusals.listing_ended(None);
        assert_eq!(refusals.verdict(), Forbidden::Listed);
    }

    #[test]
    fn before_anything_was_read_nothing_is_decided() {
        let refusals = refusals();
        refusals.listing_ended(Some(&refusal("AccessDenied")));
        assert_eq!(refusals.verdict(), Forbidden::Undecided);
        refusals.was_read("a/index.html");
        assert_eq!(refusals.verdict(), Forbidden::Compared);
    }

    #[test]
    fn what_is_kept_in_mind_is_a_few_objects_of_different_folders() {
        let refusals = refusals();
        for key in ["a/1", "a/2", "b/1", "c/1", "d/1", "e/1", "e/2"] {
            refusals.was_read(key);
        }
        assert_eq!(refusals.known().read, ["e/2", "d/1", "c/1", "b/1"]);
    }

    #[tokio::test]
    async fn one_look_serves_all_who_asked_before_it_began() {
        let refusals = refusals();
        refusals.was_read("a/1");
        let looks = AtomicUsize::new(0);
        let ask = || {
            refusals.can_still_read(async |_| {
                looks.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                true
            })
        };
        let answers = join_all((0..100).map(|_| ask())).await;
        assert!(answers.iter().all(|could| *could));
        // The one that began it, and one for all who came while it ran.
        assert_eq!(looks.load(Ordering::Relaxed), 2);
        // Whoever is refused after that can't go by it.
        assert!(ask().await);
        assert_eq!(looks.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn one_object_that_can_be_read_is_enough_and_none_is_not() {
        let refusals = refusals();
        assert!(!refusals.can_still_read(async |_| true).await);
        refusals.was_read("a/1");
        refusals.was_read("b/1");
        assert!(refusals.can_still_read(async |key: String| key == "a/1").await);
        assert!(!refusals.can_still_read(async |_| false).await);
    }
}

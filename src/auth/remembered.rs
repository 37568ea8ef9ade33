//! Tokens that were verified before.

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use subtle::ConstantTimeEq;

use super::principal::Principal;
use crate::clock::Timestamp;
use crate::lately::{Changes, Lately};
use crate::unhashed::Unhashed;

/// SHA-256 of a whole token: what a token is remembered by, so that a copy of the memory opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; digest::SHA256_OUTPUT_LEN]);

impl TokenDigest {
    pub(super) fn of(token: &[u8]) -> Self {
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        let digest = digest::digest(&digest::SHA256, token);
        // Both are 32 bytes long; were they ever not, every token would be unknown.
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Whether both are of the same token, in a time that tells nothing about where they differ.
    pub(super) fn constant_time_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn mark(&self) -> u64 {
        u64::from_ne_bytes(self.0.first_chunk().copied().unwrap_or_default())
    }
}

impl Hash for TokenDigest {
    /// The first eight bytes: only tokens that somebody has signed are ever put in, so that nobody can search for ones
    /// that fall together.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.mark());
    }
}

thread_local! {
    /// Tokens that were shown to this thread.
    static SHOWN: RefCell<Lately<TokenDigest, Entry>> = const { RefCell::new(Lately::new()) };
}

/// A bounded memory of verified tokens, each good until it expires or what made it good is to be looked at again.
pub(super) struct Remembered {
    tokens: Cache<TokenDigest, Entry, BuildHasherDefault<Unhashed>>,
    longest: Duration,
    changes: Changes,
}

#[derive(Clone)]
struct Entry {
    principal: Arc<Principal>,
    since: Timestamp,
    until: Timestamp,
    /// When the token itself is over.
    ends: Timestamp,
}

impl Remembered {
    /// Remembers `capacity` tokens, none for more than `longest`.
    ///
    /// Backstage mints a token per call, so that most are used once and all die within the hour: what was used least
    /// recently goes first, and how often it was used before does not count.
    pub(super) fn new(capacity: u64, longest: Duration) -> Self {
        let cache = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru());
        Self { tokens: cache.build_with_hasher(BuildHasherDefault::default()), longest, changes: Changes::new() }
    }

    fn look_up(&self, token: &TokenDigest) -> Option<Entry> {
        let look = self.changes.look(token.mark());
        let shown = SHOWN.with_borrow(|shown| shown.find(look, |noted| noted == token).cloned());
        if shown.is_some() {
            return shown;
        }
        let entry = self.tokens.get(token)?;
        SHOWN.with_borrow_mut(|shown| shown.note(look, || (*token, entry.clone())));
        Some(entry)
    }

    /// A token that was remembered in the future is not: the clock was set back, and how long ago it was nobody knows.
    pub(super) fn get(&self, token: &TokenDigest, now: Timestamp) -> Option<Arc<Principal>> {
        let Entry { principal, since, until, ends } = self.look_up(token)?;
        if now < since || now >= ends {
            self.forget(token);
            return None;
        }
        // What is due to be looked at again stays known until then: see `knows`.
        (now < until).then_some(principal)
    }

    /// Whether the token was good once and may still be: it was no guess.
    pub(super) fn knows(&self, token: &TokenDigest, now: Timestamp) -> bool {
        self.look_up(token).is_some_and(|entry| entry.since <= now && now < entry.ends)
    }

    /// It is no good any more.
    pub(super) fn forget(&self, token: &TokenDigest) {
        self.tokens.invalidate(token);
        self.changes.changed(token.mark());
    }

    /// Remembers whose token it is for as long as it is good, `tolerance` counted in, but no longer than until the keys
    /// that it was verified with are read again: a withdrawn key counts for remembered tokens as long as for new ones.
    pub(super) fn insert(&self, token: TokenDigest, principal: Arc<Principal>, now: Timestamp, tolerance: Duration) {
        const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);
        let ends = principal.expires_at().map_or(NEVER, |end| end.plus(tolerance));
        let recheck_at = principal.recheck_at().unwrap_or(NEVER);
        let until = now.plus(self.longest).min(ends).min(recheck_at);
        if now < ends {
            self.tokens.insert(token, Entry { principal, since: now, until, ends });
            self.changes.changed(token.mark());
        }
    }

    /// Does now what would otherwise be done along with later calls, evictions above all.
    #[cfg(test)]
    pub(super) fn run_pending_tasks(&self) {
        self.tokens.run_pending_tasks();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_set_back_makes_no_token_remembered_longer() {
        let memory = Remembered::new(10, Duration::from_secs(600));
        let (token, now) = (TokenDigest::of(b"token"), Timestamp::from_secs(10_000));
        let caller = Arc::new(Principal::plugin("techdocs", Timestamp::from_secs(100_000)));
        memory.insert(token, caller, now, Duration::ZERO);
        // Often enough that this thread has it at hand.
        assert!((0..10).all(|_| memory.get(&token, now).is_some()));
        assert!(memory.get(&token, Timestamp::from_secs(9_999)).is_none());
        assert!(memory.get(&token, now).is_none());
    }
}

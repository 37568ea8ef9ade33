//! Tokens that were verified before.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use subtle::ConstantTimeEq;

use super::principal::Principal;
use crate::clock::Timestamp;

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
}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_ne_bytes(first));
    }
}

/// Takes the digest's first eight bytes as they are: it is uniform already, and only tokens that somebody has signed
/// are ever put in, so that nobody can search for ones that fall together.
#[derive(Debug, Default)]
pub(super) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How long a token is remembered at most, however long it lasts: then its issuer must still publish its key. Backstage's
/// own tokens last no longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// A bounded memory of verified tokens, each good until it expires.
pub(super) struct Remembered(Cache<TokenDigest, Entry, BuildHasherDefault<Unhashed>>);

#[derive(Clone)]
struct Entry {
    principal: Arc<Principal>,
    until: Timestamp,
}

impl Remembered {
    /// Backstage mints a token per call, so that most are used once and all die within the hour: what was used least
    /// recently goes first, and how often it was used before does not count.
    pub(super) fn new(capacity: u64) -> Self {
        let cache = Cache::builder().max_capacity(capacity).eviction_policy(EvictionPolicy::lru());
        Self(cache.build_with_hasher(BuildHasherDefault::default()))
    }

    pub(super) fn get(&self, token: &TokenDigest, now: Timestamp) -> Option<Arc<Principal>> {
        let Entry { principal, until } = self.0.get(token)?;
        if now >= until {
            self.0.invalidate(token);
            return None;
        }
        Some(principal)
    }

    /// Remembers whose token it is for as long as it is good, `tolerance` counted in.
    pub(super) fn insert(&self, token: TokenDigest, principal: Arc<Principal>, now: Timestamp, tolerance: Duration) {
        let longest = now.plus(LONGEST);
        let until = principal.expires_at().map_or(longest, |end| end.plus(tolerance).min(longest));
        self.0.insert(token, Entry { principal, until });
    }

    /// Does now what would otherwise be done along with later calls, evictions above all.
    #[cfg(test)]
    pub(super) fn run_pending_tasks(&self) {
        self.0.run_pending_tasks();
    }
}

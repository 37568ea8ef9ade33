//! What the peers have in common: where they have their copies from, and how their hits are told.

use super::bare_hyper::BareHyper;
use super::process::LOAD_CORE;
use super::wire::Answer;

/// A header that only a hit has, and what stands in it.
type Hit = Option<(&'static str, &'static str)>;

pub(crate) const OURS_HIT: Hit = Some(("cache-status", "callboard; hit"));
pub(crate) const NGINX_HIT: Hit = Some(("x-cache", "HIT"));
/// The number of the request, and that of the one that filled the cache.
pub(crate) const VARNISH_HIT: Hit = Some(("x-varnish", " "));

/// Headers that say what a cache did, which an origin does not send.
const OF_A_CACHE: [&str; 3] = ["date", "age", "cache-status"];

/// Sends what Callboard sent, on the core that makes the load.
pub(crate) fn origin(answer: &Answer) -> anyhow::Result<BareHyper> {
    let mut answer = answer.clone();
    answer.headers.retain(|(name, _)| !OF_A_CACHE.contains(&name.as_str()));
    BareHyper::start_on(LOAD_CORE, &answer)
}

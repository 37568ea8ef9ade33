//! `callboard.cache`, `callboard.site` and `callboard.responses.compression`, and what they take over from `techdocs.cache`.

use std::time::Duration;

use crate::cache::Options;
use crate::config::formats::{DURATION, FLAG, SIZE};
use crate::config::reader::Reader;
use crate::config::value::Origin;

/// Longer than anyone means; a misplaced unit is caught.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn read(reader: &mut Reader<'_>) -> Options {
    const TTL: &str = "techdocs.cache.ttl";
    const MEMORY: &str = "callboard.cache.memory.maxBytes";
    const OBJECT: &str = "callboard.cache.maxObjectBytes";
    let fresh_for = match reader.optional(TTL, &DURATION) {
        Some(ttl) => (ttl, Origin::DefaultFrom(TTL)),
        None => (Duration::from_secs(5 * 60), Origin::Default),
    };
    let options = Options {
        memory_max_bytes: reader.within(MEMORY, &SIZE, 256 << 20, 1 << 20..=1 << 44),
        max_object_bytes: reader.within(OBJECT, &SIZE, 8 << 20, 1 << 10..=1 << 40),
        // Zero is a choice for both: ask storage each time.
        fresh_for: reader.within_from("callboard.cache.freshFor", &DURATION, fresh_for, Duration::ZERO..=LONGEST),
        stale_while_revalidate: reader.within(
            "callboard.cache.staleWhileRevalidate",
            &DURATION,
            Duration::from_secs(60),
            Duration::ZERO..=LONGEST,
        ),
        stale_if_error: reader.within(
            "callboard.cache.staleIfError",
            &DURATION,
            Duration::from_secs(24 * 60 * 60),
            Duration::ZERO..=LONGEST,
        ),
        not_found_for: reader.within(
            "callboard.cache.notFoundFor",
            &DURATION,
            Duration::from_secs(10),
            Duration::ZERO..=LONGEST,
        ),
        publish_check: read_publish_check(reader),
        settle_for: reader.within(
            "callboard.site.settleFor",
            &DURATION,
            Duration::from_secs(2 * 60),
            Duration::ZERO..=LONGEST,
        ),
        warm_on_first_visit: reader.or("callboard.site.warmOnFirstVisit", &FLAG, false),
        compression: reader.or("callboard.responses.compression", &FLAG, true),
    };
    if options.max_object_bytes > options.memory_max_bytes {
        // Told at the one that somebody wrote.
        let key = if reader.has(OBJECT) { OBJECT } else { MEMORY };
        reader
            .wrong(key, format!("an object may be larger than all of memory: write {OBJECT} no larger than {MEMORY}"));
    }
    options
}

/// Zero switches it off; anything else is long enough that a site is not asked for all the time.
fn read_publish_check(reader: &mut Reader<'_>) -> Duration {
    const KEY: &str = "callboard.site.publishCheck";
    const SHORTEST: Duration = Duration::from_millis(100);
    let publish_check = reader.within(KEY, &DURATION, Duration::from_secs(10), Duration::ZERO..=LONGEST);
    if !publish_check.is_zero() && publish_check < SHORTEST {
        reader.wrong(KEY, "is too short: write 0s to switch it off, or 100ms and more");
    }
    publish_check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

    const DOCS: &str =
        "techdocs: {publisher: {local: {publishDirectory: site}}, cache: {ttl: 90000, readTimeout: 500}}\n";

    #[test]
    fn freshness_follows_the_ttl_of_techdocs_unless_ours_is_set() {
        let configuration = resolved(DOCS).unwrap();
        assert_eq!(configuration.resolved.cache.fresh_for, Duration::from_secs(90));
        let origin = configuration.effective.origin("callboard.cache.freshFor").map(ToString::to_string);
        assert_eq!(origin.as_deref(), Some("default, from techdocs.cache.ttl"));
        let ours = resolved(&format!("{DOCS}callboard: {{cache: {{freshFor: PT1M}}}}")).unwrap();
        assert_eq!(ours.resolved.cache.fresh_for, Duration::from_secs(60));
    }

    #[test]
    fn an_object_may_not_be_larger_than_memory() {
        let told = problems(&format!("{DOCS}callboard: {{cache: {{memory: {{maxBytes: 4MiB}}}}}}"));
        assert!(told[0].starts_with("callboard.cache.memory.maxBytes (app-config.yaml:2): an object may"), "{told:?}");
    }

    #[test]
    fn a_word_that_is_no_duration_is_told_with_an_example() {
        let told = problems(&format!("{DOCS}callboard: {{cache: {{freshFor: soon, notFoundFor: '300'}}}}"));
        assert_eq!(
            told,
            [
                "callboard.cache.freshFor (app-config.yaml:2): \"soon\" is not a duration: write for example 5m, PT5M or { minutes: 5 }",
                "callboard.cache.notFoundFor (app-config.yaml:2): \"300\" has no unit: write for example 5m, PT5M or { minutes: 5 }",
            ]
        );
    }
}

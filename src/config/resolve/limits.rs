//! `callboard.limits.requests` and `callboard.limits.failedAuthentication`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value as Json;

use super::external::refuse_others;
use crate::config::formats::{COUNT, FLAG, TEXT};
use crate::config::reader::Reader;
use crate::config::value::Origin;
use crate::limit::{Options, Override, Rate, Requests};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Zero would be a way to lock callers out, which is what `callboard.auth.allow` is for.
const COUNTS: RangeInclusive<u64> = 1..=1_000_000;

pub(super) fn read(reader: &mut Reader<'_>) -> Options {
    Options { requests: read_requests(reader), failed_authentication: read_failed_authentication(reader) }
}

fn read_requests(reader: &mut Reader<'_>) -> Option<Requests> {
    let enabled = reader.or("callboard.limits.requests.enabled", &FLAG, true);
    let rate = Rate {
        count: count(reader, "callboard.limits.requests.perSecond", 5000),
        per: SECOND,
        burst: count(reader, "callboard.limits.requests.burst", 10_000),
    };
    let overrides = read_overrides(reader, rate);
    enabled.then_some(Requests { rate, overrides })
}

/// A list and no map: subjects hold dots and brackets, and which of two patterns counts is a matter of order.
fn read_overrides(reader: &mut Reader<'_>, everyone: Rate) -> Vec<Override> {
    const KEY: &str = "callboard.limits.requests.overrides";
    let entries = reader.maps(KEY);
    if entries.is_empty() {
        let origin = reader.origin(KEY).unwrap_or(Origin::Default);
        reader.effective.set(KEY, Json::Array(Vec::new()), origin);
    } else {
        reader.effective.absent(KEY);
    }
    let mut overrides = Vec::new();
    for entry in entries {
        refuse_others(reader, &entry, &["subject", "enabled", "perSecond", "burst"]);
        let key = format!("{entry}.subject");
        let subject = reader.required(&key, &TEXT, ": write for example plugin:search, or plugin:* for all of a kind");
        let enabled = reader.or(&format!("{entry}.enabled"), &FLAG, true);
        let count = count(reader, &format!("{entry}.perSecond"), u64::from(everyone.count.get()));
        let burst_key = format!("{entry}.burst");
        // Twice the rate, as everyone's is.
        let burst = self::count(reader, &burst_key, u64::from(count.get().saturating_mul(2)).min(*COUNTS.end()));
        let Some(subject) = subject else { continue };
        check_pattern(reader, &key, &subject);
        overrides.push(Override { subject, rate: enabled.then_some(Rate { count, per: SECOND, burst }) });
    }
    overrides
}

/// A subject, or how some begin.
pub(super) fn check_pattern(reader: &mut Reader<'_>, key: &str, subject: &str) {
    if subject.strip_suffix('*').unwrap_or(subject).contains('*') {
        reader.wrong(key, format!("{subject:?} has a * elsewhere than at its end, or several"));
    }
}

fn read_failed_authentication(reader: &mut Reader<'_>) -> Option<Rate> {
    let enabled = reader.or("callboard.limits.failedAuthentication.enabled", &FLAG, true);
    let rate = Rate {
        count: count(reader, "callboard.limits.failedAuthentication.perMinute", 6000),
        per: MINUTE,
        burst: count(reader, "callboard.limits.failedAuthentication.burst", 3000),
    };
    enabled.then_some(rate)
}

fn count(reader: &mut Reader<'_>, key: &str, default: u64) -> NonZeroU32 {
    let value = reader.within(key, &COUNT, default, COUNTS);
    u32::try_from(value).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    fn read(limits: &str) -> Options {
        resolved(&format!("{DOCS}callboard: {{limits: {limits}}}")).unwrap().resolved.limits
    }

    #[test]
    fn limits_are_on_unless_switched_off() {
        let limits = read("{}");
        assert_eq!(limits.requests.unwrap().rate.count.get(), 5000);
        assert_eq!(limits.failed_authentication.unwrap().per, MINUTE);
        let limits = read("{requests: {enabled: false}, failedAuthentication: {enabled: false}}");
        assert!(limits.requests.is_none() && limits.failed_authentication.is_none());
    }

    #[test]
    fn overrides_are_read_in_order() {
        let limits = read(
            "{requests: {overrides: [{subject: 'external:ci.nightly', perSecond: 10}, {subject: 'user:*', enabled: false}, \
             {subject: 'plugin:search', perSecond: 5, burst: 7}]}}",
        );
        let told: Vec<_> = limits.requests.unwrap().overrides.into_iter().collect();
        let rates = told.iter().map(|tier| tier.rate.map(|rate| (rate.count.get(), rate.burst.get())));
        assert_eq!(rates.collect::<Vec<_>>(), [Some((10, 20)), None, Some((5, 7))]);
        assert_eq!(told[0].subject, "external:ci.nightly");
    }

    #[test]
    fn wrong_overrides_are_told_together() {
        let told = problems(&format!(
            "{DOCS}callboard: {{limits: {{requests: {{overrides: [{{perSecond: 1}}, {{subject: 'a*b'}}, 5, \
             {{subject: x, perSecond: 0}}, {{subject: y, persecond: 1}}]}}}}}}"
        ));
        for part in ["[0].subject: required", "[1].subject", "[2] ", "[3].perSecond", "[4].persecond"] {
            assert!(told.iter().any(|problem| problem.contains(part)), "{part} in {told:#?}");
        }
        assert_eq!(told.len(), 5, "{told:#?}");
    }
}

//! What a limited client is told about its budget: `RateLimit` and `RateLimit-Policy`, as in
//! draft-ietf-httpapi-ratelimit-headers-10.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Both headers for a budget with nothing left: `name` is the policy's, `quota` what a full one holds, `window` in which
/// time it fills up, and `wait` when something will be in it again. Times are told in whole seconds, rounded up.
pub fn exhausted(
    name: &'static str,
    quota: u32,
    window: Duration,
    wait: Duration,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let (window, wait) = (whole_seconds(window), whole_seconds(wait));
    let policy = HeaderValue::try_from(format!("\"{name}\";q={quota};w={window}"));
    let state = HeaderValue::try_from(format!("\"{name}\";r=0;t={wait}"));
    // A word and numbers always make a header.
    [(POLICY, policy), (STATE, state)].into_iter().filter_map(|(name, value)| Some((name, value.ok()?)))
}

/// Rounded up, so that whoever waits as long does not come too early; at least one.
pub fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_structured_fields_with_rounded_up_seconds() {
        let told = exhausted("principal", 100, Duration::from_millis(1500), Duration::from_millis(3));
        let told: Vec<_> = told.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(told, ["ratelimit-policy: \"principal\";q=100;w=2", "ratelimit: \"principal\";r=0;t=1"]);
    }
}

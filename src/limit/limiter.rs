//! Who is beyond which budget.

use super::budget::{Budget, Limited, MOST_BUCKETS};
use super::{Address, Options, Override, Rate};
use crate::clock::Clock;
use crate::telemetry::LimitReason;

/// The budgets of all callers. Share it in an `Arc`; [`Limiter::sweep`] it now and then.
#[derive(Debug)]
pub struct Limiter {
    /// By subject, the first that matches; the last one matches all.
    requests: Vec<Tier>,
    failed_authentication: Option<Budget>,
}

/// Some subjects and their budget.
#[derive(Debug)]
struct Tier {
    /// As in [`Override::subject`].
    subject: String,
    budget: Option<Budget>,
}

impl Limiter {
    /// Full buckets for everyone.
    pub fn new(options: Options, clock: &Clock) -> Self {
        let budget = |reason, rate: Rate| Budget::new(reason, rate, MOST_BUCKETS, clock);
        let mut requests = Vec::new();
        if let Some(limited) = options.requests {
            let everyone = Override { subject: "*".to_owned(), rate: Some(limited.rate) };
            requests.extend(limited.overrides.into_iter().chain([everyone]).map(|tier| Tier {
                subject: tier.subject,
                budget: tier.rate.map(|rate| budget(LimitReason::Principal, rate)),
            }));
        }
        let failed_authentication =
            options.failed_authentication.map(|rate| budget(LimitReason::FailedAuthentication, rate));
        Self { requests, failed_authentication }
    }

    /// Counts a request of `subject`.
    ///
    /// # Errors
    /// Where it is beyond the subject's budget; it is not counted then.
    pub fn request(&self, subject: &str) -> Result<(), Limited> {
        let tier = self.requests.iter().find(|tier| matches(&tier.subject, subject));
        tier.and_then(|tier| tier.budget.as_ref()).map_or(Ok(()), |budget| budget.take(subject))
    }

    /// Counts a request of somebody at `address` whom nobody knows, under the rate of those without an override.
    ///
    /// # Errors
    /// Where it is beyond the address's budget; it is not counted then.
    pub fn anonymous_request(&self, address: Address) -> Result<(), Limited> {
        let everyone = self.requests.last().and_then(|tier| tier.budget.as_ref());
        everyone.map_or(Ok(()), |budget| budget.take(address))
    }

    /// Whether a token that is not known may be looked at for a client at `address`. Counts nothing.
    ///
    /// # Errors
    /// Where too many were no good lately.
    pub fn attempt(&self, address: Address) -> Result<(), Limited> {
        self.failed_authentication.as_ref().map_or(Ok(()), |budget| budget.look(address))
    }

    /// Counts a token from `address` that was no good.
    pub fn attempt_failed(&self, address: Address) {
        if let Some(budget) = &self.failed_authentication {
            // Beyond the budget by those that were looked at meanwhile: the bucket is empty, and stays so.
            let _ = budget.take(address);
        }
    }

    /// Forgets whoever has a full bucket again. Without it the buckets of all who ever came would be held, up to the
    /// bound.
    pub fn sweep(&self) {
        let budgets = self.requests.iter().filter_map(|tier| tier.budget.as_ref());
        budgets.chain(&self.failed_authentication).for_each(Budget::sweep);
    }
}

/// Whether a subject is meant: `pattern` is it or, with `*` at the end, how it begins.
pub fn matches(pattern: &str, subject: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => subject.starts_with(start),
        None => subject == pattern,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::limit::Requests;

    fn rate(burst: u32) -> Rate {
        Rate { count: NonZeroU32::MIN, per: Duration::from_secs(3600), burst: NonZeroU32::new(burst).unwrap() }
    }

    fn admitted(limiter: &Limiter, subject: &str) -> usize {
        (0..100).filter(|_| limiter.request(subject).is_ok()).count()
    }

    #[test]
    fn the_first_override_that_matches_counts() {
        let overrides = [("plugin:search", Some(2)), ("plugin:s*", None), ("user:*", Some(1))];
        let overrides =
            overrides.map(|(subject, burst)| Override { subject: subject.to_owned(), rate: burst.map(rate) });
        let requests = Requests { rate: rate(5), overrides: overrides.into() };
        let limiter = Limiter::new(Options { requests: Some(requests), failed_authentication: None }, &Clock::System);
        assert_eq!(admitted(&limiter, "plugin:search"), 2);
        assert_eq!(admitted(&limiter, "plugin:scaffolder"), 100);
        assert_eq!(admitted(&limiter, "user:default/jane"), 1);
        assert_eq!(admitted(&limiter, "user:default/john"), 1);
        assert_eq!(admitted(&limiter, "plugin:techdocs"), 5);
    }

    #[test]
    fn switched_off_nothing_is_limited() {
        let limiter = Limiter::new(Options { requests: None, failed_authentication: None }, &Clock::System);
        assert_eq!(admitted(&limiter, "plugin:techdocs"), 100);
        let address = Address::from(std::net::IpAddr::from([192, 0, 2, 1]));
        for _ in 0..100 {
            limiter.attempt_failed(address);
        }
        assert_eq!(limiter.attempt(address), Ok(()));
    }
}

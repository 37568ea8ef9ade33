//! Warnings of what can happen many times a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often the same warning is written at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one of many equal warnings through now and then, with their number.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Counts one more; where it is time to warn again, tells how many there were since the last warning, this one
    /// included.
    pub(super) fn happened(&self) -> Option<u64> {
        // The state is whole whenever the lock is let go, also by a panic.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold = state.untold.saturating_add(1);
        if state.told_at.is_some_and(|told_at| told_at.elapsed() < PAUSE) {
            return None;
        }
        state.told_at = Some(Instant::now());
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_warning_in_ten_seconds_with_the_number_of_all() {
        let seldom = Seldom::default();
        let told: Vec<Option<u64>> = (0..4).map(|_| seldom.happened()).collect();
        assert_eq!(told, [Some(1), None, None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!((seldom.happened(), seldom.happened()), (Some(4), None));
    }
}

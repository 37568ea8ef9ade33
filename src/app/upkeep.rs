//! What runs beside requests for as long as the program does.

use std::sync::Arc;
use std::time::Duration;

use crate::chain::chain;
use crate::docs::StorageKey;
use crate::limit::Limiter;
use crate::server::Stop;
use crate::storage::{Contact, Reader};

/// How long the first contact with storage waits before it tries again: this long at first, doubling up to the second.
const FIRST_CONTACT_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often budgets that are full again are forgotten. Most fill up within seconds, and their number is bounded anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Asks storage for anything until it has answered once, and so tells a wrong bucket or credential in the log before a
/// reader meets it.
pub(super) async fn first_contact(storage: Arc<Reader>, root_path: String, probe: StorageKey, mut stop: Stop) {
    let (mut pause, longest) = FIRST_CONTACT_PAUSES;
    loop {
        let contact = tokio::select! {
            contact = storage.contact(&root_path, 1, &probe) => contact,
            () = stop.requested() => return,
        };
        match contact {
            Ok(Contact::Keys(keys)) if keys.is_empty() => {
                return tracing::warn!(root_path, "storage answers, but holds no site yet");
            }
            Ok(_) => return,
            // Readers may have had an answer meanwhile.
            Err(_) if storage.has_answered() => return,
            Err(error) => tracing::warn!(
                error = chain(&error),
                "storage has not answered yet; not ready until it does. `callboard check` tells more"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
            () = stop.requested() => return,
        }
    }
}

/// Forgets now and then whoever is within its budget again.
pub(super) async fn sweep(limiter: Arc<Limiter>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => limiter.sweep(),
            () = stop.requested() => return,
        }
    }
}

//! What runs beside requests for as long as the program does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::chain::chain;
use crate::docs::StorageKey;
use crate::limit::Limiter;
use crate::server::Stop;
use crate::storage::{Contact, Origin, Origins, StoreError};

/// How long the first contact with storage waits before it tries again: this long at first, doubling up to the second.
const FIRST_CONTACT_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often budgets that are full again are forgotten. Most fill up within seconds, and their number is bounded anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Asks each store for anything until it has answered once, and so tells a wrong bucket or credential in the log before a
/// reader meets it. From then on it is asked only where it seems to refuse everything, until it does not any more.
pub(super) async fn keep_contact(origins: Arc<Origins>, probe: StorageKey, stop: Stop) {
    join_all(origins.iter().map(|origin| keep_contact_with(origin, &probe, stop.clone()))).await;
}

async fn keep_contact_with(origin: &Origin, probe: &StorageKey, mut stop: Stop) {
    let (mut pause, longest) = FIRST_CONTACT_PAUSES;
    loop {
        if is_to_be_asked(origin) {
            tokio::select! {
                contact = origin.contact(1, probe) => tell(origin, contact),
                () = stop.requested() => return,
            }
        }
        pause = if is_to_be_asked(origin) { (pause * 2).min(longest) } else { FIRST_CONTACT_PAUSES.0 };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => return,
        }
    }
}

fn is_to_be_asked(origin: &Origin) -> bool {
    let standing = origin.standing();
    !standing.has_answered() || standing.is_doubtful() || standing.refusal().is_some()
}

fn tell(origin: &Origin, contact: Result<Contact, StoreError>) {
    match contact {
        Ok(Contact::Keys(keys)) if keys.is_empty() => {
            tracing::warn!(origin = origin.name(), "storage answers, but holds no site yet");
        }
        Ok(Contact::Undecided) => tracing::warn!(
            origin = origin.name(),
            "storage knows the credential, but may not be listed: whether anything may be read shows with the first page, \
             and until then what is absent is taken for refused. Grant listing, such as s3:ListBucket"
        ),
        Ok(_) => {}
        Err(error @ StoreError::Denied(_)) => tracing::warn!(
            origin = origin.name(),
            error = chain(&error),
            "storage refuses everything: not ready until it does not. What is held is served as long as \
             callboard.cache.staleIfError allows. `callboard check` tells more"
        ),
        // Readers may have had an answer meanwhile.
        Err(_) if origin.standing().has_answered() => {}
        Err(error) => tracing::warn!(
            origin = origin.name(),
            error = chain(&error),
            "storage has not answered yet; not ready until it does. `callboard check` tells more"
        ),
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

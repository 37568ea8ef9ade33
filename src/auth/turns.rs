//! Turns at verifying signatures, which takes a core as long as ten pages do.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;

/// As many turns as there are cores, which is what they are turns at.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, |cores| cores.get())));

/// Waits for a turn, and then lets everyone go first who is ready: whoever comes with a token that was seen before waits
/// for one signature at most, however many new ones there are. The turn lasts until what is returned is dropped.
pub(super) async fn turn() -> Option<SemaphorePermit<'static>> {
    // Never closed, so there always is one.
    let turn = TURNS.acquire().await.ok();
    yield_now().await;
    turn
}

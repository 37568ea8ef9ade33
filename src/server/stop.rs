//! The word to stop, which comes in two parts: first others are told to go elsewhere, then the doors close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;

/// How far the program is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Serve,
    /// Everything is served as ever, but no client should stay.
    Drain,
    /// Nobody is let in any more; whatever is still open at this time is broken off.
    Close(Instant),
}

/// Gives the word. Being dropped counts as the word to close at once.
#[derive(Debug)]
pub struct Stopper {
    word: watch::Sender<Word>,
    is_draining: Arc<AtomicBool>,
}

impl Stopper {
    /// Clients are told to leave as they are answered; new ones are still served.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.word.send_replace(Word::Drain);
    }

    /// Nobody is let in any more, and what is open may finish until `until`.
    pub fn close(&self, until: Instant) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.word.send_replace(Word::Close(until));
    }
}

/// Hears the word; clones hear the same one.
#[derive(Debug, Clone)]
pub struct Stop {
    word: watch::Receiver<Word>,
    /// Beside the word, so that each answer can look at it without a lock.
    is_draining: Arc<AtomicBool>,
}

impl Stop {
    /// A word that has not been given, and what gives it.
    pub fn channel() -> (Stopper, Self) {
        let (sender, word) = watch::channel(Word::Serve);
        let is_draining = Arc::new(AtomicBool::new(false));
        (Stopper { word: sender, is_draining: Arc::clone(&is_draining) }, Self { word, is_draining })
    }

    /// Waits until the program is on its way out.
    pub async fn requested(&mut self) {
        let _ = self.word.wait_for(|word| *word != Word::Serve).await;
    }

    /// Waits until nobody is to be let in any more; tells until when what is open may finish.
    pub(super) async fn closing(&mut self) -> Instant {
        match self.word.wait_for(|word| matches!(word, Word::Close(_))).await.as_deref() {
            Ok(Word::Close(until)) => *until,
            // Who could give the word is gone.
            _ => Instant::now(),
        }
    }

    /// Whether clients should not stay: what tells without waiting.
    pub(super) fn draining(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_draining)
    }
}

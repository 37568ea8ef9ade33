//! Futures that are polled when they asked to be, and not whenever the task runs that they are a part of.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future with a waker of its own. A connection's task runs with each request, and what ends the connection one day has
/// nothing to say to most of them: a look at whether it has is one flag.
#[derive(Debug)]
pub struct Roused<F> {
    future: F,
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    /// Whether the future has asked to be polled since it was.
    has_rung: AtomicBool,
    /// The task that it is a part of.
    task: AtomicWaker,
}

impl<F> Roused<F> {
    /// The same future, polled for the first time whenever it is.
    pub fn new(future: F) -> Self {
        // A future that was never polled has to be.
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&bell));
        Self { future, bell, waker }
    }
}

impl<F: Future + Unpin> Future for Roused<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look, so that who rings after it finds whom to wake.
        self.bell.task.register(context.waker());
        if !self.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_is_polled_when_it_asked_to_be_and_at_no_other_time() {
        let polls = AtomicUsize::new(0);
        let mut sleep = Box::pin(tokio::time::sleep(Duration::from_secs(60)));
        let counted = poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            sleep.poll_unpin(context)
        });
        let mut roused = pin!(Roused::new(counted));
        for _ in 0..100 {
            assert!(roused.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        roused.await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn whichever_task_polled_it_last_is_woken() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut roused = Roused::new(receive);
        assert!((&mut roused).now_or_never().is_none());
        let elsewhere = tokio::spawn(roused);
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(elsewhere.await.unwrap(), Ok(7));
    }
}

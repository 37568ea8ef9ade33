//! Answers that need not be waited for.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A future that was polled when it was made, and is most often over by then.
///
/// hyper looks whether the client has left before it polls an answer for the first time. Where the request, whose head
/// lies in the buffer that hyper reads into, is still held then, that takes a new buffer for each request; a page from
/// memory is ready before that, and its request gone. It is also spared the way of a future: that is as large as the
/// longest way through all rooms, and moved about.
///
/// Who is not ready is polled again at once, by hyper and with a waker. So whatever waits for no more than to be polled a
/// second time waits for nothing here: see [`Roused`](crate::roused::Roused).
#[derive(Debug)]
pub(super) enum AtOnce<F: Future> {
    Ready(Option<F::Output>),
    Waiting(Pin<Box<F>>),
}

impl<F: Future> AtOnce<F> {
    pub(super) fn new(future: F) -> Self {
        let mut future = Box::pin(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Self::Ready(Some(output)),
            Poll::Pending => Self::Waiting(future),
        }
    }
}

impl<F: Future<Output: Unpin>> Future for AtOnce<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match &mut *self {
            Self::Ready(output) => output.take().map_or(Poll::Pending, Poll::Ready),
            Self::Waiting(future) => future.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_need_not_wait_is_over_before_it_is_awaited() {
        let was_polled = Arc::new(AtomicBool::new(false));
        let polled = Arc::clone(&was_polled);
        let future = AtOnce::new(async move {
            polled.store(true, Ordering::Relaxed);
            7
        });
        assert!(was_polled.load(Ordering::Relaxed));
        assert_eq!(future.await, 7);
    }

    #[tokio::test]
    async fn who_waits_is_woken_as_any_other() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(AtOnce::new(receive));
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }
}

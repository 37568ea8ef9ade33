//! Lines on their way to a terminal, a file or a pipe, written by a thread of their own: a reader of the log that is
//! slow, or has stopped, holds up no request.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may wait for the writer, about a second's worth at full load; further lines are dropped.
const MAX_BYTES: usize = 32 << 20;

/// Bytes that the queue keeps room for while little is written: what is written together at full load.
const KEPT_BYTES: usize = 1 << 20;

/// How long lines are gathered before they are written together. Without it nearly every line would wake the writer and
/// cost a system call, which is more than the request costs.
const BATCH: Duration = Duration::from_millis(20);

/// Where lines are queued; clones share the queue, whose writer ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Entrance>);

/// What all who queue lines share.
#[derive(Debug)]
struct Entrance(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to do for the writer.
    news: Condvar,
    /// The writer has written what it had taken.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Lines, one behind the other: none has a block of its own, which another thread would have to give back.
    lines: Vec<u8>,
    /// Bytes that the writer has taken and not written yet.
    being_written: usize,
    /// Whether to write without gathering more.
    is_urgent: bool,
    /// Whether nobody is left who could queue any.
    is_over: bool,
}

impl Lines {
    /// Has a thread called `name` write to `sink`.
    pub(super) fn to(name: &str, sink: impl Write + Send + 'static) -> Self {
        let queue = Arc::new(Queue::default());
        let taken = Arc::clone(&queue);
        // Where no thread can be had the queue fills up, and lines count as dropped.
        let _ = thread::Builder::new().name(name.to_owned()).spawn(move || taken.write_all(sink));
        Self(Arc::new(Entrance(queue)))
    }

    /// Queues a line, its end included; `false` where it had to be dropped.
    pub(super) fn write(&self, line: &[u8]) -> bool {
        let Entrance(queue) = &*self.0;
        let mut waiting = queue.lock();
        if waiting.lines.len() + waiting.being_written + line.len() > MAX_BYTES {
            return false;
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            queue.news.notify_one();
        }
        true
    }

    /// Waits until what was queued is written, for `within` at most.
    pub(super) fn flush(&self, within: Duration) {
        let Entrance(queue) = &*self.0;
        let mut waiting = queue.lock();
        waiting.is_urgent = true;
        queue.news.notify_one();
        let is_pending = |waiting: &mut Waiting| !waiting.lines.is_empty() || waiting.being_written > 0;
        let _ = queue.written.wait_timeout_while(waiting, within, is_pending);
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.news.notify_one();
    }
}

impl Queue {
    /// Writes until nobody is left who could queue lines.
    fn write_all(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        while self.take(&mut lines) {
            // A log that can't be written must not stop the program; who reads it will notice.
            let _ = sink.write_all(&lines).and_then(|()| sink.flush());
            if lines.capacity() > KEPT_BYTES {
                lines = Vec::new();
            }
            self.lock().being_written = 0;
            self.written.notify_all();
        }
    }

    /// Waits for lines, gathers more for a while, and puts all of them in place of those in `taken`; `false` at the end.
    fn take(&self, taken: &mut Vec<u8>) -> bool {
        let is_idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_over;
        let mut waiting = self.news.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathered_at = Instant::now() + BATCH;
        while !waiting.is_urgent && !waiting.is_over {
            let left = gathered_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting = self.news.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        taken.clear();
        std::mem::swap(&mut waiting.lines, taken);
        waiting.being_written = taken.len();
        waiting.is_urgent = false;
        !taken.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is in it is whole whenever the lock is let go.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes nothing until it is released.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let sink = Sink::default();
        let lines = Lines::to("test", sink.clone());
        for i in 0..1000 {
            assert!(lines.write(format!("{i}\n").as_bytes()));
        }
        lines.flush(Duration::from_secs(60));
        let written = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(written.lines().eq((0..1000).map(|i| i.to_string())));
    }

    #[test]
    fn a_sink_that_is_stuck_costs_lines_and_never_time() {
        let (_release, stuck) = channel();
        let lines = Lines::to("test", Stuck(stuck));
        let line = vec![b'x'; 4096];
        let taken = (0..20_000).filter(|_| lines.write(&line)).count();
        assert!(taken * line.len() <= MAX_BYTES + 64 * 1024 + line.len(), "{taken}");
        assert!(taken > 1000);
        let start = Instant::now();
        lines.flush(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(10), "waits as long as it was told, and no longer");
    }
}

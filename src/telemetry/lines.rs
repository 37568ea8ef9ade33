//! Lines on their way to a terminal, a file or a pipe, written by a thread of their own: a reader of the log that is
//! slow, or has stopped, holds up no request.

use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait for the writer, about a second's worth at full load; further ones are dropped.
const MAX_LINES: usize = 65_536;

/// Bytes that they may hold together.
const MAX_BYTES: usize = 32 << 20;

/// How long lines are gathered before they are written together. Without it nearly every line would wake the writer and
/// cost a system call, which is more than the request costs.
const BATCH: Duration = Duration::from_millis(20);

/// Where lines are queued; clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

impl Lines {
    /// Has a thread called `name` write to `sink`.
    pub(super) fn to(name: &str, sink: impl Write + Send + 'static) -> Self {
        let (queue, messages) = sync_channel(MAX_LINES);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&waiting_bytes);
        // Where no thread can be had the receiver is gone, and lines count as dropped.
        let _ = thread::Builder::new().name(name.to_owned()).spawn(move || write_all(&messages, sink, &waiting));
        Self { queue, waiting_bytes }
    }

    /// Queues a line, its end included; `false` where it had to be dropped.
    pub(super) fn write(&self, line: Vec<u8>) -> bool {
        let length = line.len();
        if self.waiting_bytes.fetch_add(length, Ordering::Relaxed) + length > MAX_BYTES {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        match self.queue.try_send(Message::Line(line)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
                false
            }
        }
    }

    /// Waits until what was queued is written, for `within` at most.
    pub(super) fn flush(&self, within: Duration) {
        let (written, is_written) = sync_channel(1);
        if self.queue.try_send(Message::Flush(written)).is_ok() {
            let _ = is_written.recv_timeout(within);
        }
    }
}

/// Writes until the last of those who could queue lines is gone.
fn write_all(messages: &Receiver<Message>, sink: impl Write, waiting_bytes: &AtomicUsize) {
    let mut sink = BufWriter::with_capacity(64 * 1024, sink);
    while let Ok(first) = messages.recv() {
        if let Message::Line(_) = first {
            thread::sleep(BATCH);
        }
        for message in std::iter::once(first).chain(messages.try_iter()) {
            // A log that can't be written must not stop the program; who reads it will notice.
            match message {
                Message::Line(line) => {
                    waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    let _ = sink.write_all(&line);
                }
                Message::Flush(written) => {
                    let _ = sink.flush();
                    let _ = written.try_send(());
                }
            }
        }
        let _ = sink.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::time::Instant;

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
            assert!(lines.write(format!("{i}\n").into_bytes()));
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
        let taken = (0..20_000).filter(|_| lines.write(line.clone())).count();
        assert!(taken * line.len() <= MAX_BYTES + 64 * 1024 + line.len(), "{taken}");
        assert!(taken > 1000);
        let start = Instant::now();
        lines.flush(Duration::from_millis(10));
        assert!(start.elapsed() < Duration::from_secs(10), "waits as long as it was told, and no longer");
    }
}

//! Load at a fixed rate, whatever the server does: each request has its time beforehand, and its latency counts from then.
//!
//! A closed loop, such as `wrk`'s, asks less while the server is slow and so leaves out what its readers would have
//! suffered (coordinated omission). Here whoever is free takes the next request, sleeps until its time and sends it;
//! where nobody is free in time, the wait is part of the latency, and shows as the lag besides.
//!
//! Each connection is a thread with a blocking socket, all of them on one core: that wakes up faster than a runtime whose
//! timers tick in milliseconds, and costs about as little as `wrk` does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, bail, ensure};

use super::openloop_histogram::Histogram;
use super::process::{LOAD_CORE, is_pinned};

/// A connection's thread needs next to nothing.
const STACK_BYTES: usize = 128 * 1024;

/// Longer than any server here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Heads are short, and bodies need not be kept.
const BUFFER_BYTES: usize = 64 * 1024;

/// From the moment that all connections are open to the first request.
const LEAD: Duration = Duration::from_millis(50);

/// A request and its time.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    /// As it goes over the wire.
    pub(crate) request: Arc<[u8]>,
}

/// Whom to ask, and over how many connections.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) connections: usize,
    /// When a phase ends and the next begins; each has a tally of its own.
    pub(crate) borders: Vec<Duration>,
}

/// What was measured in one phase.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// From the time that was planned to the last byte of the answer.
    pub(crate) latency: Histogram,
    /// From the time that was planned until the request was sent.
    pub(crate) lag: Histogram,
    /// Answers by what the cache says that it did.
    pub(crate) ways: Ways,
    /// Requests without a whole answer of status 200.
    pub(crate) failures: u64,
    /// Bodies, in bytes.
    pub(crate) bytes: u64,
    /// What the first failure was.
    pub(crate) first_failure: Option<String>,
}

/// Where answers came from, by `Cache-Status`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ways {
    pub(crate) memory: u64,
    pub(crate) redis: u64,
    pub(crate) stale: u64,
    /// From storage, or from a server that does not say.
    pub(crate) other: u64,
}

/// A run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) phases: Vec<Tally>,
    /// From the first request's time to the last answer.
    pub(crate) lasted: Duration,
    /// CPU time of whoever made the load.
    pub(crate) cpu: Duration,
}

/// Times as independent readers have them: a Poisson process.
pub(crate) fn poisson(rate: f64, lasting: Duration, random: &mut Random) -> Vec<Duration> {
    let mut at = 0.0;
    let mut times = Vec::new();
    loop {
        at -= (1.0 - random.fraction()).ln() / rate;
        if at >= lasting.as_secs_f64() {
            return times;
        }
        times.push(Duration::from_secs_f64(at));
    }
}

impl Load {
    /// Asks all of it.
    pub(crate) fn run(&self, plan: &[Planned]) -> anyhow::Result<Outcome> {
        self.run_with(plan, |_| Ok(()))
    }

    /// Asks all of it, while `meanwhile` does something else from the first request's time on.
    pub(crate) fn run_with(
        &self,
        plan: &[Planned],
        meanwhile: impl FnOnce(Instant) -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let shared = Shared {
            load: self,
            plan,
            next: AtomicUsize::new(0),
            start: Mutex::new(None),
            tallies: Mutex::new(vec![Tally::default(); self.borders.len() + 1]),
            ready: Barrier::new(self.connections + 1),
            set: Barrier::new(self.connections + 1),
        };
        let mut cpu = Duration::ZERO;
        let (start, end) = thread::scope(|scope| {
            let work = || shared.work();
            // They inherit what the thread has that starts them.
            let mut threads = Vec::with_capacity(self.connections);
            on_core(LOAD_CORE, || {
                for _ in 0..self.connections {
                    threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?);
                }
                anyhow::Ok(())
            })??;
            shared.ready.wait();
            let start = Instant::now() + LEAD;
            *lock(&shared.start) = Some(start);
            shared.set.wait();
            thread::sleep(start.saturating_duration_since(Instant::now()));
            let done = meanwhile(start);
            let mut end = start;
            for thread in threads {
                let worked = thread.join().ok().context("a connection's thread died")??;
                cpu += worked.cpu;
                end = end.max(worked.end);
            }
            done.map(|()| (start, end))
        })?;
        let phases = shared.tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome { phases, lasted: end.duration_since(start), cpu })
    }
}

/// What all threads of a run share.
struct Shared<'a> {
    load: &'a Load,
    plan: &'a [Planned],
    next: AtomicUsize,
    start: Mutex<Option<Instant>>,
    tallies: Mutex<Vec<Tally>>,
    ready: Barrier,
    set: Barrier,
}

/// A thread's share.
struct Worked {
    cpu: Duration,
    end: Instant,
}

impl Shared<'_> {
    fn work(&self) -> anyhow::Result<Worked> {
        let connection = Connection::open(self.load.server);
        self.ready.wait();
        self.set.wait();
        let mut connection = connection?;
        let start = lock(&self.start).context("no start")?;
        let mut end = start;
        while let Some(planned) = self.plan.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let due = start + planned.at;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let sent = Instant::now();
            let answer = connection.exchange(&planned.request);
            end = Instant::now();
            self.note(planned.at, sent.saturating_duration_since(due), end.saturating_duration_since(due), &answer);
            if !answer.is_ok_and(|answer| answer.stays_open) {
                connection = Connection::open(self.load.server)?;
            }
        }
        Ok(Worked { cpu: thread_cpu()?, end })
    }

    fn note(&self, at: Duration, lag: Duration, latency: Duration, answer: &anyhow::Result<Received>) {
        let phase = self.load.borders.partition_point(|&border| border <= at);
        let mut tallies = lock(&self.tallies);
        let Some(tally) = tallies.get_mut(phase) else { return };
        tally.latency.record(latency);
        tally.lag.record(lag);
        match answer {
            Ok(received) if received.status == 200 => {
                tally.bytes += received.body_bytes as u64;
                tally.ways.add(received.way);
            }
            failed => {
                tally.failures += 1;
                let told = || match failed {
                    Ok(received) => format!("status {}", received.status),
                    Err(error) => format!("{error:#}"),
                };
                tally.first_failure.get_or_insert_with(told);
            }
        }
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) way: Way,
    pub(crate) body_bytes: usize,
    /// When the first byte of the body, or of the head where there is none, was here.
    pub(crate) first_byte: Instant,
    stays_open: bool,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Memory,
    Redis,
    Stale,
    Other,
}

impl Connection {
    pub(crate) fn open(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Received> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let (head_bytes, head) = loop {
            filled += self.read(filled)?;
            let read = self.buffer.get(..filled).unwrap_or_default();
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, Head::parse(read.get(..end).unwrap_or_default())?);
            }
        };
        let mut body_bytes = filled - head_bytes;
        let mut first_byte = Instant::now();
        let has_begun = body_bytes > 0;
        while body_bytes < head.length {
            let read = self.read(0)?;
            if !has_begun && body_bytes == 0 {
                first_byte = Instant::now();
            }
            body_bytes += read;
        }
        ensure!(body_bytes == head.length, "{body_bytes} bytes of {}", head.length);
        Ok(Received { status: head.status, way: head.way, body_bytes, first_byte, stays_open: head.stays_open })
    }

    fn read(&mut self, from: usize) -> anyhow::Result<usize> {
        let room = self.buffer.get_mut(from..).filter(|room| !room.is_empty()).context("the head is too long")?;
        loop {
            match self.stream.read(room) {
                Ok(0) => bail!("it hung up"),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return Ok(read?),
            }
        }
    }
}

/// As much of an answer's head as counts.
struct Head {
    status: u16,
    length: usize,
    way: Way,
    stays_open: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(bytes)?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
        let mut head = Self { status, length: 0, way: Way::Other, stays_open: true };
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse()?;
            } else if name.eq_ignore_ascii_case("cache-status") {
                head.way = Way::of(value);
            } else if name.eq_ignore_ascii_case("connection") {
                head.stays_open = !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("an answer of unknown length");
            }
        }
        Ok(head)
    }
}

impl Way {
    fn of(cache_status: &str) -> Self {
        match cache_status.rsplit_once("detail=").map(|(_, detail)| detail) {
            Some("memory") => Self::Memory,
            Some("redis") => Self::Redis,
            Some("stale-while-revalidate" | "stale-if-error") => Self::Stale,
            _ => Self::Other,
        }
    }
}

impl Ways {
    pub(crate) const fn add_all(&mut self, other: Self) {
        self.memory += other.memory;
        self.redis += other.redis;
        self.stale += other.stale;
        self.other += other.other;
    }

    const fn add(&mut self, way: Way) {
        *match way {
            Way::Memory => &mut self.memory,
            Way::Redis => &mut self.redis,
            Way::Stale => &mut self.stale,
            Way::Other => &mut self.other,
        } += 1;
    }
}

/// Runs `work` on a thread of its own that is bound to a core, as are the threads that it starts; their sleeps end on time.
pub(crate) fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    let bound = || {
        let thread = fs::read_link("/proc/thread-self")?;
        let id = thread.file_name().context("no thread id")?;
        // The kernel may else end a sleep 50 µs late. It is no loss where it can't be told: it shows as lag.
        let _ = fs::write(format!("/proc/{}/timerslack_ns", id.display()), "1");
        if is_pinned() {
            let mut taskset = Command::new("taskset");
            taskset.args(["-cp", &core.to_string()]).arg(id).stdout(Stdio::null());
            ensure!(taskset.status()?.success(), "taskset fails");
        }
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(bound).join().ok().context("a bound thread died")?)
}

/// The CPU time that this thread has used.
fn thread_cpu() -> anyhow::Result<Duration> {
    let counted = fs::read_to_string("/proc/thread-self/schedstat")?;
    let running = counted.split_ascii_whitespace().next().context("empty schedstat")?;
    Ok(Duration::from_nanos(running.parse()?))
}

fn lock<T>(whole: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    whole.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same numbers in every run (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

//! Requests at a fixed rate, whether or not the answers come, each timed from when it was due.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::{Connection, request};

/// What is asked for at a rate.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    pub(crate) tokens: Tokens,
    pub(crate) connections: usize,
    /// Requests a second over all connections.
    pub(crate) rate: u64,
}

/// What lets in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tokens {
    /// Always the same.
    One(String),
    /// Another one each time, from a file.
    New(PathBuf),
}

/// What came of a stream.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Milliseconds from when a request was due to the end of its answer.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// A request that is due.
type Due = (Instant, Arc<str>);

/// Keeps all streams up for so long; returns what came of each.
pub(crate) async fn run(streams: Vec<Stream>, last: Duration) -> anyhow::Result<Vec<Outcome>> {
    let (mut readers, mut pacers) = (Vec::new(), Vec::new());
    for stream in streams {
        let mut senders = Vec::new();
        let mut connections = Vec::new();
        for number in 0..stream.connections {
            let (sender, due) = unbounded_channel();
            senders.push(sender);
            connections.push(tokio::spawn(answer(Connection::open(stream.address, number).await?, due)));
        }
        readers.push(connections);
        pacers.push((
            stream.requests(last)?.into_iter(),
            senders.into_iter().cycle(),
            Duration::from_secs(1) / u32::try_from(stream.rate)?,
        ));
    }
    let start = Instant::now();
    let mut due: Vec<Instant> = vec![start; pacers.len()];
    // It never sleeps, since timers are no better than a millisecond; the core is its own.
    while start.elapsed() < last {
        for ((requests, senders, gap), due) in pacers.iter_mut().zip(&mut due) {
            while *due <= Instant::now() {
                let (Some(request), Some(sender)) = (requests.next(), senders.next()) else { break };
                sender.send((*due, request))?;
                *due += *gap;
            }
        }
        tokio::task::yield_now().await;
    }
    drop(pacers);
    let mut outcomes = Vec::new();
    for connections in readers {
        let mut millis = Vec::new();
        for connection in connections {
            millis.extend(connection.await??);
        }
        millis.sort_by(f64::total_cmp);
        let at = |share: f64| millis.get((millis.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        outcomes.push(Outcome { requests: millis.len() as u64, p50: at(0.5), p99: at(0.99) });
    }
    Ok(outcomes)
}

impl Stream {
    /// As many requests as are due meanwhile.
    fn requests(&self, last: Duration) -> anyhow::Result<Vec<Arc<str>>> {
        let count = usize::try_from(self.rate * last.as_secs())?;
        let requests: Vec<Arc<str>> = match &self.tokens {
            Tokens::One(token) => vec![request(&self.path, token, &[]).into(); count],
            Tokens::New(file) => {
                let tokens = std::fs::read_to_string(file)?;
                tokens.lines().map(|token| request(&self.path, token, &[]).into()).collect()
            }
        };
        ensure!(requests.len() >= count, "{} tokens for {count} requests", requests.len());
        Ok(requests)
    }
}

/// Asks for whatever is due, one after the other; returns how long each took.
async fn answer(mut connection: Connection, mut due: UnboundedReceiver<Due>) -> anyhow::Result<Vec<f64>> {
    let mut millis = Vec::new();
    while let Some((due, request)) = due.recv().await {
        let status = connection.ask(request.as_bytes()).await?;
        ensure!(status == 200, "status {status}");
        millis.push(due.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(millis)
}

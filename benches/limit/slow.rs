//! Row 11: an object too large to keep, read slowly by many.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::callboard::{AccessLog, Callboard, write};
use super::client::{self, Connection, Job, request};
use super::contest::Rounds;
use super::json::merge;
use super::memory::resident;
use super::report::{Line, Unit};
use super::s3::{self, S3};
use super::wire::Answer;
use super::wrk::Headers;

const KEY: &str = "default/component/bench/video.mp4";
const PATH: &str = "/api/techdocs/static/docs/default/component/bench/video.mp4";
const BYTES: usize = 50_000_000;
const READERS: usize = 100;
const BYTES_PER_SECOND: u64 = 1_000_000;
/// How long they read, and how often it is looked what memory that takes.
const SECONDS: u64 = 6;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a reader reads.
const READ_EVERY: Duration = Duration::from_millis(50);

/// Growth of memory for each reader, against the object.
pub(crate) fn readers(row: &'static str, _: Rounds) -> anyhow::Result<Vec<Line>> {
    eprintln!("{row}");
    let folder = TempDir::new()?;
    write(&folder.path().join(KEY), &vec![b'x'; BYTES])?;
    let storage = S3::start(folder.path(), Duration::ZERO)?;
    // It reads a file and makes its tag when it is first asked for it, which takes a while.
    let address: SocketAddr = storage.endpoint().trim_start_matches("http://").parse()?;
    Answer::get(address, &format!("/{}/{KEY}", s3::BUCKET), &Headers::new())?;
    let callboard = Callboard::start_as(AccessLog::Off, |_, configuration| {
        let techdocs = json!({ "publisher": s3::publisher(&storage.endpoint()) });
        let section = json!({ "storage": { "requireReadOnly": "off", "maxConcurrent": 2 * READERS } });
        merge(configuration, &json!({ "techdocs": techdocs, "callboard": section }));
        Ok(())
    })?;
    let slow = |readers, bytes_per_second| Job::Slow {
        address: callboard.address(),
        request: request(PATH, callboard.token(), &[]),
        readers,
        bytes_per_second,
        seconds: SECONDS,
    };
    // What the first reader of all sets up is no other reader's.
    let read: u64 = client::run(&slow(1, 100 * BYTES_PER_SECOND))?;
    ensure!(read >= BYTES as u64, "{read} bytes and not {BYTES}");
    let before = resident(callboard.server())?;
    let job = slow(READERS, BYTES_PER_SECOND);
    let (read, peak) = thread::scope(|scope| {
        let reading = scope.spawn(|| client::run::<u64>(&job));
        let mut peak = before;
        while !reading.is_finished() {
            peak = peak.max(resident(callboard.server())?);
            thread::sleep(LOOK_EVERY);
        }
        let read = reading.join().map_err(|_| anyhow!("the client panicked"))??;
        anyhow::Ok((read, peak))
    })?;
    let expected = READERS as u64 * BYTES_PER_SECOND * SECONDS;
    ensure!(read > expected * 8 / 10, "{read} bytes were read, and not {expected}");
    eprintln!("  {:.1} MB were read, {:.1} MB of memory", read as f64 / 1e6, peak.saturating_sub(before) as f64 / 1e6);
    let each = peak.saturating_sub(before) as f64 / 1024.0 / READERS as f64;
    Ok(vec![Line::of(row, "the object", Unit::Kibibytes, vec![each], vec![BYTES as f64 / 1024.0])])
}

/// Reads slowly; returns how many bytes there were in all.
pub(crate) async fn read(
    address: SocketAddr,
    request: String,
    readers: usize,
    bytes_per_second: u64,
    last: Duration,
) -> anyhow::Result<u64> {
    let until = Instant::now() + last;
    let piece = usize::try_from(bytes_per_second * READ_EVERY.as_millis() as u64 / 1000)?;
    let mut reading = Vec::new();
    for number in 0..readers {
        let mut stream = Connection::open(address, number).await?.stream;
        stream.write_all(request.as_bytes()).await?;
        reading.push(tokio::spawn(async move {
            let (mut piece, mut total, mut ticks) = (vec![0; piece], 0, tokio::time::interval(READ_EVERY));
            while Instant::now() < until && total < BYTES as u64 {
                ticks.tick().await;
                let read = stream.read(&mut piece).await?;
                ensure!(
                    read > 0,
                    "hung up after {total} bytes, at {:?}",
                    piece.get(..100).map(String::from_utf8_lossy)
                );
                total += read as u64;
            }
            anyhow::Ok(total)
        }));
    }
    let mut total = 0;
    for reader in reading {
        total += reader.await??;
    }
    Ok(total)
}

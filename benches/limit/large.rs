//! Row 4: a search index of 1 MB, as it is and compressed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::bare_hyper::BareHyper;
use super::callboard::{AccessLog, Callboard, write};
use super::contest::{Contender, Page, Rounds};
use super::nginx::{self, Nginx};
use super::peers::{NGINX_HIT, OURS_HIT, VARNISH_HIT, origin};
use super::report::{Line, Unit};
use super::varnish::Varnish;
use super::wire::Answer;
use super::wrk::Wrk;

const FILE: &str = "default/component/bench/search/search_index.json";
const PATH: &str = "/api/techdocs/static/docs/default/component/bench/search/search_index.json";
const BYTES: usize = 1_000_000;

/// How long compressing it may take.
const COMPRESSED_WITHIN: Duration = Duration::from_secs(60);

/// What counts the variants that were made.
const VARIANTS: &str = "callboard_cache_variants_total";

/// To clients that accept nothing else.
pub(crate) fn identity(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    let wrk = Wrk::find()?;
    let callboard = callboard()?;
    let headers = vec![callboard.authorization()];
    Answer::get(callboard.address(), PATH, &headers)?;
    let answer = Answer::get(callboard.address(), PATH, &headers)?;
    ensure!(answer.body.len() == BYTES, "{} bytes and not {BYTES}", answer.body.len());
    let hyper = BareHyper::start(&answer)?;
    answer.must_equal(&Answer::get(hyper.address(), PATH, &headers)?)?;
    let origin = origin(&answer)?;
    let nginx = Nginx::start(origin.address(), &nginx::Options::default())?;
    let varnish = Varnish::start(origin.address())?;
    let ask = |address, hit| Page::ask(address, PATH, &headers, hit, &answer);
    rounds.run(
        row,
        &[
            Contender::asked("Callboard", callboard.server(), &wrk, ask(callboard.address(), OURS_HIT)?),
            Contender::asked("Varnish", varnish.server(), &wrk, ask(varnish.server().address, VARNISH_HIT)?).goal(1.05),
            Contender::asked("bare hyper", hyper.server(), &wrk, ask(hyper.address(), None)?),
            Contender::asked("nginx proxy_cache", nginx.server(), &wrk, ask(nginx.server().address, NGINX_HIT)?),
        ],
    )
}

pub(crate) fn gzip(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    compressed(row, rounds, "gzip", "gzip 9", |bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(9));
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    })
}

pub(crate) fn br(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    compressed(row, rounds, "br", "Brotli 9", |mut bytes| {
        let parameters = BrotliEncoderParams { quality: 9, size_hint: bytes.len(), ..Default::default() };
        let mut compressed = Vec::new();
        brotli::BrotliCompress(&mut bytes, &mut compressed, &parameters)?;
        Ok(compressed)
    })
}

pub(crate) fn zstd(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    compressed(row, rounds, "zstd", "zstd 12", |bytes| Ok(zstd::bulk::compress(bytes, 12)?))
}

/// To clients that accept `coding`: against bare hyper with the same compressed bytes, which compresses nothing; and how many
/// bytes that is against those that the encoder named `level` makes of it.
fn compressed(
    row: &'static str,
    rounds: Rounds,
    coding: &str,
    level: &str,
    compress: impl Fn(&[u8]) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<Line>> {
    let wrk = Wrk::find()?;
    let callboard = callboard()?;
    let headers = vec![callboard.authorization(), ("Accept-Encoding".to_owned(), coding.to_owned())];
    let answer = once_compressed(&callboard, coding, &headers)?;
    let hyper = BareHyper::start(&answer)?;
    let ask = |address, hit| Page::ask(address, PATH, &headers, hit, &answer);
    let made = callboard.metric(VARIANTS)?;
    let mut lines = rounds.run(
        row,
        &[
            Contender::asked("Callboard", callboard.server(), &wrk, ask(callboard.address(), OURS_HIT)?).checked(
                |_| {
                    ensure!(callboard.metric(VARIANTS)? == made, "something was compressed meanwhile");
                    Ok(())
                },
            ),
            Contender::asked("bare hyper, the same bytes", hyper.server(), &wrk, ask(hyper.address(), None)?),
        ],
    )?;
    let promised = compress(json().as_bytes())?.len();
    lines
        .push(Line::of(row, level, Unit::Bytes, vec![answer.body.len() as f64], vec![promised as f64]).goal(Some(1.0)));
    Ok(lines)
}

/// The answer after the document was compressed behind an earlier one.
fn once_compressed(callboard: &Callboard, coding: &str, headers: &[(String, String)]) -> anyhow::Result<Answer> {
    let (started, headers) = (Instant::now(), headers.to_vec());
    while started.elapsed() < COMPRESSED_WITHIN {
        let answer = Answer::get(callboard.address(), PATH, &headers)?;
        if answer.header("content-encoding").is_ok_and(|known| known == coding) {
            // Its own first answer is of the moment: what it was made from is still being put away.
            return Answer::get(callboard.address(), PATH, &headers);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None.with_context(|| format!("it is not sent as {coding}"))
}

fn callboard() -> anyhow::Result<Callboard> {
    Callboard::start_as(AccessLog::Off, |site, _| write(&site.join(FILE), json().as_bytes()))
}

/// A search index as MkDocs writes it, of made-up sentences whose words are as unevenly frequent as real ones are.
fn json() -> String {
    let mut random = 1_u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let syllables =
        ["ser", "vice", "da", "ta", "ow", "ner", "de", "ploy", "log", "me", "tric", "in", "dex", "key", "to", "ken"];
    let mut json = String::from(r#"{"config":{"lang":["en"],"separator":"[\\s\\-]+"},"docs":["#);
    while json.len() < BYTES {
        let _ = write!(json, r#"{{"location":"guide/{}/","title":"Guide {}","text":""#, below(10_000), below(1000));
        for _ in 0..40 + below(80) {
            // Of the word's rank, small ones far more often.
            let rank = (1 + below(64)) * (1 + below(64)) / (1 + below(64));
            let mut rest = rank + 16;
            while rest > 0 {
                json.push_str(syllables.get((rest % 16) as usize).copied().unwrap_or_default());
                rest /= 16;
            }
            json.push(' ');
        }
        json.push_str("\"},");
    }
    let end = r#""}]}"#;
    json.truncate(BYTES - end.len());
    json + end
}

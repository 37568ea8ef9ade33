//! Documents leave compressed to those who accept it: the right bytes, made once, under a tag of their own.

mod answers;
mod making;
mod sharing;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY};
use reqwest::{Method, RequestBuilder, Response};

use crate::support::scripted::Deed;
use crate::support::{Callboard, PATIENCE};

/// Between two looks at whether something has come: what makes it gives way to whoever asks.
const PAUSE: Duration = Duration::from_millis(20);

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sample/site")
}

/// A page of some size that compresses as pages do, and is told from others by its beginning.
fn text(title: &str, bytes: usize) -> Bytes {
    let words = (0..).map(|number| format!("<p>{} the service reads its settings</p>\n", number * 7919 % 1000));
    let text: String = std::iter::once(format!("<h1>{title}</h1>")).chain(words.take(bytes / 40 + 1)).collect();
    Bytes::from(text).slice(..bytes)
}

fn page(title: &str, tag: &'static str) -> Deed {
    Deed::Give(text(title, 6000), tag)
}

/// What nothing makes smaller.
fn noise(bytes: usize) -> Bytes {
    let mut state = 1_u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(byte).take(bytes).collect()
}

/// A request of one who accepts these codings.
fn asking(callboard: &Callboard, method: Method, path: &str, accepted: &str) -> RequestBuilder {
    callboard.request(method, path).header(ACCEPT_ENCODING, accepted)
}

async fn ask(callboard: &Callboard, path: &str, accepted: &str) -> Response {
    asking(callboard, Method::GET, path, accepted).send().await.unwrap()
}

/// The same, once it comes in this coding.
async fn ask_until(callboard: &Callboard, path: &str, accepted: &str, expected: &str) -> Response {
    let mut answer = ask(callboard, path, accepted).await;
    until(async || {
        let is_there = coding(&answer) == expected;
        if !is_there {
            answer = ask(callboard, path, accepted).await;
        }
        is_there
    })
    .await;
    answer
}

fn header(answer: &Response, name: impl http::header::AsHeaderName) -> Option<String> {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn coding(answer: &Response) -> String {
    header(answer, CONTENT_ENCODING).unwrap_or_else(|| "identity".to_owned())
}

fn tag(answer: &Response) -> String {
    header(answer, ETAG).unwrap()
}

fn varies(answer: &Response) -> bool {
    header(answer, VARY).is_some_and(|vary| vary == "Accept-Encoding")
}

/// The document that was sent, whatever its coding.
async fn document(answer: Response) -> Bytes {
    let coding = coding(&answer);
    let length = header(&answer, CONTENT_LENGTH).unwrap();
    let sent = answer.bytes().await.unwrap();
    assert_eq!(sent.len().to_string(), length);
    decoded(&coding, &sent)
}

/// What was coded, whatever the coding.
pub fn decoded(coding: &str, mut sent: &[u8]) -> Bytes {
    let mut decoded = Vec::new();
    match coding {
        "br" => brotli::BrotliDecompress(&mut sent, &mut decoded).unwrap(),
        "zstd" => decoded = zstd::decode_all(sent).unwrap(),
        "gzip" => drop(flate2::read::GzDecoder::new(sent).read_to_end(&mut decoded).unwrap()),
        _ => decoded.extend(sent),
    }
    decoded.into()
}

/// Waits until `holds` does. For longer than others: what compresses gives way to all else that runs on the machine, and
/// a whole site is hundreds of documents.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE * 4, waiting).await.expect("what is waited for comes");
}

/// How many variants were asked for with this result.
async fn counted(callboard: &Callboard, result: &str) -> f64 {
    callboard.metric("callboard_cache_variants_total", &[&format!("result=\"{result}\"")]).await
}

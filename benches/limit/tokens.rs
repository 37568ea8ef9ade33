//! Row 7: tokens that are seen for the first time.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tempfile::NamedTempFile;

use super::callboard::{AccessLog, Callboard};
use super::client::{self, Job, What};
use super::contest::{Rounds, settled};
use super::json::merge;
use super::pace::{Outcome, Stream, Tokens};
use super::process::{SERVER_CORE, pinned};
use super::report::{Line, Unit};

/// The bench's first argument where it is to verify tokens and do nothing else; the key's two coordinates and the file of the tokens
/// follow.
pub(crate) const ROLE: &str = "verify";

/// Tokens of a round.
const TOKENS: u64 = 10_000;

/// Hits a second, and new tokens a second beside them.
const RATE: u64 = 2000;
const CONNECTIONS: usize = 16;

/// Counts tokens whose signatures were verified.
const VERIFIED: &str = "callboard_auth_tokens_total{result=\"verified\"";

/// What a first use costs beyond a hit, against verifying the signature and nothing else.
pub(crate) fn first_use(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    eprintln!("{row}");
    let callboard = callboard()?;
    let known = NamedTempFile::new()?;
    fs::write(known.path(), format!("{}\n", callboard.token()).repeat(TOKENS as usize))?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first round warms up.
    for count in 0..=rounds.count {
        let new = new_tokens(&callboard, TOKENS)?;
        let hit = each(&callboard, known.path())?;
        let before = callboard.metric(VERIFIED)?;
        let first = each(&callboard, new.path())?;
        let verified = callboard.metric(VERIFIED)? - before;
        ensure!(verified == TOKENS as f64, "{verified} tokens were verified, and not {TOKENS}");
        let verification = verify_alone(&callboard, new.path())?;
        eprintln!("  {count}: first use {first:.2} µs, hit {hit:.2} µs, verification alone {verification:.2} µs");
        if count > 0 {
            ours.push(first - hit);
            bare.push(verification);
        }
    }
    Ok(vec![Line::of(row, "ES256 verification alone", Unit::Micros, ours, bare).goal(Some(1.15))])
}

/// Whether hits wait longer beside new tokens than beside as many further hits.
pub(crate) fn others(row: &'static str, rounds: Rounds) -> anyhow::Result<Vec<Line>> {
    eprintln!("{row}");
    let callboard = callboard()?;
    let stream = |tokens| Stream {
        address: callboard.address(),
        path: Callboard::PAGE.to_owned(),
        tokens,
        connections: CONNECTIONS,
        rate: RATE,
    };
    let one = || Tokens::One(callboard.token().to_owned());
    let hits_beside = |other: Option<Tokens>| {
        let streams = std::iter::once(one()).chain(other).map(stream).collect();
        let outcomes: Vec<Outcome> = client::run(&Job::Paced { streams, seconds: rounds.seconds })?;
        outcomes.first().copied().context("nothing came of it")
    };
    let (mut beside_new, mut beside_hits, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for count in 0..=rounds.count {
        let tokens = new_tokens(&callboard, RATE * rounds.seconds)?;
        let outcomes =
            [hits_beside(Some(Tokens::New(tokens.path().to_owned())))?, hits_beside(Some(one()))?, hits_beside(None)?];
        eprintln!(
            "  {count}: p99 and p50 beside new tokens, beside hits, alone: {:.3?} ms",
            outcomes.map(|o| (o.p99, o.p50))
        );
        if count > 0 {
            let [new, hits, nothing] = outcomes.map(|outcome| outcome.p99);
            beside_new.push(new);
            beside_hits.push(hits);
            alone.push(nothing);
        }
    }
    Ok(vec![
        Line::of(row, "beside as many hits", Unit::Millis, beside_new.clone(), beside_hits),
        Line::of(row, "beside nothing", Unit::Millis, beside_new, alone),
    ])
}

fn callboard() -> anyhow::Result<Callboard> {
    Callboard::start_as(AccessLog::Off, |_, configuration| {
        merge(configuration, &json!({ "callboard": { "auth": { "rememberedTokens": 1_000_000 } } }));
        Ok(())
    })
}

/// A file of tokens that were never seen, a line each.
fn new_tokens(callboard: &Callboard, count: u64) -> anyhow::Result<NamedTempFile> {
    let mut lines = String::new();
    for _ in 0..count {
        writeln!(lines, "{}", callboard.new_token()?)?;
    }
    let file = NamedTempFile::new()?;
    fs::write(file.path(), lines)?;
    Ok(file)
}

/// CPU time per request of showing each token in the file once.
fn each(callboard: &Callboard, tokens: &Path) -> anyhow::Result<f64> {
    let what = What::Tokens { path: Callboard::PAGE.to_owned(), tokens: tokens.to_owned() };
    let job = Job::Each { address: callboard.address(), what };
    settled(callboard.server(), || client::run(&job))
}

/// Time for each token of verifying its signature and nothing else, on the servers' core.
fn verify_alone(callboard: &Callboard, tokens: &Path) -> anyhow::Result<f64> {
    let jwk = callboard.key().public_jwk();
    let coordinate = |name| jwk.get(name).and_then(|value| value.as_str()).context("no such coordinate");
    let mut words = pinned(SERVER_CORE).into_iter().chain([std::env::current_exe()?.into_os_string()]);
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words).args([ROLE, coordinate("x")?, coordinate("y")?]).arg(tokens);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Prints the microseconds that a token's verification takes; `arguments` are those that follow [`ROLE`].
pub(crate) fn verify(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let arguments: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let [x, y, tokens] = arguments.as_slice() else { anyhow::bail!("a key and a file it must be") };
    let mut point = vec![4];
    point.extend(URL_SAFE_NO_PAD.decode(x)?);
    point.extend(URL_SAFE_NO_PAD.decode(y)?);
    let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).context("no key")?;
    let tokens = fs::read_to_string(tokens)?;
    let signed: Vec<(&str, Vec<u8>)> = tokens
        .lines()
        .map(|token| {
            let (message, signature) = token.rsplit_once('.').context("no token")?;
            Ok((message, URL_SAFE_NO_PAD.decode(signature)?))
        })
        .collect::<anyhow::Result<_>>()?;
    let start = Instant::now();
    for (message, signature) in &signed {
        key.verify_sig(message.as_bytes(), signature).context("a signature is no good")?;
    }
    println!("{}", start.elapsed().as_secs_f64() * 1e6 / signed.len() as f64);
    Ok(())
}

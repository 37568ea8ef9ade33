//! One request and its answer, as they are on the wire.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::wrk::Headers;

/// Headers that tell the time, so that two answers may differ in them.
const OF_THE_MOMENT: [&str; 3] = ["date", "age", "cache-status"];

/// An answer of a server.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In their order, names in lower case.
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// All bytes, head included.
    pub(crate) wire_bytes: usize,
}

impl Answer {
    /// Asks for `path` on a connection of its own.
    pub(crate) fn get(address: SocketAddr, path: &str, headers: &Headers) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n")?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut chunk)?;
            ensure!(read > 0, "{address} hung up in the middle of its answer");
            bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if let Some(answer) = Self::parse(&bytes)? {
                return Ok(answer);
            }
        }
    }

    /// The answer that `bytes` hold; `None` where it is not all there yet.
    pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let (head, body) = bytes.split_at(end + 4);
        let mut lines = std::str::from_utf8(head)?.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").context("no header line")?;
                Ok((name.to_ascii_lowercase(), value.to_owned()))
            })
            .collect::<anyhow::Result<Headers>>()?;
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(Ok(0), |(_, value)| value.parse())?;
        let Some(body) = body.get(..length) else {
            return Ok(None);
        };
        Ok(Some(Self { status: status.parse()?, headers, body: body.to_vec(), wire_bytes: head.len() + length }))
    }

    /// The value of a header that must be there.
    pub(crate) fn header(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("no header {name}"))
    }

    /// Whether `other` is the same answer: status, body, names and values of headers but for those of the moment.
    pub(crate) fn must_equal(&self, other: &Self) -> anyhow::Result<()> {
        ensure!(self.status == other.status, "status {} and {}", self.status, other.status);
        ensure!(self.body == other.body, "bodies differ");
        let (ours, theirs) = (self.comparable(), other.comparable());
        if ours != theirs {
            bail!("headers differ: {ours:?} and {theirs:?}");
        }
        Ok(())
    }

    fn comparable(&self) -> Vec<(&str, &str)> {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let value = if OF_THE_MOMENT.contains(&name.as_str()) { "" } else { value };
                (name.as_str(), value)
            })
            .collect();
        headers.sort_unstable();
        headers
    }
}

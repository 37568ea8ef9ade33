//! Reading a file: several parts are asked for at a time, so that the way to the server and back is waited for seldom.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;

use super::session::{Open, Pending, Reply, Turn};
use super::wire::{Ask, Attributes, Kind, Status};
use super::{error, object_meta, unexpected};
use crate::http::negotiation::Coding;
use crate::storage::{GetOptions, ObjectMeta, StoreError};

/// What every server must be able to send at a time (draft-ietf-secsh-filexfer-02 §3).
const PART_BYTES: u32 = 32 * 1024;

/// Parts that are asked for before it is known how many there are: most pages are no longer.
const FIRST_PARTS: usize = 2;

/// Parts that are asked for ahead of the reader. Half a mebibyte is what 50 MB/s take at ten milliseconds to the server
/// and back, and what a slow reader holds at the most.
const PARTS_AHEAD: usize = 16;

/// A file that is being read.
pub(super) struct Reading {
    turn: Turn,
    file: Open,
    /// Asked for and not come yet, in the order of the file.
    asked: VecDeque<Part>,
    /// What is not asked for yet.
    rest: Range<u64>,
    attributes: Attributes,
    /// What the file is after the last part that was asked for; only then is it known that all parts are of one version.
    afterwards: Option<Pending>,
}

struct Part {
    at: u64,
    bytes: u32,
    reply: Pending,
}

impl Reading {
    /// Looks at an open file and asks for its first parts, all at once.
    pub(super) async fn begin(turn: Turn, file: Open, options: &GetOptions) -> Result<(ObjectMeta, Self), StoreError> {
        let session = &turn.session;
        let before = session.ask(Ask::FileStat(file.handle()))?;
        let rest = options.range.clone().unwrap_or(0..u64::MAX);
        let attributes = Attributes { size: None, kind: Kind::Untold, modified: None };
        let mut reading = Self { turn, file, asked: VecDeque::new(), rest, attributes, afterwards: None };
        reading.ask_ahead(FIRST_PARTS)?;

        reading.attributes = attributes_of(before.await?)?;
        let meta = object_meta(&reading.attributes, SystemTime::now())?;
        if let (Some(wanted), Some(found)) = (&options.if_match, &meta.etag)
            // A tag that was weak when it was told may be strong by now.
            && !wanted.weakly_equals(Coding::Identity, found.as_str().as_bytes())
        {
            return Err(StoreError::Changed);
        }
        let end = options.range.as_ref().map_or(meta.size, |range| range.end.min(meta.size));
        reading.end_at(end);
        Ok((meta, reading))
    }

    /// The parts, one by one.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
        futures_util::stream::try_unfold(self, |mut reading| async move {
            let part = reading.next().await?;
            Ok(part.map(|part| (part, reading)))
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        self.ask_ahead(PARTS_AHEAD)?;
        let Some(part) = self.asked.pop_front() else {
            self.verify().await?;
            return Ok(None);
        };
        match part.reply.await? {
            Reply::Data(mut data) if !data.is_empty() => {
                // More than there was a moment ago.
                data.truncate(usize::try_from(part.bytes).unwrap_or(usize::MAX));
                let received = u32::try_from(data.len()).unwrap_or(u32::MAX);
                if received < part.bytes {
                    self.ask_again(part.at + u64::from(received), part.bytes - received)?;
                }
                Ok(Some(data))
            }
            Reply::Data(_) | Reply::Status(Status { code: Status::END, .. }) => {
                // It ends sooner than it did a moment ago. If it looks the same even so, whoever counts the bytes
                // notices.
                self.asked.clear();
                self.rest = 0..0;
                self.afterwards = None;
                self.verify().await?;
                Ok(None)
            }
            Reply::Status(status) => Err(error(status)),
            _ => Err(unexpected()),
        }
    }

    fn ask_ahead(&mut self, parts: usize) -> Result<(), StoreError> {
        let mut has_asked = false;
        while self.asked.len() < parts && !self.rest.is_empty() {
            let left = self.rest.end - self.rest.start;
            let bytes = u32::try_from(left).unwrap_or(u32::MAX).min(PART_BYTES);
            let part = self.ask(self.rest.start, bytes)?;
            self.rest.start += u64::from(bytes);
            self.asked.push_back(part);
            has_asked = true;
        }
        if has_asked && (self.rest.is_empty() || parts == FIRST_PARTS) {
            self.afterwards = Some(self.turn.session.ask(Ask::FileStat(self.file.handle()))?);
        }
        Ok(())
    }

    /// For what a server left out that sends less at a time.
    fn ask_again(&mut self, at: u64, bytes: u32) -> Result<(), StoreError> {
        let part = self.ask(at, bytes)?;
        self.asked.push_front(part);
        self.afterwards = None;
        Ok(())
    }

    fn ask(&self, at: u64, bytes: u32) -> Result<Part, StoreError> {
        let reply = self.turn.session.ask(Ask::Read { handle: self.file.handle(), offset: at, length: bytes })?;
        Ok(Part { at, bytes, reply })
    }

    /// Now that it is known where to stop.
    fn end_at(&mut self, end: u64) {
        self.rest.end = end;
        self.asked.retain_mut(|part| {
            let left = end.saturating_sub(part.at);
            part.bytes = part.bytes.min(u32::try_from(left).unwrap_or(u32::MAX));
            left > 0
        });
    }

    /// Whether the file is still what it was before it was read.
    async fn verify(&mut self) -> Result<(), StoreError> {
        let afterwards = match self.afterwards.take() {
            Some(pending) => pending,
            None => self.turn.session.ask(Ask::FileStat(self.file.handle()))?,
        };
        if attributes_of(afterwards.await?)? == self.attributes { Ok(()) } else { Err(StoreError::Changed) }
    }
}

pub(super) fn attributes_of(reply: Reply) -> Result<Attributes, StoreError> {
    match reply {
        Reply::Attributes(attributes) => Ok(attributes),
        Reply::Status(status) => Err(error(status)),
        _ => Err(unexpected()),
    }
}

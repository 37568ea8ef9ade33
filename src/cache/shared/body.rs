//! A body in pieces: none is larger than [`PIECE_BYTES`], whether on its way in or out, and no step takes long.

use std::cell::Cell;

use aws_lc_rs::digest;
use bytes::Bytes;
use zstd::stream::raw::{DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use super::header::{Digest, Header, finished};
use crate::docs::is_compressible;
use crate::telemetry::BadValue;

/// Bytes of a piece as it is stored; all but the last have as many. Redis and the connection, which others wait for,
/// are busy with one for some hundred microseconds.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// Level 3 compresses about as fast as a network carries.
const LEVEL: i32 = 3;

/// Level 3 looks back 2 MiB and no further: a value that asks for more memory is not ours.
const WINDOW_LOG_MAX: u32 = 21;

/// Compressed bytes must be this much fewer, in percent, to be worth the work of reading them.
const WORTHWHILE_PERCENT: usize = 10;

/// At most these stand at the end of a frame, behind the last that was worth something.
const END_BYTES: usize = 8;

/// How a body is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Plain = 0,
    /// As one zstd frame.
    Zstd = 1,
}

impl Encoding {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Plain, Self::Zstd].into_iter().find(|encoding| *encoding as u8 == number)
    }
}

/// Cuts a body into pieces, compressed where it pays.
pub(super) struct Packer {
    body: Bytes,
    /// Bytes of the body that have been taken in.
    taken: usize,
    digesting: digest::Context,
    compressor: Option<Compressor>,
    /// Bytes of the pieces that have been given out.
    stored: u64,
}

/// What came of a step.
pub(super) enum Step {
    /// There is more to do.
    Working,
    /// A piece is ready.
    Piece(Bytes),
    /// There are no more.
    Done(Packed),
}

/// What all pieces together are.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) encoding: Encoding,
    pub(super) stored: u64,
    pub(super) digest: Digest,
}

struct Compressor {
    encoder: Encoder<'static>,
    /// The piece that is being filled.
    piece: Vec<u8>,
    /// Whether a first part of the body has shown that it is worth it.
    is_worthwhile: bool,
    is_finished: bool,
}

impl Packer {
    pub(super) fn new(body: Bytes, file_name: &str) -> Self {
        let compressor = if is_compressible(file_name) { Compressor::new(body.len()) } else { None };
        Self { compressor, ..Self::plain(body) }
    }

    /// For a body that is compressed already.
    pub(super) fn plain(body: Bytes) -> Self {
        Self { body, taken: 0, digesting: digest::Context::new(&digest::SHA256), compressor: None, stored: 0 }
    }

    /// Takes in at most as many bytes as a piece has, which is about a millisecond's work.
    pub(super) fn step(&mut self) -> Step {
        let Some(compressor) = &mut self.compressor else { return self.plain_step() };
        let Some((taken, piece)) = compressor.step(self.body.get(self.taken..).unwrap_or_default()) else {
            // Not worth it, after all. Nothing has been given out yet.
            self.compressor = None;
            self.taken = 0;
            self.digesting = digest::Context::new(&digest::SHA256);
            return Step::Working;
        };
        let is_finished = compressor.is_finished;
        self.take(taken);
        match piece {
            Some(piece) => self.give(piece),
            None if is_finished => self.done(Encoding::Zstd),
            None => Step::Working,
        }
    }

    fn plain_step(&mut self) -> Step {
        let end = self.body.len().min(self.taken + PIECE_BYTES);
        if self.taken == end {
            return self.done(Encoding::Plain);
        }
        let piece = self.body.slice(self.taken..end);
        self.take(piece.len());
        self.give(piece)
    }

    fn take(&mut self, count: usize) {
        let end = self.taken + count;
        self.digesting.update(self.body.get(self.taken..end).unwrap_or_default());
        self.taken = end;
    }

    fn give(&mut self, piece: Bytes) -> Step {
        self.stored += piece.len() as u64;
        Step::Piece(piece)
    }

    fn done(&self, encoding: Encoding) -> Step {
        Step::Done(Packed { encoding, stored: self.stored, digest: finished(self.digesting.clone()) })
    }
}

impl Compressor {
    /// For so many bytes; `None` where zstd has no memory for it.
    fn new(size: usize) -> Option<Self> {
        let mut encoder = Encoder::new(LEVEL).ok()?;
        // A frame that tells its size is decoded straight into its place, in a window no larger than itself.
        encoder.set_pledged_src_size(Some(size as u64)).ok()?;
        Some(Self { encoder, piece: Vec::with_capacity(PIECE_BYTES), is_worthwhile: false, is_finished: false })
    }

    /// Takes some of `rest` in; returns how much, and a piece if one is ready. `None` where it does not pay.
    fn step(&mut self, rest: &[u8]) -> Option<(usize, Option<Bytes>)> {
        let chunk = rest.get(..PIECE_BYTES).unwrap_or(rest);
        let mut input = InBuffer::around(chunk);
        let filled = self.piece.len();
        let mut output = OutBuffer::around_pos(&mut self.piece, filled);
        self.encoder.run(&mut input, &mut output).ok()?;
        let taken = input.pos();
        if !self.is_worthwhile {
            let left = self.encoder.flush(&mut output).ok()?;
            let most = (chunk.len() - chunk.len() * WORTHWHILE_PERCENT / 100).saturating_sub(END_BYTES);
            if left > 0 || taken < chunk.len() || output.pos() >= most {
                return None;
            }
            self.is_worthwhile = true;
        }
        if taken == rest.len() && !self.is_finished {
            self.is_finished = self.encoder.finish(&mut output, true).ok()? == 0;
        }
        let is_ready = self.piece.len() == PIECE_BYTES || (self.is_finished && !self.piece.is_empty());
        Some((taken, is_ready.then(|| std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES)).into())))
    }
}

/// Puts a body together from its pieces, and is never larger than the header says.
pub struct Unpacker {
    size: usize,
    digest: Digest,
    /// Bytes of the pieces that are still to come.
    missing: u64,
    body: Vec<u8>,
    decoder: Option<Decoder<'static>>,
    /// Whether the end of the zstd frame has been seen.
    is_at_end: bool,
    digesting: digest::Context,
}

impl Unpacker {
    /// For the body that `header` describes.
    ///
    /// # Errors
    /// [`BadValue::Size`] where it would be larger than `max_bytes`, or can't be what was written.
    pub fn new(header: &Header, max_bytes: u64) -> Result<Self, BadValue> {
        let is_plain = header.encoding == Encoding::Plain;
        let is_likely = if is_plain { header.stored == header.meta.size } else { header.stored < header.meta.size };
        if header.meta.size > max_bytes || !is_likely {
            return Err(BadValue::Size);
        }
        let size = usize::try_from(header.meta.size).map_err(|_| BadValue::Size)?;
        Ok(Self {
            size,
            digest: header.digest,
            missing: header.stored,
            // One more, to see when there is too much.
            body: Vec::with_capacity(size + usize::from(!is_plain)),
            decoder: if is_plain { None } else { Some(decoder()?) },
            is_at_end: is_plain,
            digesting: digest::Context::new(&digest::SHA256),
        })
    }

    /// Whether more pieces are to come.
    pub fn is_hungry(&self) -> bool {
        self.missing > 0
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), BadValue> {
        let expected = self.missing.min(PIECE_BYTES as u64);
        if piece.is_empty() || piece.len() as u64 != expected {
            return Err(BadValue::Size);
        }
        self.missing -= expected;
        let before = self.body.len();
        match &mut self.decoder {
            None => self.body.extend_from_slice(piece),
            Some(decoder) => self.is_at_end = inflate(decoder, piece, &mut self.body, self.size)?,
        }
        self.digesting.update(self.body.get(before..).unwrap_or_default());
        Ok(())
    }

    /// The body, if it is the one that was written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(mut self) -> Result<Bytes, BadValue> {
        if self.size <= PIECE_BYTES {
            IDLE.set(self.decoder.take());
        }
        if self.missing > 0 || !self.is_at_end || self.body.len() != self.size {
            return Err(BadValue::Size);
        }
        if finished(self.digesting) != self.digest {
            return Err(BadValue::Integrity);
        }
        Ok(self.body.into())
    }
}

thread_local! {
    /// The decoder of the last small body: making one was 4 % of what serving pages from Redis took.
    static IDLE: Cell<Option<Decoder<'static>>> = const { Cell::new(None) };
}

fn decoder() -> Result<Decoder<'static>, BadValue> {
    if let Some(mut idle) = IDLE.take()
        && idle.reinit().is_ok()
    {
        return Ok(idle);
    }
    let mut decoder = Decoder::new().map_err(|_| BadValue::Size)?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(|_| BadValue::Size)?;
    Ok(decoder)
}

/// Appends what is in `piece` to `body`, which has room for one byte more than `size`; returns whether the frame ends
/// with it.
fn inflate(decoder: &mut Decoder<'_>, piece: &[u8], body: &mut Vec<u8>, size: usize) -> Result<bool, BadValue> {
    let mut input = InBuffer::around(piece);
    loop {
        let (taken, filled) = (input.pos(), body.len());
        let mut output = OutBuffer::around_pos(body, filled);
        let hint = decoder.run(&mut input, &mut output).map_err(|_| BadValue::Format)?;
        let given = output.pos();
        let is_all_in = input.pos() == piece.len();
        if given > size {
            return Err(BadValue::Size);
        }
        if hint == 0 {
            // Behind the frame there must be nothing.
            return if is_all_in { Ok(true) } else { Err(BadValue::Format) };
        }
        // With room left, all that could be given was given.
        if is_all_in && given < body.capacity() {
            return Ok(false);
        }
        if input.pos() == taken && given == filled {
            return Err(BadValue::Size);
        }
    }
}

#[cfg(test)]
mod tests;

//! The part of SFTP's third version that reads (draft-ietf-secsh-filexfer-02), which is what servers speak.
//!
//! There is no packet here that writes, renames, removes or makes anything: whatever the account may do, a reader of this
//! store can't have it asked for. [`write_anything`] is for the proof that the account may not.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version that is spoken.
pub(super) const VERSION: u32 = 3;

/// No packet that answers one of ours is longer: the longest hold as much of a file as was asked for, or one batch of a
/// folder's names, of which servers send a hundred or so.
const LONGEST_PACKET: usize = 1024 * 1024;

/// What a server is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    /// Opens a file for reading.
    Open(&'a [u8]),
    /// Gives a file or folder back.
    Close(&'a [u8]),
    /// Reads a part of an open file.
    Read { handle: &'a [u8], offset: u64, length: u32 },
    /// What is known of an open file.
    FileStat(&'a [u8]),
    /// Opens a folder.
    OpenFolder(&'a [u8]),
    /// The next names in an open folder.
    ReadFolder(&'a [u8]),
    /// The path without symbolic links.
    RealPath(&'a [u8]),
    /// What is known of what a path leads to.
    Stat(&'a [u8]),
}

impl Ask<'_> {
    const fn kind(self) -> u8 {
        match self {
            Self::Open(_) => 3,
            Self::Close(_) => 4,
            Self::Read { .. } => 5,
            Self::FileStat(_) => 8,
            Self::OpenFolder(_) => 11,
            Self::ReadFolder(_) => 12,
            Self::RealPath(_) => 16,
            Self::Stat(_) => 17,
        }
    }

    /// Puts the packet at the end of `out`.
    pub(super) fn write(self, id: u32, out: &mut BytesMut) {
        const READ: u32 = 1;
        packet(out, self.kind(), |out| {
            out.put_u32(id);
            match self {
                Self::Open(path) => {
                    string(out, path);
                    out.put_u32(READ);
                    // No attributes.
                    out.put_u32(0);
                }
                Self::Read { handle, offset, length } => {
                    string(out, handle);
                    out.put_u64(offset);
                    out.put_u32(length);
                }
                Self::Close(name)
                | Self::FileStat(name)
                | Self::OpenFolder(name)
                | Self::ReadFolder(name)
                | Self::RealPath(name)
                | Self::Stat(name) => string(out, name),
            }
        });
    }
}

/// Puts a packet at the end of `out` of which nothing is known here.
pub(super) fn write_anything(kind: u8, id: u32, body: &[u8], out: &mut BytesMut) {
    packet(out, kind, |out| {
        out.put_u32(id);
        out.extend_from_slice(body);
    });
}

/// Puts the packet that begins a session at the end of `out`.
pub(super) fn write_init(out: &mut BytesMut) {
    const INIT: u8 = 1;
    packet(out, INIT, |out| out.put_u32(VERSION));
}

fn packet(out: &mut BytesMut, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::with_capacity(64);
    body.put_u8(kind);
    fill(&mut body);
    out.put_u32(length(&body));
    out.extend_from_slice(&body);
}

fn string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(length(text));
    out.extend_from_slice(text);
}

/// Nothing that is sent comes near to 4 GiB: paths are those of requests.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The session begins, in this version.
    Version(u32),
    /// The answer to the request of this number.
    Answer(u32, Answer),
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// How it went, where there is nothing else to tell; also the end of a file or folder.
    Status(Status),
    /// What an open file or folder is called from now on.
    Handle(Bytes),
    /// A part of a file.
    Data(Bytes),
    /// Names in a folder, or one path.
    Names(Vec<Entry>),
    /// What is known of a file.
    Attributes(Attributes),
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the SFTP server answers {code}: {message}")]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Status {
    pub(super) const OK: u32 = 0;
    pub(super) const END: u32 = 1;
    pub(super) const NO_SUCH_FILE: u32 = 2;
    pub(super) const PERMISSION_DENIED: u32 = 3;
    pub(super) const FAILURE: u32 = 4;
    pub(super) const BAD_MESSAGE: u32 = 5;
    pub(super) const UNSUPPORTED: u32 = 8;
}

/// A name, and what is known of what it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Bytes,
    pub(super) kind: Kind,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) kind: Kind,
    /// When it was last written, in seconds since the Unix epoch: the protocol has no finer time.
    pub(super) modified: Option<u32>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A symbolic link, a device, a pipe.
    Other,
    /// The server does not say.
    Untold,
}

impl Kind {
    const fn from_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::File,
            0o040_000 => Self::Folder,
            // Some servers tell the permissions alone.
            0 => Self::Untold,
            _ => Self::Other,
        }
    }

    /// By the first letter of a line as `ls -l` writes it.
    fn from_line(line: &[u8]) -> Self {
        match line.first() {
            Some(b'-') => Self::File,
            Some(b'd') => Self::Folder,
            Some(b'l' | b'b' | b'c' | b'p' | b's') => Self::Other,
            _ => Self::Untold,
        }
    }
}

/// A packet that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("the server sent something that is not SFTP")]
pub(super) struct Malformed;

impl From<bytes::TryGetError> for Malformed {
    fn from(_: bytes::TryGetError) -> Self {
        Self
    }
}

/// Takes the next packet off the front of `received`, once it is all there.
pub(super) fn next_frame(received: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
    let Some((head, _)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| Malformed)?;
    if length > LONGEST_PACKET {
        return Err(Malformed);
    }
    if received.len() < 4 + length {
        received.reserve(4 + length - received.len());
        return Ok(None);
    }
    received.advance(4);
    frame(received.split_to(length).freeze()).map(Some)
}

fn frame(mut packet: Bytes) -> Result<Frame, Malformed> {
    let kind = packet.try_get_u8()?;
    let number = packet.try_get_u32()?;
    let answer = match kind {
        // What it can do beside the standard follows, and is not asked for.
        2 => return Ok(Frame::Version(number)),
        101 => Answer::Status(status(packet)?),
        102 => Answer::Handle(take(&mut packet)?),
        103 => Answer::Data(take(&mut packet)?),
        104 => Answer::Names(names(packet)?),
        105 => Answer::Attributes(attributes(&mut packet)?),
        _ => return Err(Malformed),
    };
    Ok(Frame::Answer(number, answer))
}

fn status(mut packet: Bytes) -> Result<Status, Malformed> {
    /// A sentence; more of it would only fill the log.
    const LONGEST: usize = 200;
    let code = packet.try_get_u32()?;
    // Old servers leave the sentence out.
    let message = take(&mut packet).unwrap_or_default();
    let message = String::from_utf8_lossy(message.get(..LONGEST).unwrap_or(&message)).into_owned();
    Ok(Status { code, message })
}

fn names(mut packet: Bytes) -> Result<Vec<Entry>, Malformed> {
    let count = packet.try_get_u32()?;
    // Not with a capacity of what it claims: each entry has to be there.
    let mut entries = Vec::new();
    for _ in 0..count {
        let name = take(&mut packet)?;
        let line = take(&mut packet)?;
        let kind = match attributes(&mut packet)?.kind {
            Kind::Untold => Kind::from_line(&line),
            told => told,
        };
        entries.push(Entry { name, kind });
    }
    Ok(entries)
}

fn attributes(packet: &mut Bytes) -> Result<Attributes, Malformed> {
    const SIZE: u32 = 1;
    const OWNER: u32 = 2;
    const PERMISSIONS: u32 = 4;
    const TIMES: u32 = 8;
    const EXTENDED: u32 = 1 << 31;
    let mut told = Attributes { size: None, kind: Kind::Untold, modified: None };
    let flags = packet.try_get_u32()?;
    if flags & SIZE != 0 {
        told.size = Some(packet.try_get_u64()?);
    }
    if flags & OWNER != 0 {
        packet.try_get_u64()?;
    }
    if flags & PERMISSIONS != 0 {
        told.kind = Kind::from_mode(packet.try_get_u32()?);
    }
    if flags & TIMES != 0 {
        packet.try_get_u32()?;
        told.modified = Some(packet.try_get_u32()?);
    }
    if flags & EXTENDED != 0 {
        for _ in 0..packet.try_get_u32()? {
            take(packet)?;
            take(packet)?;
        }
    }
    Ok(told)
}

fn take(packet: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = usize::try_from(packet.try_get_u32()?).map_err(|_| Malformed)?;
    if length > packet.len() {
        return Err(Malformed);
    }
    Ok(packet.split_to(length))
}

#[cfg(test)]
mod tests;

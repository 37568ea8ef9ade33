//! HTTP/2 frames written by hand (RFC 9113 §4, §6), for what no client library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const ENHANCE_YOUR_CALM: u32 = 11;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal field that is not indexed (RFC 7541 §6.2.2), names and values below 127 bytes.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0, u8::try_from(name.len()).unwrap()];
    field.extend(name.as_bytes());
    // A token is longer; the length takes a second byte or two then.
    let mut length = value.len();
    if length < 127 {
        field.push(u8::try_from(length).unwrap());
    } else {
        field.push(127);
        length -= 127;
        while length >= 128 {
            field.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        field.push(u8::try_from(length).unwrap());
    }
    field.extend(value.as_bytes());
    field
}

/// The fields of a GET, those in front of the others first.
pub fn get(path: &str, others: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", path)];
    pseudo.iter().chain(others).flat_map(|(name, value)| field(name, value)).collect()
}

/// The two halves of a connection on which both sides' settings are on their way.
pub async fn connect(address: SocketAddr) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    writing.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    (reading, writing)
}

/// The next frame's kind, stream and payload; `None` at the end of the connection.
pub async fn next(reading: &mut OwnedReadHalf) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    reading.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    reading.read_exact(&mut payload).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// Reads until the connection ends; the error codes that it was ended with.
pub async fn goodbyes(mut reading: OwnedReadHalf) -> Vec<u32> {
    let mut codes = Vec::new();
    while let Some((kind, _, payload)) = next(&mut reading).await {
        if kind == GOAWAY {
            codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    codes
}

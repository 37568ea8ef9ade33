//! Requests written by hand, byte for byte, for what no client library would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// What came back, up to the end of the connection.
pub struct Answer {
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> Option<u16> {
        self.text().split(' ').nth(1)?.parse().ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Sends `bytes` and reads until the server closes. The bytes must ask for that, or be such that it does.
pub async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything; what it answered is what counts.
    let _ = socket.write_all(bytes.as_ref()).await;
    Answer { bytes: until_closed(&mut socket).await }
}

/// The same, from another of this machine's addresses.
pub async fn send_from(from: [u8; 4], address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let _ = socket.write_all(bytes.as_ref()).await;
    Answer { bytes: until_closed(&mut socket).await }
}

/// One answer with a `Content-Length` on a connection that stays open.
pub async fn one_answer(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 16 * 1024];
        let read = tokio::time::timeout(super::PATIENCE, socket.read(&mut piece)).await.expect("an answer").unwrap();
        assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap();
        if body.len() >= length.parse().unwrap() {
            return Answer { bytes };
        }
    }
}

/// What comes until the server closes; it is a failure if it does not.
pub async fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(super::PATIENCE, socket.read_to_end(&mut bytes));
    // A reset is an end too.
    let _ = reading.await.expect("the server closes the connection");
    bytes
}

/// A GET of `path` as it stands, on a connection that ends with the answer.
pub fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: callboard\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
        .into()
}

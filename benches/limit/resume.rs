//! TLS connections, each of which takes up the session of the one before.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned};

/// Opens connections for so long, one after the other, with a request on each, and returns how many there were. All but the first must
/// resume.
pub(crate) fn run(address: SocketAddr, request: &str, certificate: &Path, last: Duration) -> anyhow::Result<u64> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let (start, mut count) = (Instant::now(), 0);
    while count == 0 || start.elapsed() < last {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        let tls = ClientConnection::new(Arc::clone(&config), ServerName::try_from("localhost")?)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        // What the next connection resumes with has come before the answer.
        while !answer.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes)?;
            ensure!(read > 0, "hung up in the middle of an answer");
            answer.extend_from_slice(bytes.get(..read).unwrap_or_default());
        }
        ensure!(answer.starts_with(b"HTTP/1.1 304"), "{}", String::from_utf8_lossy(&answer));
        ensure!(stream.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3), "not TLS 1.3");
        let is_resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        ensure!(is_resumed || count == 0, "connection {count} was not resumed");
        count += 1;
    }
    Ok(count)
}

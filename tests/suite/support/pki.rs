//! Certificates, made anew by each test, and servers that show them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use callboard::clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType, SignatureAlgorithm, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Callboard, SITE};

pub const ECDSA: &SignatureAlgorithm = &PKCS_ECDSA_P256_SHA256;
pub const RSA: &SignatureAlgorithm = &PKCS_RSA_SHA256;

/// A private authority and the folder that its files are in.
pub struct Authority {
    pub folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM text.
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = dated(CertificateParams::new(Vec::new()).unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "A test's authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate_for(ECDSA).unwrap()).unwrap();
        let authority = Self { folder: TempDir::new().unwrap(), issuer };
        authority.write("ca.crt", &authority.issuer.pem());
        authority
    }

    /// The authority's own certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A server's certificate for these names, among which `127.0.0.1` is an address.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.issue(names, "server", ECDSA, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn server_with(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Pair {
        self.issue(names, "server", algorithm, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate with this common name and URI.
    pub fn client(&self, common_name: &str, uri: &str) -> Pair {
        self.issue(&[uri], common_name, ECDSA, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Writes a pair as `{name}.crt` and `{name}.key`.
    pub fn keep(&self, name: &str, pair: &Pair) {
        self.write(&format!("{name}.crt"), &pair.cert);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// The lines of `callboard.tls` for pairs that are kept under these names.
    pub fn section(&self, names: &[&str], more: &str) -> String {
        let pair = |name: &&str| {
            let (cert, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
            format!("{{ cert: '{}', key: '{}' }}", cert.display(), key.display())
        };
        let pairs: Vec<String> = names.iter().map(pair).collect();
        format!("  tls: {{ reloadEvery: 100ms, certificates: [{}]{more} }}\n", pairs.join(", "))
    }

    /// A client that believes this authority and no other.
    pub fn http_client(&self) -> reqwest::ClientBuilder {
        let ca = reqwest::Certificate::from_pem(self.issuer.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([ca])
    }

    /// A server that takes TLS off and passes everything on to `to`, under the name `localhost`.
    pub async fn relay(&self, to: SocketAddr) -> SocketAddr {
        self.relay_as(&["localhost", "127.0.0.1"], to).await
    }

    /// The same, under other names.
    pub async fn relay_as(&self, names: &[&str], to: SocketAddr) -> SocketAddr {
        let pair = self.server(names);
        let config = ServerConfig::builder_with_provider(callboard::trust::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(socket).await else { return };
                    let mut plain = TcpStream::connect(to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        address
    }

    fn issue(
        &self,
        names: &[&str],
        common_name: &str,
        algorithm: &'static SignatureAlgorithm,
        usage: ExtendedKeyUsagePurpose,
    ) -> Pair {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let (uris, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let mut params = dated(CertificateParams::new(names).unwrap());
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// Valid from yesterday for ninety days, as a good server's certificate is.
fn dated(mut params: CertificateParams) -> CertificateParams {
    const DAY: u64 = 24 * 3600;
    let now = Clock::System.now().as_secs();
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    (params.not_before, params.not_after) = (at(now - DAY), at(now + 89 * DAY));
    params
}

/// A Callboard with a certificate for `localhost`, and more in its `tls:` section.
pub async fn callboard(authority: &Authority, more: &str) -> Callboard {
    authority.keep("tls", &authority.server(&["localhost", "127.0.0.1"]));
    Callboard::with(&authority.section(&["tls"], more)).await
}

/// Asks for the site's page with curl: what it says of the connection, or why there is none.
pub async fn curl(callboard: &Callboard, authority: &Authority, host: &str, arguments: &[&str]) -> String {
    let port = callboard.address.port();
    let resolve = format!("{host}:{port}:127.0.0.1");
    let ca = authority.ca();
    let url = format!("https://{host}:{port}{SITE}/index.html");
    let mut all = vec!["--silent", "--show-error", "--resolve", &resolve, "--cacert", ca.to_str().unwrap()];
    all.extend(["--write-out", " %{http_code} HTTP/%{http_version}", &url]);
    all.extend(arguments);
    run("curl", &all, "").await.0
}

pub fn bearer(callboard: &Callboard) -> String {
    format!("Authorization: Bearer {}", callboard.backstage.token())
}

/// Runs a program of the machine and gives what it said on both outputs, and whether it was content.
pub async fn run(program: impl AsRef<Path>, arguments: &[&str], input: &str) -> (String, bool) {
    use tokio::io::AsyncWriteExt;
    let program = program.as_ref();
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("run tests/setup.sh first: {}: {error}", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    // Whoever refuses may be gone before it has read everything.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(super::PATIENCE * 2, child.wait_with_output()).await.expect("it ends").unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.success())
}

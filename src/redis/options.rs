//! What the client runs on.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// Where Redis is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    /// In what form it is run.
    pub form: Form,
    /// The ACL user, where it is not the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The database's number; a cluster has only 0.
    pub database: u32,
    /// How TLS is spoken, where it is.
    pub tls: Option<TlsOptions>,
    /// What all keys and channels begin with.
    pub key_prefix: String,
    /// How long one command, or one pipeline of them, may take.
    pub read_timeout: Duration,
    /// How long it may take to connect, sentinels asked and TLS spoken.
    pub connect_timeout: Duration,
    /// What is kept in Redis is sealed with this, so that nobody else who can write there is believed.
    pub integrity_key: Option<Secret>,
}

/// In what form Redis is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// One server.
    Standalone(Address),
    /// A cluster, which is found through some of its nodes.
    Cluster(Vec<Address>),
    /// A master, which is found through sentinels.
    Sentinel(Sentinels),
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, nodes) = match self {
            Self::Standalone(address) => return write!(f, "{address}"),
            Self::Cluster(nodes) => ("the cluster of ", nodes),
            Self::Sentinel(sentinels) => {
                write!(f, "{} behind ", sentinels.master)?;
                ("", &sentinels.nodes)
            }
        };
        f.write_str(what)?;
        for (index, node) in nodes.iter().enumerate() {
            write!(f, "{}{node}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Sentinels, and the master that they watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentinels {
    /// Where they are.
    pub nodes: Vec<Address>,
    /// What they call the master.
    pub master: String,
    /// Their own user.
    pub username: Option<String>,
    /// Their own password.
    pub password: Option<Secret>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At a host, by name or address.
    Tcp {
        /// An IPv6 address stands without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// At a socket on this machine.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whom to believe beside those that every client believes, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of authorities that are believed here alone.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown to the server.
    pub identity: Option<Identity>,
}

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain, our own certificate first.
    pub cert_file: PathBuf,
    /// The key, not encrypted.
    pub key_file: PathBuf,
}

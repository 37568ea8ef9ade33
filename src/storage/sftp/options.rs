//! What the SFTP store runs on.

use super::{HostKeys, UserKey};
use crate::secret::Secret;

/// `techdocs.publisher.sftp`.
#[derive(Debug, Clone)]
pub struct SftpOptions {
    /// `host`: a name or an address.
    pub host: String,
    /// `port`.
    pub port: u16,
    /// `username`.
    pub username: String,
    /// `root`: the folder that the sites are in, absolute or below the one that the server logs the user in to; empty for
    /// that one itself.
    pub root: String,
    /// `hostKeys` and `knownHostsFile`.
    pub host_keys: HostKeys,
    /// `credentials`.
    pub credentials: SftpCredentials,
    /// `connections`: the most at a time.
    pub connections: usize,
    /// `channels`: the most at a time on each connection; the server runs a process for each.
    pub channels: usize,
}

/// How the user is known; where there is a key, it is shown first.
#[derive(Debug, Clone, Default)]
pub struct SftpCredentials {
    /// `privateKey` with its `passphrase`.
    pub key: Option<UserKey>,
    /// `password`.
    pub password: Option<Secret>,
}

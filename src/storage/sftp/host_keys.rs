//! The keys by which the server is known.

use std::io;
use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use russh::keys::{Algorithm, PublicKey};

/// Which keys the server may show; another one means that it is not the server, or no longer the same.
#[derive(Debug, Clone, Default)]
pub struct HostKeys {
    /// `hostKeys`.
    pub pinned: Vec<HostKey>,
    /// `knownHostsFile`, read anew for each connection, so that a key that is about to change can be announced.
    pub file: Option<PathBuf>,
}

/// One key of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey(PublicKey);

/// Why a line is no key that a server could be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyProblem {
    /// It is something else.
    #[error("is no public key: write a line as ssh-keyscan prints it, \"ssh-ed25519 AAAA…\"")]
    NoKey,
    /// It is of a kind that is not spoken here.
    #[error(
        "is not of a supported kind: write the server's ed25519 or ECDSA key, as ssh-keyscan -t ed25519,ecdsa prints it"
    )]
    Unsupported,
}

impl HostKey {
    /// Takes a line of `ssh-keyscan`, of `known_hosts` or of a `.pub` file, whatever stands before the kind of key.
    ///
    /// # Errors
    /// Where it is no key, or none that could be used.
    pub fn parse(line: &str) -> Result<Self, HostKeyProblem> {
        let mut words = line.split_ascii_whitespace().skip_while(|word| !is_kind(word));
        let (Some(kind), Some(key)) = (words.next(), words.next()) else { return Err(HostKeyProblem::NoKey) };
        if !SUPPORTED.contains(&kind) {
            return Err(HostKeyProblem::Unsupported);
        }
        let key = PublicKey::from_openssh(&format!("{kind} {key}")).map_err(|_| HostKeyProblem::NoKey)?;
        Ok(Self(key))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    pub(super) fn is(&self, shown: &PublicKey) -> bool {
        self.0.key_data() == shown.key_data()
    }
}

/// Kinds of keys that can be checked without a module of RSA.
const SUPPORTED: [&str; 4] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start))
}

impl HostKeys {
    /// The keys that `host` may show now.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn of(&self, host: &str, port: u16) -> io::Result<Vec<HostKey>> {
        let mut keys = self.pinned.clone();
        if let Some(file) = &self.file {
            let known = KnownHosts::find(&std::fs::read_to_string(file)?, host, port);
            keys.extend(known.keys);
            keys.retain(|key| !known.revoked.contains(key));
        }
        Ok(keys)
    }
}

/// What a file of known hosts (sshd(8)) says of one of them.
#[derive(Debug, Default)]
struct KnownHosts {
    keys: Vec<HostKey>,
    revoked: Vec<HostKey>,
}

impl KnownHosts {
    /// Lines that make no sense, name other hosts or hold keys of other kinds are passed over, as ssh does. Authorities
    /// that sign host keys are passed over too: a server is known by a key of its own here.
    fn find(text: &str, host: &str, port: u16) -> Self {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let name = name.to_lowercase();
        let mut known = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let (marker, line) = match line.split_once(char::is_whitespace) {
                Some((marker, rest)) if marker.starts_with('@') => (marker, rest.trim_start()),
                _ => ("", line),
            };
            let Some((hosts, key)) = line.split_once(char::is_whitespace) else { continue };
            let Ok(key) = HostKey::parse(key) else { continue };
            match marker {
                "" if names(hosts, &name) => known.keys.push(key),
                "@revoked" if names(hosts, &name) => known.revoked.push(key),
                _ => {}
            }
        }
        known
    }
}

/// Whether a line's first field names this host.
fn names(hosts: &str, name: &str) -> bool {
    let mut named = false;
    for pattern in hosts.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            named |= hashes_to(hashed, name);
        } else if let Some(not) = pattern.strip_prefix('!') {
            if is_like(not.to_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            named |= is_like(pattern.to_lowercase().as_bytes(), name.as_bytes());
        }
    }
    named
}

/// Whether `salt|hash` is the name's.
fn hashes_to(hashed: &str, name: &str) -> bool {
    let decoded = hashed
        .split_once('|')
        .and_then(|(salt, hash)| Some((BASE64_STANDARD.decode(salt).ok()?, BASE64_STANDARD.decode(hash).ok()?)));
    decoded.is_some_and(|(salt, hash)| {
        // It keeps a file's reader from learning hosts' names; nothing is believed for its sake.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        hmac::verify(&key, name.as_bytes(), &hash).is_ok()
    })
}

/// Whether a name fits a pattern of `*` and `?`; backtracks to the last star only, so that no pattern takes long.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => {
                star = Some((rest, name));
                pattern = rest;
            }
            ([], []) => return true,
            ([wanted, left @ ..], [byte, rest @ ..]) if *wanted == b'?' || wanted == byte => {
                (pattern, name) = (left, rest);
            }
            _ => match star {
                Some((after, [_, rest @ ..])) => {
                    star = Some((after, rest));
                    (pattern, name) = (after, rest);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn known(text: &str, host: &str, port: u16) -> bool {
        KnownHosts::find(text, host, port).keys == [HostKey::parse(KEY).unwrap()]
    }

    #[test]
    fn a_key_is_taken_as_the_tools_print_it() {
        for line in
            [KEY.to_owned(), format!("docs.example.com {KEY}"), format!("{KEY} root@docs"), format!("  {KEY}\n")]
        {
            assert_eq!(HostKey::parse(&line).unwrap(), HostKey::parse(KEY).unwrap(), "{line}");
        }
        assert_eq!(HostKey::parse("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ"), Err(HostKeyProblem::Unsupported));
        for line in ["", "nonsense", "ssh-ed25519", "ssh-ed25519 AAAA", "SHA256:AAAA"] {
            assert_eq!(HostKey::parse(line), Err(HostKeyProblem::NoKey), "{line}");
        }
    }

    #[test]
    fn hosts_are_named_plainly_with_ports_by_patterns_and_hashed() {
        assert!(known(&format!("docs.example.com,10.0.0.1 {KEY}"), "10.0.0.1", 22));
        assert!(known(&format!("Docs.Example.com {KEY}"), "docs.example.COM", 22));
        assert!(known(&format!("[docs.example.com]:2222\t{KEY}"), "docs.example.com", 2222));
        assert!(known(&format!("*.example.com,!ftp.example.com {KEY}"), "docs.example.com", 22));
        // ssh-keygen -H made these of docs.example.com and [docs.example.com]:2222.
        for (host, port) in [("docs.example.com", 22), ("docs.example.com", 2222)] {
            let salt = [7_u8; 20];
            let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
            let hash = BASE64_STANDARD.encode(hmac::sign(&key, name.as_bytes()));
            let line = format!("|1|{}|{hash} {KEY}", BASE64_STANDARD.encode(salt));
            assert!(known(&line, host, port) && !known(&line, "other", port), "{line}");
        }
        for (line, port) in [
            (format!("docs.example.com {KEY}"), 2222),
            (format!("[docs.example.com]:2222 {KEY}"), 22),
            (format!("*.example.com,!docs.example.com {KEY}"), 22),
            (format!("# docs.example.com {KEY}"), 22),
            (format!("@cert-authority docs.example.com {KEY}"), 22),
            (format!("docs.example.co {KEY}"), 22),
        ] {
            assert!(!known(&line, "docs.example.com", port), "{line}");
        }
    }

    #[test]
    fn a_line_that_ssh_itself_hashed_is_understood() {
        let line = format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {KEY}");
        assert!(known(&line, "example.com", 22));
    }

    #[test]
    fn a_revoked_key_is_none_even_where_it_is_written_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, format!("@revoked * {KEY}\ndocs {KEY}\ndocs {OTHER}\n")).unwrap();
        let keys = HostKeys { pinned: vec![HostKey::parse(KEY).unwrap()], file: Some(file) };
        assert_eq!(keys.of("docs", 22).unwrap(), [HostKey::parse(OTHER).unwrap()]);
    }
}

//! The private key that Callboard shows the server.

use std::fmt;
use std::sync::Arc;

use russh::keys::{Algorithm, Error, HashAlg, PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};

use crate::secret::Secret;

/// A private key, out of its file and its passphrase. It never prints.
#[derive(Clone)]
pub struct UserKey(Arc<PrivateKey>);

/// Why a text is no private key that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserKeyProblem {
    /// It is something else.
    #[error("is no private key: write the text of a file that ssh-keygen -t ed25519 made, or {{ $file: id_ed25519 }}")]
    NoKey,
    /// RSA and the like.
    #[error(
        "is a key of an unsupported kind (RSA is among them): make an ed25519 or ECDSA key, as ssh-keygen -t ed25519 does"
    )]
    Unsupported,
    /// There is a passphrase to it.
    #[error("is encrypted: write its passphrase to credentials.passphrase")]
    Encrypted,
    /// Another passphrase.
    #[error("can't be decrypted with credentials.passphrase: write the right one")]
    WrongPassphrase,
}

impl UserKey {
    /// Takes the text of a key's file.
    ///
    /// # Errors
    /// Where it is no key, or none that could be used.
    pub fn parse(text: &Secret, passphrase: Option<&Secret>) -> Result<Self, UserKeyProblem> {
        let text = text.expose_text().ok_or(UserKeyProblem::NoKey)?;
        let passphrase = passphrase.and_then(Secret::expose_text);
        let key = decode_secret_key(text, passphrase).map_err(|error| problem(&error, passphrase.is_some()))?;
        if key.is_encrypted() {
            return Err(UserKeyProblem::Encrypted);
        }
        if !matches!(key.algorithm(), Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) {
            return Err(UserKeyProblem::Unsupported);
        }
        Ok(Self(Arc::new(key)))
    }

    /// What it is called in messages.
    pub(super) fn fingerprint(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    pub(super) fn for_signing(&self) -> PrivateKeyWithHashAlg {
        PrivateKeyWithHashAlg::new(Arc::clone(&self.0), None)
    }
}

fn problem(error: &Error, has_passphrase: bool) -> UserKeyProblem {
    use russh::keys::ssh_key::Error as KeyError;
    match error {
        Error::KeyIsEncrypted => UserKeyProblem::Encrypted,
        Error::UnsupportedKeyType { .. } | Error::UnknownAlgorithm(_) => UserKeyProblem::Unsupported,
        Error::SshKey(KeyError::AlgorithmUnknown | KeyError::AlgorithmUnsupported { .. }) => {
            UserKeyProblem::Unsupported
        }
        _ if has_passphrase => UserKeyProblem::WrongPassphrase,
        _ => UserKeyProblem::NoKey,
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({})", self.fingerprint())
    }
}

//! Where a credential for AWS comes from.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// Where a credential comes from: what `awsS3`, `integrations.awsS3` and `aws` in the configuration come down to.
#[derive(Debug, Clone)]
pub enum AwsCredentials {
    /// A key pair in the configuration.
    Keys(AwsKeys),
    /// A profile in AWS's own files.
    Profile {
        /// Its name.
        name: String,
        /// Where STS is asked, for a profile that has a role.
        region: Option<String>,
    },
    /// Wherever AWS's own programs look for one.
    Chain {
        /// Where STS is asked.
        region: Option<String>,
    },
    /// A role that is assumed with another credential.
    Role {
        /// The role.
        role: AwsRole,
        /// What its owner wants to be told.
        external_id: Option<String>,
        /// With what.
        base: Box<AwsCredentials>,
    },
    /// A role that is assumed with a token in a file.
    WebIdentity {
        /// The role.
        role: AwsRole,
        /// The file, which is replaced by whoever issues the token.
        token_file: PathBuf,
    },
    /// Another credential, provided that it belongs to this account.
    OfAccount {
        /// The account.
        id: String,
        /// The credential.
        base: Box<AwsCredentials>,
    },
}

/// A key pair in the configuration.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// `accessKeyId`.
    pub access_key_id: String,
    /// `secretAccessKey`.
    pub secret_access_key: Secret,
    /// The key that both stand under.
    pub stands_at: String,
}

/// A role to be assumed.
#[derive(Debug, Clone)]
pub struct AwsRole {
    /// Its ARN.
    pub arn: String,
    /// What the session is called.
    pub session_name: &'static str,
    /// Where STS is asked.
    pub region: Option<String>,
}

/// In words, for people.
impl fmt::Display for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "the key pair in {}", keys.stands_at),
            Self::Profile { name, .. } => write!(f, "the profile {name} in AWS's files"),
            Self::Chain { .. } => f.write_str("wherever AWS's own programs look for one"),
            Self::Role { role, base, .. } => write!(f, "{}, assumed with {base}", role.arn),
            Self::WebIdentity { role, token_file } => {
                write!(f, "{}, assumed with the token in {}", role.arn, token_file.display())
            }
            Self::OfAccount { base, .. } => base.fmt(f),
        }
    }
}

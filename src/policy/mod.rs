//! The least that storage has to allow Callboard, written so that it can be applied as it stands.
//!
//! Every name in it comes from the configuration, and stands in a policy as the policy's own language quotes it.

mod aws;
mod azure;
mod gcs;
mod quote;
mod sftp;
mod swift;

use std::fmt;

use crate::storage::StoreOptions;

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3.
    Aws,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// OpenStack Swift.
    Swift,
    /// An OpenSSH server.
    Sftp,
}

/// How it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The policy alone, as the cloud's own JSON.
    Json,
    /// For Terraform.
    Terraform,
    /// Command lines; for SFTP what stands in `sshd_config`.
    Cli,
}

/// What is to be readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The bucket or container; for SFTP the folder on the server.
    pub bucket: String,
    /// The path in it that all sites are below, without slashes at its ends; empty for all of it.
    pub root_path: String,
    /// The region, which tells AWS' partitions apart.
    pub region: Option<String>,
    /// Azure's storage account or OpenStack's project, where it is known.
    pub account: Option<String>,
    /// Who reads, where it is known.
    pub user: Option<String>,
}

/// A policy, and what to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// It, ready to apply.
    pub text: String,
    /// What it does not say by itself.
    pub notes: Vec<String>,
}

/// Why there is no such policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The store's policies have no such form.
    #[error("there is no {form} for {kind}: write --format {instead}")]
    NoForm {
        /// The store.
        kind: Kind,
        /// The form.
        form: Form,
        /// What there is.
        instead: &'static str,
    },
    /// A name can't stand in a policy of this store.
    #[error("{0:?} can't stand in a policy for {1}: give it a name without control characters, quotes and backslashes")]
    Name(String, Kind),
}

/// The least policy for `place`.
///
/// # Errors
/// Where the store has none of this form, or none that could hold the place's names.
pub fn policy(kind: Kind, place: &Place, form: Form) -> Result<Policy, PolicyError> {
    let user = place.user.as_deref().unwrap_or_default();
    let account = place.account.as_deref().unwrap_or_default();
    for name in [&place.bucket, &place.root_path, user, account] {
        // Quoting would do, but no such name was meant.
        if name.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            return Err(PolicyError::Name(name.to_owned(), kind));
        }
    }
    let no_form = |instead| PolicyError::NoForm { kind, form, instead };
    match kind {
        Kind::Aws => Ok(aws::policy(place, form)),
        Kind::Gcs => Ok(gcs::policy(place, form)),
        Kind::Azure => Ok(azure::policy(place, form)),
        Kind::Swift => swift::policy(place, form).ok_or_else(|| no_form("cli or json")),
        Kind::Sftp => sftp::policy(place, form).ok_or_else(|| no_form("cli")),
    }
}

impl Kind {
    /// Whose policy a store's is; `None` for those that have none.
    pub const fn of(store: &StoreOptions) -> Option<Self> {
        match store {
            StoreOptions::S3(_) => Some(Self::Aws),
            StoreOptions::Gcs(_) => Some(Self::Gcs),
            StoreOptions::Azure(_) => Some(Self::Azure),
            StoreOptions::Swift(_) => Some(Self::Swift),
            StoreOptions::Sftp(_) => Some(Self::Sftp),
            StoreOptions::Local { .. } | StoreOptions::Sample => None,
        }
    }

    /// The word for it on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            Self::Swift => "swift",
            Self::Sftp => "sftp",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Terraform => "terraform",
            Self::Cli => "cli",
        })
    }
}

impl Place {
    /// What Callboard reads of `store` below `root_path`.
    pub fn of(store: &StoreOptions, root_path: &str) -> Self {
        let root_path = root_path.to_owned();
        match store {
            StoreOptions::S3(s3) => {
                Self { bucket: s3.bucket.clone(), root_path, region: s3.region.clone(), ..Self::default() }
            }
            StoreOptions::Gcs(gcs) => Self { bucket: gcs.bucket.clone(), root_path, ..Self::default() },
            StoreOptions::Azure(azure) => Self {
                bucket: azure.container.clone(),
                root_path,
                account: Some(azure.account.clone()),
                ..Self::default()
            },
            StoreOptions::Swift(swift) => Self { bucket: swift.container.clone(), root_path, ..Self::default() },
            StoreOptions::Sftp(sftp) => {
                Self { bucket: sftp.root.clone(), root_path, user: Some(sftp.username.clone()), ..Self::default() }
            }
            StoreOptions::Local { .. } | StoreOptions::Sample => Self { root_path, ..Self::default() },
        }
    }

    /// What names of objects begin with; empty where they begin with anything.
    fn prefix(&self) -> String {
        if self.root_path.is_empty() { String::new() } else { format!("{}/", self.root_path) }
    }
}

//! Application default credentials: those that the machine has, where none are configured.

use std::fmt;
use std::path::PathBuf;

use super::exchange::{Asker, Token, failed, read, refused, token};
use super::kinds::GoogleCredentials;
use crate::secret::Secret;
use crate::storage::credential::IssueError;

/// Where Google's own clients look, in this order, and what they find on AWS.
#[derive(Debug, Clone)]
pub struct DefaultCredentials {
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    pub file: Option<PathBuf>,
    /// Where `gcloud auth application-default login` puts them.
    pub well_known_file: Option<PathBuf>,
    /// `GCE_METADATA_HOST`, with a port where it is not 80.
    pub metadata_host: String,
    /// For federation from AWS.
    pub aws: AwsVariables,
}

/// AWS's own variables.
#[derive(Debug, Clone, Default)]
pub struct AwsVariables {
    /// `AWS_REGION` or `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Secret>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Secret>,
}

/// What the machine has.
pub(super) enum Found {
    /// A file.
    File(GoogleCredentials),
    /// At most a service account of the machine itself.
    Machine,
}

impl DefaultCredentials {
    /// What there is now.
    pub(super) async fn find(&self) -> Result<Found, IssueError> {
        let well_known = async || match &self.well_known_file {
            Some(file) => tokio::fs::try_exists(file).await.unwrap_or_default().then_some(file),
            None => None,
        };
        let file = match &self.file {
            Some(file) => Some(file),
            None => well_known().await,
        };
        let Some(file) = file else { return Ok(Found::Machine) };
        let parsed = GoogleCredentials::parse(&read(file).await?);
        parsed.map(Found::File).map_err(|error| refused(format!("{} {error}", file.display())))
    }

    /// A token of the service account that the machine, or the pod, runs as.
    pub(super) async fn token_of_machine(&self, scope: &str, asker: &Asker) -> Result<Token, IssueError> {
        let url = format!(
            "http://{}/computeMetadata/v1/instance/service-accounts/default/token?scopes={scope}",
            self.metadata_host
        );
        token(asker.direct.get(url).header("metadata-flavor", "Google")).await.map_err(|error| match error {
            IssueError::Refused(why) => refused(format!("the machine's service account gives no token: {why}")),
            IssueError::Unavailable(why) => failed(format!("{self} and the metadata server fails: {why}")),
        })
    }
}

/// What is not there, worded to stand before what fails then.
impl fmt::Display for DefaultCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there are no credentials in the configuration, GOOGLE_APPLICATION_CREDENTIALS is not set")?;
        self.well_known_file.as_ref().map_or(Ok(()), |file| write!(f, ", there is no {}", file.display()))
    }
}

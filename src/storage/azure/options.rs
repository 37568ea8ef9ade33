//! What reading from Azure Blob Storage runs on.

use std::path::PathBuf;

use url::Url;

use crate::secret::Secret;

/// `techdocs.publisher.azureBlobStorage`.
#[derive(Debug, Clone)]
pub struct AzureOptions {
    /// `containerName`.
    pub container: String,
    /// The storage account's name.
    pub account: String,
    /// Where the account's containers are, such as `https://account.blob.core.windows.net`.
    pub endpoint: Url,
    /// What is shown there.
    pub access: AzureAccess,
}

/// What a request to Azure is allowed by.
#[derive(Debug, Clone)]
pub enum AzureAccess {
    /// The account's key, which requests are signed with, in base64.
    Key(Secret),
    /// A shared access signature: the query that is added to each request, without its question mark.
    Signature(Secret),
    /// Tokens that Microsoft Entra ID gives out to this identity.
    Identity(AzureIdentity),
}

/// Whose tokens are shown.
#[derive(Debug, Clone)]
pub enum AzureIdentity {
    /// An application's, which proves itself to Microsoft Entra ID.
    Application {
        /// `AZURE_TENANT_ID`.
        tenant: String,
        /// `AZURE_CLIENT_ID`.
        client: String,
        /// How it does.
        proof: AzureProof,
        /// Where Microsoft Entra ID is for this cloud.
        authority: Url,
    },
    /// That of the machine, as this endpoint on it knows it.
    Machine {
        /// `AZURE_CLIENT_ID`: which of several.
        client: Option<String>,
        /// Who gives out its tokens.
        endpoint: MachineEndpoint,
    },
}

/// What an application proves itself with.
#[derive(Debug, Clone)]
pub enum AzureProof {
    /// `AZURE_CLIENT_SECRET`.
    Secret(Secret),
    /// `AZURE_FEDERATED_TOKEN_FILE`: another issuer's token, which Kubernetes replaces now and then.
    FederatedToken(PathBuf),
}

/// Who gives out the tokens of a machine.
#[derive(Debug, Clone)]
pub enum MachineEndpoint {
    /// The metadata service of a virtual machine.
    Metadata(Url),
    /// What App Service, Functions and Container Apps put beside a program: `IDENTITY_ENDPOINT`.
    Beside {
        /// Where it is.
        url: Url,
        /// `IDENTITY_HEADER`, which keeps others from using it.
        header: Secret,
    },
}

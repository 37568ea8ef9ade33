//! Where Backstage would take tokens from that has neither a connection string nor a key: the variables, and then the
//! machine (`DefaultAzureCredential` of `@azure/identity`).

use std::path::PathBuf;

use url::Url;

use crate::config::layers::Loaded;
use crate::config::problem::Problem;
use crate::config::reader::Reader;
use crate::secret::Secret;
use crate::storage::{AzureIdentity, AzureProof, MachineEndpoint};

const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";

/// Where the metadata service is, on every virtual machine.
const METADATA_HOST: &str = "http://169.254.169.254";
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";

/// Which of the ways are looked at: `AZURE_TOKEN_CREDENTIALS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Environment,
    Workload,
    Machine,
}

struct Variables<'l>(&'l Loaded);

impl<'l> Variables<'l> {
    /// An empty variable is as good as none.
    fn get(&self, name: &str) -> Option<&'l str> {
        self.0.environment.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn url(&self, reader: &mut Reader<'_>, name: &str) -> Option<Url> {
        let text = self.get(name)?;
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            wrong(reader, name, format!("{text:?} is not a URL: write https://…"));
        }
        url
    }
}

/// `None` where something is wrong, which is told then.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> Option<AzureIdentity> {
    let variables = Variables(loaded);
    let ways = ways(reader, &variables)?;
    let (tenant, client) = (variables.get("AZURE_TENANT_ID"), variables.get("AZURE_CLIENT_ID"));
    if let (Some(tenant), Some(client)) = (tenant, client) {
        for way in ways {
            if let Some(proof) = proof(reader, &variables, *way) {
                return application(reader, &variables, tenant, client, proof?);
            }
        }
    }
    if ways.contains(&Way::Machine) {
        return machine(reader, &variables, client);
    }
    wrong(
        reader,
        "AZURE_TOKEN_CREDENTIALS",
        "names a way that other variables are missing for: set AZURE_TENANT_ID, \
        AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE",
    );
    None
}

fn ways(reader: &mut Reader<'_>, variables: &Variables<'_>) -> Option<&'static [Way]> {
    let chosen = variables.get("AZURE_TOKEN_CREDENTIALS").unwrap_or("prod");
    match chosen.to_ascii_lowercase().as_str() {
        "prod" => Some(&[Way::Environment, Way::Workload, Way::Machine]),
        "environmentcredential" => Some(&[Way::Environment]),
        "workloadidentitycredential" => Some(&[Way::Workload]),
        "managedidentitycredential" => Some(&[Way::Machine]),
        _ => {
            let message = format!(
                "{chosen:?} is no way to credentials that a server has: write prod, EnvironmentCredential, \
                 WorkloadIdentityCredential or ManagedIdentityCredential"
            );
            wrong(reader, "AZURE_TOKEN_CREDENTIALS", message);
            None
        }
    }
}

/// What an application would prove itself with that way, where the variables for it are there; an inner `None` where they
/// ask for what is not supported.
fn proof(reader: &mut Reader<'_>, variables: &Variables<'_>, way: Way) -> Option<Option<AzureProof>> {
    match way {
        Way::Environment => {
            if let Some(secret) = variables.get("AZURE_CLIENT_SECRET") {
                return Some(Some(AzureProof::Secret(Secret::new(secret))));
            }
            for name in ["AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME"] {
                if variables.get(name).is_some() {
                    wrong(
                        reader,
                        name,
                        "is not supported: set AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE instead, \
                        or use a managed identity",
                    );
                    return Some(None);
                }
            }
            None
        }
        Way::Workload => {
            let file = variables.get("AZURE_FEDERATED_TOKEN_FILE")?;
            Some(Some(AzureProof::FederatedToken(PathBuf::from(file))))
        }
        Way::Machine => None,
    }
}

fn application(
    reader: &mut Reader<'_>,
    variables: &Variables<'_>,
    tenant: &str,
    client: &str,
    proof: AzureProof,
) -> Option<AzureIdentity> {
    // `checkTenantId` of the same package.
    if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')) {
        wrong(reader, "AZURE_TENANT_ID", format!("{tenant:?} is no tenant: write its id or one of its domains"));
        return None;
    }
    const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
    let authority = match variables.get(AUTHORITY) {
        Some(_) => variables.url(reader, AUTHORITY)?,
        None => PUBLIC_CLOUD.parse().ok()?,
    };
    if authority.scheme() != "https" {
        wrong(reader, AUTHORITY, "would get secrets in cleartext: write a URL with https");
        return None;
    }
    Some(AzureIdentity::Application { tenant: tenant.to_owned(), client: client.to_owned(), proof, authority })
}

fn machine(reader: &mut Reader<'_>, variables: &Variables<'_>, client: Option<&str>) -> Option<AzureIdentity> {
    let endpoint = match (variables.get("IDENTITY_ENDPOINT"), variables.get("IDENTITY_HEADER")) {
        (Some(_), Some(header)) if variables.get("IDENTITY_SERVER_THUMBPRINT").is_none() => {
            let url = variables.url(reader, "IDENTITY_ENDPOINT")?;
            MachineEndpoint::Beside { url, header: Secret::new(header) }
        }
        (Some(_), _) => {
            wrong(
                reader,
                "IDENTITY_ENDPOINT",
                "is that of Service Fabric or Azure Arc, which is not supported: set \
                AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID and AZURE_CLIENT_ID instead",
            );
            return None;
        }
        (None, _) => {
            const HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
            let host = match variables.get(HOST) {
                Some(_) => variables.url(reader, HOST)?,
                None => METADATA_HOST.parse().ok()?,
            };
            MachineEndpoint::Metadata(host.join(METADATA_PATH).ok()?)
        }
    };
    Some(AzureIdentity::Machine { client: client.map(str::to_owned), endpoint })
}

fn wrong(reader: &mut Reader<'_>, variable: &str, message: impl Into<String>) {
    reader.problems.push(Problem::new(variable, None, message));
}

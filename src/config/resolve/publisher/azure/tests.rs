use super::*;
use crate::config::testing::{Folder, problems, resolved};
use crate::config::{Configuration, Problems, load};
use crate::storage::{AzureProof, MachineEndpoint, StoreOptions};

fn azure(text: &str) -> String {
    format!("techdocs: {{publisher: {{type: azureBlobStorage, azureBlobStorage: {{containerName: docs, {text}}}}}}}\n")
}

fn options(configuration: &Configuration) -> &AzureOptions {
    match &configuration.resolved.storage.origins[0].store {
        StoreOptions::Azure(options) => options,
        other => panic!("{other:?}"),
    }
}

/// The same without a key, among these variables.
fn among(variables: &[(&str, &str)], ours: &str) -> Result<Configuration, Problems> {
    let text = format!("{}{ours}", azure("credentials: {accountName: acme}"));
    let folder = Folder::new(&[("app-config.yaml", text.as_str())]);
    load(&folder.sources(&[], variables)).unwrap().resolve()
}

fn identity(variables: &[(&str, &str)]) -> AzureIdentity {
    match &options(&among(variables, "").unwrap()).access {
        AzureAccess::Identity(identity) => identity.clone(),
        other => panic!("{other:?}"),
    }
}

fn told(variables: &[(&str, &str)], ours: &str) -> Vec<String> {
    among(variables, ours).expect_err("problems").iter().map(ToString::to_string).collect()
}

#[test]
fn a_key_and_its_account_are_read_and_not_shown() {
    let text = azure("bucketRootPath: /a/, credentials: {accountName: acme, accountKey: c2VzYW1l}");
    let configuration = resolved(&text).unwrap();
    let azure = options(&configuration);
    assert_eq!((azure.container.as_str(), azure.account.as_str()), ("docs", "acme"));
    assert_eq!(azure.endpoint.as_str(), "https://acme.blob.core.windows.net/");
    assert!(matches!(&azure.access, AzureAccess::Key(key) if key.expose() == b"c2VzYW1l"));
    assert_eq!(configuration.resolved.storage.origins[0].layout.root_path, "a");
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("c2VzYW1l"), "{printed}");
}

#[test]
fn a_connection_string_counts_before_credentials_and_is_not_shown() {
    let text = azure(
        "connectionString: 'BlobEndpoint=https://x.example.com/;AccountName=acme;SharedAccessSignature=sig=sesame', \
         credentials: {accountName: other, accountKey: a2V5}",
    );
    let configuration = resolved(&text).unwrap();
    let azure = options(&configuration);
    assert_eq!((azure.account.as_str(), azure.endpoint.as_str()), ("acme", "https://x.example.com/"));
    assert!(matches!(azure.access, AzureAccess::Signature(_)));
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("sesame"), "{printed}");
}

#[test]
fn everything_that_is_wrong_is_told_at_its_key() {
    let told = problems("techdocs: {publisher: {type: azureBlobStorage, azureBlobStorage: {containerName: A/b}}}");
    assert!(told[0].contains("containerName (app-config.yaml:1): \"A/b\" is no container's name"), "{told:?}");
    assert!(told[1].contains("credentials.accountName: required where there is no connectionString"), "{told:?}");
    let told = problems(&azure("connectionString: 'AccountKey=sesame!'"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|told| told.contains(".connectionString (app-config.yaml:1): has")), "{told:?}");
    let told = problems(&azure("credentials: {accountName: a.b, accountKey: 'not base64'}"));
    assert!(told[0].contains("accountName (app-config.yaml:1): \"a.b\" is no storage account's name"), "{told:?}");
}

#[test]
fn without_a_key_the_variables_are_looked_at_as_upstream_does() {
    let application = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app")];
    let with = |more: &[(&'static str, &'static str)]| identity(&[&application[..], more].concat());
    let secret = ("AZURE_CLIENT_SECRET", "sesame");
    let file = ("AZURE_FEDERATED_TOKEN_FILE", "/run/token");
    let AzureIdentity::Application { tenant, client, proof, authority } = with(&[secret, file]) else { panic!() };
    assert_eq!((tenant.as_str(), client.as_str()), ("tenant", "app"));
    assert_eq!(authority.as_str(), "https://login.microsoftonline.com/");
    assert!(matches!(proof, AzureProof::Secret(secret) if secret.expose() == b"sesame"));
    for variables in [&[file][..], &[secret, file, ("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")]] {
        let AzureIdentity::Application { proof, .. } = with(variables) else { panic!() };
        assert!(matches!(proof, AzureProof::FederatedToken(path) if path == std::path::Path::new("/run/token")));
    }
    let AzureIdentity::Machine { client, endpoint: MachineEndpoint::Metadata(url) } = with(&[]) else { panic!() };
    assert_eq!((client.as_deref(), url.path()), (Some("app"), "/metadata/identity/oauth2/token"));
    assert_eq!(url.host_str(), Some("169.254.169.254"));
    let beside = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"), ("IDENTITY_HEADER", "sesame")];
    let AzureIdentity::Machine { client: None, endpoint } = identity(&beside) else { panic!() };
    assert!(matches!(endpoint, MachineEndpoint::Beside { url, .. } if url.path() == "/msi/token"));
}

#[test]
fn what_the_variables_ask_for_in_vain_is_a_problem() {
    let application = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app")];
    let with = |more: &[(&'static str, &'static str)]| told(&[&application[..], more].concat(), "");
    let secret = ("AZURE_CLIENT_SECRET", "sesame");
    for (variables, expected) in [
        (&[("AZURE_CLIENT_CERTIFICATE_PATH", "/a.pem")][..], "AZURE_CLIENT_CERTIFICATE_PATH: is not supported"),
        (&[("AZURE_TOKEN_CREDENTIALS", "dev")], "AZURE_TOKEN_CREDENTIALS: \"dev\" is no way"),
        (&[("AZURE_TOKEN_CREDENTIALS", "environmentcredential")], "AZURE_TOKEN_CREDENTIALS: names a way that other"),
        (
            &[secret, ("AZURE_AUTHORITY_HOST", "http://login.test")],
            "AZURE_AUTHORITY_HOST: would get secrets in cleartext",
        ),
        (&[secret, ("AZURE_AUTHORITY_HOST", "login.test")], "AZURE_AUTHORITY_HOST: \"login.test\" is not a URL"),
        (
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:40342/x")],
            "IDENTITY_ENDPOINT: is that of Service Fabric or Azure Arc",
        ),
    ] {
        let told = with(variables);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
    let told = told(&[("AZURE_TENANT_ID", "a/b"), ("AZURE_CLIENT_ID", "app"), secret], "");
    assert!(told[0].starts_with("AZURE_TENANT_ID: \"a/b\" is no tenant"), "{told:?}");
}

#[test]
fn a_key_whose_variable_is_missing_is_warned_of() {
    let text = azure("credentials: {accountName: acme, accountKey: '${NO_KEY}'}");
    let warnings = resolved(&text).unwrap().warnings;
    let warning = warnings.iter().find(|warning| warning.key.ends_with("accountKey")).unwrap();
    assert!(warning.message.contains("NO_KEY is not set: the identity"), "{warning}");
}

#[test]
fn sovereign_clouds_have_keys_of_ours() {
    let ours = "callboard: {storage: {azure: {endpoint: 'https://acme.blob.core.usgovcloudapi.net', \
                authorityHost: 'https://login.microsoftonline.us'}}}";
    let variables = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s")];
    let configuration = among(&variables, ours).unwrap();
    let azure = options(&configuration);
    assert_eq!(azure.endpoint.as_str(), "https://acme.blob.core.usgovcloudapi.net/");
    let AzureAccess::Identity(AzureIdentity::Application { authority, .. }) = &azure.access else { panic!() };
    assert_eq!(authority.as_str(), "https://login.microsoftonline.us/");
    let told =
        told(&variables, "callboard: {storage: {azure: {endpoint: 'http://a.test', authorityHost: 'http://b.test'}}}");
    assert_eq!(told.len(), 2, "{told:?}");
    let of_one = "callboard: {storage: {azure: {endpoint: 'https://a.test'}}, origins: [{name: a}, \
                  {name: b, storage: {azure: {endpoint: 'https://b.test'}}}]}";
    let configuration = among(&[], of_one).unwrap();
    let endpoints: Vec<&str> = configuration
        .resolved
        .storage
        .origins
        .iter()
        .map(|origin| match &origin.store {
            StoreOptions::Azure(options) => options.endpoint.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(endpoints, ["https://a.test/", "https://b.test/"]);
}

//! Azure role assignments.

use serde_json::json;

use super::quote::{shell, terraform};
use super::{Form, Place, Policy};

/// Its number is the same in every tenant.
const ROLE: &str = "Storage Blob Data Reader";
const ROLE_NUMBER: &str = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";

const READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";
const BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";

/// What stands for what is not known.
const ACCOUNT: &str = "ACCOUNT";
const PRINCIPAL: &str = "PRINCIPAL_ID";
const RESOURCE_GROUP: &str = "RESOURCE_GROUP";

pub(super) fn policy(place: &Place, form: Form) -> Policy {
    let text = match form {
        Form::Json => as_json(place),
        Form::Terraform => as_terraform(place),
        Form::Cli => as_commands(place),
    };
    let mut notes = vec![
        "The principal is the object id of the identity that Callboard runs as. It needs no other role: Reader and \
         Contributor on the account can list its keys or more."
            .to_owned(),
    ];
    if !place.root_path.is_empty() {
        notes.push("A shared access signature can't be bound to a root path; a role assignment can.".to_owned());
    }
    Policy { text, notes }
}

/// Blobs below the root path, and listings that ask for nothing else.
fn condition(place: &Place) -> Option<String> {
    let prefix = place.prefix();
    (!prefix.is_empty()).then(|| {
        format!(
            "((!(ActionMatches{{'{READ}'}} AND NOT SubOperationMatches{{'Blob.List'}})) OR \
             (@Resource[{BLOBS}:path] StringStartsWith '{prefix}')) AND \
             ((!(ActionMatches{{'{READ}'}} AND SubOperationMatches{{'Blob.List'}})) OR \
             (@Request[{BLOBS}:prefix] StringStartsWith '{prefix}'))"
        )
    })
}

fn as_json(place: &Place) -> String {
    let mut properties = json!({
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{ROLE_NUMBER}"),
        "principalId": place.user.as_deref().unwrap_or(PRINCIPAL),
        "principalType": "ServicePrincipal",
    });
    if let (Some(condition), Some(properties)) = (condition(place), properties.as_object_mut()) {
        properties.insert("condition".to_owned(), json!(condition));
        properties.insert("conditionVersion".to_owned(), json!("2.0"));
    }
    format!("{:#}", json!({ "properties": properties }))
}

fn as_commands(place: &Place) -> String {
    let account = shell(place.account.as_deref().unwrap_or(ACCOUNT));
    let container = shell(&place.bucket);
    let condition = condition(place)
        .map_or(String::new(), |condition| format!(" \\\n  --condition-version 2.0 --condition {}", shell(&condition)));
    format!(
        "az role assignment create --role {} \\\n  \
           --assignee-object-id {} --assignee-principal-type ServicePrincipal \\\n  \
           --scope \"$(az storage account show --name {account} --query id --output tsv)/blobServices/default/containers/\"{container}{condition}\n\n\
         # Or, where Callboard reads with a shared access signature:\n\
         az storage container generate-sas --account-name {account} --name {container} --permissions rl --https-only \\\n  \
           --auth-mode login --as-user --expiry \"$(date -u -d '+7 days' +%Y-%m-%dT%H:%MZ)\"",
        shell(ROLE),
        shell(place.user.as_deref().unwrap_or(PRINCIPAL)),
    )
}

fn as_terraform(place: &Place) -> String {
    let condition = condition(place).map_or(String::new(), |condition| {
        format!("\n  condition_version    = \"2.0\"\n  condition            = {}", terraform(&condition))
    });
    format!(
        "data \"azurerm_storage_account\" \"callboard\" {{\n  name                = {}\n  \
           resource_group_name = \"{RESOURCE_GROUP}\"\n}}\n\n\
         resource \"azurerm_role_assignment\" \"callboard\" {{\n  \
           scope                = join(\"/\", [data.azurerm_storage_account.callboard.id, \"blobServices/default/containers\", {}])\n  \
           role_definition_name = {}\n  principal_id         = {}{condition}\n}}",
        terraform(place.account.as_deref().unwrap_or(ACCOUNT)),
        terraform(&place.bucket),
        terraform(ROLE),
        terraform(place.user.as_deref().unwrap_or(PRINCIPAL)),
    )
}

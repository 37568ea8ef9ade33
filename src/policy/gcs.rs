//! Google Cloud IAM.

use serde_json::{Value, json};

use super::quote::{shell, terraform};
use super::{Form, Place, Policy};

const ROLE: &str = "roles/storage.objectViewer";
const TITLE: &str = "callboard-root-path";

/// Who reads, where nobody is named.
const MEMBER: &str = "serviceAccount:callboard@PROJECT.iam.gserviceaccount.com";

pub(super) fn policy(place: &Place, form: Form) -> Policy {
    let member = place.user.clone().unwrap_or_else(|| MEMBER.to_owned());
    let text = match form {
        Form::Json => format!("{:#}", json!({ "bindings": [binding(place, &member)], "version": 3 })),
        Form::Terraform => as_terraform(place, &member),
        Form::Cli => as_command(place, &member),
    };
    let mut notes = Vec::new();
    if place.user.is_none() {
        notes.push("Write the service account that Callboard runs as in place of the one shown.".to_owned());
    }
    if !place.root_path.is_empty() {
        notes.push(
            "Conditions need uniform bucket-level access. The role without this condition elsewhere (on the project, say) \
             makes it void."
                .to_owned(),
        );
    }
    Policy { text, notes }
}

fn binding(place: &Place, member: &str) -> Value {
    let mut binding = json!({ "role": ROLE, "members": [member] });
    if let (Some(condition), Some(binding)) = (condition(place), binding.as_object_mut()) {
        binding.insert("condition".to_owned(), json!({ "title": TITLE, "expression": condition }));
    }
    binding
}

/// Objects below the root path, and listings that ask for nothing else.
fn condition(place: &Place) -> Option<String> {
    let prefix = place.prefix();
    (!prefix.is_empty()).then(|| {
        format!(
            "resource.name.startsWith('projects/_/buckets/{}/objects/{prefix}') || \
             api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('{prefix}')",
            place.bucket
        )
    })
}

fn as_command(place: &Place, member: &str) -> String {
    let command = format!(
        "gcloud storage buckets add-iam-policy-binding {} --member={} --role={ROLE}",
        shell(&format!("gs://{}", place.bucket)),
        shell(member)
    );
    match condition(place) {
        // Commas in an expression would end it on the command line.
        Some(condition) => {
            let condition = json!({ "title": TITLE, "expression": condition });
            format!(
                "printf %s {} > callboard-condition.json\n{command} --condition-from-file=callboard-condition.json",
                shell(&condition.to_string())
            )
        }
        None => format!("{command} --condition=None"),
    }
}

fn as_terraform(place: &Place, member: &str) -> String {
    let condition = condition(place).map_or(String::new(), |expression| {
        format!(
            "\n\n  condition {{\n    title      = {}\n    expression = {}\n  }}",
            terraform(TITLE),
            terraform(&expression)
        )
    });
    format!(
        "resource \"google_storage_bucket_iam_member\" \"callboard\" {{\n  bucket = {}\n  role   = {}\n  member = {}{condition}\n}}",
        terraform(&place.bucket),
        terraform(ROLE),
        terraform(member)
    )
}

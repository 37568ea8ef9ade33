//! Swift's container ACLs and Keystone's application credentials.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::quote::shell;
use super::{Form, Place, Policy};

/// What stands for what is not known.
const PROJECT: &str = "PROJECT_ID";
const USER: &str = "PROJECT_ID:USER_ID";

/// A path as requests spell it, which is what rules are held against.
const UNENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

pub(super) fn policy(place: &Place, form: Form) -> Option<Policy> {
    let text = match form {
        Form::Json => format!("{:#}", rules(place)),
        Form::Cli => format!(
            "# The container may be read by this user:\n\
             swift post --read-acl {} {}\n\n\
             # And its credential may ask for nothing else:\n\
             openstack application credential create callboard --role reader --access-rules {}",
            shell(place.user.as_deref().unwrap_or(USER)),
            shell(&place.bucket),
            shell(&rules(place).to_string())
        ),
        Form::Terraform => return None,
    };
    let mut notes = vec![
        "Access rules are held by Keystone's middleware in front of Swift, where its service_type is object-store; an ACL \
         alone lets a user of the project with the member role write."
            .to_owned(),
    ];
    if !place.root_path.is_empty() {
        notes.push("Swift can't bind listings to a root path: they are allowed for the whole container.".to_owned());
    }
    Some(Policy { text, notes })
}

/// Reading objects below the root path, and listing the container.
fn rules(place: &Place) -> Value {
    let account = place.account.as_deref().unwrap_or(PROJECT);
    let container = format!("/v1/AUTH_{account}/{}", utf8_percent_encode(&place.bucket, UNENCODED));
    let objects = format!("{container}/{}**", utf8_percent_encode(&place.prefix(), UNENCODED));
    let rule = |method: &str, path: &str| json!({ "service": "object-store", "method": method, "path": path });
    json!([rule("GET", &objects), rule("HEAD", &objects), rule("GET", &container)])
}

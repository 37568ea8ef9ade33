//! `azureBlobStorage`.

mod connection_string;
mod identity;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use self::connection_string::{Connection, parse};
use crate::config::formats::{SECRET, TEXT, URL};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::storage::{AzureAccess, AzureIdentity, AzureOptions};

/// Where an account's containers are, unless something else is said.
const PUBLIC_CLOUD: &str = "blob.core.windows.net";

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> Option<AzureOptions> {
    let container_key = format!("{section}.containerName");
    let container = reader.required(
        &container_key,
        &TEXT,
        " where the publisher's type is azureBlobStorage: write the container's name",
    );
    if let Some(name) = container.as_ref().filter(|name| !is_container(name)) {
        let message = format!("{name:?} is no container's name: write 3 to 63 lower-case letters, digits and dashes");
        reader.wrong(&container_key, message);
    }
    let (account, endpoint, access) = read_access(reader, loaded, section)?;
    Some(AzureOptions { container: container?, account, endpoint, access })
}

/// What of ours stands in `base`, which is what upstream has no keys for.
pub(in crate::config::resolve) fn read_ours(reader: &mut Reader<'_>, base: &str) -> Ours {
    let [endpoint, authority] = ["endpoint", "authorityHost"].map(|name| {
        let key = format!("{base}.azure.{name}");
        let url = reader.optional(&key, &URL);
        if url.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
            reader.wrong(&key, "has a query or fragment: write scheme and host only");
        }
        url
    });
    if authority.as_ref().is_some_and(|url| url.scheme() != "https") {
        let key = format!("{base}.azure.authorityHost");
        reader.wrong(&key, "would get secrets in cleartext: write a URL with https");
    }
    Ours { endpoint, authority }
}

/// `callboard.storage.azure`, or what stands in its place for one origin.
#[derive(Debug, Clone, Default)]
pub(in crate::config::resolve) struct Ours {
    endpoint: Option<Url>,
    authority: Option<Url>,
}

impl Ours {
    /// This, and where it says nothing, what `defaults` says.
    pub(in crate::config::resolve) fn or(self, defaults: &Self) -> Self {
        Self {
            endpoint: self.endpoint.or_else(|| defaults.endpoint.clone()),
            authority: self.authority.or_else(|| defaults.authority.clone()),
        }
    }

    /// Has the options say this; a connection string says where to go itself.
    pub(in crate::config::resolve) fn apply(&self, reader: &mut Reader<'_>, base: &str, options: &mut AzureOptions) {
        if let (Some(endpoint), true) = (&self.endpoint, is_usual(options)) {
            options.endpoint = endpoint.clone();
        }
        if let AzureAccess::Identity(identity) = &mut options.access {
            if let (AzureIdentity::Application { authority, .. }, Some(ours)) = (identity, &self.authority) {
                *authority = ours.clone();
            }
            if options.endpoint.scheme() == "http" {
                reader.wrong(
                    &format!("{base}.azure.endpoint"),
                    "would get tokens in cleartext, which Azure does not take either: write a URL with https",
                );
            }
        }
    }
}

/// Account, endpoint and what is shown there (`@backstage/plugin-techdocs-node`, `src/stages/publish/azureBlobStorage.ts`).
fn read_access(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> Option<(String, Url, AzureAccess)> {
    let string_key = format!("{section}.connectionString");
    let key = |name: &str| format!("{section}.credentials.{name}");
    let (name_key, account_key) = (key("accountName"), key("accountKey"));
    let string = reader.optional(&string_key, &SECRET);
    let (name, secret) = (reader.optional(&name_key, &TEXT), reader.optional(&account_key, &SECRET));
    if let Some(string) = string {
        return match parse(string.expose_text().unwrap_or_default()) {
            Ok(Connection { account, endpoint, access }) => Some((account, endpoint, access)),
            Err(wrong) => {
                wrong.iter().for_each(|wrong| reader.wrong(&string_key, wrong));
                None
            }
        };
    }
    if reader.has(&string_key) {
        return None;
    }
    let Some(account) = name else {
        if !reader.has(&name_key) {
            reader.required(&name_key, &TEXT, " where there is no connectionString: write the storage account's name");
        }
        return None;
    };
    if !is_account(&account) {
        reader.wrong(&name_key, format!("{account:?} is no storage account's name: write letters and digits"));
        return None;
    }
    let endpoint = usual_endpoint(&account)?;
    let access = match secret {
        Some(secret) => {
            if !is_base64(secret.expose_text().unwrap_or_default()) {
                reader.wrong(&account_key, "is not base64: copy the account's key again");
            }
            AzureAccess::Key(secret)
        }
        None => {
            if let Some(reason) = reader.unset(&account_key) {
                reader.warn(
                    &account_key,
                    format!("{reason}: the identity in AZURE_* variables or of the machine is used"),
                );
            }
            AzureAccess::Identity(identity::read(reader, loaded)?)
        }
    };
    Some((account, endpoint, access))
}

fn usual_endpoint(account: &str) -> Option<Url> {
    format!("https://{account}.{PUBLIC_CLOUD}").parse().ok()
}

fn is_usual(options: &AzureOptions) -> bool {
    usual_endpoint(&options.account).as_ref() == Some(&options.endpoint)
}

/// Whether it can stand in a host's name and in a header. Azure's are lower-case; emulators take others.
fn is_account(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Among Azure's own there are `$web` and `$root`.
fn is_container(name: &str) -> bool {
    let plain = name.strip_prefix('$').unwrap_or(name);
    (3..=63).contains(&name.len())
        && plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && BASE64_STANDARD.decode(text).is_ok()
}

#[cfg(test)]
mod tests;

//! `openStackSwift`.

use crate::config::formats::{SECRET, TEXT, URL};
use crate::config::reader::Reader;
use crate::storage::SwiftOptions;

/// Where these keys are needed.
const WHERE: &str = " where the publisher's type is openStackSwift: write";

/// What stands in `section`; `None` where it can't be used, which is told.
pub(super) fn read(reader: &mut Reader<'_>, section: &str) -> Option<SwiftOptions> {
    let key = |name: &str| format!("{section}.{name}");
    let container = reader.required(&key("containerName"), &TEXT, &format!("{WHERE} the container's name"));
    if let Some(name) = container.as_ref().filter(|name| name.contains('/') || matches!(name.as_str(), "." | "..")) {
        let problem = format!("{name:?} is no container's name: write the path below it as bucketRootPath");
        reader.wrong(&key("containerName"), problem);
    }
    let auth_url = reader.required(&key("authUrl"), &URL, &format!("{WHERE} the address of Keystone"));
    let swift_url = reader.optional(&key("swiftUrl"), &URL);
    for (name, url) in [("authUrl", &auth_url), ("swiftUrl", &swift_url)] {
        if url.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
            reader.wrong(&key(name), "has a query or fragment: write scheme, host, port and path only");
        }
    }
    let id = reader.required(&key("credentials.id"), &TEXT, &format!("{WHERE} the id of an application credential"));
    let secret = reader.required(&key("credentials.secret"), &SECRET, &format!("{WHERE} its secret"));
    for name in reader.keys(&key("credentials")) {
        if !["id", "secret"].contains(&name.as_str()) {
            reader.wrong(&key(&format!("credentials.{name}")), "is not supported: write id and secret");
        }
    }
    let region = reader.optional(&key("region"), &TEXT);
    Some(SwiftOptions {
        container: container?,
        auth_url: auth_url?,
        swift_url,
        region,
        credential_id: id?,
        secret: secret?,
    })
}

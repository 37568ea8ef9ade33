//! `awsS3`.

use crate::config::formats::{FLAG, PROXY, SECRET, TEXT, URL};
use crate::config::reader::Reader;
use crate::config::resolve::storage::count;
use crate::secret::Secret;
use crate::storage::{S3Keys, S3Options};

pub(super) fn read(reader: &mut Reader<'_>, section: &str) -> S3Options {
    let key = |name: &str| format!("{section}.{name}");
    let bucket =
        reader.required(&key("bucketName"), &TEXT, " where the publisher's type is awsS3: write the bucket's name");
    let region = reader.optional(&key("region"), &TEXT);
    let endpoint = reader.optional(&key("endpoint"), &URL);
    if endpoint.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        reader.wrong(&key("endpoint"), "has a query or fragment: write scheme, host and port only");
    }
    S3Options {
        bucket: bucket.unwrap_or_default(),
        region,
        endpoint,
        force_path_style: reader.or(&key("s3ForcePathStyle"), &FLAG, false),
        keys: read_keys(reader, section),
        proxy: reader.optional(&key("httpsProxy"), &PROXY).map(|url| Secret::new(String::from(url))),
        max_attempts: count(reader, &key("maxAttempts"), 3, 1..=10),
        // Ours, and read with the rest of ours.
        forbidden_is_absent: false,
    }
}

/// The static key pair. Every other way to credentials that the file asks for is told rather than passed over, since
/// the store would then be read with other rights than the operator believes.
fn read_keys(reader: &mut Reader<'_>, section: &str) -> Option<S3Keys> {
    let id_key = format!("{section}.credentials.accessKeyId");
    let secret_key = format!("{section}.credentials.secretAccessKey");
    for name in ["accountId", "credentials.roleArn"] {
        let key = format!("{section}.{name}");
        if reader.has(&key) {
            reader.wrong(
                &key,
                "is not supported by this version yet: write credentials.accessKeyId and credentials.secretAccessKey, or \
                 leave both out to use AWS_* variables, web identity, container or instance credentials",
            );
        }
    }
    for name in reader.keys(&format!("{section}.credentials")) {
        if !["accessKeyId", "secretAccessKey", "roleArn"].contains(&name.as_str()) {
            let key = format!("{section}.credentials.{name}");
            reader.wrong(&key, "is not supported: write accessKeyId and secretAccessKey");
        }
    }
    let id = reader.optional(&id_key, &TEXT);
    let secret = reader.optional(&secret_key, &SECRET);
    let wrong = reader.has(&id_key) != id.is_some() || reader.has(&secret_key) != secret.is_some();
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            return Some(S3Keys { access_key_id, secret_access_key });
        }
        (None, None) => warn_of_other_credentials(reader),
        // One of them is there and has a problem already.
        _ if wrong => {}
        (Some(_), None) => half_a_pair(reader, &id_key, &secret_key),
        (None, Some(_)) => half_a_pair(reader, &secret_key, &id_key),
    }
    None
}

fn half_a_pair(reader: &mut Reader<'_>, present: &str, missing: &str) {
    let last = missing.rsplit('.').next().unwrap_or(missing);
    let because = reader.unset(missing).map_or(String::new(), |reason| format!(" ({reason})"));
    reader.wrong(present, format!("stands without {last}{because}: write both, or neither"));
}

/// Where Backstage would take credentials from when the publisher's own section has none
/// (`@backstage/plugin-techdocs-node`, `src/stages/publish/awsS3.ts`).
fn warn_of_other_credentials(reader: &mut Reader<'_>) {
    for key in ["integrations.awsS3", "aws.mainAccount.accessKeyId", "aws.mainAccount.profile"] {
        if reader.has(key) {
            reader.warn(
                key,
                "this version does not read credentials from here: it uses techdocs.publisher.awsS3.credentials, or else \
                 AWS_* variables, web identity, container or instance credentials",
            );
        }
    }
}

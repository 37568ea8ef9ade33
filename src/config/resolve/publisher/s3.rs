//! `awsS3`.

use super::aws;
use crate::config::formats::{FLAG, PROXY, TEXT, URL};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::resolve::otlp::variables::Variables;
use crate::config::resolve::storage::count;
use crate::secret::Secret;
use crate::storage::{ForbiddenIsAbsent, S3Options};

/// Where AWS's own programs take an endpoint from.
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> S3Options {
    let key = |name: &str| format!("{section}.{name}");
    let bucket =
        reader.required(&key("bucketName"), &TEXT, " where the publisher's type is awsS3: write the bucket's name");
    let region = reader.optional(&key("region"), &TEXT);
    let endpoint = read_endpoint(reader, loaded, &key("endpoint"));
    S3Options {
        bucket: bucket.unwrap_or_default(),
        credentials: aws::read(reader, loaded, section, region.as_deref()),
        region,
        endpoint,
        force_path_style: reader.or(&key("s3ForcePathStyle"), &FLAG, false),
        proxy: reader.optional(&key("httpsProxy"), &PROXY).map(|url| Secret::new(String::from(url))),
        max_attempts: count(reader, &key("maxAttempts"), 3, 1..=10),
        // Ours, and read with the rest of ours.
        forbidden_is_absent: ForbiddenIsAbsent::Auto,
    }
}

fn read_endpoint(reader: &mut Reader<'_>, loaded: &Loaded, key: &str) -> Option<url::Url> {
    let variables = Variables(&loaded.environment);
    let mut of_variable = None;
    if !reader.has(key) {
        of_variable = ENDPOINT_VARIABLES.iter().find_map(|name| variables.get(reader, name, &URL));
    }
    let endpoint = match of_variable {
        Some(set) => Some(reader.or_from(key, &URL, set.value, set.origin)),
        None => reader.optional(key, &URL),
    };
    if endpoint.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        reader.wrong(key, "has a query or fragment: write scheme, host and port only");
    }
    endpoint
}

//! `techdocs.publisher` and `callboard.storage`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::breaker::Rules;
use crate::config::formats::{COUNT, DURATION, FLAG, PROXY, SECRET, TEXT, URL};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::unknown::nearest;
use crate::docs;
use crate::secret::Secret;
use crate::storage::{Options, Origin, S3Keys, S3Options};

/// What the store's own client may be told to wait or to hold: a misplaced unit is caught, a wish is not.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);
const PLACES: RangeInclusive<u64> = 1..=65_536;

/// Publisher types that this version reads from.
const SUPPORTED: &str = "local, awsS3";
/// Those of Backstage, and our `sftp`, that a later version will.
const LATER: [&str; 4] = ["googleGcs", "azureBlobStorage", "openStackSwift", "sftp"];

/// The store, with the path in it under which the sites are.
pub(super) struct Publisher {
    pub(super) origin: Origin,
    root_path: String,
    case_sensitive_triplet: bool,
}

/// `techdocs`.
pub(super) fn read_publisher(reader: &mut Reader<'_>, loaded: &Loaded) -> Publisher {
    let (origin, root_path) = read_origin(reader, loaded);
    let case_sensitive_triplet = reader.or("techdocs.legacyUseCaseSensitiveTripletPaths", &FLAG, false);
    Publisher { origin, root_path, case_sensitive_triplet }
}

/// `callboard.storage`.
pub(super) fn read(reader: &mut Reader<'_>, publisher: Publisher) -> (docs::Options, Options) {
    let Publisher { mut origin, root_path, case_sensitive_triplet } = publisher;
    let timeout = reader.within("callboard.storage.timeout", &DURATION, Duration::from_secs(10), TIMEOUTS);
    let max_concurrent = count(reader, "callboard.storage.maxConcurrent", 64, PLACES);
    // Zero is a choice: whoever finds no place is turned away at once.
    let max_queue = count(reader, "callboard.storage.maxQueue", 1024, 0..=1_048_576);
    let queue_timeout = reader.within("callboard.storage.queueTimeout", &DURATION, Duration::from_secs(1), TIMEOUTS);
    let reader_timeout = reader.within("callboard.storage.readerTimeout", &DURATION, Duration::from_secs(30), TIMEOUTS);
    let max_streams = count(reader, "callboard.storage.maxStreams", 64, PLACES);
    // Read whatever the store, so that the key is known.
    let forbidden_is_absent = reader.or("callboard.storage.s3.forbiddenIsAbsent", &FLAG, false);
    if let Origin::S3(s3) = &mut origin {
        s3.forbidden_is_absent = forbidden_is_absent;
    }
    let breaker = read_breaker(reader);
    let storage =
        Options { origin, timeout, max_concurrent, max_queue, queue_timeout, reader_timeout, max_streams, breaker };
    (docs::Options { root_path, case_sensitive_triplet }, storage)
}

/// `callboard.storage.breaker`.
fn read_breaker(reader: &mut Reader<'_>) -> Option<Rules> {
    const PAUSE: &str = "callboard.storage.breaker.pause";
    const LONGEST: &str = "callboard.storage.breaker.longestPause";
    const PAUSES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
    let enabled = reader.or("callboard.storage.breaker.enabled", &FLAG, true);
    let failures = reader.within("callboard.storage.breaker.failures", &COUNT, 5, 1..=1000);
    let first_pause = reader.within(PAUSE, &DURATION, Duration::from_secs(1), PAUSES);
    let longest_pause = reader.within(LONGEST, &DURATION, Duration::from_secs(30), PAUSES);
    if longest_pause < first_pause {
        // Told at the one that somebody wrote.
        let key = if reader.has(LONGEST) { LONGEST } else { PAUSE };
        reader.wrong(key, format!("the pauses would grow shorter: write {LONGEST} no shorter than {PAUSE}"));
    }
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    enabled.then_some(Rules { failures, first_pause, longest_pause })
}

/// A count that fits whatever it sizes; the bounds see to that.
pub(super) fn count(reader: &mut Reader<'_>, key: &str, default: u64, bounds: RangeInclusive<u64>) -> usize {
    usize::try_from(reader.within(key, &COUNT, default, bounds)).unwrap_or(usize::MAX)
}

/// The store, and the path in it under which the sites are.
fn read_origin(reader: &mut Reader<'_>, loaded: &Loaded) -> (Origin, String) {
    const TYPE: &str = "techdocs.publisher.type";
    if !loaded.has_files() && !reader.has("techdocs.publisher") {
        return (Origin::Sample, String::new());
    }
    let kind = reader.or(TYPE, &TEXT, "local".to_owned());
    match kind.as_str() {
        "local" => (read_local(reader, loaded), String::new()),
        "awsS3" => {
            let root_path = reader.optional("techdocs.publisher.awsS3.bucketRootPath", &TEXT).unwrap_or_default();
            let root_path = normal_root_path(reader, &root_path);
            (Origin::S3(Box::new(read_s3(reader))), root_path)
        }
        later if LATER.contains(&later) => {
            reader.wrong(TYPE, format!("{later} is not supported by this version yet; supported: {SUPPORTED}"));
            (Origin::Sample, String::new())
        }
        other => {
            let meant = nearest(other, ["local", "awsS3"].into_iter().chain(LATER))
                .map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            reader.wrong(TYPE, format!("{other:?} is no publisher type{meant}: write one of {SUPPORTED}"));
            (Origin::Sample, String::new())
        }
    }
}

fn read_local(reader: &mut Reader<'_>, loaded: &Loaded) -> Origin {
    let directory = reader.required(
        "techdocs.publisher.local.publishDirectory",
        &TEXT,
        " where techdocs.publisher.type is local, which it is unless set: write the folder that the sites are published \
         to, or set the type to awsS3",
    );
    Origin::Local { directory: directory.map_or(PathBuf::new(), |path| loaded.directory.join(path)) }
}

fn read_s3(reader: &mut Reader<'_>) -> S3Options {
    let bucket = reader.required(
        "techdocs.publisher.awsS3.bucketName",
        &TEXT,
        " where techdocs.publisher.type is awsS3: write the bucket's name",
    );
    let region = reader.optional("techdocs.publisher.awsS3.region", &TEXT);
    let endpoint = reader.optional("techdocs.publisher.awsS3.endpoint", &URL);
    if endpoint.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        reader.wrong("techdocs.publisher.awsS3.endpoint", "has a query or fragment: write scheme, host and port only");
    }
    S3Options {
        bucket: bucket.unwrap_or_default(),
        region,
        endpoint,
        force_path_style: reader.or("techdocs.publisher.awsS3.s3ForcePathStyle", &FLAG, false),
        keys: read_keys(reader),
        proxy: reader.optional("techdocs.publisher.awsS3.httpsProxy", &PROXY).map(|url| Secret::new(String::from(url))),
        max_attempts: count(reader, "techdocs.publisher.awsS3.maxAttempts", 3, 1..=10),
        // Ours, and read with the rest of ours.
        forbidden_is_absent: false,
    }
}

/// The static key pair. Every other way to credentials that the file asks for is told rather than passed over, since
/// the store would then be read with other rights than the operator believes.
fn read_keys(reader: &mut Reader<'_>) -> Option<S3Keys> {
    const ID: &str = "techdocs.publisher.awsS3.credentials.accessKeyId";
    const KEY: &str = "techdocs.publisher.awsS3.credentials.secretAccessKey";
    for key in ["techdocs.publisher.awsS3.accountId", "techdocs.publisher.awsS3.credentials.roleArn"] {
        if reader.has(key) {
            reader.wrong(
                key,
                "is not supported by this version yet: write credentials.accessKeyId and credentials.secretAccessKey, or \
                 leave both out to use AWS_* variables, web identity, container or instance credentials",
            );
        }
    }
    for name in reader.keys("techdocs.publisher.awsS3.credentials") {
        if !["accessKeyId", "secretAccessKey", "roleArn"].contains(&name.as_str()) {
            let key = format!("techdocs.publisher.awsS3.credentials.{name}");
            reader.wrong(&key, "is not supported: write accessKeyId and secretAccessKey");
        }
    }
    let id = reader.optional(ID, &TEXT);
    let secret = reader.optional(KEY, &SECRET);
    let wrong = reader.has(ID) != id.is_some() || reader.has(KEY) != secret.is_some();
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            return Some(S3Keys { access_key_id, secret_access_key });
        }
        (None, None) => warn_of_other_credentials(reader),
        // One of them is there and has a problem already.
        _ if wrong => {}
        (Some(_), None) => half_a_pair(reader, ID, KEY),
        (None, Some(_)) => half_a_pair(reader, KEY, ID),
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

/// Without slashes at its ends or twice in a row, as upstream joins it (`normalizeExternalStorageRootPath`).
fn normal_root_path(reader: &mut Reader<'_>, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) || path.contains(char::is_control) {
        reader.wrong(
            "techdocs.publisher.awsS3.bucketRootPath",
            format!("{path:?} is no path of keys: write it without . and .. and control characters"),
        );
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::testing::{Folder, problems, resolved};

    fn s3(text: &str) -> String {
        format!("techdocs: {{publisher: {{type: awsS3, awsS3: {{bucketName: docs{text}}}}}}}")
    }

    #[test]
    fn a_local_folder_is_relative_to_the_working_directory() {
        let folder = Folder::new(&[("conf/a.yaml", "techdocs: {publisher: {local: {publishDirectory: ./site}}}")]);
        let configuration = load(&folder.sources(&["conf/a.yaml"], &[])).unwrap().resolve().unwrap();
        let Origin::Local { directory } = configuration.resolved.storage.origin else { panic!("local") };
        assert_eq!(directory, folder.path().join("site"));
    }

    #[test]
    fn without_any_file_it_is_the_sample_site_unless_a_variable_names_a_publisher() {
        let folder = Folder::new(&[]);
        let origin = |variables: &[(&str, &str)]| {
            load(&folder.sources(&[], variables))
                .unwrap()
                .resolve()
                .map(|configuration| configuration.resolved.storage.origin)
        };
        assert!(matches!(origin(&[]), Ok(Origin::Sample)));
        assert!(matches!(origin(&[("APP_CONFIG_callboard_listen", "7000")]), Ok(Origin::Sample)));
        let directory = ("APP_CONFIG_techdocs_publisher_local_publishDirectory", "/srv/site");
        assert!(matches!(origin(&[directory]), Ok(Origin::Local { .. })));
        assert!(origin(&[("APP_CONFIG_techdocs_publisher_type", "awsS3")]).is_err());
    }

    #[test]
    fn every_setting_of_s3_arrives() {
        let text = s3(
            ", bucketRootPath: /a//b/, region: eu-west-1, endpoint: 'http://127.0.0.1:9000', s3ForcePathStyle: true, \
             maxAttempts: 5, sse: AES256, httpsProxy: 'http://proxy:3128', \
             credentials: {accessKeyId: AK, secretAccessKey: sshhh}",
        );
        let configuration = resolved(&text).unwrap();
        let Origin::S3(s3) = &configuration.resolved.storage.origin else { panic!("S3") };
        assert_eq!((s3.bucket.as_str(), s3.region.as_deref(), s3.max_attempts), ("docs", Some("eu-west-1"), 5));
        assert_eq!(s3.endpoint.as_ref().map(url::Url::as_str), Some("http://127.0.0.1:9000/"));
        assert_eq!(s3.keys.as_ref().map(|keys| keys.secret_access_key.expose()), Some(b"sshhh".as_slice()));
        assert!(s3.force_path_style && s3.proxy.is_some() && !s3.forbidden_is_absent);
        assert_eq!(configuration.resolved.docs.root_path, "a/b");
        let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
        assert!(!printed.contains("sshhh"), "{printed}");
    }

    #[test]
    fn a_publisher_that_is_not_supported_yet_says_so() {
        for kind in LATER {
            let told = problems(&format!("techdocs: {{publisher: {{type: {kind}}}}}"));
            assert_eq!(
                told,
                [format!(
                    "techdocs.publisher.type (app-config.yaml:1): {kind} is not supported by this version yet; supported: local, awsS3"
                )]
            );
        }
        let told = problems("techdocs: {publisher: {type: awss3}}");
        assert!(told[0].contains("did you mean awsS3?"), "{told:?}");
    }

    #[test]
    fn what_a_publisher_needs_is_asked_for() {
        assert!(problems("a: 1")[0].starts_with("techdocs.publisher.local.publishDirectory: required where"));
        let told = problems("techdocs: {publisher: {type: awsS3, awsS3: {bucketName: '${NO_BUCKET}', endpoint: ''}}}");
        assert!(told[0].contains("required, but the environment variable NO_BUCKET is not set"), "{told:?}");
        assert!(told[1].contains("endpoint (app-config.yaml:1): is empty text, not a URL"), "{told:?}");
    }

    #[test]
    fn a_breaker_whose_pauses_would_shrink_is_a_problem_and_it_can_be_switched_off() {
        let breaker = |text: &str| {
            format!(
                "techdocs: {{publisher: {{local: {{publishDirectory: site}}}}}}\ncallboard: {{storage: {{breaker: {{{text}}}}}}}"
            )
        };
        let told = problems(&breaker("pause: 1m"));
        assert!(
            told[0].starts_with("callboard.storage.breaker.pause (app-config.yaml:2): the pauses would"),
            "{told:?}"
        );
        let told = problems(&breaker("failures: 0"));
        assert!(told[0].contains("0 is too small: write a value from 1 to 1000"), "{told:?}");
        let rules = |text: &str| resolved(&breaker(text)).unwrap().resolved.storage.breaker;
        assert!(rules("enabled: false").is_none());
        assert_eq!(rules("failures: 2").unwrap().failures, 2);
    }

    #[test]
    fn half_a_key_pair_and_other_credentials_are_problems() {
        let told = problems(&s3(", credentials: {accessKeyId: AK, secretAccessKey: '${NO_KEY}'}"));
        assert!(
            told[0].contains("accessKeyId (app-config.yaml:1): stands without secretAccessKey (the environment"),
            "{told:?}"
        );
        let told = problems(&s3(", accountId: '1', credentials: {roleArn: 'arn:aws:iam::1:role/x', foo: 1}"));
        assert_eq!(told.len(), 3, "{told:?}");
        let told = problems(&s3(", credentials: AK"));
        assert_eq!(told, ["techdocs.publisher.awsS3.credentials (app-config.yaml:1): is text: write a map of keys"]);
    }

    #[test]
    fn credentials_that_backstage_would_take_from_elsewhere_are_warned_of() {
        let text = format!("{}\nintegrations: {{awsS3: [{{accessKeyId: A}}]}}", s3(""));
        let warnings = resolved(&text).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.key == "integrations.awsS3"));
    }
}

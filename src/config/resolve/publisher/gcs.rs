//! `googleGcs`.

use std::path::{Path, PathBuf};

use url::Url;

use crate::config::Environment;
use crate::config::formats::{SECRET, TEXT, URL};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::resolve::storage::FORBIDDEN;
use crate::secret::Secret;
use crate::storage::{AwsVariables, DefaultCredentials, ForbiddenIsAbsent, GcsOptions, GoogleCredentials};

/// The metadata server of Google's machines and pods.
const METADATA_HOST: &str = "metadata.google.internal";

/// What `gcloud auth application-default login` writes, in its folder.
const WELL_KNOWN_FILE: &str = "application_default_credentials.json";

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> GcsOptions {
    let key = |name: &str| format!("{section}.{name}");
    let bucket =
        reader.required(&key("bucketName"), &TEXT, " where the publisher's type is googleGcs: write the bucket's name");
    let credentials_key = key("credentials");
    let credentials = reader.optional(&credentials_key, &SECRET);
    let parsed = credentials.map(|text| GoogleCredentials::parse(text.expose())).transpose();
    if let Err(problem) = &parsed {
        let message = format!(
            "{problem}. Write what is in the file of a service account's key or of workload identity federation, best as \
             {{ $file: path }}, or leave it out to use what the machine has"
        );
        reader.wrong(&credentials_key, message);
    }
    warn_of_emulator(reader, &loaded.environment);
    GcsOptions {
        bucket: bucket.unwrap_or_default(),
        credentials: parsed.unwrap_or_default(),
        default_credentials: default_credentials(&loaded.environment),
        // Ours, and read with the rest of ours.
        endpoint: None,
        forbidden_is_absent: ForbiddenIsAbsent::Auto,
    }
}

/// Upstream's client asks an emulator where this is set, and shows it no credentials.
fn warn_of_emulator(reader: &mut Reader<'_>, environment: &Environment) {
    const VARIABLE: &str = "STORAGE_EMULATOR_HOST";
    if environment.variables.contains_key(VARIABLE) {
        reader.warn(VARIABLE, "is not read: write the address as callboard.storage.gcs.endpoint");
    }
}

/// Where Google's own clients look, by their variables.
fn default_credentials(environment: &Environment) -> DefaultCredentials {
    let variable = |name: &str| environment.variables.get(name).filter(|text| !text.is_empty()).cloned();
    let file = |path: &Path| environment.directory.join(path);
    let gcloud = variable("CLOUDSDK_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config/gcloud")));
    DefaultCredentials {
        file: variable("GOOGLE_APPLICATION_CREDENTIALS").map(|path| file(Path::new(&path))),
        well_known_file: gcloud.map(|folder| file(&folder).join(WELL_KNOWN_FILE)),
        metadata_host: variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA_HOST.to_owned()),
        aws: AwsVariables {
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            access_key_id: variable("AWS_ACCESS_KEY_ID"),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            session_token: variable("AWS_SESSION_TOKEN").map(Secret::new),
        },
    }
}

/// What is ours to say of Google's buckets, in `callboard.storage.gcs`.
#[derive(Debug, Clone)]
pub(in crate::config::resolve) struct Ours {
    endpoint: Option<Url>,
    forbidden_is_absent: ForbiddenIsAbsent,
}

impl Default for Ours {
    fn default() -> Self {
        Self { endpoint: None, forbidden_is_absent: ForbiddenIsAbsent::Auto }
    }
}

impl Ours {
    pub(in crate::config::resolve) fn apply(&self, options: &mut GcsOptions) {
        options.endpoint.clone_from(&self.endpoint);
        options.forbidden_is_absent = self.forbidden_is_absent;
    }
}

/// What stands in the section `gcs` at `base`; what is not said there is as in `defaults`.
pub(in crate::config::resolve) fn read_ours(reader: &mut Reader<'_>, base: &str, defaults: &Ours) -> Ours {
    let endpoint_key = format!("{base}.gcs.endpoint");
    let endpoint = reader.optional(&endpoint_key, &URL);
    if endpoint.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        reader.wrong(&endpoint_key, "has a query or fragment: write scheme, host and port only");
    }
    let forbidden_key = format!("{base}.gcs.forbiddenIsAbsent");
    Ours {
        endpoint: endpoint.or_else(|| defaults.endpoint.clone()),
        forbidden_is_absent: reader.or(&forbidden_key, &FORBIDDEN, defaults.forbidden_is_absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::testing::{Folder, problems, resolved};
    use crate::storage::StoreOptions;

    const USER: &str = r#"{"type":"authorized_user","client_id":"i","client_secret":"sshhh","refresh_token":"psst"}"#;

    fn text(more: &str) -> String {
        format!("techdocs: {{publisher: {{type: googleGcs, googleGcs: {{bucketName: docs{more}}}}}}}")
    }

    #[test]
    fn every_setting_arrives_and_no_secret_is_printed() {
        let text = format!(
            "{}\ncallboard: {{storage: {{gcs: {{endpoint: 'https://private.googleapis.com', forbiddenIsAbsent: true}}}}}}",
            text(&format!(", bucketRootPath: /a/b/, projectId: p, credentials: '{USER}'"))
        );
        let configuration = resolved(&text).unwrap();
        let origin = &configuration.resolved.storage.origins[0];
        let StoreOptions::Gcs(gcs) = &origin.store else { panic!("GCS") };
        assert_eq!((gcs.bucket.as_str(), origin.layout.root_path.as_str()), ("docs", "a/b"));
        assert_eq!(gcs.endpoint.as_ref().map(url::Url::as_str), Some("https://private.googleapis.com/"));
        assert!(gcs.credentials.is_some() && gcs.forbidden_is_absent == ForbiddenIsAbsent::Always);
        let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
        assert!(!printed.contains("sshhh") && !printed.contains("psst"), "{printed}");
    }

    #[test]
    fn credentials_that_are_none_are_a_problem_that_quotes_nothing() {
        for (credentials, reason) in
            [("swordfish", "is no JSON of Google credentials"), ("{\"type\":\"x\"}", "variant")]
        {
            let told = problems(&text(&format!(", credentials: '{credentials}'")));
            assert!(told[0].starts_with("techdocs.publisher.googleGcs.credentials (app-config.yaml:1): "), "{told:?}");
            assert!(told[0].contains(reason) && !told[0].contains("swordfish"), "{told:?}");
        }
        let told = problems("techdocs: {publisher: {type: googleGcs}}");
        assert!(told[0].starts_with("techdocs.publisher.googleGcs.bucketName: required where"), "{told:?}");
    }

    #[test]
    fn variables_say_where_the_machine_has_its_credentials() {
        let folder = Folder::new(&[("a.yaml", &text(""))]);
        let read = |variables: &[(&str, &str)]| {
            let configuration = load(&folder.sources(&["a.yaml"], variables)).unwrap().resolve().unwrap();
            let warnings = configuration.warnings.iter().map(ToString::to_string).collect::<String>();
            let StoreOptions::Gcs(gcs) = configuration.resolved.storage.origins[0].store.clone() else { panic!("GCS") };
            (gcs.default_credentials, warnings)
        };
        let (default, _) = read(&[("HOME", "/home/me"), ("GOOGLE_APPLICATION_CREDENTIALS", "key.json")]);
        assert_eq!(default.file, Some(folder.path().join("key.json")));
        let well_known = "/home/me/.config/gcloud/application_default_credentials.json";
        assert_eq!(default.well_known_file.as_deref(), Some(Path::new(well_known)));
        assert_eq!(default.metadata_host, "metadata.google.internal");
        let (default, warnings) = read(&[
            ("CLOUDSDK_CONFIG", "/c"),
            ("GCE_METADATA_HOST", "127.0.0.1:80"),
            ("STORAGE_EMULATOR_HOST", "localhost"),
        ]);
        assert_eq!(default.well_known_file.as_deref(), Some(Path::new("/c/application_default_credentials.json")));
        assert_eq!((default.file, default.metadata_host.as_str()), (None, "127.0.0.1:80"));
        assert!(warnings.contains("STORAGE_EMULATOR_HOST") && warnings.contains("gcs.endpoint"), "{warnings}");
    }
}

//! `callboard.tls`, `callboard.trust` and Backstage's `backend.https`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::auth::{CertificateName, CertificateSubject};
use crate::clock::Clock;
use crate::config::formats::{DURATION, FLAG, SECRET, TEXT, TEXTS, TLS_SWITCH, TlsSwitch};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::unknown::nearest;
use crate::config::value::Origin;
use crate::server::tls::{CertificateSource, ClientCertificates, Part, TlsOptions};
use crate::trust;

const ENABLED: &str = "callboard.tls.enabled";
const CERTIFICATES: &str = "callboard.tls.certificates";
const CLIENT_MODE: &str = "callboard.tls.clientCertificates.mode";
const CLIENT_CA_FILES: &str = "callboard.tls.clientCertificates.caFiles";
const CLIENT_SUBJECTS: &str = "callboard.tls.clientCertificates.subjects";
const THEIRS: &str = "backend.https";

/// A second looks often enough; beyond an hour a certificate may run out before its successor is seen.
const RELOADS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// How the main listener speaks TLS, and whom clients' certificates make their holders.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> (Option<TlsOptions>, Vec<CertificateSubject>) {
    let switch = reader.or(ENABLED, &TLS_SWITCH, TlsSwitch::Auto);
    let mut certificates = read_certificates(reader, loaded, switch);
    let reload_every = reader.within("callboard.tls.reloadEvery", &DURATION, Duration::from_secs(5), RELOADS);
    let client_certificates = read_client_certificates(reader, loaded);
    let subjects = read_subjects(reader);
    if certificates.is_empty() && switch != TlsSwitch::Off {
        certificates.extend(read_backstages(reader));
    }
    let has_certificate = !certificates.is_empty() || reader.has(CERTIFICATES) || reader.has(THEIRS);
    if switch == TlsSwitch::On && !has_certificate {
        reader.wrong(ENABLED, format!("is true, and there is no certificate: write {CERTIFICATES}: [{{ cert, key }}]"));
    }
    if certificates.is_empty() {
        let is_cleartext = switch == TlsSwitch::Off || !has_certificate;
        if is_cleartext && !matches!(client_certificates, ClientCertificates::None) {
            reader.wrong(CLIENT_MODE, format!("needs TLS: write {CERTIFICATES}, or mode: none"));
        }
        return (None, subjects);
    }
    (Some(TlsOptions { certificates, client_certificates, reload_every }), subjects)
}

/// `callboard.trust`.
pub(super) fn read_trust(reader: &mut Reader<'_>, loaded: &Loaded) -> trust::Options {
    trust::Options { ca_files: read_ca_files(reader, loaded, "callboard.trust.caFiles") }
}

fn read_certificates(reader: &mut Reader<'_>, loaded: &Loaded, switch: TlsSwitch) -> Vec<CertificateSource> {
    let mut sources = Vec::new();
    for entry in read_entries(reader, CERTIFICATES, ["cert", "key"]) {
        let keys = [format!("{entry}.cert"), format!("{entry}.key")];
        let cert = reader.required(&keys[0], &TEXT, ": write the path of a PEM file with the certificate chain");
        let key = reader.required(&keys[1], &TEXT, ": write the path of a PEM file with the private key");
        if let (Some(cert), Some(key)) = (cert, key) {
            let source =
                CertificateSource::Files { cert: loaded.directory.join(cert), key: loaded.directory.join(key) };
            // What is switched off need not be there.
            if switch != TlsSwitch::Off {
                try_out(reader, &source, &keys);
                sources.push(source);
            }
        }
    }
    sources
}

/// The certificate of Backstage's own listener, which is as good for ours: both have the same name or stand behind the
/// same proxy (`@backstage/backend-defaults`, `src/entrypoints/rootHttpRouter/http/config.ts`).
fn read_backstages(reader: &mut Reader<'_>) -> Option<CertificateSource> {
    if !reader.has(THEIRS) {
        return None;
    }
    if reader.is_flag(THEIRS) {
        if reader.optional(THEIRS, &FLAG) == Some(true) {
            reader.wrong(
                THEIRS,
                format!(
                    "is true: Backstage makes a certificate for itself, and Callboard has none. Write \
                     {CERTIFICATES}: [{{ cert, key }}], or {ENABLED}: false to serve in cleartext"
                ),
            );
        }
        return None;
    }
    let keys = ["backend.https.certificate.cert".to_owned(), "backend.https.certificate.key".to_owned()];
    let otherwise =
        format!(" where {THEIRS} is set, unless {ENABLED} is false: write PEM text, best as {{ $file: path }}");
    let cert = reader.required(&keys[0], &TEXT, &otherwise);
    let key = reader.required(&keys[1], &SECRET, &otherwise);
    let source = CertificateSource::Text { cert: cert?, key: key? };
    try_out(reader, &source, &keys);
    Some(source)
}

/// Reads the pair now, so that what is wrong with it is told with everything else.
fn try_out(reader: &mut Reader<'_>, source: &CertificateSource, [cert_key, key_key]: &[String; 2]) {
    let now = Clock::System.now();
    match source.load(now) {
        Ok(served) if served.is_running_out(now) => {
            reader.warn(cert_key, format!("runs out: it is valid until {}", served.valid_until()));
        }
        Ok(_) => {}
        Err(error) => {
            let key = if error.part() == Part::Cert { cert_key } else { key_key };
            reader.wrong(key, format!("{} {error}", source.place(error.part())));
        }
    }
}

fn read_client_certificates(reader: &mut Reader<'_>, loaded: &Loaded) -> ClientCertificates {
    let mode = reader.or(CLIENT_MODE, &TEXT, "none".to_owned());
    let ca_files = read_ca_files(reader, loaded, CLIENT_CA_FILES);
    let clients = match mode.as_str() {
        "none" => return ClientCertificates::None,
        "optional" => ClientCertificates::Optional { ca_files },
        "required" => ClientCertificates::Required { ca_files },
        other => {
            reader.wrong(CLIENT_MODE, format!("{other:?} is no mode: write none, optional or required"));
            return ClientCertificates::None;
        }
    };
    if clients.ca_files().is_empty() {
        reader.wrong(CLIENT_CA_FILES, format!("is empty: write the authorities' PEM files where mode is {mode}"));
    }
    clients
}

fn read_subjects(reader: &mut Reader<'_>) -> Vec<CertificateSubject> {
    let mut subjects: Vec<CertificateSubject> = Vec::new();
    for entry in read_entries(reader, CLIENT_SUBJECTS, ["certificate", "subject"]) {
        let (name_key, subject_key) = (format!("{entry}.certificate"), format!("{entry}.subject"));
        let name = reader.required(&name_key, &TEXT, ": write a name in the certificate, as in CN=ci");
        let subject = reader.required(&subject_key, &TEXT, ": write who its holder is here, as in external:ci");
        let certificate = name.as_deref().and_then(CertificateName::parse);
        if let (Some(name), None) = (&name, &certificate) {
            let forms = "URI:…, DNS:…, email:…, CN=… or a URI such as spiffe://example.org/ci";
            reader.wrong(&name_key, format!("{name:?} is no name in a certificate: write {forms}"));
        }
        if certificate.is_some() && subjects.iter().any(|known| Some(&known.certificate) == certificate.as_ref()) {
            reader.wrong(&name_key, "stands here twice: write one subject for a name");
        }
        // A plugin or a user proves itself to Backstage, whose token says so.
        let is_external = subject.as_deref().is_some_and(|subject| {
            subject.strip_prefix("external:").is_some_and(|rest| !rest.is_empty() && !rest.contains('*'))
        });
        match (certificate, subject) {
            (Some(certificate), Some(subject)) if is_external => {
                subjects.push(CertificateSubject { certificate, subject });
            }
            (_, Some(subject)) if !is_external => {
                reader.wrong(&subject_key, format!("{subject:?} is no external caller: write for example external:ci"));
            }
            _ => {}
        }
    }
    subjects
}

/// The maps in a list of them, which may hold these keys only. The list is known, and empty unless set.
fn read_entries(reader: &mut Reader<'_>, key: &str, known: [&str; 2]) -> Vec<String> {
    reader.effective.absent(key);
    let entries = reader.maps(key);
    if entries.is_empty() {
        let origin = reader.origin(key).filter(|_| reader.has(key)).unwrap_or(Origin::Default);
        reader.effective.set(key, json!([]), origin);
    }
    for entry in &entries {
        for name in reader.keys(entry).into_iter().filter(|name| !known.contains(&name.as_str())) {
            let near = nearest(&name, known).map_or(known.join(" and "), |near| format!("{entry}.{near}"));
            reader.wrong(&format!("{entry}.{name}"), format!("unknown key: write {near}"));
        }
    }
    entries
}

fn read_ca_files(reader: &mut Reader<'_>, loaded: &Loaded, key: &str) -> Vec<PathBuf> {
    let files: Vec<PathBuf> =
        reader.or(key, &TEXTS, Vec::new()).iter().map(|file| loaded.directory.join(file)).collect();
    for file in &files {
        if let Err(error) = trust::read_authorities(file) {
            reader.wrong(key, format!("{} {error}", file.display()));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::testing::Folder;
    use crate::config::{Configuration, Problems, load};

    const DOCS: &str =
        "techdocs: {publisher: {local: {publishDirectory: site}}}\nbackend: {baseUrl: 'http://b.test'}\n";
    const OURS: &str = "certificates: [{cert: tls.crt, key: tls.key}]";
    const THEIRS: &str = "backend: {https: {certificate: {cert: {$file: tls.crt}, key: {$file: tls.key}}}}\n";

    /// What comes of `text` beside a certificate that is good for so many days.
    fn resolve_with(text: &str, days: u64) -> Result<Configuration, Problems> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["docs.test".to_owned()]).unwrap();
        let now = Clock::System.now().as_secs();
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(now - 200 * 86_400), at(now + days * 86_400));
        let cert = params.self_signed(&key).unwrap().pem();
        // A file later in the list is laid over the one before.
        let files = [("a.yaml", DOCS), ("b.yaml", text), ("tls.crt", &cert), ("tls.key", &key.serialize_pem())];
        let folder = Folder::new(&files);
        load(&folder.sources(&["a.yaml", "b.yaml"], &[])).unwrap().resolve()
    }

    fn tls(text: &str) -> Option<TlsOptions> {
        resolve_with(text, 90).unwrap_or_else(|problems| panic!("{problems}")).resolved.server.tls
    }

    fn told(text: &str) -> Vec<String> {
        resolve_with(text, 90).expect_err("problems").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tls_is_spoken_where_there_is_a_certificate_and_it_is_not_switched_off() {
        let is_from_files =
            |text: &str| tls(text).map(|tls| matches!(tls.certificates.first(), Some(CertificateSource::Files { .. })));
        assert_eq!(is_from_files(""), None);
        assert_eq!(is_from_files(&format!("callboard: {{tls: {{{OURS}}}}}")), Some(true));
        assert_eq!(is_from_files(&format!("callboard: {{tls: {{enabled: true, {OURS}}}}}")), Some(true));
        assert_eq!(is_from_files(&format!("callboard: {{tls: {{enabled: false, {OURS}}}}}")), None);
        assert_eq!(is_from_files(THEIRS), Some(false));
        assert_eq!(is_from_files(&format!("{THEIRS}callboard: {{tls: {{{OURS}}}}}")), Some(true));
        for off in [THEIRS, "backend: {https: true}\n", "backend: {https: {certificate: {cert: garbage, key: b}}}\n"] {
            assert_eq!(is_from_files(&format!("{off}callboard: {{tls: {{enabled: false}}}}")), None, "{off}");
        }
        assert_eq!(is_from_files("backend: {https: false}"), None);
    }

    #[test]
    fn a_certificate_that_can_not_be_had_is_a_problem_with_a_way_out() {
        let generated = told("backend: {https: true}");
        assert!(generated[0].starts_with("backend.https (b.yaml:1): is true:"), "{generated:?}");
        assert!(generated[0].contains("callboard.tls.enabled: false"), "{generated:?}");
        let half = told("backend: {https: {certificate: {cert: a}}}");
        assert!(half[0].starts_with("backend.https.certificate.key: required where backend.https is set"), "{half:?}");
        let insisted = told("callboard: {tls: {enabled: true}}");
        assert!(insisted[0].contains("there is no certificate: write callboard.tls.certificates"), "{insisted:?}");
        assert_eq!(told("backend: {https: {certificate: {cert: garbage, key: secret}}}").len(), 1);
    }

    #[test]
    fn a_key_in_the_configuration_is_not_shown() {
        let configuration = resolve_with(THEIRS, 90).unwrap();
        let shown = format!("{:?}{}", configuration.resolved, configuration.effective.to_yaml(true));
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }

    #[test]
    fn a_certificate_that_runs_out_is_warned_of() {
        let warnings = |days| {
            let configuration = resolve_with(&format!("callboard: {{tls: {{{OURS}}}}}"), days).unwrap();
            configuration.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(warnings(10)[0].starts_with("callboard.tls.certificates[0].cert (b.yaml:1): runs out"));
        assert!(warnings(30).is_empty());
    }

    #[test]
    fn client_certificates_are_mapped_and_their_subjects_let_in() {
        let clients = "clientCertificates: {mode: optional, caFiles: [tls.crt], subjects: [\
                       {certificate: CN=ci, subject: 'external:ci'}, {certificate: 'spiffe://a/b', subject: 'external:b'}]}";
        let configuration = resolve_with(&format!("callboard: {{tls: {{{OURS}, {clients}}}}}"), 90).unwrap();
        let auth = &configuration.resolved.auth;
        assert_eq!(auth.certificates.len(), 2);
        assert_eq!(auth.allow, ["plugin:techdocs", "external:ci", "external:b"]);
    }

    #[test]
    fn what_is_wrong_with_client_certificates_is_told() {
        let told = told(&format!(
            "callboard: {{tls: {{{OURS}, clientCertificates: {{mode: optional, subjects: [\
             {{certificate: ci, subject: 'external:ci'}}, {{certificate: CN=a, subject: 'plugin:techdocs'}}, \
             {{certificate: CN=b, subject: 'external:*'}}, {{certificat: CN=c, subject: 'external:c'}}]}}}}}}"
        ));
        let keys: Vec<&str> = told.iter().filter_map(|problem| problem.split([' ', ':']).next()).collect();
        let of = |index: usize, name: &str| format!("callboard.tls.clientCertificates.subjects[{index}].{name}");
        let expected = [
            "callboard.tls.clientCertificates.caFiles".to_owned(),
            of(3, "certificat"),
            of(0, "certificate"),
            of(1, "subject"),
            of(2, "subject"),
            of(3, "certificate"),
        ];
        assert_eq!(keys, expected, "{told:#?}");
        let told = super::tests::told("callboard: {tls: {clientCertificates: {mode: always}}}");
        assert!(told[0].contains("\"always\" is no mode: write none, optional or required"), "{told:?}");
        let told = super::tests::told("callboard: {tls: {clientCertificates: {mode: optional, caFiles: [tls.crt]}}}");
        assert!(told[0].contains("needs TLS"), "{told:?}");
    }
}

//! `callboard.tls`, `callboard.trust` and Backstage's `backend.https`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::client_certificates;
use crate::auth::CertificateSubject;
use crate::clock::Clock;
use crate::config::formats::{DURATION, FLAG, Format, SECRET, TEXT, TEXTS};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::unknown::nearest;
use crate::config::value::{Origin, Value};
use crate::server::tls::{CertificateSource, ClientCertificates, Part, TlsOptions};
use crate::trust;

const ENABLED: &str = "callboard.tls.enabled";
pub(super) const CERTIFICATES: &str = "callboard.tls.certificates";
const THEIRS: &str = "backend.https";

/// A tenth of a second looks often enough; beyond an hour a certificate may run out before its successor is seen.
const RELOADS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Whether the main listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// Where there is a certificate.
    Auto,
    On,
    Off,
}

const SWITCH: Format<Switch> = Format {
    what: "a choice",
    write: "auto, true or false",
    secret: false,
    parse: |node| match &node.value {
        Value::Text(text) if text == "auto" => Ok(Switch::Auto),
        _ => (FLAG.parse)(node).map(|on| if on { Switch::On } else { Switch::Off }),
    },
    show: |switch| match switch {
        Switch::Auto => Json::from("auto"),
        Switch::On => Json::from(true),
        Switch::Off => Json::from(false),
    },
};

/// There is something, it can't be used, and a problem says so.
struct Told;

/// How the main listener speaks TLS, and whom clients' certificates make their holders.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> (Option<TlsOptions>, Vec<CertificateSubject>) {
    let switch = reader.or(ENABLED, &SWITCH, Switch::Auto);
    let ours = read_certificates(reader, loaded, switch);
    let reload_every = reader.within("callboard.tls.reloadEvery", &DURATION, Duration::from_secs(5), RELOADS);
    let (client_certificates, subjects) = client_certificates::read(reader, loaded);
    let certificates = match ours {
        Ok(ours) if ours.is_empty() && switch != Switch::Off => {
            read_backstages(reader).map(|theirs| theirs.into_iter().collect())
        }
        ours => ours,
    };
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            if switch == Switch::On {
                let otherwise = format!("write {CERTIFICATES}: [{{ cert, key }}]");
                reader.wrong(ENABLED, format!("is true, and there is no certificate: {otherwise}"));
            }
            // Who insists on certificates must not get a listener that asks for none.
            if !matches!(client_certificates, ClientCertificates::None) {
                let otherwise = format!("write {CERTIFICATES}, or mode: none");
                reader.wrong(client_certificates::MODE, format!("needs TLS, which is not spoken: {otherwise}"));
            }
            (None, subjects)
        }
        Ok(certificates) => (Some(TlsOptions { certificates, client_certificates, reload_every }), subjects),
        Err(Told) => (None, subjects),
    }
}

/// `callboard.trust`.
pub(super) fn read_trust(reader: &mut Reader<'_>, loaded: &Loaded) -> trust::Options {
    trust::Options { ca_files: read_ca_files(reader, loaded, "callboard.trust.caFiles") }
}

/// None where they are switched off: what is not served need not be there.
fn read_certificates(reader: &mut Reader<'_>, loaded: &Loaded, switch: Switch) -> Result<Vec<CertificateSource>, Told> {
    let mut sources = Vec::new();
    for entry in read_entries(reader, CERTIFICATES, ["cert", "key"]) {
        let keys = [format!("{entry}.cert"), format!("{entry}.key")];
        let cert = reader.required(&keys[0], &TEXT, ": write the path of a PEM file with the certificate chain");
        let key = reader.required(&keys[1], &TEXT, ": write the path of a PEM file with the private key");
        let pair = cert.zip(key).map(|(cert, key)| {
            let source =
                CertificateSource::Files { cert: loaded.directory.join(cert), key: loaded.directory.join(key) };
            if switch != Switch::Off {
                try_out(reader, &source, &keys);
            }
            source
        });
        sources.push(pair.ok_or(Told));
    }
    if switch == Switch::Off { Ok(Vec::new()) } else { sources.into_iter().collect() }
}

/// The certificate of Backstage's own listener, which is as good for ours: both have the same name or stand behind the
/// same proxy (`@backstage/backend-defaults`, `src/entrypoints/rootHttpRouter/http/config.ts`).
fn read_backstages(reader: &mut Reader<'_>) -> Result<Option<CertificateSource>, Told> {
    if !reader.has(THEIRS) {
        return Ok(None);
    }
    if reader.is_flag(THEIRS) {
        if reader.optional(THEIRS, &FLAG) != Some(true) {
            return Ok(None);
        }
        reader.wrong(
            THEIRS,
            format!(
                "is true: Backstage makes a certificate for itself, and Callboard has none. Write \
                 {CERTIFICATES}: [{{ cert, key }}], or {ENABLED}: false to serve in cleartext"
            ),
        );
        return Err(Told);
    }
    let keys = ["backend.https.certificate.cert".to_owned(), "backend.https.certificate.key".to_owned()];
    let otherwise =
        format!(" where {THEIRS} is set, unless {ENABLED} is false: write PEM text, best as {{ $file: path }}");
    let cert = reader.required(&keys[0], &TEXT, &otherwise);
    let key = reader.required(&keys[1], &SECRET, &otherwise);
    let (cert, key) = cert.zip(key).ok_or(Told)?;
    let source = CertificateSource::Text { cert, key };
    try_out(reader, &source, &keys);
    Ok(Some(source))
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

/// The maps in a list of them, which may hold these keys only. The list is known, and empty unless set.
pub(super) fn read_entries(reader: &mut Reader<'_>, key: &str, known: [&str; 2]) -> Vec<String> {
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

pub(super) fn read_ca_files(reader: &mut Reader<'_>, loaded: &Loaded, key: &str) -> Vec<PathBuf> {
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
pub(super) mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::testing::Folder;
    use crate::config::{Configuration, Problems, load};

    const DOCS: &str =
        "techdocs: {publisher: {local: {publishDirectory: site}}}\nbackend: {baseUrl: 'http://b.test'}\n";
    pub(in crate::config::resolve) const OURS: &str = "certificates: [{cert: tls.crt, key: tls.key}]";
    const THEIRS: &str = "backend: {https: {certificate: {cert: {$file: tls.crt}, key: {$file: tls.key}}}}\n";

    /// What comes of `text` beside a certificate that is good for so many days.
    pub(in crate::config::resolve) fn resolve_with(text: &str, days: u64) -> Result<Configuration, Problems> {
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

    pub(in crate::config::resolve) fn told(text: &str) -> Vec<String> {
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
        for nothing in [
            "callboard: {tls: {enabled: true, certificates: []}}",
            "backend: {https: false}\ncallboard: {tls: {enabled: true}}",
        ] {
            assert!(told(nothing)[0].starts_with("callboard.tls.enabled (b.yaml:"), "{nothing}");
        }
        let incomplete = told("callboard: {tls: {enabled: true, certificates: [{cert: tls.crt}]}}");
        assert_eq!(incomplete.len(), 1, "{incomplete:?}");
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
}

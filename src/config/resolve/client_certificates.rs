//! `callboard.tls.clientCertificates`.

use super::tls::{read_ca_files, read_entries};
use crate::auth::{CertificateName, CertificateSubject};
use crate::config::formats::TEXT;
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::server::tls::ClientCertificates;

pub(super) const MODE: &str = "callboard.tls.clientCertificates.mode";
const CA_FILES: &str = "callboard.tls.clientCertificates.caFiles";
const SUBJECTS: &str = "callboard.tls.clientCertificates.subjects";

/// Whether clients are asked for certificates, and whom these make their holders.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> (ClientCertificates, Vec<CertificateSubject>) {
    (read_mode(reader, loaded), read_subjects(reader))
}

fn read_mode(reader: &mut Reader<'_>, loaded: &Loaded) -> ClientCertificates {
    let mode = reader.or(MODE, &TEXT, "none".to_owned());
    let ca_files = read_ca_files(reader, loaded, CA_FILES);
    let clients = match mode.as_str() {
        "none" => return ClientCertificates::None,
        "optional" => ClientCertificates::Optional { ca_files },
        "required" => ClientCertificates::Required { ca_files },
        other => {
            reader.wrong(MODE, format!("{other:?} is no mode: write none, optional or required"));
            return ClientCertificates::None;
        }
    };
    if clients.ca_files().is_empty() {
        reader.wrong(CA_FILES, format!("is empty: write the authorities' PEM files where mode is {mode}"));
    }
    clients
}

fn read_subjects(reader: &mut Reader<'_>) -> Vec<CertificateSubject> {
    let mut subjects: Vec<CertificateSubject> = Vec::new();
    for entry in read_entries(reader, SUBJECTS, ["certificate", "subject"]) {
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

#[cfg(test)]
mod tests {
    use crate::config::resolve::tls::tests::{OURS, resolve_with, told as problems_of};

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
        let told = problems_of(&format!(
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
        let told = problems_of("callboard: {tls: {clientCertificates: {mode: always}}}");
        assert!(told[0].contains("\"always\" is no mode: write none, optional or required"), "{told:?}");
        let told = problems_of("callboard: {tls: {clientCertificates: {mode: optional, caFiles: [tls.crt]}}}");
        assert!(told[0].contains("needs TLS"), "{told:?}");
    }
}

//! `backend.auth.externalAccess` and the deprecated `backend.auth.keys`, as `@backstage/backend-defaults`,
//! `src/entrypoints/auth/external/` reads them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::auth::{AccessRestriction, ExternalAccess, ExternalMethod};
use crate::config::formats::{SECRET, TEXT, URL, WORDS};
use crate::config::js;
use crate::config::reader::Reader;
use crate::config::unknown::nearest;
use crate::secret::Secret;

const TYPES: [&str; 3] = ["static", "legacy", "jwks"];
const SHORTEST_TOKEN: usize = 8;
/// The subject of callers with one of the deprecated keys.
const LEGACY_SUBJECT: &str = "external:backstage-plugin";

pub(super) fn read(reader: &mut Reader<'_>) -> Vec<ExternalAccess> {
    let mut external = Vec::new();
    for entry in reader.maps("backend.auth.externalAccess") {
        let method = read_method(reader, &entry);
        let restrictions = read_restrictions(reader, &entry);
        external.extend(method.map(|method| ExternalAccess { method, restrictions }));
    }
    for entry in reader.maps("backend.auth.keys") {
        let secret = read_legacy_secret(reader, &format!("{entry}.secret"));
        let restrictions = read_restrictions(reader, &entry);
        external.extend(secret.map(|secret| {
            let method = ExternalMethod::Legacy { secret, subject: LEGACY_SUBJECT.to_owned() };
            ExternalAccess { method, restrictions }
        }));
    }
    external
}

fn read_method(reader: &mut Reader<'_>, entry: &str) -> Option<ExternalMethod> {
    let type_key = format!("{entry}.type");
    let kind = reader.required(&type_key, &TEXT, ": write static, legacy or jwks")?;
    let options = format!("{entry}.options");
    match kind.as_str() {
        "static" => {
            let token = read_static_token(reader, &format!("{options}.token"));
            let subject = read_subject(reader, &options);
            Some(ExternalMethod::Static { token: token?, subject: subject? })
        }
        "legacy" => {
            let secret = read_legacy_secret(reader, &format!("{options}.secret"));
            let subject = read_subject(reader, &options);
            Some(ExternalMethod::Legacy { secret: secret?, subject: subject? })
        }
        "jwks" => read_jwks(reader, &options),
        other => {
            let meant = nearest(other, TYPES).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            reader.wrong(
                &type_key,
                format!("{other:?} is no type of external access{meant}: write static, legacy or jwks"),
            );
            None
        }
    }
}

fn read_static_token(reader: &mut Reader<'_>, key: &str) -> Option<Secret> {
    let token = reader.required(key, &SECRET, ": write the token that the caller sends")?;
    let text = token.expose_text().unwrap_or_default();
    if text.contains(js::is_space) {
        reader.wrong(key, "has white space in it: write a token without any");
    } else if text.encode_utf16().count() < SHORTEST_TOKEN {
        reader.wrong(key, format!("is too short: write at least {SHORTEST_TOKEN} characters"));
    }
    Some(token)
}

/// The HS256 key. Both base64 alphabets are read, with padding or without, as upstream does.
fn read_legacy_secret(reader: &mut Reader<'_>, key: &str) -> Option<Secret> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let secret = reader.required(key, &SECRET, ": write the shared secret in base64")?;
    let text = secret.expose_text().unwrap_or_default().replace('-', "+").replace('_', "/");
    match GeneralPurpose::new(&STANDARD, config).decode(text.trim_end_matches('=')) {
        Ok(decoded) if !decoded.is_empty() => Some(Secret::new(decoded)),
        _ => {
            reader.wrong(key, "is not base64: write the shared secret in base64");
            None
        }
    }
}

fn read_subject(reader: &mut Reader<'_>, options: &str) -> Option<String> {
    let key = format!("{options}.subject");
    let subject = reader.required(&key, &TEXT, ": write a name for the caller, for example ci")?;
    if subject.contains(js::is_space) {
        reader.wrong(&key, format!("{subject:?} has white space in it: write a name without any"));
    }
    Some(subject)
}

fn read_jwks(reader: &mut Reader<'_>, options: &str) -> Option<ExternalMethod> {
    let url = reader.required(&format!("{options}.url"), &URL, ": write the address of the issuer's key set");
    let mut words = |name: &str| reader.optional(&format!("{options}.{name}"), &WORDS).unwrap_or_default();
    let (issuers, audiences, algorithms) = (words("issuer"), words("audience"), words("algorithm"));
    let subject_prefix = reader.optional(&format!("{options}.subjectPrefix"), &TEXT);
    let inside = format!("{options}.accessRestrictions");
    if reader.has(&inside) {
        // Upstream reads it there, and then never looks at it.
        reader.wrong(&inside, "restricts nothing here: move it out of options, beside type");
    }
    Some(ExternalMethod::Jwks { url: url?, issuers, audiences, algorithms, subject_prefix })
}

/// What a token is good for; `None` where nothing is said, which upstream takes an empty list for too.
fn read_restrictions(reader: &mut Reader<'_>, entry: &str) -> Option<Vec<AccessRestriction>> {
    let mut restrictions: Vec<AccessRestriction> = Vec::new();
    for key in reader.maps(&format!("{entry}.accessRestrictions")) {
        refuse_others(reader, &key, &["plugin", "permission", "permissionAttribute"]);
        let plugin_key = format!("{key}.plugin");
        let plugin = reader.required(&plugin_key, &TEXT, ": write the id of the plugin, for example techdocs");
        let attribute = format!("{key}.permissionAttribute");
        refuse_others(reader, &attribute, &["action"]);
        let permissions = reader.optional(&format!("{key}.permission"), &WORDS).filter(|words| !words.is_empty());
        let actions = read_actions(reader, &format!("{attribute}.action"));
        // An entry with a problem is kept: a list that lost its entries would restrict nothing.
        let plugin = plugin.unwrap_or_default();
        if !plugin.is_empty() && restrictions.iter().any(|known| known.plugin == plugin) {
            reader.wrong(&plugin_key, format!("{plugin} stands in two restrictions: write all of them in one"));
        }
        restrictions.push(AccessRestriction { plugin, permissions, actions });
    }
    (!restrictions.is_empty()).then_some(restrictions)
}

fn read_actions(reader: &mut Reader<'_>, key: &str) -> Option<Vec<String>> {
    let actions = reader.optional(key, &WORDS).filter(|words| !words.is_empty())?;
    for action in &actions {
        if !["create", "read", "update", "delete"].contains(&action.as_str()) {
            reader.wrong(key, format!("{action:?} is no action: write create, read, update or delete"));
        }
    }
    Some(actions)
}

/// A restriction that is misspelled must not pass for none.
pub(super) fn refuse_others(reader: &mut Reader<'_>, map: &str, known: &[&str]) {
    for name in reader.keys(map) {
        if !known.contains(&name.as_str()) {
            let meant = nearest(&name, known.iter().copied())
                .map_or_else(|| format!("known are {}", known.join(", ")), |near| format!("did you mean {near}?"));
            reader.wrong(&format!("{map}.{name}"), format!("unknown key: {meant}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    fn entries(text: &str) -> String {
        format!("{DOCS}backend: {{auth: {{externalAccess: [{text}]}}}}")
    }

    fn told(text: &str) -> String {
        let told = problems(&entries(text));
        assert_eq!(told.len(), 1, "{told:#?}");
        told.concat().replace("backend.auth.externalAccess[0]", "…").replace("app-config.yaml:2", "f")
    }

    #[test]
    fn every_kind_of_external_access_is_read() {
        let text = entries(
            "{type: static, options: {token: longenough, subject: ci}, accessRestrictions: [\
             {plugin: techdocs, permission: 'a, b', permissionAttribute: {action: [read]}}, {plugin: catalog}]}, \
             {type: legacy, options: {secret: 'YW-_', subject: old}}, \
             {type: jwks, options: {url: 'https://idp.test/keys', issuer: 'a,b c', audience: [x], algorithm: RS256}}",
        );
        let configuration = resolved(&text).unwrap();
        let external = &configuration.resolved.auth.external;
        assert_eq!(
            external[0].restrictions.as_deref(),
            Some(
                [
                    AccessRestriction {
                        plugin: "techdocs".to_owned(),
                        permissions: Some(vec!["a".to_owned(), "b".to_owned()]),
                        actions: Some(vec!["read".to_owned()]),
                    },
                    AccessRestriction { plugin: "catalog".to_owned(), permissions: None, actions: None },
                ]
                .as_slice()
            )
        );
        let ExternalMethod::Legacy { secret, subject } = &external[1].method else { panic!("legacy") };
        assert_eq!((secret.expose(), subject.as_str()), (b"ao\xbf".as_slice(), "old"));
        let ExternalMethod::Jwks { issuers, audiences, algorithms, subject_prefix, .. } = &external[2].method else {
            panic!("jwks")
        };
        assert_eq!((issuers.len(), audiences.len(), algorithms.len(), subject_prefix), (3, 1, 1, &None));
        let printed = format!("{configuration:?}{}", configuration.effective.to_json(true));
        assert!(!printed.contains("longenough") && !printed.contains("YW-_"), "{printed}");
    }

    #[test]
    fn a_token_or_secret_that_will_not_do_is_told_without_showing_it() {
        for (options, expected) in [
            ("token: sh0rt!, subject: ci", "is too short"),
            ("token: 'has sp4ce in it', subject: ci", "white space"),
            ("subject: ci", "….options.token: required"),
            ("token: longenough", "….options.subject: required"),
            ("token: 12345678, subject: ci", "is a number, not text"),
            ("token: longenough, subject: 'c i'", "\"c i\" has white space"),
        ] {
            let told = told(&format!("{{type: static, options: {{{options}}}}}"));
            assert!(told.contains(expected), "{options}: {told}");
            assert!(!told.contains("sh0rt") && !told.contains("sp4ce") && !told.contains("1234"), "{told}");
        }
        assert!(told("{type: legacy, options: {secret: 'n0t base64!', subject: a}}").contains("is not base64"));
        assert!(told("{type: jwks, options: {url: nowhere}}").contains("\"nowhere\" is not a URL"));
        assert!(told("{type: statik, options: {}}").contains("did you mean static?"));
        assert!(told("{options: {}}").contains("….type: required"));
    }

    #[test]
    fn restrictions_that_would_not_restrict_are_problems() {
        let one = |restrictions: &str| {
            told(&format!(
                "{{type: static, options: {{token: longenough, subject: ci}}, accessRestrictions: {restrictions}}}"
            ))
        };
        assert!(
            one("[{plugin: a, permissions: [x]}]")
                .contains("accessRestrictions[0].permissions (f): unknown key: did you mean permission?")
        );
        assert!(one("[{plugin: a}, {plugin: a}]").contains("a stands in two restrictions"));
        assert!(one("[{permission: x}]").contains("accessRestrictions[0].plugin: required"));
        assert!(one("[{plugin: a, permissionAttribute: {action: look}}]").contains("\"look\" is no action"));
        assert!(one("[{plugin: a, permissionAttribute: {actions: read}}]").contains("did you mean action?"));
        assert!(one("techdocs").contains("is text: write a list of maps"));
        assert!(one("[techdocs]").contains("accessRestrictions[0] (f): is text: write a map"));
    }

    #[test]
    fn deprecated_keys_are_read() {
        let text = format!("{DOCS}backend: {{auth: {{keys: [{{secret: c2VjcmV0}}]}}}}");
        let external = resolved(&text).unwrap().resolved.auth.external;
        let ExternalMethod::Legacy { secret, subject } = &external[0].method else { panic!("legacy") };
        assert_eq!((secret.expose(), subject.as_str()), (b"secret".as_slice(), "external:backstage-plugin"));
    }
}

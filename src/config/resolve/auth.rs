//! `callboard.auth`, `backend.baseUrl`, `discovery` and Backstage's authentication switch.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::external;
use crate::auth::{
    CertificateSubject, Discovery, DiscoveryEndpoint, ExternalAccess, ExternalMethod, JwksOptions, Options,
    is_plugin_id,
};
use crate::config::formats::{COUNT, DURATION, FLAG, TEXT, TEXTS, URL, holds_user};
use crate::config::reader::Reader;

pub(super) fn read(reader: &mut Reader<'_>, is_sample: bool, certificates: Vec<CertificateSubject>) -> Options {
    let discovery = read_discovery(reader);
    let external = external::read(reader);
    let users = reader.or("callboard.auth.users", &FLAG, false);
    let cookies = reader.or("callboard.auth.cookies", &FLAG, false);
    let required = read_required(reader);
    // The sample site brings a caller and its key along.
    if discovery.is_none() && required && !is_sample {
        let others = if external.is_empty() { "nobody can read" } else { "only external callers can read" };
        reader.warn(
            "backend.baseUrl",
            format!("is not set, so no token that Backstage issues can be verified and {others}"),
        );
    }
    Options {
        required,
        audiences: read_audiences(reader),
        allow: read_allow(reader, default_allow(&external, &certificates, users || cookies)),
        users,
        cookies,
        clock_tolerance: reader.within(
            "callboard.auth.clockTolerance",
            &DURATION,
            Duration::from_secs(5),
            Duration::ZERO..=Duration::from_secs(300),
        ),
        remembered_tokens: reader.within("callboard.auth.rememberedTokens", &COUNT, 10_000, 1..=10_000_000),
        discovery,
        pinned_keys: Vec::new(),
        external,
        certificates,
        jwks: read_jwks(reader),
    }
}

/// Backstage's switch alone changes nothing: what is harmless on a developer's machine must not open documents to a
/// network because both read the same file.
fn read_required(reader: &mut Reader<'_>) -> bool {
    const THEIRS: &str = "backend.auth.dangerouslyDisableDefaultAuthPolicy";
    const OURS: &str = "callboard.auth.dangerouslyAllowAnonymous";
    let disabled = reader.or(THEIRS, &FLAG, false);
    let allowed = reader.or(OURS, &FLAG, false);
    match (disabled, allowed) {
        (true, true) => {
            reader.warn(OURS, "nobody is asked for a token: everyone who reaches the listener reads everything")
        }
        (true, false) => reader.warn(THEIRS, format!("is ignored: tokens are asked for unless {OURS} is true as well")),
        (false, true) => reader.warn(OURS, format!("is ignored: tokens are asked for unless {THEIRS} is true as well")),
        (false, false) => {}
    }
    !(disabled && allowed)
}

fn read_audiences(reader: &mut Reader<'_>) -> Vec<String> {
    const KEY: &str = "callboard.auth.audiences";
    let audiences = reader.or(KEY, &TEXTS, vec!["techdocs".to_owned(), "callboard".to_owned()]);
    if audiences.is_empty() {
        reader.wrong(KEY, "is empty, so that no plugin's token would do: write for example [techdocs, callboard]");
    }
    for audience in &audiences {
        if !is_plugin_id(audience) {
            reader.wrong(KEY, format!("{audience:?} is no plugin id: write letters, digits, - and _ only"));
        }
    }
    audiences
}

fn read_allow(reader: &mut Reader<'_>, default: Vec<String>) -> Vec<String> {
    const KEY: &str = "callboard.auth.allow";
    let allow = reader.or(KEY, &TEXTS, default);
    if allow.is_empty() {
        reader.wrong(KEY, "is empty, so that nobody may read: name a subject, or leave the key out");
    }
    for subject in &allow {
        let rest = ["plugin:", "external:", "user:"].iter().find_map(|prefix| subject.strip_prefix(prefix));
        match rest {
            None => reader.wrong(
                KEY,
                format!("{subject:?} is no subject: begin it with plugin:, external: or user:, as in plugin:techdocs"),
            ),
            Some("") => reader.wrong(KEY, format!("{subject:?} names nobody: write {subject}* for all of them")),
            Some(rest)
                if rest.trim_end_matches('*').len() + 1 < rest.len() || rest.trim_end_matches('*').contains('*') =>
            {
                reader.wrong(KEY, format!("{subject:?} has a * elsewhere than at its end, or several"));
            }
            Some(_) => {}
        }
    }
    allow
}

/// The plugin that serves documents, every external caller that is configured, every subject that a client certificate
/// is mapped to, and users where they are let in at all.
fn default_allow(external: &[ExternalAccess], certificates: &[CertificateSubject], users: bool) -> Vec<String> {
    let mut allow = vec!["plugin:techdocs".to_owned()];
    let subjects = external.iter().map(|access| match &access.method {
        ExternalMethod::Static { subject, .. } | ExternalMethod::Legacy { subject, .. } => {
            format!("external:{}", subject.strip_prefix("external:").unwrap_or(subject))
        }
        ExternalMethod::Jwks { subject_prefix: Some(prefix), .. } => format!("external:{prefix}:*"),
        ExternalMethod::Jwks { subject_prefix: None, .. } => "external:*".to_owned(),
    });
    let holders = certificates.iter().map(|entry| entry.subject.clone());
    for subject in subjects.chain(holders).chain(users.then(|| "user:*".to_owned())) {
        if !allow.contains(&subject) {
            allow.push(subject);
        }
    }
    allow
}

fn read_jwks(reader: &mut Reader<'_>) -> JwksOptions {
    const REFRESH: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(24 * 3600);
    JwksOptions {
        timeout: reader.within(
            "callboard.auth.jwks.timeout",
            &DURATION,
            Duration::from_secs(5),
            Duration::from_millis(100)..=Duration::from_secs(60),
        ),
        // As long as upstream's `jose` keeps a key set: a key that is withdrawn counts no longer than that.
        refresh_after: reader.within("callboard.auth.jwks.refreshAfter", &DURATION, Duration::from_secs(600), REFRESH),
        outage_grace: reader.within(
            "callboard.auth.jwks.outageGrace",
            &DURATION,
            Duration::from_secs(3600),
            Duration::ZERO..=Duration::from_secs(7 * 24 * 3600),
        ),
    }
}

/// Where plugins are (`@backstage/backend-defaults`, `src/entrypoints/discovery/`).
fn read_discovery(reader: &mut Reader<'_>) -> Option<Discovery> {
    let base_url = reader.optional("backend.baseUrl", &URL);
    if base_url.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        reader.wrong("backend.baseUrl", "has a query or a fragment: write the address alone");
    }
    let mut endpoints = Vec::new();
    for entry in reader.maps("discovery.endpoints") {
        let target = format!("{entry}.target");
        let plugins = reader.required(&format!("{entry}.plugins"), &TEXTS, ": write a list of plugin ids");
        let target = if reader.is_text(&target) {
            read_target(reader, &target)
        } else {
            // Only how backends reach one another matters here. Without that the base URL counts, as upstream has it.
            if !reader.has(&target) {
                reader.wrong(&target, "required: write a URL with {{pluginId}} in it, or { internal, external }");
            }
            read_target(reader, &format!("{target}.internal"))
        };
        if let (Some(target), Some(plugins)) = (target, plugins) {
            endpoints.push(DiscoveryEndpoint { target, plugins });
        }
    }
    if base_url.is_none() && !endpoints.is_empty() && !reader.has("backend.baseUrl") {
        reader.wrong(
            "backend.baseUrl",
            "required where discovery.endpoints is set: write the backend's URL, for example https://backstage.example.com",
        );
    }
    Some(Discovery { base_url: base_url?, endpoints })
}

fn read_target(reader: &mut Reader<'_>, key: &str) -> Option<String> {
    let target = reader.optional(key, &TEXT)?;
    if target.starts_with("http+srv:") || target.starts_with("https+srv:") {
        reader.wrong(key, "SRV records are not supported by this version yet: write an http or https URL");
        return None;
    }
    // The braces alone would not be a URL; any plugin in their place must make one.
    let example = target.replace(['{', '}', ' '], "");
    match url::Url::parse(&example) {
        Ok(url) if holds_user(&url) => {
            reader.wrong(key, "holds a user name or password, which would show in logs: write the address alone");
            None
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(target),
        _ => {
            reader.wrong(key, "is not a URL: write for example http://{{pluginId}}.internal:7007/api/{{pluginId}}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    fn read(text: &str) -> Options {
        resolved(&format!("{DOCS}{text}")).unwrap().resolved.auth
    }

    #[test]
    fn by_default_techdocs_and_the_configured_external_callers_may_read() {
        assert_eq!(read("").allow, ["plugin:techdocs"]);
        let text = "callboard: {auth: {cookies: true}}\nbackend: {auth: {keys: [{secret: c2VjcmV0}], externalAccess: [\
                    {type: static, options: {token: longenough, subject: ci}}, \
                    {type: jwks, options: {url: 'https://idp.test/keys', subjectPrefix: idp}}]}}";
        assert_eq!(
            read(text).allow,
            ["plugin:techdocs", "external:ci", "external:idp:*", "external:backstage-plugin", "user:*"]
        );
    }

    #[test]
    fn subjects_and_audiences_are_checked() {
        let told = problems(&format!(
            "{DOCS}callboard: {{auth: {{allow: [techdocs, 'user:', 'user:*/x', 'user:**', 'external:ci*'], audiences: ['a b']}}}}"
        ));
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(problems(&format!("{DOCS}callboard: {{auth: {{allow: []}}}}"))[0].contains("nobody may read"));
    }

    #[test]
    fn anonymous_reading_takes_both_switches() {
        let theirs = "backend: {auth: {dangerouslyDisableDefaultAuthPolicy: true}}\n";
        let ours = "callboard: {auth: {dangerouslyAllowAnonymous: true}}\n";
        for (text, required) in [("", true), (theirs, true), (ours, true), (&format!("{theirs}{ours}"), false)] {
            let configuration = resolved(&format!("{DOCS}{text}")).unwrap();
            assert_eq!(configuration.resolved.auth.required, required, "{text}");
            let loud = configuration.warnings.iter().any(|warning| warning.key.contains("dangerously"));
            assert_eq!(loud, !text.is_empty(), "{text}");
        }
    }

    #[test]
    fn plugins_are_found_where_discovery_says() {
        let auth = read(
            "backend: {baseUrl: 'https://b.test'}\ndiscovery: {endpoints: [\
             {target: 'http://a/{{ pluginId }}', plugins: [techdocs]}, \
             {target: {internal: 'http://{{pluginId}}.int/api', external: 'https://x'}, plugins: [catalog]}, \
             {target: {external: 'https://x'}, plugins: [search]}]}",
        );
        let discovery = auth.discovery.unwrap();
        assert_eq!(discovery.base_url.as_str(), "https://b.test/");
        let targets: Vec<&str> = discovery.endpoints.iter().map(|endpoint| endpoint.target.as_str()).collect();
        assert_eq!(targets, ["http://a/{{ pluginId }}", "http://{{pluginId}}.int/api"]);
    }

    #[test]
    fn discovery_that_leads_nowhere_is_a_problem() {
        let told = problems(&format!(
            "{DOCS}discovery: {{endpoints: [{{target: nowhere, plugins: [a]}}, {{plugins: [b]}}, 5, \
             {{target: 'http://x', plugins: c}}, {{target: 'http://x', plugins: [d]}}]}}"
        ));
        assert_eq!(told.len(), 5, "{told:#?}");
        assert!(told[4].starts_with("backend.baseUrl: required where discovery.endpoints is set"), "{told:#?}");
    }

    #[test]
    fn without_a_base_url_there_is_a_warning() {
        let warnings = resolved(DOCS).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.to_string().contains("nobody can read")), "{warnings:?}");
    }

    #[test]
    fn addresses_that_hold_a_password_are_problems_that_do_not_show_it() {
        let told = problems(&format!(
            "{DOCS}backend: {{baseUrl: 'http://me:hunter2@x?a=b'}}\n\
             discovery: {{endpoints: [{{target: 'http://me:hunter2@{{{{pluginId}}}}', plugins: [a]}}]}}"
        ));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(!told.concat().contains("hunter2"), "{told:?}");
    }
}

//! `callboard.cache.redis`: what is read, and what is told.

use super::*;
use crate::config::load;
use crate::config::testing::{Folder, problems, resolved};

const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

fn ours(redis: &str) -> Options {
    read_in(&format!("callboard: {{cache: {{redis: {redis}}}}}")).unwrap()
}

fn read_in(text: &str) -> Option<Options> {
    let configuration = resolved(&format!("{DOCS}{text}")).unwrap_or_else(|problems| panic!("{problems}"));
    configuration.resolved.redis
}

fn told(redis: &str) -> Vec<String> {
    problems(&format!("{DOCS}callboard: {{cache: {{redis: {redis}}}}}"))
}

fn at(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.to_owned(), port }
}

#[test]
fn there_is_no_redis_unless_one_is_written() {
    for text in ["", "backend: {cache: {store: memory}}", "callboard: {cache: {redis: {keyPrefix: a}}}"] {
        assert!(read_in(text).is_none(), "{text}");
    }
    let off = "backend: {cache: {store: redis, connection: 'redis://a'}}\n\
               callboard: {cache: {redis: {enabled: false, url: 'redis://b', tls: {caFile: nowhere}}}}";
    assert!(read_in(off).is_none());
}

#[test]
fn one_server_is_read_with_what_its_url_says() {
    let options = ours("{url: 'redis://ada:p@r:7/2'}");
    assert_eq!(options.form, Form::Standalone(at("r", 7)));
    assert_eq!((options.username.as_deref(), options.database), (Some("ada"), 2));
    assert_eq!(options.password, Some(Secret::new("p")));
    assert!(options.tls.is_none());
    assert_eq!((options.key_prefix.as_str(), options.read_timeout), ("callboard:", Duration::from_secs(1)));
    let options = ours("{url: 'rediss://ada:p@r:7/2', username: bob, password: q, database: 0}");
    assert_eq!((options.username.as_deref(), options.database), (Some("bob"), 0));
    assert_eq!(options.password, Some(Secret::new("q")));
    assert_eq!(options.tls, Some(TlsOptions::default()));
}

#[test]
fn clusters_and_sentinels_are_read() {
    let options = ours("{cluster: {nodes: ['rediss://:p@a', 'rediss://b:7']}}");
    assert_eq!(options.form, Form::Cluster(vec![at("a", 6379), at("b", 7)]));
    assert!(options.tls.is_some() && options.password == Some(Secret::new("p")));
    let options = ours(
        "{sentinel: {nodes: ['redis://s:q@a:26379'], master: docs}, password: p, database: 3, \
         tls: {enabled: true}}",
    );
    let sentinels = Sentinels {
        nodes: vec![at("a", 26379)],
        master: "docs".to_owned(),
        username: Some("s".to_owned()),
        password: Some(Secret::new("q")),
    };
    assert_eq!(options.form, Form::Sentinel(sentinels));
    // What the sentinels ask for is no business of the master's.
    assert_eq!((options.username, options.password, options.database), (None, Some(Secret::new("p")), 3));
    assert!(options.tls.is_some());
}

#[test]
fn timeouts_follow_techdocs_unless_ours_are_set() {
    let read = |more: &str| {
        let docs = DOCS.replace("site}}", "site}}, cache: {readTimeout: 500}");
        resolved(&format!("{docs}callboard: {{cache: {{redis: {{url: 'redis://r'{more}}}}}}}")).unwrap()
    };
    assert_eq!(read("").resolved.redis.unwrap().read_timeout, Duration::from_millis(500));
    assert_eq!(read(", readTimeout: 2s").resolved.redis.unwrap().read_timeout, Duration::from_secs(2));
}

#[test]
fn what_can_not_be_is_told_with_its_key() {
    for (redis, key, word) in [
        ("{url: 'redis://a', cluster: {nodes: ['redis://b']}}", "cluster.nodes", "stands beside"),
        ("{cluster: {nodes: []}}", "cluster.nodes", "is empty"),
        ("{cluster: {nodes: ['redis://a', 'rediss://b']}}", "cluster.nodes", "all as rediss://"),
        ("{cluster: {nodes: ['redis://a/1']}}", "cluster.nodes", "no database but 0"),
        ("{cluster: {nodes: ['redis://a']}, database: 1}", "database", "no database but 0"),
        ("{cluster: {nodes: ['unix:///a']}}", "cluster.nodes", "socket"),
        ("{sentinel: {nodes: ['redis://a']}}", "sentinel.master", "required"),
        ("{url: 'http://a'}", "url", "is not a Redis URL"),
        ("{url: '${NOBODY_SET_THIS}'}", "url", "NOBODY_SET_THIS"),
        ("{url: 'redis://a', password: '${NOBODY_SET_THIS}'}", "password", "NOBODY_SET_THIS"),
        ("{url: 'redis://a', integrityKey: short}", "integrityKey", "32 bytes"),
        ("{url: 'redis://a', tls: {caFile: nowhere.pem}}", "tls.caFile", "can't be read"),
        ("{url: 'redis://a', tls: {certFile: nowhere.pem}}", "tls.certFile", "can't be read"),
        ("{url: 'rediss://a', tls: {enabled: false}}", "tls.enabled", "asks for TLS"),
        ("{url: 'redis://a', readTimeout: 1ms}", "readTimeout", "too small"),
    ] {
        let told = told(redis);
        let is_told = |told: &String| told.starts_with(&format!("callboard.cache.redis.{key} ")) && told.contains(word);
        let is_required = told.iter().any(|told| told.starts_with(&format!("callboard.cache.redis.{key}: ")));
        assert!(told.iter().any(is_told) || is_required && told.iter().any(|told| told.contains(word)), "{told:?}");
    }
}

#[test]
fn passwords_are_never_shown() {
    let urls = "cluster: {nodes: ['redis://ada:t0ps3cret@a']}, password: t0ps3cret, \
                integrityKey: t0ps3crett0ps3crett0ps3crett0ps3cret";
    let configuration = resolved(&format!("{DOCS}callboard: {{cache: {{redis: {{{urls}}}}}}}")).unwrap();
    let shown = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(shown.contains("ada:***@a") && !shown.contains("t0ps3cret"), "{shown}");
    for wrong in ["{url: 'redis://ada:t0ps3cret@'}", "{cluster: {nodes: ['htp://:t0ps3cret@a']}}"] {
        let told = told(wrong).join("\n");
        assert!(told.contains("Redis URL") && !told.contains("t0ps3cret"), "{told}");
    }
}

#[test]
fn files_stand_beside_the_configuration() {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem();
    let redis = "{url: 'redis://r', tls: {caFile: ca.crt, certFile: tls.crt, keyFile: tls.key}}";
    let text = format!("{DOCS}callboard: {{cache: {{redis: {redis}}}}}");
    let files = [("a.yaml", text.as_str()), ("ca.crt", &cert), ("tls.crt", &cert), ("tls.key", &key.serialize_pem())];
    let folder = Folder::new(&files);
    let configuration = load(&folder.sources(&["a.yaml"], &[])).unwrap().resolve().unwrap();
    let tls = configuration.resolved.redis.unwrap().tls.unwrap();
    assert_eq!(tls.ca_file, Some(folder.path().join("ca.crt")));
    assert_eq!(tls.identity.unwrap().key_file, folder.path().join("tls.key"));
}

#[test]
fn a_prefix_must_not_spread_a_document_over_a_cluster() {
    let told = told("{url: 'redis://r', keyPrefix: 'docs{}:'}");
    assert!(told.len() == 1 && told[0].contains("keyPrefix") && told[0].contains("without {}"), "{told:?}");
    assert_eq!(ours("{url: 'redis://r', keyPrefix: '{docs}:'}").key_prefix, "{docs}:");
}

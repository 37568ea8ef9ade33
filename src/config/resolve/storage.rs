//! `techdocs.publisher`, `callboard.origins` and `callboard.storage`.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::publisher;
use crate::breaker::Rules;
use crate::config::formats::{COUNT, DURATION, FLAG, Format, REQUIRE_READ_ONLY, TEXT, TEXTS};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::value::{Origin as From, Value};
use crate::docs::{self, EntityRef, Layout};
use crate::storage::{Bounds, ForbiddenIsAbsent, Options, OriginOptions, RequireReadOnly, Scope, StoreOptions};

/// What the store's own client may be told to wait or to hold: a misplaced unit is caught, a wish is not.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(600);
const PLACES: RangeInclusive<u64> = 1..=65_536;

const ORIGINS: &str = "callboard.origins";
const PUBLISHER: &str = "techdocs.publisher";

/// What the only origin is called, where there is no list of them.
const ONLY_ORIGIN: &str = "techdocs";

/// `forbiddenIsAbsent`.
pub(super) const FORBIDDEN: Format<ForbiddenIsAbsent> = Format {
    what: "auto, true or false",
    write: "auto, or true or false to decide it",
    secret: false,
    parse: |node| match &node.value {
        Value::Text(text) if text == "auto" => Ok(ForbiddenIsAbsent::Auto),
        _ => (FLAG.parse)(node).map(|flag| if flag { ForbiddenIsAbsent::Always } else { ForbiddenIsAbsent::Never }),
    },
    show: |rule| match rule {
        ForbiddenIsAbsent::Auto => Json::from("auto"),
        ForbiddenIsAbsent::Always => Json::from(true),
        ForbiddenIsAbsent::Never => Json::from(false),
    },
};

/// An origin, and the key that it stands at where it stands in a list.
pub(super) struct Listed {
    options: OriginOptions,
    key: Option<String>,
}

/// `techdocs.publisher`, or what `callboard.origins` lists instead. Never empty.
pub(super) fn read_origins(reader: &mut Reader<'_>, loaded: &Loaded) -> Vec<Listed> {
    let legacy = reader.or("techdocs.legacyUseCaseSensitiveTripletPaths", &FLAG, false);
    reader.effective.absent(ORIGINS);
    let items = reader.maps(ORIGINS);
    if items.is_empty() {
        let set = reader.origin(ORIGINS).filter(|_| reader.has(ORIGINS)).unwrap_or(From::Default);
        reader.effective.set(ORIGINS, json!([]), set);
        let options = read_only_origin(reader, loaded, legacy);
        return vec![Listed { options, key: None }];
    }
    let mut listed: Vec<Listed> = Vec::new();
    for item in items {
        let options = read_origin(reader, loaded, &item, legacy);
        if listed.iter().any(|other| other.options.name == options.name) {
            reader.wrong(
                &format!("{item}.name"),
                format!("{:?} is there twice: give each a name of its own", options.name),
            );
        }
        listed.push(Listed { options, key: Some(item) });
    }
    listed
}

/// Whether there is nothing but the sample site.
pub(super) fn is_sample(origins: &[Listed]) -> bool {
    origins.iter().all(|origin| matches!(origin.options.store, StoreOptions::Sample))
}

/// `callboard.storage`.
pub(super) fn read(reader: &mut Reader<'_>, listed: Vec<Listed>) -> (docs::Options, Options) {
    const BASE: &str = "callboard.storage";
    let bounds = read_bounds(reader, BASE, &Bounds::default());
    let requirement = reader.or(&format!("{BASE}.requireReadOnly"), &REQUIRE_READ_ONLY, RequireReadOnly::default());
    let azure = publisher::azure::read_ours(reader, BASE);
    let forbidden_key = |base: &str| format!("{base}.s3.forbiddenIsAbsent");
    let forbidden_is_absent = reader.or(&forbidden_key(BASE), &FORBIDDEN, ForbiddenIsAbsent::Auto);
    let gcs = publisher::gcs::read_ours(reader, BASE, &publisher::gcs::Ours::default());
    let mut origins = Vec::new();
    for Listed { mut options, key } in listed {
        let base = key.map(|key| format!("{key}.storage"));
        options.bounds = base.as_ref().map_or_else(|| bounds.clone(), |base| read_bounds(reader, base, &bounds));
        options.require_read_only = base
            .as_ref()
            .map_or(requirement, |base| reader.or(&format!("{base}.requireReadOnly"), &REQUIRE_READ_ONLY, requirement));
        match (&mut options.store, base) {
            (StoreOptions::S3(s3), Some(base)) => {
                s3.forbidden_is_absent = reader.or(&forbidden_key(&base), &FORBIDDEN, forbidden_is_absent);
            }
            (StoreOptions::S3(s3), None) => s3.forbidden_is_absent = forbidden_is_absent,
            (StoreOptions::Azure(options), Some(base)) => {
                publisher::azure::read_ours(reader, &base).or(&azure).apply(reader, &base, options);
            }
            (StoreOptions::Azure(options), None) => azure.apply(reader, BASE, options),
            (StoreOptions::Gcs(options), Some(base)) => publisher::gcs::read_ours(reader, &base, &gcs).apply(options),
            (StoreOptions::Gcs(options), None) => gcs.apply(options),
            // The others have no keys of ours beside their section.
            _ => {}
        }
        origins.push(options);
    }
    let case_sensitive_triplet = origins.iter().any(|origin| origin.layout.case_sensitive_triplet);
    (docs::Options { case_sensitive_triplet }, Options { origins })
}

fn read_only_origin(reader: &mut Reader<'_>, loaded: &Loaded, case_sensitive_triplet: bool) -> OriginOptions {
    let (store, root_path) = if !loaded.has_files() && !reader.has(PUBLISHER) {
        (StoreOptions::Sample, String::new())
    } else {
        publisher::read(reader, loaded, PUBLISHER)
    };
    let case_sensitive_triplet = case_sensitive_triplet || is_as_spelled(&store);
    let layout = Layout { root_path, case_sensitive_triplet };
    OriginOptions { layout, ..OriginOptions::new(ONLY_ORIGIN, store) }
}

/// One of `callboard.origins`.
fn read_origin(reader: &mut Reader<'_>, loaded: &Loaded, item: &str, legacy: bool) -> OriginOptions {
    let name = reader.required(&format!("{item}.name"), &TEXT, ": write what it is called in logs and metrics");
    let own = format!("{item}.publisher");
    let base = if reader.has(&own) { &own } else { PUBLISHER };
    let (store, root_path) = publisher::read(reader, loaded, base);
    let legacy_key = format!("{item}.legacyUseCaseSensitiveTripletPaths");
    let case_sensitive_triplet = reader.or(&legacy_key, &FLAG, legacy || is_as_spelled(&store));
    let scope = read_scope(reader, &format!("{item}.match"));
    OriginOptions {
        layout: Layout { root_path, case_sensitive_triplet },
        scope,
        falls_through: reader.or(&format!("{item}.fallThrough"), &FLAG, false),
        ..OriginOptions::new(&name.unwrap_or_default(), store)
    }
}

/// Whether Backstage's publisher spells entities in this store as the catalog has them, and its reader as the request does,
/// whatever the key says: the one for Swift never lower-cases (`@backstage/plugin-techdocs-node`,
/// `src/stages/publish/openStackSwift.ts`).
fn is_as_spelled(store: &StoreOptions) -> bool {
    matches!(store, StoreOptions::Swift(_))
}

/// Which sites an origin may hold.
fn read_scope(reader: &mut Reader<'_>, base: &str) -> Scope {
    let namespaces = reader.or(&format!("{base}.namespaces"), &TEXTS, Vec::new());
    let kinds = reader.or(&format!("{base}.kinds"), &TEXTS, Vec::new());
    let entities_key = format!("{base}.entities");
    let written = reader.or(&entities_key, &TEXTS, Vec::new());
    let parsed: Result<Vec<EntityRef>, _> = written.iter().map(|text| text.parse()).collect();
    if let Err(error) = &parsed {
        reader.wrong(&entities_key, error);
    }
    let entities = parsed.unwrap_or_default();
    let prefixes = reader.or(&format!("{base}.prefixes"), &TEXTS, Vec::new());
    Scope::new(&namespaces, &kinds, &entities, &prefixes)
}

/// What is not said at `base` is as in `defaults`.
fn read_bounds(reader: &mut Reader<'_>, base: &str, defaults: &Bounds) -> Bounds {
    let key = |name: &str| format!("{base}.{name}");
    Bounds {
        timeout: reader.within(&key("timeout"), &DURATION, defaults.timeout, TIMEOUTS),
        max_concurrent: count(reader, &key("maxConcurrent"), defaults.max_concurrent as u64, PLACES),
        // Zero is a choice: whoever finds no place is turned away at once.
        max_queue: count(reader, &key("maxQueue"), defaults.max_queue as u64, 0..=1_048_576),
        queue_timeout: reader.within(&key("queueTimeout"), &DURATION, defaults.queue_timeout, TIMEOUTS),
        reader_timeout: reader.within(&key("readerTimeout"), &DURATION, defaults.reader_timeout, TIMEOUTS),
        max_streams: count(reader, &key("maxStreams"), defaults.max_streams as u64, PLACES),
        breaker: read_breaker(reader, &key("breaker"), defaults.breaker),
    }
}

fn read_breaker(reader: &mut Reader<'_>, base: &str, default: Option<Rules>) -> Option<Rules> {
    const PAUSES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
    let (pause_key, longest_key) = (format!("{base}.pause"), format!("{base}.longestPause"));
    let enabled = reader.or(&format!("{base}.enabled"), &FLAG, default.is_some());
    let default = default.unwrap_or(Rules::DEFAULT);
    let failures = reader.within(&format!("{base}.failures"), &COUNT, default.failures.into(), 1..=1000);
    let first_pause = reader.within(&pause_key, &DURATION, default.first_pause, PAUSES);
    let longest_pause = reader.within(&longest_key, &DURATION, default.longest_pause, PAUSES);
    if longest_pause < first_pause {
        // Told at the one that somebody wrote.
        let key = if reader.has(&longest_key) { &longest_key } else { &pause_key };
        reader.wrong(key, format!("the pauses would grow shorter: write {longest_key} no shorter than {pause_key}"));
    }
    let failures = u32::try_from(failures).unwrap_or(u32::MAX);
    enabled.then_some(Rules { failures, first_pause, longest_pause })
}

/// A count that fits whatever it sizes; the bounds see to that.
pub(super) fn count(reader: &mut Reader<'_>, key: &str, default: u64, bounds: RangeInclusive<u64>) -> usize {
    usize::try_from(reader.within(key, &COUNT, default, bounds)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{problems, resolved};

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
        let rules = |text: &str| resolved(&breaker(text)).unwrap().resolved.storage.origins.remove(0).bounds.breaker;
        assert!(rules("enabled: false").is_none());
        assert_eq!(rules("failures: 2").unwrap().failures, 2);
    }

    #[test]
    fn origins_are_read_in_order_each_with_its_own_store_and_bounds() {
        let text = "techdocs: {publisher: {type: awsS3, awsS3: {bucketName: new, bucketRootPath: docs}}}\n\
            callboard: {storage: {timeout: 4s, maxStreams: 7}, origins: [\
            {name: new, fallThrough: true, match: {kinds: [API], entities: ['component:shop']}},\
            {name: old, publisher: {type: local, local: {publishDirectory: /old}}, \
             legacyUseCaseSensitiveTripletPaths: true, storage: {timeout: 1s, breaker: {enabled: false}}}]}";
        let resolved = resolved(text).unwrap().resolved;
        let [new, old] = resolved.storage.origins.as_slice() else { panic!("{:?}", resolved.storage) };
        assert_eq!((new.name.as_str(), new.layout.root_path.as_str(), new.falls_through), ("new", "docs", true));
        assert!(matches!(&new.store, StoreOptions::S3(s3) if s3.bucket == "new"));
        assert_eq!((new.bounds.timeout, new.bounds.max_streams), (Duration::from_secs(4), 7));
        let shop = "component:shop".parse().unwrap();
        assert_eq!(new.scope, Scope::new(&[], &["api".to_owned()], &[shop], &[]));
        assert_eq!((old.bounds.timeout, old.bounds.max_streams), (Duration::from_secs(1), 7));
        assert!(
            old.bounds.breaker.is_none() && old.layout.case_sensitive_triplet && !new.layout.case_sensitive_triplet
        );
        assert!(resolved.docs.case_sensitive_triplet);
    }

    #[test]
    fn what_is_wrong_with_origins_is_told_at_its_key() {
        let told = problems(
            "callboard: {origins: [{name: a, publisher: {type: awsS3}}, {name: a, match: {entities: [shop]}, x: 1, \
             publisher: {local: {publishDirectory: a}}}, {publisher: {local: {publishDirectory: a}}}]}",
        );
        let told_of: Vec<&str> = told.iter().filter_map(|problem| problem.split([' ', ':']).next()).collect();
        let expected = [
            "callboard.origins[0].publisher.awsS3.bucketName",
            "callboard.origins[1].match.entities",
            "callboard.origins[1].name",
            "callboard.origins[2].name",
            "callboard.origins[1].x",
        ];
        assert_eq!(told_of, expected, "{told:#?}");
    }
}

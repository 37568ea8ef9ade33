//! `callboard.cache.redis`, and what it takes over from `backend.cache`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::redis_backstage::{self, Found};
use crate::config::formats::{COUNT, DURATION, FLAG, SECRET, TEXT};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::redis_url::{REDIS_URL, REDIS_URLS, RedisUrl};
use crate::config::value::Origin;
use crate::redis::{Address, Form, Identity, Options, Sentinels, TlsOptions};
use crate::secret::Secret;
use crate::trust;

const URL: &str = "callboard.cache.redis.url";
const NODES: &str = "callboard.cache.redis.cluster.nodes";
const SENTINELS: &str = "callboard.cache.redis.sentinel.nodes";
const MASTER: &str = "callboard.cache.redis.sentinel.master";
const DATABASE: &str = "callboard.cache.redis.database";
const PASSWORD: &str = "callboard.cache.redis.password";
const TLS: &str = "callboard.cache.redis.tls.enabled";
const INTEGRITY_KEY: &str = "callboard.cache.redis.integrityKey";

/// Between what a busy server in the next rack takes and what no reader waits for.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// As long as what it keys: SHA-256's output.
const SHORTEST_KEY: usize = 32;

/// Where Redis is, and what its URLs say of how it is spoken to.
pub(super) struct Place {
    pub(super) form: Form,
    /// Where a problem with the whole of it is told.
    pub(super) key: &'static str,
    pub(super) login: Login,
}

/// As whom, and to which database.
#[derive(Default)]
pub(super) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<u32>,
    pub(super) is_tls: bool,
}

/// Every key is read, wanted or not, since that is what makes it known.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded) -> Option<Options> {
    let is_wanted = reader.or("callboard.cache.redis.enabled", &FLAG, true);
    let ours = read_ours(reader);
    let username = reader.optional("callboard.cache.redis.username", &TEXT);
    let password = secret(reader, PASSWORD);
    let database = reader.or(DATABASE, &COUNT, 0);
    let tls = read_tls(reader, loaded, is_wanted);
    let prefix_key = "callboard.cache.redis.keyPrefix";
    let has_place = !matches!(ours, Ours::Nowhere);
    let theirs = if has_place || !is_wanted { Found::Nothing } else { redis_backstage::read(reader) };
    let (place, prefix) = match (ours, theirs) {
        (Ours::Place(place), _) => (Some(place), None),
        (Ours::Nowhere, Found::Redis { place, prefix }) => (Some(place), prefix),
        (Ours::Told | Ours::Nowhere, _) => (None, None),
    };
    let prefix = match prefix {
        Some((prefix, key)) => (format!("{prefix}callboard:"), Origin::DefaultFrom(key)),
        None => ("callboard:".to_owned(), Origin::Default),
    };
    let key_prefix = reader.or_from(prefix_key, &TEXT, prefix.0, prefix.1);
    // A cluster looks for the first pair of braces; an empty one would spread the pieces of a document over its servers.
    if key_prefix.contains("{}") {
        reader.wrong(prefix_key, "holds an empty pair of braces: write a prefix without {}");
    }
    let read_timeout = read_timeout(reader);
    let connect_timeout =
        reader.within("callboard.cache.redis.connectTimeout", &DURATION, Duration::from_secs(3), TIMEOUTS);
    let integrity_key = integrity_key(reader);
    let place = place.filter(|_| is_wanted)?;
    let Place { form, key, login } = place;
    let database =
        if reader.has(DATABASE) { u32::try_from(database).ok() } else { Some(login.database.unwrap_or_default()) };
    check(reader, &form, key, database);
    let tls = match tls {
        Tls::On(options) => Some(options),
        Tls::Unsaid => login.is_tls.then(TlsOptions::default),
        Tls::Off => {
            if login.is_tls {
                reader.wrong(TLS, format!("is false, and {key} asks for TLS: write redis:// there, or true here"));
            }
            None
        }
    };
    Some(Options {
        form,
        username: username.or(login.username),
        password: password.or(login.password),
        database: database.unwrap_or_default(),
        tls,
        key_prefix,
        read_timeout,
        connect_timeout,
        integrity_key,
    })
}

/// What stands in our own section.
enum Ours {
    Place(Place),
    /// Something that can't be used, and a problem says so.
    Told,
    Nowhere,
}

fn read_ours(reader: &mut Reader<'_>) -> Ours {
    let problems_before = reader.problems.iter().count();
    let url = reader.optional(URL, &REDIS_URL);
    let nodes = reader.optional(NODES, &REDIS_URLS);
    let sentinels = reader.optional(SENTINELS, &REDIS_URLS);
    let master = reader.optional(MASTER, &TEXT);
    let username = reader.optional("callboard.cache.redis.sentinel.username", &TEXT);
    let password = secret(reader, "callboard.cache.redis.sentinel.password");
    let written: Vec<&'static str> = [URL, NODES, SENTINELS].into_iter().filter(|key| reader.has(key)).collect();
    if let [_, second, ..] = written.as_slice() {
        reader.wrong(second, format!("stands beside {}: write one of them", written.first().unwrap_or(second)));
        return Ours::Told;
    }
    for key in [URL, NODES, SENTINELS] {
        if let Some(reason) = reader.unset(key) {
            reader.wrong(key, format!("required, but {reason}"));
        }
    }
    let place = match (url, nodes, sentinels) {
        (Some(url), _, _) => Some(Place { form: Form::Standalone(url.address.clone()), key: URL, login: url.into() }),
        (_, Some(nodes), _) => several(reader, NODES, nodes, Form::Cluster),
        (_, _, Some(nodes)) => {
            if master.is_none() && !reader.has(MASTER) {
                reader.wrong(MASTER, format!("required beside {SENTINELS}: write what the sentinels call the master"));
            }
            let master = master.unwrap_or_default();
            // What their URLs say concerns the sentinels alone, but for TLS.
            several(reader, SENTINELS, nodes, |nodes| {
                Form::Sentinel(Sentinels { nodes, master, username: None, password: None })
            })
            .map(|place| of_sentinels(place, username, password))
        }
        (None, None, None) => None,
    };
    match place {
        Some(place) => Ours::Place(place),
        None if reader.problems.iter().count() > problems_before => Ours::Told,
        None => Ours::Nowhere,
    }
}

fn of_sentinels(place: Place, username: Option<String>, password: Option<Secret>) -> Place {
    let Place { form, key, login } = place;
    let form = match form {
        Form::Sentinel(sentinels) => Form::Sentinel(Sentinels {
            username: username.or(login.username),
            password: password.or(login.password),
            ..sentinels
        }),
        other => other,
    };
    Place { form, key, login: Login { is_tls: login.is_tls, ..Login::default() } }
}

/// Several servers of one kind, all of which are spoken to alike.
pub(super) fn several(
    reader: &mut Reader<'_>,
    key: &'static str,
    urls: Vec<RedisUrl>,
    form: impl FnOnce(Vec<Address>) -> Form,
) -> Option<Place> {
    let Some(first) = urls.first().cloned() else {
        reader.wrong(key, "is empty: write at least one URL");
        return None;
    };
    if urls.iter().any(|url| url.is_tls != first.is_tls) {
        reader.wrong(key, "holds URLs with TLS and without: write all of them as redis:// or all as rediss://");
    }
    let addresses = urls.into_iter().map(|url| url.address).collect();
    Some(Place { form: form(addresses), key, login: first.into() })
}

impl From<RedisUrl> for Login {
    fn from(url: RedisUrl) -> Self {
        let RedisUrl { is_tls, username, password, database, .. } = url;
        Self { username, password, database, is_tls }
    }
}

/// Tells what can't be, of a form.
fn check(reader: &mut Reader<'_>, form: &Form, key: &str, database: Option<u32>) {
    let database_key = if reader.has(DATABASE) { DATABASE } else { key };
    if database.is_none() {
        reader.wrong(database_key, "is no database's number: write one from 0 to 4294967295");
    }
    let nodes = match form {
        Form::Standalone(_) => return,
        Form::Cluster(nodes) => {
            if database.is_some_and(|database| database != 0) {
                reader.wrong(database_key, "a cluster has no database but 0: leave the number out");
            }
            nodes
        }
        Form::Sentinel(Sentinels { nodes, .. }) => nodes,
    };
    if nodes.iter().any(|node| matches!(node, Address::Unix(_))) {
        reader.wrong(key, "names a socket on this machine: write URLs with host and port");
    }
}

fn read_timeout(reader: &mut Reader<'_>) -> Duration {
    const THEIRS: &str = "techdocs.cache.readTimeout";
    let default = match reader.optional(THEIRS, &DURATION) {
        Some(theirs) => (theirs, Origin::DefaultFrom(THEIRS)),
        None => (Duration::from_secs(1), Origin::Default),
    };
    reader.within_from("callboard.cache.redis.readTimeout", &DURATION, default, TIMEOUTS)
}

fn integrity_key(reader: &mut Reader<'_>) -> Option<Secret> {
    let key = secret(reader, INTEGRITY_KEY)?;
    if key.expose().len() < SHORTEST_KEY {
        reader.wrong(
            INTEGRITY_KEY,
            format!("is shorter than {SHORTEST_KEY} bytes: write a longer one, as `openssl rand -base64 32` makes it"),
        );
    }
    Some(key)
}

/// A secret that must not be gone without a word where somebody wrote it.
fn secret(reader: &mut Reader<'_>, key: &str) -> Option<Secret> {
    if let Some(reason) = reader.unset(key) {
        reader.wrong(key, format!("stands here, but {reason}"));
    }
    reader.optional(key, &SECRET)
}

/// What the section asks for.
enum Tls {
    On(TlsOptions),
    Off,
    /// TLS where the URL says so.
    Unsaid,
}

fn read_tls(reader: &mut Reader<'_>, loaded: &Loaded, is_wanted: bool) -> Tls {
    const KEYS: [&str; 3] =
        ["callboard.cache.redis.tls.caFile", "callboard.cache.redis.tls.certFile", "callboard.cache.redis.tls.keyFile"];
    let [ca_file, cert_file, key_file] =
        KEYS.map(|key| reader.optional(key, &TEXT).map(|path| loaded.directory.join(path)));
    let [ca_key, cert_key, key_key] = KEYS;
    let told = |reader: &mut Reader<'_>, key: &str, file: &Path, error: trust::FileError| {
        reader.wrong(key, format!("{} {error}", file.display()));
    };
    if is_wanted {
        let unusable = |file: &Option<PathBuf>, read: fn(&Path) -> Result<(), trust::FileError>| {
            file.as_ref().and_then(|file| read(file).err().map(|error| (file.clone(), error)))
        };
        if let Some((file, error)) = unusable(&ca_file, |file| trust::read_authorities(file).map(drop)) {
            told(reader, ca_key, &file, error);
        }
        if let Some((file, error)) =
            unusable(&cert_file, |file| trust::read(file).and_then(|pem| trust::certificates(&pem)).map(drop))
        {
            told(reader, cert_key, &file, error);
        }
        if let Some((file, error)) =
            unusable(&key_file, |file| trust::read(file).and_then(|pem| trust::private_key(&pem)).map(drop))
        {
            told(reader, key_key, &file, error);
        }
    }
    let identity = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Some(Identity { cert_file, key_file }),
        (None, None) => None,
        (Some(_), None) => {
            reader.wrong(cert_key, format!("stands without {key_key}: write both, or neither"));
            None
        }
        (None, Some(_)) => {
            reader.wrong(key_key, format!("stands without {cert_key}: write both, or neither"));
            None
        }
    };
    let options = TlsOptions { ca_file, identity };
    match reader.optional(TLS, &FLAG) {
        Some(true) => Tls::On(options),
        Some(false) => Tls::Off,
        None if options == TlsOptions::default() => Tls::Unsaid,
        None => Tls::On(options),
    }
}

#[cfg(test)]
mod tests;

//! The Redis that Backstage's own cache uses (`@backstage/backend-defaults`, `src/entrypoints/cache/CacheManager.ts`).

use super::redis::{Login, Place, several};
use crate::config::formats::{COUNT, FLAG, SECRET, TEXT};
use crate::config::reader::Reader;
use crate::config::redis_url::{REDIS_URL, RedisUrl};
use crate::redis::Form;

const STORE: &str = "backend.cache.store";
const CONNECTION: &str = "backend.cache.connection";

/// What Backstage keeps its cache in.
pub(super) enum Found {
    Redis {
        place: Place,
        /// What its keys begin with, and the key that says so.
        prefix: Option<(String, &'static str)>,
    },
    /// Its own memory, something that we don't speak to, or a Redis with a problem that is told.
    Nothing,
}

/// The keys of one kind of store.
struct Keys {
    nodes: &'static str,
    defaults: &'static str,
}

const REDIS: Keys =
    Keys { nodes: "backend.cache.redis.cluster.rootNodes", defaults: "backend.cache.redis.cluster.defaults" };
const VALKEY: Keys =
    Keys { nodes: "backend.cache.valkey.cluster.rootNodes", defaults: "backend.cache.valkey.cluster.defaults" };

pub(super) fn read(reader: &mut Reader<'_>) -> Found {
    let Some(store) = reader.optional(STORE, &TEXT) else { return Found::Nothing };
    let (keys, prefix) = match store.as_str() {
        "redis" => (REDIS, redis_prefix(reader)),
        "valkey" => (VALKEY, valkey_prefix(reader)),
        "memcache" | "infinispan" => {
            reader.warn(
                STORE,
                format!(
                    "{store} is not used by Callboard, which keeps documents in its own memory then: write \
                     callboard.cache.redis.url to share them through Redis"
                ),
            );
            return Found::Nothing;
        }
        // Its own memory; and what Backstage itself will refuse.
        _ => return Found::Nothing,
    };
    let place = if reader.has(keys.nodes) { cluster(reader, &keys) } else { single(reader) };
    place.map_or(Found::Nothing, |place| Found::Redis { place, prefix })
}

fn single(reader: &mut Reader<'_>) -> Option<Place> {
    let otherwise = " where backend.cache.store is redis or valkey, unless callboard.cache.redis.enabled is false: write \
                     the URL of Redis";
    if reader.is_text(CONNECTION) || !reader.has(CONNECTION) {
        let url = reader.required(CONNECTION, &REDIS_URL, otherwise)?;
        return Some(Place { form: Form::Standalone(url.address.clone()), key: CONNECTION, login: url.into() });
    }
    let url = reader.required(&format!("{CONNECTION}.url"), &REDIS_URL, otherwise)?;
    let form = Form::Standalone(url.address.clone());
    Some(Place { form, key: CONNECTION, login: read_login(reader, CONNECTION).over(url.into()) })
}

fn cluster(reader: &mut Reader<'_>, keys: &Keys) -> Option<Place> {
    let mut urls = Vec::new();
    for node in reader.maps(keys.nodes) {
        urls.extend(read_node(reader, &node));
    }
    let place = several(reader, keys.nodes, urls, Form::Cluster)?;
    let defaults = read_login(reader, keys.defaults).over(place.login);
    // With an object for a connection, all of that but its URL is a default too.
    let login = if reader.is_text(CONNECTION) { defaults } else { read_login(reader, CONNECTION).over(defaults) };
    Some(Place { login, ..place })
}

/// `{ url }` as for node-redis, or `{ host, port }` as for iovalkey.
fn read_node(reader: &mut Reader<'_>, node: &str) -> Option<RedisUrl> {
    let (url, host, port) = (format!("{node}.url"), format!("{node}.host"), format!("{node}.port"));
    if !reader.has(&host) {
        return reader.required(&url, &REDIS_URL, ": write the URL of a node");
    }
    let host = reader.optional(&host, &TEXT)?;
    let number = reader.optional(&port, &COUNT).unwrap_or(6379);
    let Ok(number) = u16::try_from(number) else {
        reader.wrong(&port, "is no port: write a number from 1 to 65535");
        return None;
    };
    Some(RedisUrl::at(host, number))
}

/// What the clients' options say, which goes before what the URL says.
fn read_login(reader: &mut Reader<'_>, key: &str) -> Login {
    let database =
        reader.optional(&format!("{key}.database"), &COUNT).map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    Login {
        username: reader.optional(&format!("{key}.username"), &TEXT),
        password: reader.optional(&format!("{key}.password"), &SECRET),
        database,
        is_tls: reader.optional(&format!("{key}.socket.tls"), &FLAG).unwrap_or_default(),
    }
}

impl Login {
    /// What of it is missing is taken from there.
    fn over(self, other: Self) -> Self {
        Self {
            username: self.username.or(other.username),
            password: self.password.or(other.password),
            database: self.database.or(other.database),
            is_tls: self.is_tls || other.is_tls,
        }
    }
}

fn redis_prefix(reader: &mut Reader<'_>) -> Option<(String, &'static str)> {
    const NAMESPACE: &str = "backend.cache.redis.client.namespace";
    let namespace = reader.optional(NAMESPACE, &TEXT)?;
    let separator = reader.or("backend.cache.redis.client.keyPrefixSeparator", &TEXT, ":".to_owned());
    Some((format!("{namespace}{separator}"), NAMESPACE))
}

fn valkey_prefix(reader: &mut Reader<'_>) -> Option<(String, &'static str)> {
    const PREFIX: &str = "backend.cache.valkey.client.keyPrefix";
    reader.optional(PREFIX, &TEXT).map(|prefix| (prefix, PREFIX))
}

#[cfg(test)]
mod tests {
    use crate::config::Configuration;
    use crate::config::testing::{problems, resolved};
    use crate::redis::{Address, Form, Options};
    use crate::secret::Secret;

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    fn read(cache: &str) -> Configuration {
        let configuration = resolved(&format!("{DOCS}backend: {{baseUrl: 'http://b.test', cache: {cache}}}"));
        configuration.unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn options(cache: &str) -> Options {
        read(cache).resolved.redis.expect("a Redis")
    }

    fn at(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn backstages_redis_is_used_unless_ours_is_written() {
        let options = options("{store: redis, connection: 'rediss://ada:p@r:7'}");
        assert_eq!(options.form, Form::Standalone(at("r", 7)));
        assert!(options.tls.is_some() && options.password == Some(Secret::new("p")));
        assert_eq!(options.key_prefix, "callboard:");
        let text = "backend: {cache: {store: redis, connection: 'redis://theirs'}}\n\
                    callboard: {cache: {redis: {url: 'redis://ours'}}}";
        let ours = resolved(&format!("{DOCS}{text}")).unwrap().resolved.redis.unwrap();
        assert_eq!(ours.form, Form::Standalone(at("ours", 6379)));
    }

    #[test]
    fn a_connection_may_be_a_map() {
        let options = options(
            "{store: redis, connection: {url: 'redis://r', username: ada, password: p, database: 2, \
             socket: {tls: true}, pingInterval: 1000}}",
        );
        assert_eq!((options.username.as_deref(), options.database), (Some("ada"), 2));
        assert!(options.tls.is_some() && options.password == Some(Secret::new("p")));
    }

    #[test]
    fn clusters_and_prefixes_are_taken_over() {
        let redis = options(
            "{store: redis, connection: 'redis://unused', redis: {client: {namespace: portal}, \
             cluster: {rootNodes: [{url: 'redis://a:1'}, {url: 'redis://b:2'}], defaults: {password: p}}}}",
        );
        assert_eq!(redis.form, Form::Cluster(vec![at("a", 1), at("b", 2)]));
        assert_eq!((redis.password, redis.key_prefix.as_str()), (Some(Secret::new("p")), "portal:callboard:"));
        let valkey = options(
            "{store: valkey, connection: 'redis://unused', valkey: {client: {keyPrefix: 'portal/'}, \
             cluster: {rootNodes: [{host: a, port: 1}]}}}",
        );
        assert_eq!((valkey.form, valkey.key_prefix.as_str()), (Form::Cluster(vec![at("a", 1)]), "portal/callboard:"));
    }

    #[test]
    fn other_stores_are_not_used_and_that_is_told() {
        let configuration = read("{store: memcache, connection: 'u:t0ps3cret@h:1'}");
        assert!(configuration.resolved.redis.is_none());
        let warnings: Vec<String> = configuration.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings[0].starts_with("backend.cache.store (app-config.yaml:2): memcache is not used"),
            "{warnings:?}"
        );
        assert!(read("{store: memory}").warnings.is_empty());
    }

    #[test]
    fn a_connection_that_is_missing_or_wrong_is_told_without_its_password() {
        for (cache, word) in [
            ("{store: redis}", "backend.cache.connection: required where"),
            ("{store: redis, connection: '${NOBODY_SET_THIS}'}", "NOBODY_SET_THIS"),
            ("{store: redis, connection: 'http://u:t0ps3cret@h'}", "not a Redis URL"),
            ("{store: redis, connection: {url: 'redis://h', socket: {tls: maybe}}}", "connection.socket.tls"),
        ] {
            let told = problems(&format!("{DOCS}backend: {{cache: {cache}}}")).join("\n");
            assert!(told.contains(word) && !told.contains("t0ps3cret"), "{told}");
        }
    }
}

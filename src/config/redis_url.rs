//! Where a Redis is, as a URL says it.

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;
use url::{Host, Url};

use super::formats::{Format, TEXT, Wrong, show_url};
use super::value::Value;
use crate::redis::Address;
use crate::secret::Secret;

/// Where Redis listens unless its URL says otherwise.
const PORT: u16 = 6379;

/// What a URL such as `rediss://user:password@redis.example.com:6380/1` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) address: Address,
    pub(super) is_tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<u32>,
    /// As it is printed, without its password.
    shown: String,
}

const WRITE: &str = "for example redis://redis.example.com:6379, rediss:// for TLS";

/// One server's URL, which may hold a name and a password.
pub(super) const REDIS_URL: Format<RedisUrl> = Format {
    what: "a Redis URL",
    write: WRITE,
    secret: false,
    parse: |node| {
        let text = (TEXT.parse)(node)?;
        // A URL with a password in it must not get into a message.
        parse(&text).ok_or(if text.contains('@') { Wrong::Type } else { Wrong::Value })
    },
    show: |url| Json::from(url.shown.as_str()),
};

/// Several servers' URLs.
pub(super) const REDIS_URLS: Format<Vec<RedisUrl>> = Format {
    what: "a list of Redis URLs",
    write: "for example [\"redis://10.0.0.1:6379\", \"redis://10.0.0.2:6379\"], or rediss:// for TLS",
    secret: false,
    parse: |node| match &node.value {
        Value::List(items) => items.iter().map(|item| (REDIS_URL.parse)(item).map_err(|_| Wrong::Type)).collect(),
        _ => Err(Wrong::Type),
    },
    show: |urls| urls.iter().map(|url| url.shown.as_str()).collect(),
};

impl RedisUrl {
    /// The server at a host and port.
    pub(super) fn at(host: String, port: u16) -> Self {
        let address = Address::Tcp { host, port };
        let shown = address.to_string();
        Self { address, is_tls: false, username: None, password: None, database: None, shown }
    }
}

fn parse(text: &str) -> Option<RedisUrl> {
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace))?;
    let (is_tls, is_unix) = match url.scheme() {
        "redis" | "valkey" => (false, false),
        "rediss" | "valkeys" => (true, false),
        "unix" | "redis+unix" => (false, true),
        _ => return None,
    };
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let path = decoded(url.path())?;
    let (address, database) = if is_unix {
        (Address::Unix(Some(path).filter(|path| path.len() > 1)?.into()), None)
    } else {
        let number = path.trim_matches('/');
        let database = if number.is_empty() { None } else { Some(number.parse().ok()?) };
        (Address::Tcp { host: host(&url)?, port: url.port().unwrap_or(PORT) }, database)
    };
    let username = decoded(url.username())?;
    let password = url.password().map(decoded);
    Some(RedisUrl {
        address,
        is_tls,
        username: Some(username).filter(|name| !name.is_empty()),
        password: match password {
            Some(password) => password.filter(|password| !password.is_empty()).map(Secret::new),
            None => None,
        },
        database,
        shown: show_url(&url),
    })
}

fn host(url: &Url) -> Option<String> {
    match url.host() {
        Some(Host::Ipv6(address)) => Some(address.to_string()),
        Some(host) => decoded(&host.to_string()),
        None => None,
    }
    .filter(|host| !host.is_empty())
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_as_whom() {
        let url = parse("rediss://call%40board:p%2Fw@redis.example.com/3").unwrap();
        assert_eq!(url.address, Address::Tcp { host: "redis.example.com".to_owned(), port: 6379 });
        assert_eq!((url.username.as_deref(), url.password), (Some("call@board"), Some(Secret::new("p/w"))));
        assert_eq!((url.database, url.is_tls), (Some(3), true));
        assert_eq!(url.shown, "rediss://call%40board:***@redis.example.com/3");
        let url = parse("redis://:pw@[::1]:7000").unwrap();
        assert_eq!(url.address, Address::Tcp { host: "::1".to_owned(), port: 7000 });
        assert_eq!((url.username, url.database, url.is_tls), (None, None, false));
        assert_eq!(parse("unix:///run/redis.sock").unwrap().address, Address::Unix("/run/redis.sock".into()));
    }

    #[test]
    fn what_is_no_redis_url_is_none() {
        for text in [
            "redis.example.com:6379",
            "http://redis",
            "redis://",
            "redis://a b",
            "redis://a/x",
            "redis://a?b=c",
            "unix:",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! How a setting of each kind is written, read and shown again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value as Json;
use url::Url;

use super::value::{Node, Value, number_json};
use super::{duration, js, size};
use crate::secret::Secret;
use crate::storage::RequireReadOnly;
use crate::telemetry::LogFormat;

/// A kind of setting.
pub(super) struct Format<T> {
    /// What it is, to stand after "is not".
    pub(super) what: &'static str,
    /// An example, to stand after "write".
    pub(super) write: &'static str,
    /// Whether its values may be shown to nobody.
    pub(super) secret: bool,
    pub(super) parse: fn(&Node) -> Result<T, Wrong>,
    /// The value as it is printed; what it gives can be written into a configuration.
    pub(super) show: fn(&T) -> Json,
}

/// Why a value is not of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not even of the type.
    Type,
    /// Its type would do.
    Value,
    /// It would do but for this, worded to stand after the value.
    Because(String),
}

pub(super) const MASK: &str = "***";

pub(super) const FLAG: Format<bool> = Format {
    what: "a boolean",
    write: "true or false",
    secret: false,
    // `getBoolean` of `@backstage/config`.
    parse: |node| match &node.value {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(_) | Value::Text(_) => {
            let text = node.value.scalar_text().unwrap_or_default();
            match js::trim(&text).to_ascii_lowercase().as_str() {
                "y" | "yes" | "true" | "1" | "on" => Ok(true),
                "n" | "no" | "false" | "0" | "off" => Ok(false),
                _ => Err(Wrong::Value),
            }
        }
        _ => Err(Wrong::Type),
    },
    show: |flag| Json::from(*flag),
};

pub(super) const DURATION: Format<Duration> = Format {
    what: "a duration",
    write: "for example 5m, PT5M or { minutes: 5 }",
    secret: false,
    parse: |node| {
        duration::parse(node).map_err(|error| match (error, &node.value) {
            (duration::NotADuration::Form, Value::Text(_)) => Wrong::Value,
            (duration::NotADuration::Form, _) => Wrong::Type,
            (other, _) => Wrong::Because(other.to_string()),
        })
    },
    show: |duration| Json::from(duration::show(*duration)),
};

pub(super) const SIZE: Format<u64> = Format {
    what: "a size",
    write: "a whole number of bytes, or for example 8MiB",
    secret: false,
    parse: |node| match &node.value {
        Value::Number(_) | Value::Text(_) => size::parse(node).ok_or(Wrong::Value),
        _ => Err(Wrong::Type),
    },
    show: |bytes| Json::from(size::show(*bytes)),
};

pub(super) const COUNT: Format<u64> = Format {
    what: "a whole number",
    write: "for example 64",
    secret: false,
    // `getNumber` of `@backstage/config` takes numbers in text too, which is what `${VAR}` gives.
    parse: |node| match &node.value {
        Value::Number(number) => size::whole(*number).ok_or(Wrong::Value),
        Value::Text(text) if !js::trim(text).is_empty() => js::number(text).and_then(size::whole).ok_or(Wrong::Value),
        _ => Err(Wrong::Type),
    },
    #[expect(clippy::cast_precision_loss, reason = "counts are at most 2^53")]
    show: |count| number_json(*count as f64),
};

pub(super) const TEXT: Format<String> = Format {
    what: "text",
    write: "it as text, in quotes where it looks like a number",
    secret: false,
    parse: |node| match &node.value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Wrong::Type),
    },
    show: |text| Json::from(text.as_str()),
};

pub(super) const SECRET: Format<Secret> = Format {
    what: "text",
    write: "it as text, in quotes where it looks like a number, best as ${VARIABLE} or { $file: path }",
    secret: true,
    parse: |node| (TEXT.parse)(node).map(Secret::new),
    show: |_| Json::from(MASK),
};

pub(super) const TEXTS: Format<Vec<String>> = Format {
    what: "a list of text",
    write: "for example [techdocs, callboard]",
    secret: false,
    parse: |node| match &node.value {
        Value::List(items) => items.iter().map(TEXT.parse).collect(),
        _ => Err(Wrong::Type),
    },
    show: |texts| texts.iter().map(String::as_str).collect(),
};

/// `readStringOrStringArrayFromConfig` of `@backstage/backend-defaults`, `src/entrypoints/auth/external/helpers.ts`: a
/// text or a list of them, each of which may hold several words.
pub(super) const WORDS: Format<Vec<String>> = Format {
    what: "text or a list of text",
    write: "for example \"a b\", \"a, b\" or [a, b]",
    secret: false,
    parse: |node| {
        let texts = match &node.value {
            Value::List(_) => (TEXTS.parse)(node)?,
            _ => vec![(TEXT.parse)(node)?],
        };
        let mut words: Vec<String> = Vec::new();
        for word in texts.iter().flat_map(|text| text.split([' ', ','])).filter(|word| !word.is_empty()) {
            if !words.iter().any(|known| known == word) {
                words.push(word.to_owned());
            }
        }
        Ok(words)
    },
    show: TEXTS.show,
};

/// A proxy's URL, which may hold a name and a password.
pub(super) const PROXY: Format<Url> = Format {
    what: "a URL",
    write: "for example http://proxy.example.com:3128",
    secret: false,
    parse: parse_url,
    show: SHOW_URL,
};

/// A server's URL. It shows in logs and in `callboard check`, so nothing secret belongs into it.
pub(super) const URL: Format<Url> = Format {
    what: "a URL without user name and password",
    write: "for example https://backstage.example.com",
    secret: false,
    parse: |node| parse_url(node).and_then(|url| if holds_user(&url) { Err(Wrong::Type) } else { Ok(url) }),
    show: SHOW_URL,
};

const SHOW_URL: fn(&Url) -> Json = |url| Json::from(show_url(url));

fn parse_url(node: &Node) -> Result<Url, Wrong> {
    let text = (TEXT.parse)(node)?;
    // The parser would drop or encode white space, which in an address is a slip and nothing else.
    let has_space = text.contains(char::is_whitespace);
    match Url::parse(&text) {
        Ok(url) if !has_space && matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        // An address with a name and password in it must not get into a message.
        _ if text.contains('@') => Err(Wrong::Type),
        _ => Err(Wrong::Value),
    }
}

/// Whether a URL holds a user's name or password.
pub(super) fn holds_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

pub(super) const REQUIRE_READ_ONLY: Format<RequireReadOnly> = Format {
    what: "a requirement",
    write: "off, warn or enforce",
    secret: false,
    parse: |node| match &node.value {
        // What YAML 1.1, and so a Helm chart, makes of `off`.
        Value::Bool(false) => Ok(RequireReadOnly::Off),
        _ => match (TEXT.parse)(node)?.as_str() {
            "off" => Ok(RequireReadOnly::Off),
            "warn" => Ok(RequireReadOnly::Warn),
            "enforce" => Ok(RequireReadOnly::Enforce),
            _ => Err(Wrong::Value),
        },
    },
    show: |requirement| {
        Json::from(match requirement {
            RequireReadOnly::Off => "off",
            RequireReadOnly::Warn => "warn",
            RequireReadOnly::Enforce => "enforce",
        })
    },
};

pub(super) const LOG_FORMAT: Format<LogFormat> = Format {
    what: "a log format",
    write: "auto, json or text",
    secret: false,
    parse: |node| match (TEXT.parse)(node)?.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err(Wrong::Value),
    },
    show: |format| {
        Json::from(match format {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        })
    },
};

pub(super) const LOG_LEVEL: Format<String> = Format {
    what: "a log level",
    write: "error, warn, info, debug or trace, or for example info,callboard=debug",
    secret: false,
    parse: |node| {
        let text = (TEXT.parse)(node)?;
        let valid = tracing_subscriber::EnvFilter::builder().parse(&text).is_ok();
        // A word that is no level is read as the name of a module, which is hardly ever what was meant.
        let level = text.contains(['=', ','])
            || matches!(text.to_ascii_lowercase().as_str(), "off" | "error" | "warn" | "info" | "debug" | "trace");
        if valid && level { Ok(text) } else { Err(Wrong::Value) }
    },
    show: TEXT.show,
};

pub(super) const HEADER: Format<HeaderValue> = Format {
    what: "a header's value",
    write: "for example \"private, max-age=60\"",
    secret: false,
    parse: |node| HeaderValue::from_str(&(TEXT.parse)(node)?).map_err(|_| Wrong::Value),
    show: |value| Json::from(value.to_str().unwrap_or_default()),
};

/// The main listener: a port alone means all addresses.
pub(super) const LISTEN: Format<SocketAddr> = Format {
    what: "an address to listen on",
    write: "for example 0.0.0.0:7008, \"[::]:7008\" or 7008",
    secret: false,
    parse: |node| address(node, Ipv4Addr::UNSPECIFIED),
    show: |address| Json::from(address.to_string()),
};

/// The admin listener: a port alone means this machine only.
pub(super) const ADMIN_LISTEN: Format<SocketAddr> = Format {
    what: "an address to listen on",
    write: "for example 127.0.0.1:7009, \":7009\" for all addresses, or 7009 for this machine only",
    secret: false,
    parse: |node| address(node, Ipv4Addr::LOCALHOST),
    show: |address| Json::from(address.to_string()),
};

/// A port, `:port`, `localhost:port` or an IP address with a port. Names are not looked up: reading a configuration
/// touches nothing.
fn address(node: &Node, of_bare_port: Ipv4Addr) -> Result<SocketAddr, Wrong> {
    let text = match &node.value {
        Value::Number(_) | Value::Text(_) => node.value.scalar_text().unwrap_or_default(),
        _ => return Err(Wrong::Type),
    };
    let text = js::trim(&text);
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::new(IpAddr::V4(of_bare_port), port));
    }
    let port_of = |prefix: &str| text.strip_prefix(prefix).and_then(|port| port.parse::<u16>().ok());
    if let Some(port) = port_of(":") {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    }
    if let Some(port) = port_of("localhost:") {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| Wrong::Value)
}

/// A URL without the password that it may hold, nor a query, where keys for interfaces like to stand.
pub(super) fn show_url(url: &Url) -> String {
    let mut shown = url.clone();
    if url.query().is_some() {
        shown.set_query(Some(MASK));
    }
    if url.password().is_some() {
        // Fails only for URLs that can't have a password at all.
        let _ = shown.set_password(Some(MASK));
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::value::Origin;

    fn read<T>(format: &Format<T>, json: Json) -> Result<Json, Wrong> {
        (format.parse)(&Node::from_json(json, &Origin::Default)).map(|value| (format.show)(&value))
    }

    #[test]
    fn booleans_are_read_as_upstream_reads_them() {
        for yes in [json!(true), json!("Yes"), json!(1), json!(" on ")] {
            assert_eq!(read(&FLAG, yes), Ok(json!(true)));
        }
        assert_eq!(read(&FLAG, json!("n")), Ok(json!(false)));
        assert_eq!(read(&FLAG, json!("maybe")), Err(Wrong::Value));
        assert_eq!(read(&FLAG, json!([])), Err(Wrong::Type));
    }

    #[test]
    fn an_address_is_a_port_or_a_host_with_one() {
        for (written, main, admin) in [
            (json!(7008), "0.0.0.0:7008", "127.0.0.1:7008"),
            (json!("7008"), "0.0.0.0:7008", "127.0.0.1:7008"),
            (json!(":7008"), "0.0.0.0:7008", "0.0.0.0:7008"),
            (json!("localhost:1"), "127.0.0.1:1", "127.0.0.1:1"),
            (json!("[::]:7008"), "[::]:7008", "[::]:7008"),
        ] {
            assert_eq!(read(&LISTEN, written.clone()), Ok(json!(main)));
            assert_eq!(read(&ADMIN_LISTEN, written), Ok(json!(admin)));
        }
        for wrong in [json!("example.com:80"), json!(70000), json!("0.0.0.0"), json!(""), json!(1.5)] {
            assert_eq!(read(&LISTEN, wrong), Err(Wrong::Value));
        }
    }

    #[test]
    fn a_url_shows_neither_its_password_nor_a_wrong_spelling_of_one() {
        assert_eq!(read(&PROXY, json!("http://u:p4ss@proxy:3128")), Ok(json!("http://u:***@proxy:3128/")));
        assert_eq!(read(&PROXY, json!("htp//u:p4ss@proxy")), Err(Wrong::Type));
        assert_eq!(read(&PROXY, json!("proxy:3128")), Err(Wrong::Value));
        assert_eq!(read(&PROXY, json!("")), Err(Wrong::Type));
    }

    #[test]
    fn words_are_split_at_commas_and_spaces_and_kept_once() {
        assert_eq!(read(&WORDS, json!("a, b a")), Ok(json!(["a", "b"])));
        assert_eq!(read(&WORDS, json!(["a b", "c,"])), Ok(json!(["a", "b", "c"])));
        assert_eq!(read(&WORDS, json!([1])), Err(Wrong::Type));
    }

    #[test]
    fn log_levels_are_levels_or_filters() {
        assert!(read(&LOG_LEVEL, json!("debug")).is_ok());
        assert!(read(&LOG_LEVEL, json!("info,callboard=debug")).is_ok());
        assert_eq!(read(&LOG_LEVEL, json!("loud")), Err(Wrong::Value));
    }
}

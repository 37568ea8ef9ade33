//! How settings of OTLP are written.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;
use url::Url;

use crate::config::formats::{COUNT, Format, MASK, TEXT, TEXTS, URL, Wrong};
use crate::config::value::{Value, number_json};
use crate::telemetry::Protocol;

pub(super) const ENDPOINT: Format<Option<Url>> = Format {
    what: "a receiver's address",
    write: "none, or for example http://collector:4318, without name and password in it",
    secret: false,
    parse: |node| match &node.value {
        Value::Text(text) if text == "none" => Ok(None),
        _ => {
            let url = (URL.parse)(node)?;
            let has_credentials = !url.username().is_empty() || url.password().is_some();
            if has_credentials { Err(Wrong::Type) } else { Ok(Some(url)) }
        }
    },
    show: |url| url.as_ref().map_or(Json::from("none"), |url| Json::from(url.as_str())),
};

pub(super) const PROTOCOL: Format<Protocol> = Format {
    what: "an OTLP protocol",
    write: "grpc or http/protobuf",
    secret: false,
    parse: |node| match (TEXT.parse)(node)?.as_str() {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::Http),
        _ => Err(Wrong::Value),
    },
    show: |protocol| {
        Json::from(match protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        })
    },
};

/// A list of `name=value`, or such pairs in one text with commas between them and percent signs before what would
/// confuse, as `OTEL_EXPORTER_OTLP_HEADERS` has them. What is wrong with them is told without repeating them.
pub(super) const HEADERS: Format<HeaderMap> = Format {
    what: "a list of headers",
    write: "for example [\"authorization=Bearer ${TOKEN}\"]",
    secret: false,
    parse: |node| {
        let pairs = match &node.value {
            Value::List(_) => (TEXTS.parse)(node)?.iter().map(|text| pair(text)).collect::<Option<Vec<_>>>(),
            _ => pairs(&(TEXT.parse)(node)?),
        };
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.to_ascii_lowercase()).ok()?, value))
        };
        pairs.and_then(|pairs| pairs.into_iter().map(header).collect()).ok_or(Wrong::Type)
    },
    show: |headers| headers.keys().map(|name| format!("{name}={MASK}")).collect(),
};

/// Attributes as `OTEL_RESOURCE_ATTRIBUTES` has them.
pub(super) const PAIRS: Format<Vec<(String, String)>> = Format {
    what: "a list of attributes",
    write: "for example deployment.environment=production,service.namespace=docs",
    secret: false,
    parse: |node| pairs(&(TEXT.parse)(node)?).ok_or(Wrong::Value),
    show: |pairs| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect(),
};

pub(super) const RATIO: Format<f64> = Format {
    what: "a ratio",
    write: "a number from 0 to 1",
    secret: false,
    parse: |node| {
        let number = match &node.value {
            Value::Number(number) => *number,
            Value::Text(text) => text.trim().parse().map_err(|_| Wrong::Value)?,
            _ => return Err(Wrong::Type),
        };
        if (0.0..=1.0).contains(&number) { Ok(number) } else { Err(Wrong::Value) }
    },
    show: |ratio| number_json(*ratio),
};

/// Whether a caller's decision counts first, and the ratio, where the name says it.
pub(super) const SAMPLER: Format<(bool, Option<f64>)> = Format {
    what: "a sampler",
    write: "always_on, always_off or traceidratio, each also with parentbased_ before it",
    secret: false,
    parse: |node| {
        let text = (TEXT.parse)(node)?;
        let (parent_based, name) = match text.strip_prefix("parentbased_") {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        match name {
            "always_on" => Ok((parent_based, Some(1.0))),
            "always_off" => Ok((parent_based, Some(0.0))),
            "traceidratio" => Ok((parent_based, None)),
            _ => Err(Wrong::Value),
        }
    },
    show: |_| Json::Null,
};

/// Whether OTLP is among the exporters that are asked for; Prometheus needs no asking.
pub(super) const EXPORTER: Format<bool> = Format {
    what: "an exporter",
    write: "otlp or none",
    secret: false,
    parse: |node| {
        let text = (TEXT.parse)(node)?;
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        let known = names.iter().all(|name| matches!(*name, "otlp" | "none" | "prometheus"));
        if known { Ok(names.contains(&"otlp")) } else { Err(Wrong::Value) }
    },
    show: |otlp| Json::from(if *otlp { "otlp" } else { "none" }),
};

pub(super) const GZIP: Format<bool> = Format {
    what: "a compression",
    write: "gzip or none",
    secret: false,
    parse: |node| match (TEXT.parse)(node)?.as_str() {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(Wrong::Value),
    },
    show: |gzip| Json::from(if *gzip { "gzip" } else { "none" }),
};

/// Durations as variables have them.
pub(super) const MILLISECONDS: Format<Duration> = Format {
    what: "a number of milliseconds",
    write: "for example 10000",
    secret: false,
    parse: |node| (COUNT.parse)(node).map(Duration::from_millis),
    show: |duration| Json::from(duration.as_secs_f64() * 1000.0),
};

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',').filter(|part| !part.trim().is_empty()).map(decoded_pair).collect()
}

fn decoded_pair(text: &str) -> Option<(String, String)> {
    let (name, value) = pair(text)?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    Some((decoded(&name)?, decoded(&value)?))
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

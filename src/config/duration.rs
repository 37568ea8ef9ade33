//! Durations in every form that Backstage reads (`@backstage/config`, `src/readDurationFromConfig.ts`), and plain
//! numbers of milliseconds, which `techdocs.cache.ttl` and its like take too.

use std::time::Duration;

use super::js;
use super::value::{Node, Value};

const SECOND: f64 = 1000.0;
const MINUTE: f64 = 60.0 * SECOND;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;
const WEEK: f64 = 7.0 * DAY;
/// A month and a year as `durationToMilliseconds` of `@backstage/types` counts them.
const MONTH: f64 = 30.0 * DAY;
const YEAR: f64 = 365.0 * DAY;
/// A year as the npm package `ms` counts it.
const MS_YEAR: f64 = 365.25 * DAY;

/// The parts that a duration map may have, with their lengths in milliseconds.
const PARTS: [(&str, f64); 8] = [
    ("years", YEAR),
    ("months", MONTH),
    ("weeks", WEEK),
    ("days", DAY),
    ("hours", HOUR),
    ("minutes", MINUTE),
    ("seconds", SECOND),
    ("milliseconds", 1.0),
];

/// Why something is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotADuration {
    /// It is not written in any of the forms.
    #[error("is not a duration")]
    Form,
    /// Digits alone in a text; upstream refuses them too, since nothing says which unit is meant.
    #[error("has no unit")]
    NoUnit,
    /// It is below zero.
    #[error("is negative")]
    Negative,
    /// It is longer than a machine can count.
    #[error("is too long")]
    TooLong,
    /// A map with a key that is no unit.
    #[error("has the unknown part {0:?} (known: years, months, weeks, days, hours, minutes, seconds, milliseconds)")]
    UnknownPart(String),
    /// A map whose part is no number.
    #[error("has the part {0:?}, which is not a number")]
    PartNotANumber(String),
}

/// A duration in any of the forms: a number of milliseconds, a text (see [`parse_text`]) or a map of parts.
pub(super) fn parse(node: &Node) -> Result<Duration, NotADuration> {
    match &node.value {
        Value::Number(milliseconds) => from_milliseconds(*milliseconds),
        Value::Text(text) => parse_text(text),
        Value::Map(parts) => {
            let mut total = None;
            for (name, part) in parts.iter().filter(|(_, part)| part.value != Value::Null) {
                let (_, length) = PARTS
                    .iter()
                    .find(|(known, _)| known == name)
                    .ok_or_else(|| NotADuration::UnknownPart(name.clone()))?;
                let number = match &part.value {
                    Value::Number(number) => Some(*number),
                    Value::Text(text) => js::number(text),
                    _ => None,
                };
                let number = number.ok_or_else(|| NotADuration::PartNotANumber(name.clone()))?;
                total = Some(total.unwrap_or(0.0) + number * length);
            }
            from_milliseconds(total.ok_or(NotADuration::Form)?)
        }
        Value::Null | Value::Bool(_) | Value::List(_) => Err(NotADuration::Form),
    }
}

/// A duration in text: a number and a unit as the npm package `ms` reads it (`5m`, `1.5 hours`, `200ms`), or ISO 8601
/// (`PT5M`).
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_text(text: &str) -> Result<Duration, NotADuration> {
    let text = js::trim(text);
    from_milliseconds(if text.starts_with('P') { iso_milliseconds(text)? } else { ms_milliseconds(text)? })
}

/// The shortest text that reads back as the same duration, down to a millisecond: `5m`, `90s`, `1500ms`. Below a year,
/// that is: beyond it the npm package `ms`, whose reading ours follows, takes some hours off each.
pub fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") }
}

fn from_milliseconds(milliseconds: f64) -> Result<Duration, NotADuration> {
    if milliseconds.is_nan() {
        return Err(NotADuration::Form);
    }
    if milliseconds < 0.0 {
        return Err(NotADuration::Negative);
    }
    // A thousand years: far enough from overflow that a point in time plus a duration still is one.
    if milliseconds > 1000.0 * YEAR {
        return Err(NotADuration::TooLong);
    }
    // To a microsecond: what a fraction of a second can't say exactly in a double stays out.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on both sides just above")]
    Ok(Duration::from_micros((milliseconds * 1000.0).round() as u64))
}

/// `parseMsDuration`: `ms`, whose result is then taken apart into years of 365.25 days, weeks and so on, and put
/// together again with years of 365 days.
fn ms_milliseconds(text: &str) -> Result<f64, NotADuration> {
    const LONGEST: usize = 100;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotADuration::NoUnit);
    }
    let digits = text.find(|c: char| !matches!(c, '-' | '.' | '0'..='9')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or(NotADuration::Form)?;
    if text.len() > LONGEST || !is_ms_number(number) {
        return Err(NotADuration::Form);
    }
    let length = match unit.trim_start_matches(' ').to_ascii_lowercase().as_str() {
        "years" | "year" | "yrs" | "yr" | "y" => MS_YEAR,
        "weeks" | "week" | "w" => WEEK,
        "days" | "day" | "d" => DAY,
        "hours" | "hour" | "hrs" | "hr" | "h" => HOUR,
        "minutes" | "minute" | "mins" | "min" | "m" => MINUTE,
        "seconds" | "second" | "secs" | "sec" | "s" => SECOND,
        "milliseconds" | "millisecond" | "msecs" | "msec" | "ms" => 1.0,
        // A fraction needs no unit, and neither does a negative number; upstream's check is for digits alone.
        "" if !unit.starts_with(' ') => 1.0,
        _ => return Err(NotADuration::Form),
    };
    let total = number.parse::<f64>().map_err(|_| NotADuration::Form)? * length;
    Ok(total - (total / MS_YEAR).floor().max(0.0) * (MS_YEAR - YEAR))
}

/// `-?(?:\d+)?\.?\d+`.
fn is_ms_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && digits.ends_with(|c: char| c.is_ascii_digit())
}

/// `parseIsoDuration`. Parts may be negative, as long as the whole is not.
fn iso_milliseconds(text: &str) -> Result<f64, NotADuration> {
    const DATE: [(char, f64); 4] = [('Y', YEAR), ('M', MONTH), ('W', WEEK), ('D', DAY)];
    const TIME: [(char, f64); 2] = [('H', HOUR), ('M', MINUTE)];
    let text = text.strip_prefix('P').ok_or(NotADuration::Form)?;
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    let (date_total, rest) = iso_parts(date, &DATE)?;
    let (time_total, seconds) = iso_parts(time, &TIME)?;
    let seconds_total = iso_seconds(seconds)?;
    let parts = [date_total, time_total, seconds_total];
    if !rest.is_empty() || parts.iter().all(Option::is_none) {
        return Err(NotADuration::Form);
    }
    Ok(parts.iter().flatten().sum())
}

/// The sum of the parts that `text` begins with, each at most once and in order, and what is left of it.
fn iso_parts<'t>(mut text: &'t str, units: &[(char, f64)]) -> Result<(Option<f64>, &'t str), NotADuration> {
    let mut total = None;
    for (unit, length) in units {
        let end = text.find(|c: char| !matches!(c, '-' | '.' | '0'..='9')).unwrap_or(text.len());
        let (number, rest) = text.split_at_checked(end).ok_or(NotADuration::Form)?;
        if let Some(rest) = rest.strip_prefix(*unit) {
            let digits = number.strip_prefix('-').unwrap_or(number);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
            if !is_iso_digits(whole) || !is_iso_digits(fraction) {
                return Err(NotADuration::Form);
            }
            total = Some(total.unwrap_or(0.0) + number.parse::<f64>().map_err(|_| NotADuration::Form)? * length);
            text = rest;
        }
    }
    Ok((total, text))
}

/// `1.5S` or `1,5S`; upstream keeps whole milliseconds of the fraction.
fn iso_seconds(text: &str) -> Result<Option<f64>, NotADuration> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.strip_suffix('S').ok_or(NotADuration::Form)?;
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number),
    };
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, "0"));
    if !is_iso_digits(whole) || !is_iso_digits(fraction) {
        return Err(NotADuration::Form);
    }
    let seconds = whole.parse::<f64>().map_err(|_| NotADuration::Form)?;
    let fraction = format!("0.{fraction}").parse::<f64>().map_err(|_| NotADuration::Form)?;
    let milliseconds = seconds * SECOND + (fraction * SECOND).floor();
    Ok(Some(if negative { -milliseconds } else { milliseconds }))
}

fn is_iso_digits(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::value::Origin;

    fn milliseconds(json: serde_json::Value) -> Result<u128, NotADuration> {
        parse(&Node::from_json(json, &Origin::Default)).map(|duration| duration.as_millis())
    }

    #[test]
    fn every_form_of_a_duration_is_read() {
        for (written, expected) in [
            (json!(1500), 1500),
            (json!(0), 0),
            (json!("5m"), 300_000),
            (json!(" 1.5 Hours "), 5_400_000),
            (json!(".5s"), 500),
            (json!("0ms"), 0),
            (json!("1w"), 604_800_000),
            (json!("1y"), 31_536_000_000),
            (json!("PT5M"), 300_000),
            (json!("P1DT1.5H"), 91_800_000),
            (json!("P1Y1M"), 34_128_000_000),
            (json!("PT1,2345S"), 1234),
            (json!("PT1H-5M"), 3_300_000),
            (json!({"minutes": 5}), 300_000),
            (json!({"hours": 1, "seconds": "30", "days": null}), 3_630_000),
            (json!({"years": 1, "months": 1}), 34_128_000_000),
        ] {
            assert_eq!(milliseconds(written.clone()), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_upstream_refuses_is_refused() {
        for (written, expected) in [
            (json!("300"), NotADuration::NoUnit),
            (json!("soon"), NotADuration::Form),
            (json!(""), NotADuration::Form),
            (json!("5 fortnights"), NotADuration::Form),
            (json!("-5m"), NotADuration::Negative),
            (json!(-1), NotADuration::Negative),
            (json!("PT-5M"), NotADuration::Negative),
            (json!("P"), NotADuration::Form),
            (json!("PT"), NotADuration::Form),
            (json!("P5M3Y"), NotADuration::Form),
            (json!("PT5X"), NotADuration::Form),
            (json!({}), NotADuration::Form),
            (json!({"minute": 5}), NotADuration::UnknownPart("minute".to_owned())),
            (json!({"minutes": []}), NotADuration::PartNotANumber("minutes".to_owned())),
            (json!(true), NotADuration::Form),
            (json!(["5m"]), NotADuration::Form),
            (json!(1e300), NotADuration::TooLong),
        ] {
            assert_eq!(milliseconds(written.clone()), Err(expected), "{written}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(P?[-T0-9.,YMWDHS ms]*|.*)") {
            let _ = parse_text(&text);
        }

        #[test]
        fn a_shown_duration_reads_back_as_itself(milliseconds in 0_u64..10_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_text(&show(duration)), Ok(duration));
        }
    }
}

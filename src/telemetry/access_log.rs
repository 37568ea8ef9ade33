//! One line a request.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_millis;

use super::instruments::Log;
use super::lines::Lines;
use super::log::is_json;
use super::{Instruments, Options, TraceId};

/// How long the end of the program waits for what was queued to be written.
pub(super) const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// The longest piece of a request's path, or of anything else that a caller has a say in, that a line repeats.
const MAX_PATH: usize = 1024;

/// What is told of a request.
#[derive(Debug)]
pub struct AccessLine<'a> {
    /// When it was answered.
    pub at: SystemTime,
    /// `GET`, `HEAD` or what the client wrote.
    pub method: &'a str,
    /// The path as the client sent it, without the query, which is none of ours.
    pub path: &'a str,
    /// The status answered, 499 where the client left first.
    pub status: u16,
    /// The caller, where it was verified, were it refused all the same.
    pub subject: Option<&'a str>,
    /// The plugin that asks on the caller's behalf.
    pub actor: Option<&'a str>,
    /// The storage key, where the path led to one.
    pub key: Option<&'a str>,
    /// What the cache did.
    pub cache: Option<&'static str>,
    /// Why the request was refused, in one word.
    pub reason: Option<&'static str>,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// From the request's header to the last byte sent.
    pub duration: Duration,
    /// Which trace it belongs to.
    pub trace_id: TraceId,
}

/// Where access-log lines go.
#[derive(Debug)]
pub struct AccessLog {
    lines: Option<Lines>,
    json: bool,
    instruments: Arc<Instruments>,
}

impl AccessLog {
    /// A log on standard output, or none where the options switch it off.
    pub fn new(options: &Options, instruments: Arc<Instruments>) -> Self {
        let json = is_json(options.log_format, io::stdout().is_terminal());
        if options.access_log { Self::to(io::stdout(), json, instruments) } else { Self::off(instruments) }
    }

    /// A log on `sink`.
    pub fn to(sink: impl Write + Send + 'static, json: bool, instruments: Arc<Instruments>) -> Self {
        Self { lines: Some(Lines::to("access-log", sink)), json, instruments }
    }

    /// No log.
    pub fn off(instruments: Arc<Instruments>) -> Self {
        Self { lines: None, json: true, instruments }
    }

    /// Whether lines are written at all.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Queues a line; drops and counts it where too many wait.
    pub fn write(&self, line: &AccessLine<'_>) {
        let Some(lines) = &self.lines else { return };
        let text = if self.json { line.json() } else { line.text() };
        if !lines.write(&text) {
            self.instruments.log_line_dropped(Log::Access);
        }
    }
}

impl Drop for AccessLog {
    /// Waits until what was queued is written, but not for a reader that has stopped.
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.flush(FLUSH_WITHIN);
        }
    }
}

impl AccessLine<'_> {
    fn json(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        let _ = write!(line, r#"{{"time":"{}","type":"access","method":"#, format_rfc3339_millis(self.at));
        push_json(&mut line, self.method);
        line.extend_from_slice(br#","path":"#);
        push_json(&mut line, truncated(self.path));
        line.extend_from_slice(br#","status":"#);
        push_number(&mut line, u64::from(self.status));
        for (name, value) in self.known() {
            line.extend_from_slice(br#",""#);
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(br#"":"#);
            push_json(&mut line, value);
        }
        line.extend_from_slice(br#","bytes":"#);
        push_number(&mut line, self.bytes);
        line.extend_from_slice(br#","duration_ms":"#);
        push_millis(&mut line, self.duration);
        line.extend_from_slice(br#","trace_id":""#);
        line.extend_from_slice(&self.trace_id.hex());
        line.extend_from_slice(b"\"}\n");
        line
    }

    fn text(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        let path = truncated(self.path).escape_default();
        let time = format_rfc3339_millis(self.at);
        let _ = write!(line, "{time} {} {path} {}", self.method.escape_default(), self.status);
        for (name, value) in self.known() {
            let _ = write!(line, " {name}={}", value.escape_default());
        }
        let _ = write!(line, " {} B ", self.bytes);
        push_millis(&mut line, self.duration);
        let _ = writeln!(line, " ms trace_id={}", self.trace_id);
        line
    }

    /// What not every line has, by the names that both formats give it.
    fn known(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("subject", self.subject),
            ("actor", self.actor),
            ("key", self.key),
            ("cache", self.cache),
            ("reason", self.reason),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, truncated(value?))))
    }
}

/// As much of what a caller has a say in as a log repeats.
pub fn truncated(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_PATH)).unwrap_or_default()
}

/// Appends `text` as a JSON string. Writing to memory can't fail, nor can text be no JSON.
fn push_json(line: &mut Vec<u8>, text: &str) {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    if is_plain {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        let _ = serde_json::to_writer(line, text);
    }
}

fn push_number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a duration in milliseconds with three digits behind the point.
fn push_millis(line: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_nanos().saturating_add(500) / 1000).unwrap_or(u64::MAX);
    push_number(line, micros / 1000);
    line.push(b'.');
    // A thousand more, so that the zeros in front are there; its own digit is left out.
    line.extend_from_slice(itoa::Buffer::new().format(1000 + micros % 1000).as_bytes().get(1..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> AccessLine<'_> {
        AccessLine {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_208_000_123),
            method: "GET",
            path,
            status: 200,
            subject: Some("user:default/jane"),
            actor: Some("plugin:techdocs"),
            key: Some("default/component/shop/index.html"),
            cache: Some("hit"),
            reason: None,
            bytes: 20_480,
            duration: Duration::from_micros(85),
            trace_id: TraceId::of_request(&http::HeaderMap::new()),
        }
    }

    #[test]
    fn a_line_is_one_json_object() {
        let text = line("/static/docs/a\"b\\c\n\u{2028}é").json();
        assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["path"], "/static/docs/a\"b\\c\n\u{2028}é");
        assert_eq!(value["time"], "2024-02-29T12:00:00.123Z");
        assert_eq!(value["subject"], "user:default/jane");
        assert_eq!(value["actor"], "plugin:techdocs");
        assert_eq!(value["duration_ms"], 0.085);
        assert!(value.get("reason").is_none());
    }

    #[test]
    fn a_line_for_a_terminal_tells_the_same() {
        let line = line("/static/docs/a b\n");
        let text = String::from_utf8(line.text()).unwrap();
        let trace_id = line.trace_id;
        assert_eq!(
            text,
            format!(
                "2024-02-29T12:00:00.123Z GET /static/docs/a b\\n 200 subject=user:default/jane actor=plugin:techdocs \
                 key=default/component/shop/index.html cache=hit 20480 B 0.085 ms trace_id={trace_id}\n"
            )
        );
    }

    #[test]
    fn durations_have_three_digits_behind_the_point() {
        for (nanos, expected) in [(0, "0.000"), (499, "0.000"), (85_500, "0.086"), (1_000_000, "1.000")] {
            let mut text = Vec::new();
            push_millis(&mut text, Duration::from_nanos(nanos));
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
        let mut text = Vec::new();
        push_millis(&mut text, Duration::new(61, 7_080_000));
        assert_eq!(text, b"61007.080");
    }

    #[test]
    fn a_long_path_is_cut_at_a_character() {
        let text = line(&"é".repeat(5000)).json();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(value["path"].as_str().unwrap().len() <= MAX_PATH);
    }
}

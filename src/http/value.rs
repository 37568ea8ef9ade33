//! Header values that are written per answer.

use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use httpdate::HttpDate;

/// Values that depend on a small number alone, such as seconds: each is written when it is first asked for, and kept.
#[derive(Debug)]
pub struct Kept([OnceLock<HeaderValue>; Self::MOST]);

impl Kept {
    /// Numbers of which the value is kept: a quarter of an hour in seconds.
    const MOST: usize = 900;

    /// None so far.
    pub const fn new() -> Self {
        Self([const { OnceLock::new() }; Self::MOST])
    }

    /// The value for `number`, which `write` writes where it is not kept.
    pub fn of(&self, number: u64, write: impl Fn() -> HeaderValue) -> HeaderValue {
        let kept = usize::try_from(number).ok().and_then(|number| self.0.get(number));
        kept.map_or_else(&write, |kept| kept.get_or_init(&write).clone())
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self::new()
    }
}

/// A number as a header's value: as `HeaderValue::from` makes it, with one allocation instead of two.
pub fn number(number: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or_else(|_| HeaderValue::from(number))
}

/// A number of seconds that is often a small one.
pub fn seconds(seconds: u64) -> HeaderValue {
    static KEPT: Kept = Kept::new();
    KEPT.of(seconds, || number(seconds))
}

/// A time as HTTP writes it; `None` for one that it can't write, beyond the year 9999 (RFC 9110 §5.6.7).
pub fn date(time: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    if time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000) {
        let mut text = [0; "Thu, 01 Jan 1970 00:00:00 GMT".len()];
        write!(text.as_mut_slice(), "{}", HttpDate::from(time)).ok()?;
        HeaderValue::from_bytes(&text).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_the_last_digit() {
        for (value, expected) in [(0, "0"), (9, "9"), (10, "10"), (20_480, "20480"), (u64::MAX, "18446744073709551615")]
        {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_time_that_http_cant_write_is_left_out() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(at(253_402_300_799).unwrap(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(at(253_402_300_800), None);
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}

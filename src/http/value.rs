//! Header values that are written per answer.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

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

/// A time as HTTP writes it; `None` for one that it can't write, beyond the year 9999 or before 1970 (RFC 9110 §5.6.7).
///
/// An answer has one such, and the crate that reads them takes five times as long to write one.
pub fn date(time: SystemTime) -> Option<HeaderValue> {
    const YEAR_10000: u64 = 253_402_300_800;
    const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    if seconds >= YEAR_10000 {
        return None;
    }
    let days = u32::try_from(seconds / 86_400).ok()?;
    let second = u32::try_from(seconds % 86_400).ok()?;
    let (year, month, day) = civil(days);
    let [w0, w1, w2] = **WEEKDAYS.get(days as usize % 7)?;
    let [m0, m1, m2] = **MONTHS.get(month as usize - 1)?;
    let [[d0, d1], [c0, c1], [y0, y1]] = [day, year / 100, year % 100].map(two_digits);
    let [[h0, h1], [n0, n1], [s0, s1]] = [second / 3600, second / 60 % 60, second % 60].map(two_digits);
    #[rustfmt::skip]
    let text = [
        w0, w1, w2, b',', b' ', d0, d1, b' ', m0, m1, m2, b' ', c0, c1, y0, y1, b' ',
        h0, h1, b':', n0, n1, b':', s0, s1, b' ', b'G', b'M', b'T',
    ];
    HeaderValue::from_bytes(&text).ok()
}

/// Year, month and day of the Gregorian calendar, so many days after the first of 1970.
///
/// Years are taken to begin in March, so that the leap day is the last: then months follow a simple rule (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u32) -> (u32, u32, u32) {
    const DAYS_OF_400_YEARS: u32 = 146_097;
    /// From the first of March of the year 0.
    const UNTIL_1970: u32 = 719_468;
    let days = days + UNTIL_1970;
    let (centuries, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * centuries + year + is_next_year, month, day)
}

/// The digits of a number below 100.
fn two_digits(number: u32) -> [u8; 2] {
    let digit = |number: u32| b'0' + (number % 10) as u8;
    [digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use httpdate::HttpDate;
    use proptest::prelude::*;

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

    #[test]
    fn every_day_is_the_day_that_others_take_it_for() {
        // Four hundred years and some: after that the calendar repeats itself.
        for day in 0..150_000 {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            assert_eq!(date(time).unwrap(), HttpDate::from(time).to_string());
        }
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_others_write_it(millis in 0..253_402_300_800_000_u64) {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            prop_assert_eq!(date(time).unwrap(), HttpDate::from(time).to_string());
        }
    }
}

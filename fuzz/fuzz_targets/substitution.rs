//! Any text is filled in, or read as a duration or a size, without a panic; what is shown of a value reads back as it.

#![no_main]

use std::borrow::Cow;
use std::time::Duration;

use callboard::config::{parse_duration, parse_size, show_duration, show_size, substitute};
use libfuzzer_sys::fuzz_target;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fuzz_target!(|text: &str| {
    check_substitution(text);
    // The npm package `ms` counts years of 365.25 days and Backstage then makes them years of 365, so that days beyond
    // the first year do not read back.
    if let Ok(duration) = parse_duration(text)
        && duration < YEAR
    {
        // What is shown is cut to whole milliseconds.
        let whole = Duration::from_millis(duration.as_millis().try_into().unwrap());
        assert_eq!(parse_duration(&show_duration(duration)), Ok(whole), "{text:?}");
    }
    if let Some(size) = parse_size(text) {
        assert_eq!(parse_size(&show_size(size)), Some(size), "{text:?}");
    }
});

fn check_substitution(text: &str) {
    let nothing_to_fill = !text.contains("${");
    let lookup = |name: &str| match name {
        "EMPTY" => Some(String::new()),
        "LOOP" => Some("${LOOP}".to_owned()),
        name => (name.len() % 2 == 0).then(|| name.to_owned()),
    };
    match substitute(text, lookup) {
        Ok(Cow::Borrowed(same)) => assert_eq!(same, text),
        Ok(Cow::Owned(filled)) => {
            assert!(!nothing_to_fill);
            // A value is no longer than its name here but for LOOP's, which is seven instead of four, and `${}` around
            // each makes up for it: nothing is read twice.
            assert!(filled.len() <= text.len(), "{text:?} → {filled:?}");
        }
        Err(unset) => assert!(!nothing_to_fill && text.contains(&unset.name), "{text:?}"),
    }
    // Without any variable, whatever is filled in comes from fallbacks and escapes.
    if let Err(unset) = substitute(text, |_| None) {
        assert!(text.contains(&unset.name));
    }
}

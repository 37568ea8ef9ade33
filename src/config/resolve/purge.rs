//! `callboard.purge`.

use super::limits::check_pattern;
use crate::config::formats::TEXTS;
use crate::config::reader::Reader;

/// Who may purge on the main listener.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<String> {
    const KEY: &str = "callboard.purge.subjects";
    let subjects = reader.or(KEY, &TEXTS, Vec::new());
    for subject in &subjects {
        check_pattern(reader, KEY, subject);
    }
    subjects
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{problems, resolved};

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    #[test]
    fn nobody_may_purge_unless_listed() {
        assert!(resolved(DOCS).unwrap().resolved.pipeline.purgers.is_empty());
        let listed = resolved(&format!("{DOCS}callboard: {{purge: {{subjects: ['external:ci*', 'plugin:catalog']}}}}"));
        assert_eq!(listed.unwrap().resolved.pipeline.purgers, ["external:ci*", "plugin:catalog"]);
    }

    #[test]
    fn a_star_in_the_middle_is_told() {
        let told = problems(&format!("{DOCS}callboard: {{purge: {{subjects: ['a*b']}}}}"));
        assert!(told[0].starts_with("callboard.purge.subjects (app-config.yaml:2): \"a*b\" has a *"), "{told:?}");
    }
}

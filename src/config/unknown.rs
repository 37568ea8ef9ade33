//! Keys under `callboard:` that mean nothing to us: a misspelled setting must not pass for its default.

use std::collections::BTreeSet;

use super::effective::Effective;
use super::problem::Problem;
use super::value::{Node, Value};

/// Our own section; everything else in the file is Backstage's.
const SECTION: &str = "callboard";

/// A problem for each key of our section that nothing reads, told with the nearest key that something does.
pub(super) fn problems(tree: &Node, effective: &Effective) -> Vec<Problem> {
    let known = effective.keys().filter(|key| key.split('.').next() == Some(SECTION)).collect();
    let mut check = Check { known, problems: Vec::new() };
    if let Value::Map(root) = &tree.value
        && let Some(section) = root.get(SECTION)
    {
        check.map(SECTION, section);
    }
    check.problems
}

struct Check<'e> {
    known: BTreeSet<&'e str>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn map(&mut self, path: &str, node: &Node) {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => {
                let message = format!("is {}: write a map of keys", node.kind());
                self.problems.push(Problem::new(path, Some(&node.origin), message));
                return;
            }
        };
        for (name, entry) in entries {
            let key = format!("{path}.{name}");
            if self.known.contains(key.as_str()) || is_backstages(path, name) {
                self.items(&key, entry);
                continue;
            }
            if self.reads_below(&key) {
                self.map(&key, entry);
            } else {
                let message = self.unknown(path, name);
                self.problems.push(Problem::new(key, Some(&entry.origin), message));
            }
        }
    }

    /// The maps in a list whose items have keys that are read.
    fn items(&mut self, path: &str, node: &Node) {
        let Value::List(items) = &node.value else { return };
        for (index, item) in items.iter().enumerate() {
            let key = format!("{path}[{index}]");
            if matches!(item.value, Value::Map(_)) && self.reads_below(&key) {
                self.map(&key, item);
            }
        }
    }

    fn reads_below(&self, key: &str) -> bool {
        let inside = format!("{key}.");
        self.known.iter().any(|known| known.starts_with(&inside))
    }

    fn unknown(&self, path: &str, name: &str) -> String {
        let siblings: BTreeSet<&str> = self
            .known
            .iter()
            .filter_map(|known| known.strip_prefix(path)?.strip_prefix('.')?.split('.').next())
            .collect();
        if let Some(near) = nearest(name, siblings.iter().copied()) {
            return format!("unknown key: did you mean {path}.{near}?");
        }
        // The right name at the wrong place.
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        if let Some(elsewhere) = self.known.iter().find(|known| last(known).eq_ignore_ascii_case(name)) {
            return format!("unknown key here: did you mean {elsewhere}?");
        }
        format!("unknown key: known under {path} are {}", siblings.into_iter().collect::<Vec<_>>().join(", "))
    }
}

/// Whether it is a section with Backstage's own keys, some of which only concern whoever writes.
fn is_backstages(path: &str, name: &str) -> bool {
    path.starts_with("callboard.origins[") && name == "publisher"
}

/// The candidate that was most likely meant, where one is near enough to be meant at all.
pub(super) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Nobody misspells that much, and the comparison takes memory in proportion.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::problems;

    const DOCS: &str = "techdocs: {publisher: {local: {publishDirectory: site}}}\n";

    #[test]
    fn an_unknown_key_of_ours_is_told_with_the_nearest_known_one() {
        let told =
            problems(&format!("{DOCS}callboard:\n  cache: {{freshfor: 5m, memory: {{maxByte: 1}}}}\n  lisen: 1"));
        assert_eq!(
            told,
            [
                "callboard.cache.freshfor (app-config.yaml:3): unknown key: did you mean callboard.cache.freshFor?",
                "callboard.cache.memory.maxByte (app-config.yaml:3): unknown key: did you mean callboard.cache.memory.maxBytes?",
                "callboard.lisen (app-config.yaml:4): unknown key: did you mean callboard.listen?",
            ]
        );
    }

    #[test]
    fn a_known_key_at_the_wrong_place_is_told_where_it_belongs() {
        let told = problems(&format!("{DOCS}callboard: {{freshFor: 5m, gadgets: {{}}}}"));
        assert_eq!(
            told.first().map(String::as_str),
            Some("callboard.freshFor (app-config.yaml:2): unknown key here: did you mean callboard.cache.freshFor?")
        );
        assert!(
            told[1]
                .contains("callboard.gadgets (app-config.yaml:2): unknown key: known under callboard are admin, auth")
        );
    }

    #[test]
    fn a_section_that_is_no_map_is_a_problem() {
        assert_eq!(
            problems(&format!("{DOCS}callboard: 5")),
            ["callboard (app-config.yaml:2): is a number: write a map of keys"]
        );
    }
}

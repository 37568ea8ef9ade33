//! What is wrong with a configuration, all of it at once.

use std::fmt;

use super::value::Origin;

/// One thing that the operator has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `callboard.cache.freshFor`; empty where it is the file as a whole.
    pub key: String,
    /// Where it was written; `None` where it is missing altogether.
    pub origin: Option<Origin>,
    /// What is wrong and what to write instead. Never holds a secret.
    pub message: String,
}

/// Every problem of a configuration, in the order in which they were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problem {
    /// A problem with the value of a key.
    pub(super) fn new(key: impl Into<String>, origin: Option<&Origin>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            origin: origin.cloned(),
            message: message.into(),
        }
    }
}

impl Problems {
    /// The problems one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a problem; one that is known already is not told twice, and nobody reads more than so many.
    pub(super) fn push(&mut self, problem: Problem) {
        const MOST: usize = 1000;
        if self.0.len() < MOST && !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), &self.origin) {
            ("", None) => f.write_str(&self.message),
            ("", Some(origin)) => write!(f, "{origin}: {}", self.message),
            (key, None) => write!(f, "{key}: {}", self.message),
            (key, Some(origin)) => write!(f, "{key} ({origin}): {}", self.message),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 problem in the configuration:")?,
            count => write!(f, "{count} problems in the configuration:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_as_a_count_and_one_bullet_each() {
        let mut problems = Problems::default();
        let origin = Origin::File {
            file: "app-config.yaml".into(),
            line: 3,
            via: None,
        };
        problems.push(Problem::new(
            "a.b",
            Some(&origin),
            "is a list, not a duration: write 5m",
        ));
        problems.push(Problem::new(
            "a.b",
            Some(&origin),
            "is a list, not a duration: write 5m",
        ));
        problems.push(Problem::new("c", None, "required"));
        assert_eq!(
            problems.to_string(),
            "2 problems in the configuration:\n  - a.b (app-config.yaml:3): is a list, not a duration: write 5m\n  - c: required"
        );
    }
}

//! What was proven, in words.

use std::fmt;

use super::{Deed, Verdict};

/// What came of trying everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    tried: usize,
    allowed: Vec<Deed>,
    left: Vec<String>,
    untold: Vec<(Deed, String)>,
}

impl Proof {
    pub(super) fn add(&mut self, deed: Deed, verdict: Verdict) {
        self.tried += 1;
        match verdict {
            Verdict::Denied => {}
            Verdict::Allowed => self.allowed.push(deed),
            Verdict::Left(what) => {
                self.allowed.push(deed);
                self.left.push(what);
            }
            Verdict::Untold(reason) => self.untold.push((deed, reason)),
        }
    }

    pub(super) fn is_allowed(&self, deed: Deed) -> bool {
        self.allowed.contains(&deed)
    }

    /// Whether something that changes storage was allowed.
    pub fn can_change(&self) -> bool {
        self.allowed.iter().any(|deed| deed.is_change())
    }

    /// Whether more was allowed than reading below the root path.
    pub fn can_do_more(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether everything that changes storage was tried and denied; with a store that has nothing to try, it is.
    pub fn is_read_only(&self) -> bool {
        !self.can_change() && !self.untold.iter().any(|(deed, _)| deed.is_change())
    }

    /// Whether there was anything to try.
    pub fn has_tried(&self) -> bool {
        self.tried > 0
    }

    /// What could not be told, and why; `None` where everything could.
    pub fn doubt(&self) -> Option<String> {
        let doubt = |(deed, reason): &(Deed, String)| format!("whether it can {}: {reason}", deed.as_str());
        let doubts: Vec<String> = self.untold.iter().map(doubt).collect();
        (!doubts.is_empty()).then(|| doubts.join("; "))
    }
}

/// What it can do that it should not, and what of the trial is left.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.allowed.iter().map(|deed| deed.as_str()).collect();
        match words.split_last() {
            None => f.write_str("can do nothing but read")?,
            Some((only, [])) => write!(f, "can {only}")?,
            Some((last, others)) => write!(f, "can {} and {last}", others.join(", "))?,
        }
        if self.left.is_empty() {
            return Ok(());
        }
        write!(f, ". Of trying that something is left, please delete it: {}", self.left.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_can_do_is_told_in_one_sentence_with_what_is_left() {
        let mut proof = Proof::default();
        proof.add(Deed::ListOutside, Verdict::Denied);
        assert_eq!(proof.to_string(), "can do nothing but read");
        proof.add(Deed::Overwrite, Verdict::Allowed);
        proof.add(Deed::Delete, Verdict::Allowed);
        proof.add(Deed::ListOutside, Verdict::Left("a/b".to_owned()));
        assert_eq!(
            proof.to_string(),
            "can overwrite objects, delete objects and list what lies outside of the root path. Of trying that \
             something is left, please delete it: a/b"
        );
    }

    #[test]
    fn what_could_not_be_tried_is_not_proven() {
        let untold = || Verdict::Untold("no answer".to_owned());
        let mut proof = Proof::default();
        proof.add(Deed::Overwrite, Verdict::Denied);
        proof.add(Deed::ReadOutside, untold());
        assert!(proof.is_read_only(), "reading elsewhere changes nothing");
        proof.add(Deed::Delete, untold());
        assert!(!proof.is_read_only() && !proof.can_change());
        assert!(Proof::default().is_read_only(), "the sample site has nothing to try");
    }
}

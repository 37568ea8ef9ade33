//! Which publish of its site an entry belongs to.

/// The generation of a site: later ones are larger, on every replica.
///
/// Milliseconds since the Unix epoch when it began, or one more than the generation before where clocks disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Generation(u64);

impl Generation {
    /// As the number that it is written as.
    pub(super) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number that it is written as.
    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

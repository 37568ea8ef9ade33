//! Figures in order, and the one in the middle.

/// All of them, the least first.
pub(crate) fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let upper = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(upper) } else { (at(upper.saturating_sub(1)) + at(upper)) / 2.0 }
}

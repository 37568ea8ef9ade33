//! What a thread has looked up lately.
//!
//! A look-up in a map that all threads share costs more than its hash: it is noted there, so that the map knows what is
//! wanted, and its code has to come from beyond the core's first cache, which a request's way is several times too long
//! for. What a thread found a moment ago it need not look up again, as long as it can tell that nothing has changed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places in which a thread notes what it found, each for the last that falls there. For a `thread_local!`.
#[derive(Debug)]
pub struct Lately<K, V> {
    places: [Place<K, V>; PLACES],
}

/// As many as make up most of what a busy thread is asked for.
const PLACES: usize = 64;

/// Multiplied with it, numbers that differ a little differ in their first bits.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// So often is a note good. Then the map is asked once more, which is how it learns what is wanted.
const USES: u8 = 32;

#[derive(Debug)]
struct Place<K, V> {
    /// What was looked up here last, whether or not it was noted: only what is asked for twice is.
    mark: u64,
    noted: Option<Note<K, V>>,
}

#[derive(Debug)]
struct Note<K, V> {
    owner: u64,
    change: u64,
    uses: Cell<u8>,
    key: K,
    value: V,
}

/// When something was looked up, in which map, and where its place is.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    owner: u64,
    change: u64,
    mark: u64,
}

/// What of a map has changed. Whoever changes it says so here afterwards.
#[derive(Debug)]
pub struct Changes {
    /// Tells one map from another.
    owner: u64,
    /// How often something was changed, each for some of the marks.
    changes: [AtomicU64; PLACES],
}

impl<K, V> Lately<K, V> {
    /// Nothing so far.
    pub const fn new() -> Self {
        Self { places: [const { Place { mark: 0, noted: None } }; PLACES] }
    }

    /// What was noted of the key that `is_key` knows, if nothing has changed.
    pub fn find(&self, look: Look, is_key: impl FnOnce(&K) -> bool) -> Option<&V> {
        let note = self.places.get(place(look.mark))?.noted.as_ref()?;
        let is_good = note.owner == look.owner && note.change == look.change && is_key(&note.key);
        let uses = note.uses.get().checked_sub(1).filter(|_| is_good)?;
        note.uses.set(uses);
        Some(&note.value)
    }

    /// Notes what was found by a look that began before it was.
    pub fn note(&mut self, look: Look, found: impl FnOnce() -> (K, V)) {
        let Some(place) = self.places.get_mut(place(look.mark)) else { return };
        if place.mark == look.mark {
            let (key, value) = found();
            place.noted = Some(Note { owner: look.owner, change: look.change, uses: Cell::new(USES), key, value });
        }
        place.mark = look.mark;
    }
}

impl Changes {
    /// None of a map that is new.
    pub fn new() -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        Self { owner: OWNERS.fetch_add(1, Ordering::Relaxed), changes: [const { AtomicU64::new(0) }; PLACES] }
    }

    /// A look at what has this mark, which should be uniform in its first bits.
    pub fn look(&self, mark: u64) -> Look {
        let changes = self.changes.get(place(mark));
        let change = changes.map_or(0, |changes| changes.load(Ordering::Acquire));
        Look { owner: self.owner, change, mark }
    }

    /// Something with this mark was changed.
    pub fn changed(&self, mark: u64) {
        if let Some(changes) = self.changes.get(place(mark)) {
            changes.fetch_add(1, Ordering::Release);
        }
    }
}

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

/// A mark for a text. Whoever finds texts with the same mark takes places from others, and gains nothing else.
pub fn mark(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let rest = rest.iter().fold(text.len() as u64, |rest, byte| rest << 8 | u64::from(*byte));
    let mix = |mark: u64, word: u64| (mark.rotate_left(23) ^ word).wrapping_mul(ODD);
    words.iter().fold(mix(0, rest), |mark, word| mix(mark, u64::from_le_bytes(*word)))
}

/// A mark for a number.
pub fn mark_of(number: u64) -> u64 {
    number.wrapping_mul(ODD)
}

fn place(mark: u64) -> usize {
    (mark >> (u64::BITS - PLACES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a key up as a map's owner would; what the map holds is `held`.
    fn get(lately: &mut Lately<&'static str, u32>, changes: &Changes, key: &'static str, held: u32) -> (u32, bool) {
        let look = changes.look(mark(key));
        if let Some(value) = lately.find(look, |noted| *noted == key) {
            return (*value, true);
        }
        lately.note(look, || (key, held));
        (held, false)
    }

    #[test]
    fn what_is_looked_up_twice_is_noted_until_it_changes() {
        let (mut lately, changes) = (Lately::new(), Changes::new());
        assert_eq!(get(&mut lately, &changes, "a", 1), (1, false));
        assert_eq!(get(&mut lately, &changes, "a", 1), (1, false));
        assert_eq!(get(&mut lately, &changes, "a", 1), (1, true));
        changes.changed(mark("a"));
        assert_eq!(get(&mut lately, &changes, "a", 2), (2, false));
        assert_eq!(get(&mut lately, &changes, "a", 2), (2, true));
    }

    #[test]
    fn what_changes_during_a_look_is_not_noted_as_it_was() {
        let (mut lately, changes) = (Lately::new(), Changes::new());
        get(&mut lately, &changes, "a", 1);
        let look = changes.look(mark("a"));
        changes.changed(mark("a"));
        lately.note(look, || ("a", 1));
        assert_eq!(get(&mut lately, &changes, "a", 2), (2, false));
    }

    #[test]
    fn one_map_is_not_taken_for_another() {
        let (mut lately, one, other) = (Lately::new(), Changes::new(), Changes::new());
        for _ in 0..3 {
            get(&mut lately, &one, "a", 1);
        }
        assert_eq!(get(&mut lately, &one, "a", 1), (1, true));
        assert_eq!(get(&mut lately, &other, "a", 2), (2, false));
    }

    #[test]
    fn the_map_learns_now_and_then_that_something_is_still_wanted() {
        let (mut lately, changes) = (Lately::new(), Changes::new());
        let asked = (0..1000).filter(|_| !get(&mut lately, &changes, "a", 1).1).count();
        assert_eq!(asked, 2 + (1000 - 2) / (usize::from(USES) + 1));
    }

    #[test]
    fn keys_that_share_a_place_are_told_apart() {
        let (mut lately, changes) = (Lately::new(), Changes::new());
        let look = changes.look(7);
        lately.note(look, || ("a", 1));
        lately.note(look, || ("a", 1));
        assert_eq!(lately.find(look, |noted| *noted == "b"), None);
        assert_eq!(lately.find(look, |noted| *noted == "a"), Some(&1));
    }

    #[test]
    fn marks_of_like_texts_fall_in_many_places() {
        let places: std::collections::BTreeSet<_> =
            (0..1000).map(|number| place(mark(&format!("default/component/shop/guide/{number}/index.html")))).collect();
        assert_eq!(places.len(), PLACES);
    }
}

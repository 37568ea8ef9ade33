//! A body in the pieces that it came in.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Pieces shorter than this are put together with those before them, so that a store which sends its bytes one by one does
/// not make a record of each.
const SHORT: usize = 4 * 1024;

/// The pieces of a body, each with where it begins.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<(u64, Bytes)>,
    length: u64,
}

impl Pieces {
    pub(super) fn push(&mut self, mut piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let mut start = self.length;
        self.length += piece.len() as u64;
        // Only with such as are no longer: each byte is copied a few times at most.
        while piece.len() < SHORT
            && let Some((from, before)) = self.pieces.pop_if(|(_, before)| before.len() <= piece.len())
        {
            (start, piece) = (from, [before, piece].concat().into());
        }
        self.pieces.push((start, piece));
    }

    /// Bytes of all of them.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What there is of `range` from where it begins: the rest of one piece, and nothing where that has not come yet.
    pub(super) fn next(&self, range: &Range<u64>) -> Bytes {
        let after = self.pieces.partition_point(|(start, _)| *start <= range.start);
        let found = after.checked_sub(1).and_then(|index| self.pieces.get(index));
        found.map(|(start, piece)| slice(piece, range.start - start, range.end - start)).unwrap_or_default()
    }

    /// All of them in one, copied once.
    pub(super) fn whole(&self) -> Arc<[u8]> {
        if let [(_, only)] = self.pieces.as_slice() {
            return Arc::from(only.as_ref());
        }
        let mut whole: Arc<[u8]> = iter::repeat_n(0, usize::try_from(self.length).unwrap_or_default()).collect();
        let mut rest = Arc::get_mut(&mut whole).unwrap_or_default();
        for (_, piece) in &self.pieces {
            let Some((here, further)) = rest.split_at_mut_checked(piece.len()) else { break };
            here.copy_from_slice(piece);
            rest = further;
        }
        whole
    }

    /// Whether `whole` begins with them.
    pub(super) fn begin(&self, whole: &[u8]) -> bool {
        let mut rest = whole;
        self.pieces.iter().all(|(_, piece)| match rest.split_at_checked(piece.len()) {
            Some((here, further)) => {
                rest = further;
                here == piece.as_ref()
            }
            None => false,
        })
    }
}

/// The bytes of `piece` from `start` up to `end`, as far as it goes, sharing its memory.
pub(super) fn slice(piece: &Bytes, start: u64, end: u64) -> Bytes {
    let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(piece.len());
    piece.slice(bound(start)..bound(end).max(bound(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&[u8]]) -> Pieces {
        let mut all = Pieces::default();
        pieces.iter().for_each(|piece| all.push(Bytes::copy_from_slice(piece)));
        all
    }

    #[test]
    fn pieces_make_up_a_whole_however_they_come() {
        let (long, bytes) = (vec![7; 3 * SHORT], (0..=255).collect::<Vec<u8>>());
        let pieces = joined(&[&bytes, b"", &long, &bytes, &bytes[..1], &bytes, &long]);
        let whole = [&bytes[..], &long, &bytes, &bytes[..1], &bytes, &long].concat();
        assert_eq!(pieces.whole().as_ref(), whole);
        assert_eq!(pieces.length(), whole.len() as u64);
        assert!(pieces.begin(&whole) && pieces.begin(&[&whole[..], b"more"].concat()));
        assert!(!pieces.begin(&whole[1..]) && !pieces.begin(&whole[..whole.len() - 1]));
        for (start, end) in [(0, 10), (250, 300), (256, 257), (whole.len() - 1, whole.len())] {
            let (mut range, mut read) = (start as u64..end as u64, Vec::new());
            while !range.is_empty() {
                let next = pieces.next(&range);
                range.start += next.len() as u64;
                read.extend(next);
            }
            assert_eq!(read, whole[start..end], "{start} {end}");
        }
        assert!(pieces.next(&(pieces.length()..u64::MAX)).is_empty());
    }

    #[test]
    fn bytes_that_come_one_by_one_are_few_pieces() {
        let mut pieces = Pieces::default();
        (0..100_000_u32).for_each(|number| pieces.push(Bytes::copy_from_slice(&[number as u8])));
        assert!(pieces.pieces.len() < 100_000 / SHORT + 16, "{}", pieces.pieces.len());
        assert!(pieces.whole().iter().zip(0..100_000_u32).all(|(byte, number)| *byte == number as u8));
        let large = vec![0; SHORT];
        let kept = joined(&[&large, &large]);
        assert_eq!(kept.pieces.len(), 2, "what is large is not copied");
    }
}

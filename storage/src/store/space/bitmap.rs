//! One bit a block.

use super::Extent;
use crate::store::Error;
use alloc::vec::Vec;

/// Bits, all zero at first.
#[derive(Debug, Default)]
pub(in crate::store) struct Bitmap {
    words: Vec<u64>,
    len: u64,
}

/// The word that bit `bit` is in, and which of its bits it is.
fn place(bit: u64) -> (usize, u32) {
    // A bitmap of more words than `usize` counts can't be made; `usize::MAX` is in none.
    (
        usize::try_from(bit / 64).unwrap_or(usize::MAX),
        (bit % 64) as u32,
    )
}

impl Bitmap {
    /// `len` zeros.
    pub(in crate::store) fn new(len: u64) -> Result<Self, Error> {
        let count = usize::try_from(len.div_ceil(64)).map_err(|_| Error::OutOfMemory)?;
        let mut words = Vec::new();
        words
            .try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory)?;
        words.resize(count, 0);
        Ok(Self { words, len })
    }

    pub(in crate::store) fn len(&self) -> u64 {
        self.len
    }

    /// How many are zero.
    pub(in crate::store) fn zeros(&self) -> u64 {
        let ones: u64 = self
            .words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        self.len - ones
    }

    /// Each word that `extent` touches, with a mask of its bits in it.
    fn masks(&self, extent: Extent) -> impl Iterator<Item = (usize, u64)> + use<> {
        let end = extent.start.saturating_add(extent.blocks).min(self.len);
        let mut at = extent.start;
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (word, bit) = place(at);
            let count = (64 - u64::from(bit)).min(end - at);
            at += count;
            Some((word, (u64::MAX >> (64 - count)) << bit))
        })
    }

    /// Sets the bits of `extent`, and says whether all were zero and there.
    pub(in crate::store) fn set(&mut self, extent: Extent) -> bool {
        let mut fresh = extent
            .start
            .checked_add(extent.blocks)
            .is_some_and(|end| end <= self.len);
        for (word, mask) in self.masks(extent) {
            if let Some(word) = self.words.get_mut(word) {
                fresh &= *word & mask == 0;
                *word |= mask;
            }
        }
        fresh
    }

    /// Clears the bits of `extent`, and says how many were set.
    pub(super) fn clear(&mut self, extent: Extent) -> u64 {
        let mut cleared = 0;
        for (word, mask) in self.masks(extent) {
            if let Some(word) = self.words.get_mut(word) {
                cleared += u64::from((*word & mask).count_ones());
                *word &= !mask;
            }
        }
        cleared
    }

    /// The first bit from `from` on that is `one`, or the end.
    fn next(&self, from: u64, one: bool) -> u64 {
        let (first, bit) = place(from);
        let flip = if one { 0 } else { u64::MAX };
        let mut mask = u64::MAX << bit;
        for (index, word) in self.words.iter().enumerate().skip(first) {
            let found = (word ^ flip) & mask;
            if found != 0 {
                return (index as u64 * 64 + u64::from(found.trailing_zeros())).min(self.len);
            }
            mask = u64::MAX;
        }
        self.len
    }

    /// The first `want` adjacent zeros from bit `from` on, and then from the begin; where there are not so many, the most
    /// that there are.
    pub(super) fn find_zeros(&self, from: u64, want: u64) -> Option<Extent> {
        let mut best: Option<Extent> = None;
        for (begin, end) in [(from.min(self.len), self.len), (0, from.min(self.len))] {
            let mut at = begin;
            while at < end {
                let start = self.next(at, false);
                if start >= end {
                    break;
                }
                at = self.next(start, true);
                let found = Extent {
                    start,
                    blocks: (at - start).min(want),
                };
                if found.blocks == want {
                    return (want > 0).then_some(found);
                }
                if best.is_none_or(|best| best.blocks < found.blocks) {
                    best = Some(found);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_a_vector_of_bools(
            len in 1_u64..400,
            steps in prop::collection::vec((any::<bool>(), 0_u64..400, 0_u64..150), 0..20),
            from in 0_u64..400,
            want in 1_u64..200,
        ) {
            let mut bits = Bitmap::new(len).unwrap();
            let mut model = vec![false; len as usize];
            for (set, start, blocks) in steps {
                let extent = Extent { start, blocks };
                let range = start.min(len) as usize..(start + blocks).min(len) as usize;
                let ones = model[range.clone()].iter().filter(|&&bit| bit).count();
                if set {
                    let fresh = bits.set(extent);
                    prop_assert_eq!(fresh, ones == 0 && start + blocks <= len);
                } else {
                    prop_assert_eq!(bits.clear(extent), ones as u64);
                }
                model[range].fill(set);
            }
            prop_assert_eq!(bits.zeros(), model.iter().filter(|&&bit| !bit).count() as u64);
            let longest = model.split(|&bit| bit).map(<[bool]>::len).max().unwrap_or(0) as u64;
            match bits.find_zeros(from, want) {
                None => prop_assert_eq!(longest, 0),
                Some(found) => {
                    prop_assert!(found.blocks == want || found.blocks == longest && longest < want);
                    let range = found.start as usize..(found.start + found.blocks) as usize;
                    prop_assert!(model[range].iter().all(|&bit| !bit));
                }
            }
        }
    }
}

//! Deadlines, each somebody's: a heap that knows where each is, so that one can be moved or taken out.
//!
//! There is room for everybody's deadline before it is needed: nothing here allocates but [`Deadlines::reserve`].

use super::Instant;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

/// Deadlines by number: each number from 0 to below what there is [room](Deadlines::reserve) for has one, or none.
///
/// A binary heap of (deadline, number), smallest first, and each number's place in it.
#[derive(Debug)]
pub struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// By number: its index in `heap`.
    places: Vec<u32>,
}

impl Deadlines {
    /// None, and room for none.
    pub const fn new() -> Self {
        Self {
            heap: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Makes room for the numbers below `count`.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.heap
            .try_reserve(count.saturating_sub(self.heap.len()))?;
        self.places
            .try_reserve(count.saturating_sub(self.places.len()))?;
        if self.places.len() < count {
            self.places.resize(count, NOWHERE);
        }
        Ok(())
    }

    /// Gives `number` this deadline, or leaves it an earlier one. Who looks too early finds out what the later one would have
    /// been for: so that a timer which is put off again and again, as most are, costs nothing.
    pub fn no_later_than(&mut self, number: u32, deadline: Instant) {
        let Some(&place) = self.places.get(number as usize) else {
            return;
        };
        let place = if place == NOWHERE {
            self.heap.push((deadline, number));
            self.heap.len() - 1
        } else if deadline < self.heap[place as usize].0 {
            self.heap[place as usize].0 = deadline;
            place as usize
        } else {
            return;
        };
        self.up(place);
    }

    /// Forgets the deadline of `number`.
    pub fn remove(&mut self, number: u32) {
        if let Some(&place) = self.places.get(number as usize)
            && place != NOWHERE
        {
            self.remove_at(place as usize);
        }
    }

    /// Takes out a number whose deadline is `now` or before.
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, number) = self.heap.first()?;
        (deadline <= now).then(|| {
            self.remove_at(0);
            number
        })
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(deadline, _)| deadline)
    }

    fn remove_at(&mut self, place: usize) {
        let (_, number) = self.heap.swap_remove(place);
        self.places[number as usize] = NOWHERE;
        if place < self.heap.len() {
            let place = self.up(place);
            self.down(place);
        }
    }

    /// Notes that the entry at `place` is there.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "there are at most as many entries as numbers, which are u32"
    )]
    fn settle(&mut self, place: usize) {
        let number = self.heap[place].1;
        self.places[number as usize] = place as u32;
    }

    fn up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.heap.swap(parent, place);
            self.settle(place);
            place = parent;
        }
        self.settle(place);
        place
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let first = 2 * place + 1;
            let Some(child) =
                (first..(first + 2).min(self.heap.len())).min_by_key(|&child| self.heap[child])
            else {
                break;
            };
            if self.heap[place] <= self.heap[child] {
                break;
            }
            self.heap.swap(place, child);
            self.settle(place);
            place = child;
        }
        self.settle(place);
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The same as a map that is searched.
        #[test]
        fn as_a_map(steps in prop::collection::vec((0_u8..4, 0_u32..20, 0_u64..50), 0..200)) {
            let mut deadlines = Deadlines::new();
            deadlines.reserve(20).unwrap();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (what, number, at) in steps {
                let at = Instant::from_nanos(at);
                match what {
                    0 | 1 => {
                        deadlines.no_later_than(number, at);
                        let entry = model.entry(number).or_insert(at);
                        *entry = at.min(*entry);
                    }
                    2 => {
                        deadlines.remove(number);
                        model.remove(&number);
                    }
                    _ => {
                        let due: Vec<_> = model.iter().filter(|(_, due)| **due <= at).map(|(c, _)| *c).collect();
                        let mut popped: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(at)).collect();
                        popped.sort_unstable();
                        prop_assert_eq!(&popped, &due);
                        model.retain(|_, due| *due > at);
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
            }
        }
    }
}

//! When which connection has to be looked at: a heap of deadlines that knows where each is, so that one can be moved
//! or taken out.
//!
//! There is room for every connection's deadline before it is needed: nothing here allocates but [`Deadlines::reserve`].

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use smoltcp::time::Instant;

/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

/// A binary heap of (deadline, connection), smallest first, and each connection's place in it.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// By connection: its index in `heap`.
    places: Vec<u32>,
}

impl Deadlines {
    /// Makes room for connections 0 to `count` - 1.
    pub(crate) fn reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.heap
            .try_reserve(count.saturating_sub(self.heap.len()))?;
        self.places
            .try_reserve(count.saturating_sub(self.places.len()))?;
        if self.places.len() < count {
            self.places.resize(count, NOWHERE);
        }
        Ok(())
    }

    /// Looks at `connection` at `deadline`, or earlier if that was its deadline. An early look finds out what the later one
    /// would have been for: so that a timer which is put off again and again, as most are, costs nothing.
    pub(crate) fn no_later_than(&mut self, connection: u32, deadline: Instant) {
        let Some(&place) = self.places.get(connection as usize) else {
            return;
        };
        let place = if place == NOWHERE {
            self.heap.push((deadline, connection));
            self.heap.len() - 1
        } else if deadline < self.heap[place as usize].0 {
            self.heap[place as usize].0 = deadline;
            place as usize
        } else {
            return;
        };
        self.up(place);
    }

    /// Forgets the deadline of `connection`.
    pub(crate) fn remove(&mut self, connection: u32) {
        if let Some(&place) = self.places.get(connection as usize)
            && place != NOWHERE
        {
            self.remove_at(place as usize);
        }
    }

    /// Takes out a connection whose deadline is `now` or before.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, connection) = self.heap.first()?;
        (deadline <= now).then(|| {
            self.remove_at(0);
            connection
        })
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(deadline, _)| deadline)
    }

    fn remove_at(&mut self, place: usize) {
        let (_, connection) = self.heap.swap_remove(place);
        self.places[connection as usize] = NOWHERE;
        if place < self.heap.len() {
            let place = self.up(place);
            self.down(place);
        }
    }

    /// Notes that the entry at `place` is there.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "there are at most as many entries as connections, whose numbers are u32"
    )]
    fn settle(&mut self, place: usize) {
        let connection = self.heap[place].1;
        self.places[connection as usize] = place as u32;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The same as a map that is searched.
        #[test]
        fn as_a_map(steps in prop::collection::vec((0_u8..4, 0_u32..20, 0_i64..50), 0..200)) {
            let mut deadlines = Deadlines::default();
            deadlines.reserve(20).unwrap();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (what, connection, at) in steps {
                let at = Instant::from_millis(at);
                match what {
                    0 | 1 => {
                        deadlines.no_later_than(connection, at);
                        let entry = model.entry(connection).or_insert(at);
                        *entry = at.min(*entry);
                    }
                    2 => {
                        deadlines.remove(connection);
                        model.remove(&connection);
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

//! How long things took, counted in buckets.

use crate::time::Duration;
use core::cell::Cell;

/// How often something took how long: counts by `N` upper bounds, and of what is beyond the last.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [Duration; N],
    counts: [Cell<u64>; N],
    beyond: Cell<u64>,
    sum: Cell<Duration>,
}

impl<const N: usize> Histogram<N> {
    /// Nothing yet. `bounds` rise.
    pub const fn new(bounds: [Duration; N]) -> Self {
        Self {
            bounds,
            counts: [const { Cell::new(0) }; N],
            beyond: Cell::new(0),
            sum: Cell::new(Duration::ZERO),
        }
    }

    /// Counts something that took this long.
    pub fn record(&self, took: Duration) {
        let bucket = self.bounds.iter().position(|bound| took <= *bound);
        let count = bucket.map_or(&self.beyond, |bucket| &self.counts[bucket]);
        count.update(|count| count + 1);
        self.sum.update(|sum| sum.saturating_add(took));
    }

    /// Each bound, and how many took as long as that or less.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut total = 0;
        self.bounds
            .iter()
            .zip(&self.counts)
            .map(move |(bound, count)| {
                total += count.get();
                (*bound, total)
            })
    }

    /// How long all of them took, and how many there were.
    pub(super) fn total(&self) -> (Duration, u64) {
        let counts: u64 = self.counts.iter().map(Cell::get).sum();
        (self.sum.get(), counts + self.beyond.get())
    }
}

//! The volatile write cache of a medium: what was written and is not there to stay yet.

use super::dice::Dice;
use std::collections::{HashMap, VecDeque};

/// A write, in the order in which the medium did them.
#[derive(Debug)]
pub(super) struct Write {
    /// Where, in the medium's own sectors.
    pub(super) at: u64,
    /// Whole sectors.
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Cache {
    /// Bytes of the medium's sectors.
    unit: usize,
    writes: VecDeque<Write>,
    /// How many writes came before `writes[0]`.
    before: usize,
    /// The last write of each sector, counted from the first there ever was.
    newest: HashMap<u64, usize>,
    bytes: usize,
}

impl Cache {
    pub(super) fn new(unit: usize) -> Self {
        Self {
            unit,
            writes: VecDeque::new(),
            before: 0,
            newest: HashMap::new(),
            bytes: 0,
        }
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, at: u64, bytes: Vec<u8>) {
        let number = self.before + self.writes.len();
        let count = (bytes.len() / self.unit) as u64;
        for sector in at..at + count {
            self.newest.insert(sector, number);
        }
        self.bytes += bytes.len();
        self.writes.push_back(Write { at, bytes });
    }

    /// Lays what it has of the sectors from `at` on over `into`.
    pub(super) fn overlay(&self, at: u64, into: &mut [u8]) {
        if self.writes.is_empty() {
            return;
        }
        for (sector, into) in (at..).zip(into.chunks_mut(self.unit)) {
            let write = self
                .newest
                .get(&sector)
                .and_then(|number| self.writes.get(number.checked_sub(self.before)?));
            if let Some(write) = write {
                let from = usize::try_from(sector - write.at).unwrap_or(0) * self.unit;
                into.copy_from_slice(&write.bytes[from..from + into.len()]);
            }
        }
    }

    /// Takes the oldest write out, to be put where it stays.
    pub(super) fn pop(&mut self) -> Option<Write> {
        let write = self.writes.pop_front()?;
        self.before += 1;
        self.bytes -= write.bytes.len();
        if self.writes.is_empty() {
            self.newest.clear();
        }
        Some(write)
    }

    /// Takes everything out, and gives what `dice` leave of it, in order: of each sector the writes that are left may be
    /// any of them, or none.
    pub(super) fn survivors(&mut self, dice: &mut Dice) -> Vec<Write> {
        let count = self.writes.len() as u64;
        let (mood, chosen) = (dice.below(8), dice.below(count));
        let mut left = Vec::new();
        for number in 0..count {
            let Some(write) = self.pop() else { break };
            let fate = match mood {
                0 => Fate::Lost,
                1 => Fate::Kept,
                // As far as it came.
                2 if number == chosen => Fate::Torn,
                2 => Fate::kept_if(number < chosen),
                // The one write that something else relies on.
                3 => Fate::kept_if(number != chosen),
                4 => Fate::kept_if(number == chosen),
                _ => match dice.below(4) {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    _ => Fate::Torn,
                },
            };
            match fate {
                Fate::Lost => {}
                Fate::Kept => left.push(write),
                Fate::Torn => {
                    for (at, sector) in (write.at..).zip(write.bytes.chunks(self.unit)) {
                        if dice.one_in(2) {
                            let bytes = sector.to_vec();
                            left.push(Write { at, bytes });
                        }
                    }
                }
            }
        }
        left
    }
}

/// What becomes of a write that nobody flushed.
enum Fate {
    Lost,
    Kept,
    /// Some of its sectors are kept.
    Torn,
}

impl Fate {
    fn kept_if(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Lost }
    }
}

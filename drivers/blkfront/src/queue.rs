//! What waits for a place on the ring: sorted, so that what is adjacent on the disk goes out as one request.
//!
//! All that came in while the last batch was sent is the next batch. A batch is sent whole before the next begins, so
//! nothing waits for ever, however much comes after it.

use crate::IoError;
use crate::block::SECTOR;
use crate::ops::{Kind, OpId};
use alloc::collections::VecDeque;
use core::ops::Range;
use xenlet_kernel::addr::PAGE_SIZE;

/// Sectors of a page.
const PAGE_SECTORS: u64 = (PAGE_SIZE / SECTOR) as u64;

/// Units of one caller's request that are next to each other: pages of a read or a write, or the one of a flush or a
/// discard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) op: OpId,
    pub(crate) kind: Kind,
    pub(crate) units: Range<usize>,
    /// Where on the disk its first unit is.
    pub(crate) sector: u64,
    /// Sectors of all its units: of pages, all but the last one of a caller's request are whole.
    pub(crate) sectors: u64,
    /// Whether it was part of a request that failed, and is now tried by itself.
    pub(crate) alone: bool,
}

impl Part {
    /// How many sectors its unit `index` has.
    pub(crate) fn sectors_of(&self, index: usize) -> u64 {
        match self.kind {
            Kind::Flush | Kind::Discard => self.sectors,
            Kind::Read | Kind::Write => {
                let before = (index - self.units.start) as u64 * PAGE_SECTORS;
                self.sectors.saturating_sub(before).min(PAGE_SECTORS)
            }
        }
    }

    /// The sector behind it.
    pub(crate) fn end(&self) -> u64 {
        self.sector.saturating_add(self.sectors)
    }

    /// Whether `next` can go out in one request with this one before it.
    pub(crate) fn joins(&self, next: &Self) -> bool {
        let adjacent = match self.kind {
            // One flush is as good as many.
            Kind::Flush => true,
            Kind::Discard => false,
            Kind::Read | Kind::Write => self.end() == next.sector,
        };
        self.kind == next.kind && adjacent && !self.alone && !next.alone
    }

    /// Cuts the first `count` units off.
    fn cut(&mut self, count: usize) -> Self {
        let at = self.units.start + count;
        let sectors = self.sectors.min(count as u64 * PAGE_SECTORS);
        let first = Self {
            units: self.units.start..at,
            sectors,
            ..self.clone()
        };
        self.units.start = at;
        self.sector = self.sector.saturating_add(sectors);
        self.sectors -= sectors;
        first
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    incoming: VecDeque<Part>,
    batch: VecDeque<Part>,
}

impl Queue {
    /// Adds what a caller asked for.
    ///
    /// # Errors
    /// [`IoError::OutOfMemory`].
    pub(crate) fn push(&mut self, part: Part) -> Result<(), IoError> {
        self.incoming
            .try_reserve(1)
            .map_err(|_| IoError::OutOfMemory)?;
        self.incoming.push_back(part);
        Ok(())
    }

    /// Adds what is to be tried again, before all else.
    ///
    /// # Errors
    /// [`IoError::OutOfMemory`].
    pub(crate) fn again(&mut self, part: Part) -> Result<(), IoError> {
        self.batch
            .try_reserve(1)
            .map_err(|_| IoError::OutOfMemory)?;
        self.batch.push_front(part);
        Ok(())
    }

    /// The next to be sent.
    pub(crate) fn next(&mut self) -> Option<&Part> {
        if self.batch.is_empty() {
            core::mem::swap(&mut self.incoming, &mut self.batch);
            self.batch
                .make_contiguous()
                .sort_unstable_by_key(|part| (part.kind, part.sector, part.op));
        }
        self.batch.front()
    }

    /// The next one of this batch, if it goes out in one request with `last`.
    pub(crate) fn next_joined(&self, last: &Part) -> Option<&Part> {
        self.batch.front().filter(|next| last.joins(next))
    }

    /// Takes the first `count` units of the next one, or all that it has.
    pub(crate) fn take(&mut self, count: usize) -> Option<Part> {
        let next = self.batch.front_mut()?;
        if count < next.units.len() {
            Some(next.cut(count))
        } else {
            self.batch.pop_front()
        }
    }

    /// How many parts wait.
    pub(crate) fn len(&self) -> usize {
        self.incoming.len() + self.batch.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops all that waits.
    pub(crate) fn clear(&mut self) {
        self.incoming.clear();
        self.batch.clear();
    }
}

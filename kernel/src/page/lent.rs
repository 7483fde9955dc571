//! A run of adjacent pages that a peer can read.

use super::{OutOfPages, allocate_run, leak, run_layout};
use crate::addr::{DomId, GrantRef, PAGE_SIZE};
use crate::grant::{self, Access};
use crate::platform;
use alloc::alloc::dealloc;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::NonNull;

/// A run of adjacent pages that a peer can read: what we send.
#[derive(Debug)]
pub struct LentPages {
    base: NonNull<u8>,
    count: usize,
    /// One for each page, fewer while the run is made.
    grefs: Vec<GrantRef>,
}

impl LentPages {
    /// A run of `count` zeroed pages that `peer` may read.
    ///
    /// # Errors
    /// When there is no memory or the grant table is full.
    pub fn new(count: usize, peer: DomId) -> Result<Self, OutOfPages> {
        let base = allocate_run(count)?;
        // A peer that guesses numbers can map a page before it is told of it, so a run that stays unfinished goes the
        // way of any other: by its drop.
        let mut run = Self {
            base,
            count,
            grefs: Vec::with_capacity(count),
        };
        for i in 0..count {
            // SAFETY: the run has `count` pages, and `i` is below it.
            let page = unsafe { base.add(i * PAGE_SIZE) };
            let gref = grant::grant(peer, platform::frame_of(page), Access::ReadOnly)?;
            run.grefs.push(gref);
        }
        Ok(run)
    }

    /// How many pages the run has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The grant of page `index`.
    ///
    /// # Panics
    /// If there is no such page: a bug of the caller.
    pub fn gref(&self, index: usize) -> GrantRef {
        self.grefs[index]
    }

    /// The bytes `range` of the run, to write what the peer is to read. The peer may be reading; it cannot write.
    ///
    /// # Panics
    /// If `range` is not within the run: a bug of the caller.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let len = self.count * PAGE_SIZE;
        // SAFETY: the run is `len` initialised bytes of the heap that this value owns; the peer has read-only
        // grants, so nobody else can write them.
        let all = unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), len) };
        &mut all[range]
    }

    /// Gives the run's pages back to the heap. For pages with no grant left.
    fn release(&mut self) {
        if let Some(layout) = run_layout(self.count) {
            // SAFETY: `base` came from `allocate_run(count)`, whose layout this is, and is not used again.
            unsafe { dealloc(self.base.as_ptr(), layout) };
        }
    }
}

impl Drop for LentPages {
    fn drop(&mut self) {
        // Every grant is revoked that can be; one page still mapped keeps the whole run from being used again.
        let held = self
            .grefs
            .iter()
            .filter(|gref| grant::revoke(**gref).is_err())
            .count();
        if held == 0 {
            self.release();
        } else {
            leak(self.count);
        }
    }
}

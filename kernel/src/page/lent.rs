//! A run of adjacent pages that a peer can read.
//!
//! A page is zeroed and granted when it is first written, so that a run costs what is used of it.

use super::{OutOfPages, leak, run_layout};
use crate::addr::{DomId, GrantRef, PAGE_SIZE};
use crate::grant::{self, Access};
use crate::platform;
use alloc::alloc::{alloc, dealloc};
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::NonNull;

/// A run of adjacent pages that a peer can read: what we send.
#[derive(Debug)]
pub struct LentPages {
    base: NonNull<u8>,
    count: usize,
    /// One for each page.
    grefs: Vec<GrantRef>,
    /// So many pages from the first on are initialised, and granted.
    lent: usize,
}

impl LentPages {
    /// A run of `count` pages that `peer` may read, each of which is zeros before it is first written.
    ///
    /// # Errors
    /// When there is no memory or the grant table is full.
    pub fn new(count: usize, peer: DomId) -> Result<Self, OutOfPages> {
        let layout = run_layout(count).ok_or(OutOfPages)?;
        // SAFETY: `run_layout` gives no layout of size zero.
        let base = NonNull::new(unsafe { alloc(layout) }).ok_or(OutOfPages)?;
        platform::pages_freed(base, count);
        let mut run = Self {
            base,
            count,
            grefs: Vec::new(),
            lent: 0,
        };
        let frames = (0..count).map(|i| platform::frame_of(run.page(i)));
        run.grefs = grant::reserve(peer, frames)?;
        Ok(run)
    }

    fn page(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.count, "a page of the run");
        // SAFETY: the run has `count` pages, and callers stay below it.
        unsafe { self.base.add(index * PAGE_SIZE) }
    }

    /// Lends the first `count` pages.
    fn lend(&mut self, count: usize) {
        while self.lent < count {
            // There is one for each page, so this ends where the run does.
            let gref = self.grefs[self.lent];
            // SAFETY: a page of the run, which nobody else can reach yet.
            unsafe { self.page(self.lent).write_bytes(0, PAGE_SIZE) };
            grant::permit(gref, Access::ReadOnly);
            self.lent += 1;
        }
    }

    /// How many pages the run has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether the peer has any of the pages mapped.
    pub fn is_held(&self) -> bool {
        self.grefs.iter().any(|gref| grant::is_held(*gref))
    }

    /// The grant of page `index`, which is in force once something was written to the page or one behind it.
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
        self.lend(range.end.div_ceil(PAGE_SIZE));
        let len = self.lent * PAGE_SIZE;
        // SAFETY: the run begins with `len` initialised bytes of the heap that this value owns; the peer has read-only
        // grants, so nobody else can write them.
        let all = unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), len) };
        &mut all[range]
    }

    /// Gives the run's pages back to the heap. For pages with no grant left.
    fn release(&mut self) {
        if let Some(layout) = run_layout(self.count) {
            platform::pages_freed(self.base, self.count);
            // SAFETY: `new` allocated `base` with this layout, and it and is not used again.
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
            leak(self.base, self.count);
        }
    }
}

//! Pages by who may reach them: [`Page`] is ours alone, a [`SharedPage`] can be written by a peer, a [`LentPages`] run
//! can be read by one.
//!
//! A reference to memory that a peer can write would be undefined behaviour the moment it does, so only `Page`
//! and `LentPages` give references; a `SharedPage` gives a [`Window`] that copies in and out. The way back from
//! shared is [`SharedPage::reclaim`], which revokes the grant first: it succeeds only once nobody else can reach
//! the page. A page whose peer won't let go is leaked, never used again ([`leaked`] counts them).
//!
//! Every page is zeroed before it is shared for the first time, so that a peer reads nothing but what it was sent.

mod window;

pub use window::Window;

use crate::addr::{DomId, GrantRef, PAGE_SIZE};
use crate::grant::{self, Access};
use crate::platform;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::ptr::NonNull;

/// Pages taken from the heap at a time: single ones would leave a hole behind each.
const BATCH: usize = if cfg!(xenlet = "xen") { 8 } else { 1 };

local! {
    static FREE: RefCell<Vec<NonNull<u8>>> = RefCell::new(Vec::new());
}
local! {
    static LEAKED: Cell<usize> = Cell::new(0);
}

/// How many pages were given up because a peer did not release them.
pub fn leaked() -> usize {
    LEAKED.with(Cell::get)
}

fn leak(pages: usize) {
    LEAKED.with(|l| l.set(l.get() + pages));
}

/// There is no memory, or no grant entry, for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfPages;

impl core::fmt::Display for OutOfPages {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("out of memory for pages (give the guest more memory=)")
    }
}

impl core::error::Error for OutOfPages {}

fn run_layout(count: usize) -> Option<Layout> {
    Layout::from_size_align(count.checked_mul(PAGE_SIZE)?, PAGE_SIZE)
        .ok()
        .filter(|l| l.size() > 0)
}

/// Zeroed pages, adjacent, from the heap.
fn allocate_run(count: usize) -> Result<NonNull<u8>, OutOfPages> {
    let layout = run_layout(count).ok_or(OutOfPages)?;
    // SAFETY: `run_layout` gives no layout of size zero.
    let base = unsafe { alloc_zeroed(layout) };
    NonNull::new(base).ok_or(OutOfPages)
}

/// One page of memory that only this domain can reach.
#[derive(Debug)]
pub struct Page(NonNull<u8>);

impl Page {
    /// A page of zeros.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new() -> Result<Self, OutOfPages> {
        if let Some(ptr) = FREE.with(|f| f.borrow_mut().pop()) {
            let mut page = Self(ptr);
            page.fill(0);
            return Ok(page);
        }
        let (base, count) = match allocate_run(BATCH) {
            Ok(base) => (base, BATCH),
            Err(OutOfPages) => (allocate_run(1)?, 1),
        };
        FREE.with(|f| {
            let mut free = f.borrow_mut();
            for i in 1..count {
                // SAFETY: the run has `count` pages, and `i` is below it.
                free.push(unsafe { base.add(i * PAGE_SIZE) });
            }
        });
        Ok(Self(base))
    }

    /// Lets `peer` read and write the page.
    ///
    /// # Errors
    /// When the grant table is full.
    pub fn share(self, peer: DomId) -> Result<SharedPage, OutOfPages> {
        let gref = grant::grant(peer, platform::frame_of(self.0), Access::ReadWrite)?;
        let window = Window::new(self.0, PAGE_SIZE);
        Ok(SharedPage {
            page: Some(self),
            window,
            gref,
        })
    }
}

impl core::ops::Deref for Page {
    type Target = [u8; PAGE_SIZE];

    fn deref(&self) -> &Self::Target {
        // SAFETY: the page is a whole, initialised page of the heap that this value alone owns.
        unsafe { self.0.cast().as_ref() }
    }
}

impl core::ops::DerefMut for Page {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as for `deref`, and `&mut self` says that nobody else looks.
        unsafe { self.0.cast().as_mut() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        FREE.with(|f| f.borrow_mut().push(self.0));
    }
}

/// A page that a peer can read and write.
#[derive(Debug)]
pub struct SharedPage {
    /// `None` only on the way out, in `reclaim` and `drop`.
    page: Option<Page>,
    window: Window,
    gref: GrantRef,
}

impl SharedPage {
    /// The grant that the peer uses.
    pub fn gref(&self) -> GrantRef {
        self.gref
    }

    /// Takes the page back.
    ///
    /// # Errors
    /// The page itself, while the peer has it mapped.
    pub fn reclaim(mut self) -> Result<Page, Self> {
        if grant::revoke(self.gref).is_err() {
            return Err(self);
        }
        match self.page.take() {
            Some(page) => Ok(page),
            None => Err(self),
        }
    }
}

impl AsRef<Window> for SharedPage {
    fn as_ref(&self) -> &Window {
        &self.window
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if let Some(page) = self.page.take()
            && grant::revoke(self.gref).is_err()
        {
            core::mem::forget(page);
            leak(1);
        }
    }
}

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

/// Gives the free pages back to the host's allocator, at the end of a hosted domain.
#[cfg(not(xenlet = "xen"))]
pub(crate) fn teardown() {
    for page in FREE.with(RefCell::take) {
        if let Some(layout) = run_layout(1) {
            // SAFETY: on the host's targets pages are allocated one by one (`BATCH`), with this layout.
            unsafe { dealloc(page.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests;

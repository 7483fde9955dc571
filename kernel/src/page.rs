//! Pages by who may reach them: [`Page`] is ours alone, a [`SharedPage`] can be written by a peer, a [`LentPages`] run
//! can be read by one. [`Pages`] are several of our own, as a buffer.
//!
//! A reference to memory that a peer can write would be undefined behaviour the moment it does, so only `Page`
//! and `LentPages` give references; a `SharedPage` gives a [`Window`] that copies in and out. The way back from
//! shared is [`SharedPage::reclaim`], which revokes the grant first: it succeeds only once nobody else can reach
//! the page. A page whose peer won't let go is leaked, never used again ([`leaked`] counts them).
//!
//! Every page is zeroed before it is shared for the first time, so that a peer reads nothing but what it was sent.

mod pages;
pub use pages::Pages;

// Where there is somebody to share them with.
#[cfg(not(xenlet = "unix"))]
mod absent;
#[cfg(not(xenlet = "unix"))]
mod lent;
#[cfg(not(xenlet = "unix"))]
mod shared;
#[cfg(not(xenlet = "unix"))]
mod window;
#[cfg(not(xenlet = "unix"))]
pub(crate) use self::absent::AbsentPages;
#[cfg(not(xenlet = "unix"))]
pub use self::{lent::LentPages, shared::SharedPage, window::Window};

use crate::addr::PAGE_SIZE;
use crate::platform;
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
use alloc::alloc::dealloc;
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
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

#[cfg(not(xenlet = "unix"))]
fn leak(base: NonNull<u8>, pages: usize) {
    platform::pages_leaked(base, pages);
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
        platform::pages_freed(self.0, 1);
        FREE.with(|f| f.borrow_mut().push(self.0));
    }
}

/// Gives the free pages back to the host's allocator, and those that were leaked, at the end of a hosted domain.
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub(crate) fn teardown(leaked: Vec<(NonNull<u8>, usize)>) {
    let free = FREE.with(RefCell::take).into_iter().map(|page| (page, 1));
    for (base, count) in free.chain(leaked) {
        if let Some(layout) = run_layout(count) {
            // SAFETY: allocated with this layout (single pages one by one, by `BATCH`), and nobody has it any more: neither
            // the domain nor, since they are gone, its backends.
            unsafe { dealloc(base.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests;

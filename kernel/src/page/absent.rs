//! A run of pages that the domain does not have.

use super::{OutOfPages, run_layout};
use crate::addr::PAGE_SIZE;
use crate::platform;
use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;

/// A run of adjacent pages out of the heap that Xen has: their addresses are nobody's, and nothing is there. It stays so until
/// [`fill`](Self::fill).
#[derive(Debug)]
#[must_use = "pages that nobody asks back are lost"]
pub(crate) struct AbsentPages(NonNull<u8>);

impl AbsentPages {
    /// Pages of a run. Few hypercalls, and little of the heap is lost between two runs.
    pub(crate) const COUNT: usize = 128;
    /// The same in bytes.
    pub(crate) const BYTES: usize = Self::COUNT * PAGE_SIZE;

    fn layout() -> Option<Layout> {
        run_layout(Self::COUNT)
    }

    /// Gives a run to Xen.
    ///
    /// # Errors
    /// When the heap has none, or Xen does not take it.
    pub(crate) fn give() -> Result<Self, OutOfPages> {
        let layout = Self::layout().ok_or(OutOfPages)?;
        // SAFETY: `run_layout` gives no layout of size zero.
        let base = NonNull::new(unsafe { alloc(layout) }).ok_or(OutOfPages)?;
        // What was in them is for nobody else.
        // SAFETY: a run just allocated.
        unsafe { base.write_bytes(0, Self::BYTES) };
        // SAFETY: nobody has a reference to the run, nor will before it is filled.
        if unsafe { platform::give_pages(base, Self::COUNT) } {
            return Ok(Self(base));
        }
        // SAFETY: allocated above with this layout.
        unsafe { dealloc(base.as_ptr(), layout) };
        Err(OutOfPages)
    }

    /// Asks Xen for pages in the place of those, and gives them to the heap. What is in them is whatever Xen has left there.
    ///
    /// # Errors
    /// Itself, when Xen has none for this domain.
    pub(crate) fn fill(self) -> Result<(), Self> {
        let Some(layout) = Self::layout().filter(|_| platform::take_pages(self.0, Self::COUNT))
        else {
            return Err(self);
        };
        // SAFETY: `give` allocated it with this layout, its pages are there again, and it is not used from here on.
        unsafe { dealloc(self.0.as_ptr(), layout) };
        Ok(())
    }
}

//! Pages that are given to Xen, and others that are taken in their place (`xen/memory.h`).

use super::{hypercall, pagetable};
use crate::abi::memory::{NO_FRAME, OP_DECREASE_RESERVATION, OP_POPULATE_PHYSMAP};
use crate::addr::Pfn;
use crate::page::AbsentPages;
use core::cell::Cell;
use core::ptr::NonNull;

local! {
    static ABSENT: Cell<usize> = Cell::new(0);
}

/// How many pages the domain does not have of those that it was created with.
pub(super) fn absent() -> usize {
    ABSENT.with(Cell::get)
}

/// Gives the first `count` pages from `base` on to Xen. False when it takes none of them; else they are absent, all that it took.
///
/// # Safety
/// Nobody may reach the pages before [`take_pages`] is true.
pub(crate) unsafe fn give_pages(base: NonNull<u8>, count: usize) -> bool {
    let (start, first) = (base.addr().get(), pagetable::pfn_of(base.addr().get()).0);
    let mut frames = [0; AbsentPages::COUNT];
    let frames = &mut frames[..count];
    for (pfn, frame) in (first..).zip(frames.iter_mut()) {
        *frame = pagetable::mfn(Pfn(pfn)).0;
    }
    // Xen keeps what is mapped.
    // SAFETY: the caller's promise.
    if unsafe { pagetable::unmap(start, count) }.is_err() {
        return false;
    }
    // SAFETY: frames of ours that nothing maps, and that the caller has given up.
    let taken = unsafe { hypercall::memory_op(OP_DECREASE_RESERVATION, frames) };
    for pfn in first..first + taken {
        pagetable::set_mfn(Pfn(pfn), NO_FRAME);
    }
    ABSENT.with(|a| a.set(a.get() + taken));
    taken > 0 || pagetable::map(start, count).is_err()
}

/// Has the `count` pages from `base` on, which were given to Xen, there again. False when Xen has not enough of them for this
/// domain now.
pub(crate) fn take_pages(base: NonNull<u8>, count: usize) -> bool {
    let (start, first) = (base.addr().get(), pagetable::pfn_of(base.addr().get()).0);
    let mut pages = [0; AbsentPages::COUNT];
    let mut missing = 0;
    for pfn in first..first + count {
        if pagetable::mfn(Pfn(pfn)).0 == NO_FRAME {
            pages[missing] = pfn as u64;
            missing += 1;
        }
    }
    let mut frames = pages;
    // SAFETY: pages of ours where nothing is: what comes is mapped nowhere yet.
    let came = unsafe { hypercall::memory_op(OP_POPULATE_PHYSMAP, &mut frames[..missing]) };
    for (pfn, frame) in pages.iter().zip(&frames).take(came) {
        pagetable::set_mfn(Pfn(pagetable::usize_of(*pfn)), *frame);
    }
    ABSENT.with(|a| a.set(a.get() - came));
    came == missing && pagetable::map(start, count).is_ok()
}

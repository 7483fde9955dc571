//! The heap: `linked_list_allocator` on memory that is mapped when it is needed.
//!
//! It begins behind what the builder made, with what the builder mapped, and grows by 2 MiB towards the end of memory.
//! So boot touches the same few pages whatever `memory=` is.

use super::{boot, pagetable};
use crate::memory::Stats;
use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use spin::Mutex;

/// Pages kept back for page tables: one of the lowest level for each 2 MiB, and one above at each GiB.
const SPARES: usize = 3;

struct Heap {
    list: linked_list_allocator::Heap,
    start: usize,
    spares: [usize; SPARES],
}

struct Allocator(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap {
    list: linked_list_allocator::Heap::empty(),
    start: 0,
    spares: [0; SPARES],
}));

const PAGE: Layout = match Layout::from_size_align(4096, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("a page has a layout"),
};

/// Makes the memory from `start` the heap.
pub(super) fn start(start: usize) {
    let end = pagetable::mapped_end(start);
    let mut heap = ALLOCATOR.0.lock();
    heap.start = start;
    let bottom = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the builder mapped this for us and put nothing there; it is given away once, here.
    unsafe { heap.list.init(bottom, end - start) };
    heap.refill();
}

impl Heap {
    /// Keeps back zeroed pages for tables.
    fn refill(&mut self) {
        for spare in &mut self.spares {
            if *spare == 0
                && let Ok(page) = self.list.allocate_first_fit(PAGE)
            {
                // SAFETY: a page just allocated.
                unsafe { page.write_bytes(0, 4096) };
                *spare = page.as_ptr().expose_provenance();
            }
        }
    }

    /// Maps 2 MiB more. False when there is no more.
    fn grow(&mut self) -> bool {
        let top = self.list.top().addr();
        let mut spares = self.spares;
        let mut take = || {
            spares
                .iter_mut()
                .find(|spare| **spare != 0)
                .map(core::mem::take)
        };
        let mapped = pagetable::map_chunk(top, &mut take);
        self.spares = spares;
        let Ok(bytes) = mapped else { return false };
        // SAFETY: these bytes follow the heap's, are mapped as data, and nobody else uses them.
        unsafe { self.list.extend(bytes) };
        self.refill();
        true
    }
}

// SAFETY: `linked_list_allocator` gives out disjoint blocks of the memory it was given, which is mapped, writable and
// used by nothing else.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        loop {
            if let Ok(block) = heap.list.allocate_first_fit(layout) {
                return block.as_ptr();
            }
            if !heap.grow() {
                return core::ptr::null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller's promise: the block is one of ours with this layout.
            unsafe { self.0.lock().list.deallocate(block, layout) };
        }
    }
}

/// How memory is used.
pub(super) fn stats() -> Stats {
    let heap = ALLOCATOR.0.lock();
    #[allow(clippy::cast_possible_truncation, reason = "64 bits both")]
    let total = boot::info().nr_pages as usize * 4096;
    let boot = heap.start - pagetable::VIRT_BASE;
    let used = heap.list.used();
    let (text, rodata, data) = pagetable::image();
    Stats {
        total,
        boot,
        used,
        free: total.saturating_sub(boot + used),
        text: text - pagetable::VIRT_BASE,
        rodata: rodata - text,
        data: data - rodata,
    }
}

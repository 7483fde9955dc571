//! The heap: `rlsf` (TLSF: every operation takes the same short time, however much is allocated) on memory that is mapped
//! when it is needed.
//!
//! It begins behind what the builder made, with what the builder mapped, and grows by 512 KiB towards the end of memory.
//! So boot touches the same few pages whatever `memory=` is.

use super::{boot, pagetable};
use crate::memory::Stats;
use alloc::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use spin::Mutex;

/// Pages kept back for page tables: one of the lowest level for each 2 MiB, and one above at each GiB.
const SPARES: usize = 3;

/// Blocks of any size: so many sizes by powers of two that a chunk that is added joins the one before it.
type Tlsf = rlsf::Tlsf<
    'static,
    u64,
    u16,
    { (usize::BITS - rlsf::GRANULARITY.trailing_zeros()) as usize },
    16,
>;

struct Heap {
    blocks: Tlsf,
    /// The heap's addresses: from, to.
    start: usize,
    end: usize,
    /// Bytes of the blocks that are allocated.
    used: usize,
    spares: [usize; SPARES],
}

struct Allocator(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap {
    blocks: Tlsf::new(),
    start: 0,
    end: 0,
    used: 0,
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
    (heap.start, heap.end) = (start, end);
    // SAFETY: the builder mapped this for us and put nothing there; it is given away once, here.
    unsafe {
        heap.blocks
            .insert_free_block_ptr(memory(start, end - start))
    };
    heap.refill();
}

/// `len` bytes from `address`.
fn memory(address: usize, len: usize) -> NonNull<[u8]> {
    let first = NonNull::new(core::ptr::with_exposed_provenance_mut(address));
    NonNull::slice_from_raw_parts(first.unwrap_or(NonNull::dangling()), len)
}

/// What a block takes with its header and its rounding.
fn taken(layout: Layout) -> usize {
    (layout.size() + rlsf::GRANULARITY / 2).next_multiple_of(rlsf::GRANULARITY)
}

impl Heap {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.blocks.allocate(layout)?;
        self.used += taken(layout);
        Some(block)
    }

    /// Keeps back zeroed pages for tables.
    fn refill(&mut self) {
        for i in 0..SPARES {
            if self.spares[i] == 0
                && let Some(page) = self.allocate(PAGE)
            {
                // SAFETY: a page just allocated.
                unsafe { page.write_bytes(0, 4096) };
                self.spares[i] = page.as_ptr().expose_provenance();
            }
        }
    }

    /// Maps some more. False when there is no more.
    fn grow(&mut self) -> bool {
        let mut spares = self.spares;
        let mut take = || {
            spares
                .iter_mut()
                .find(|spare| **spare != 0)
                .map(core::mem::take)
        };
        let mapped = pagetable::map_more(self.end, &mut take);
        self.spares = spares;
        let Ok(bytes) = mapped else { return false };
        // SAFETY: these bytes follow the heap's, are mapped as data, and nobody else uses them.
        let added = unsafe { self.blocks.append_free_block_ptr(memory(self.end, bytes)) };
        self.end += added;
        self.refill();
        added > 0
    }
}

// SAFETY: `rlsf` gives out disjoint blocks of the memory it was given, which is mapped, writable and used by nothing else.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        loop {
            if let Some(block) = heap.allocate(layout) {
                return block.as_ptr();
            }
            if !heap.grow() {
                return core::ptr::null_mut();
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            let mut heap = self.0.lock();
            heap.used -= taken(layout);
            // SAFETY: the caller's promise: the block is one of ours with this alignment.
            unsafe { heap.blocks.deallocate(block, layout.align()) };
        }
    }
}

/// How memory is used.
pub(super) fn stats() -> Stats {
    let heap = ALLOCATOR.0.lock();
    #[allow(clippy::cast_possible_truncation, reason = "64 bits both")]
    let created = boot::info().nr_pages as usize * 4096;
    // To the heap, what Xen has is allocated.
    let absent = super::memory::absent() * 4096;
    let (total, used) = (created - absent, heap.used.saturating_sub(absent));
    let boot = heap.start - pagetable::virt_base();
    let (text, rodata, data) = pagetable::image();
    Stats {
        total,
        boot,
        used,
        free: total.saturating_sub(boot + used),
        text: text - pagetable::virt_base(),
        rodata: rodata - text,
        data: data - rodata,
    }
}

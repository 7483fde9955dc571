//! Page tables: taking away rights that are not needed, and mapping more memory.
//!
//! Page `p` of the guest's own numbering is at `virt_base() + p * 4096`, for all of its memory: the builder maps the
//! first few MiB so, [`map_more`] goes on with the rest, step by step, when the heap asks. Entries hold machine
//! frames; `mfn_list` and Xen's table of the reverse translate. Tables are changed by hypercalls only, and Xen checks
//! each change. The rule kept here: nothing is both writable and executable.

use super::{boot, hypercall};
use crate::addr::{Mfn, PAGE_SIZE, Pfn};
use core::cell::UnsafeCell;
use xen_sys::mmu_update;

/// Bytes that one table of the lowest level maps.
const CHUNK: usize = 2 << 20;
/// Pages that are mapped at a time: Xen takes a quarter of a millisecond for 2 MiB, more than most of boot.
const STEP: usize = 128;
/// Where Xen shows the machine-to-physical table (`MACH2PHYS_VIRT_START`).
const MACHINE_TO_PHYS: *const u64 = core::ptr::without_provenance(0xffff_8000_0000_0000);

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// A page of data: writable, not executable. (The guest runs in ring 3, so its pages are user pages.)
pub(super) const DATA: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY | NO_EXECUTE;
const CONSTANT: u64 = PRESENT | USER | ACCESSED | NO_EXECUTE;
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED | NO_EXECUTE;

unsafe extern "C" {
    static _image_start: [u8; 0];
    static _text_end: [u8; 0];
    static _rodata_end: [u8; 0];
    /// A page for [`frame_list`] alone.
    static _frame_walk: UnsafeCell<[u64; 512]>;
    static _stack_guard: [u8; 0];
    static _image_end: [u8; 0];
}

/// Where page 0 is mapped: `VIRT_BASE` of the ELF notes.
pub(super) fn virt_base() -> usize {
    (&raw const _image_start).addr()
}

/// Addresses of the image's parts: where its code, its constants and it itself end. Each begins where the one before
/// ended, the first at [`virt_base`].
pub(super) fn image() -> (usize, usize, usize) {
    (
        (&raw const _text_end).addr(),
        (&raw const _rodata_end).addr(),
        (&raw const _image_end).addr(),
    )
}

/// Whether the image's code is at `address`.
pub(super) fn is_code(address: u64) -> bool {
    (virt_base() as u64..image().0 as u64).contains(&address)
}

/// The machine frame of our page `pfn`.
pub(super) fn mfn(pfn: Pfn) -> Mfn {
    let info = boot::info();
    assert!(
        (pfn.0 as u64) < info.nr_pages,
        "page {} is beyond this domain's memory",
        pfn.0
    );
    let list = core::ptr::with_exposed_provenance::<u64>(usize_of(info.mfn_list));
    let entry = list.wrapping_add(pfn.0);
    // SAFETY: the list has `nr_pages` entries, and is mapped; the toolstack writes it while the domain is suspended.
    Mfn(unsafe { entry.read_volatile() })
}

/// Notes that our page `pfn` is machine frame `frame` now.
pub(super) fn set_mfn(pfn: Pfn, frame: u64) {
    // Checked there to be in the list.
    let _ = mfn(pfn);
    let list = core::ptr::with_exposed_provenance_mut::<u64>(usize_of(boot::info().mfn_list));
    // SAFETY: as in `mfn`; the list is mapped as data.
    unsafe { list.wrapping_add(pfn.0).write_volatile(frame) };
}

/// Which of our pages machine frame `mfn` is. For frames that are ours.
pub(super) fn pfn(mfn: Mfn) -> Pfn {
    let entry = MACHINE_TO_PHYS.wrapping_add(usize_of(mfn.0));
    // SAFETY: Xen maps the table for all frames of the machine, readable for every guest; `mfn` comes from an entry
    // of our own page tables or from start_info.
    Pfn(usize_of(unsafe { entry.read_volatile() }))
}

/// Where our page of machine frame `mfn` is mapped. For frames that are ours.
pub(super) fn address_of(mfn: Mfn) -> usize {
    virt_base() + pfn(mfn).0 * PAGE_SIZE
}

/// In the table for the toolstack's eyes, which no processor walks, the entry by which it is its own lower table.
const SELF: usize = 511;

/// The frame of a page table of the highest level, and where the list of our frames is mapped by it: how the toolstack finds our memory.
/// `None` for a list that it can't be led to.
///
/// It takes the place of a table among those of 1 GiB for the number of those before it (`xc_core_arch_map_p2m_list_rw`, and
/// `map_p2m_list` of saving), so the list has to begin in the first. By a table that is its own for the two upper levels, and has
/// those that map the list from its first entry on, it does.
pub(super) fn frame_list() -> Option<(Mfn, u64)> {
    // SAFETY: only the address is taken.
    let walk: *mut u64 = unsafe { _frame_walk.get() }.cast();
    let lead = |index: usize, to: Mfn| {
        let entry = walk.wrapping_add(index);
        // SAFETY: one of the 512 entries, to which nobody has a reference.
        unsafe { entry.write_volatile(to.0 << 12 | PRESENT | USER | ACCESSED) };
    };
    let info = boot::info();
    let begin = usize_of(info.mfn_list);
    let end = begin + 8 * usize_of(info.nr_pages);
    let chunks = (begin / CHUNK..end.div_ceil(CHUNK)).map(|chunk| chunk * CHUNK);
    if chunks.len() > SELF {
        return None;
    }
    for (index, chunk) in chunks.enumerate() {
        let table = table_for(chunk, 1).ok()?;
        lead(index, mfn(pfn_of(table)));
    }
    let own = mfn(pfn_of(walk.addr()));
    lead(SELF, own);
    // The two upper levels by that entry, the third by the first one; and in what that maps, where the list is.
    let upper = u64::MAX << 39 | (SELF as u64) << 30;
    Some((own, upper | (begin % CHUNK) as u64))
}

/// Our page at `address`, in the linear mapping.
pub(super) fn pfn_of(address: usize) -> Pfn {
    Pfn((address - virt_base()) / PAGE_SIZE)
}

pub(super) const fn usize_of(n: u64) -> usize {
    #[allow(clippy::cast_possible_truncation, reason = "64 bits both")]
    {
        n as usize
    }
}

/// Which entry of a table of `level` (4 at the top) translates `address`.
const fn index(address: usize, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) & 511
}

fn read_entry(table: usize, index: usize) -> u64 {
    let entry = core::ptr::with_exposed_provenance::<u64>(table).wrapping_add(index);
    // SAFETY: `table` is the address of one of our page tables, which are mapped (read-only); the index is below 512.
    unsafe { entry.read_volatile() }
}

/// The table of `level` that translates `address`, or the level of the table that has no entry for it.
fn table_for(address: usize, level: u32) -> Result<usize, u32> {
    let mut table = usize_of(boot::info().pt_base);
    for above in (level + 1..=4).rev() {
        let entry = read_entry(table, index(address, above));
        if entry & PRESENT == 0 {
            return Err(above);
        }
        table = address_of(Mfn((entry & FRAME) >> 12));
    }
    Ok(table)
}

/// The machine address of entry `index` of the table at `table`, for `mmu_update`.
fn machine_address(table: usize, index: usize) -> u64 {
    (mfn(pfn_of(table)).0 << 12) + 8 * index as u64
}

/// The end of what is mapped, from an address that is.
pub(super) fn mapped_end(from: usize) -> usize {
    let mut at = from - from % CHUNK;
    while let Ok(table) = table_for(at, 1) {
        // The builder fills whole tables; a table that ends early ends the mapping.
        let present = (0..512)
            .rposition(|i| read_entry(table, i) & PRESENT != 0)
            .map_or(0, |i| i + 1);
        at += present * PAGE_SIZE;
        if present < 512 {
            break;
        }
    }
    at
}

/// Takes away the rights that the image does not need: code is not writable, the rest is not executable, the page
/// below the stack is not there. What is alike for 2 MiB is said once, in the table above.
pub(super) fn protect() {
    let (text_end, rodata_end, _) = image();
    let guard = (&raw const _stack_guard).addr();
    let table = |level, address| match table_for(address, level) {
        Ok(table) => table,
        Err(_) => panic!("the boot page tables have a hole"),
    };
    let mut batch = Batch::new();
    let mut change = |level, address, change: &dyn Fn(u64) -> u64| {
        let (table, index) = (table(level, address), index(address, level));
        let entry = read_entry(table, index);
        batch.push(machine_address(table, index), change(entry));
    };
    // `link.ld` lets text end where 2 MiB do. It may begin anywhere: nothing is mapped before it.
    let first = virt_base() - virt_base() % CHUNK;
    for at in (first..mapped_end(first)).step_by(CHUNK) {
        let executable = at < text_end;
        let constant = at + CHUNK <= rodata_end;
        change(2, at, &|entry| match (executable, constant) {
            (true, _) => entry & !WRITABLE,
            (false, true) => entry & !WRITABLE | NO_EXECUTE,
            (false, false) => entry | NO_EXECUTE,
        });
    }
    // Where constants end, data begin.
    for at in (text_end.max(rodata_end - rodata_end % CHUNK)..rodata_end).step_by(PAGE_SIZE) {
        change(1, at, &|entry| entry & !WRITABLE);
    }
    change(1, guard, &|_| 0);
    batch.apply();
    hypercall::flush_tlb();
}

/// Entries to change, in as few hypercalls as the stack has room for.
struct Batch {
    updates: [mmu_update; STEP],
    count: usize,
}

impl Batch {
    const fn new() -> Self {
        Self {
            updates: [mmu_update { ptr: 0, val: 0 }; STEP],
            count: 0,
        }
    }

    fn push(&mut self, ptr: u64, val: u64) {
        if self.count == self.updates.len() {
            self.apply();
        }
        self.updates[self.count] = mmu_update { ptr, val };
        self.count += 1;
    }

    fn apply(&mut self) {
        let updates = &self.updates[..self.count];
        // SAFETY: `protect` only takes rights away that the image does not use.
        if let Err(e) = unsafe { hypercall::mmu_update_batch(updates) } {
            panic!("Xen refuses to protect the image: {e}");
        }
        self.count = 0;
    }
}

/// Maps the `count` pages from `start` on as data again.
pub(super) fn map(start: usize, count: usize) -> Result<(), hypercall::Refused> {
    let pages = (start..).step_by(PAGE_SIZE).take(count);
    // SAFETY: each at its place, as it was before it was unmapped.
    unsafe { set_entries(pages.map(|at| (at, mfn(pfn_of(at)).0 << 12 | DATA))) }
}

/// Maps nothing at the `count` pages from `start` on.
///
/// # Safety
/// Nobody may reach them before they are mapped again.
pub(super) unsafe fn unmap(start: usize, count: usize) -> Result<(), hypercall::Refused> {
    let pages = (start..).step_by(PAGE_SIZE).take(count);
    // SAFETY: the caller's promise.
    unsafe { set_entries(pages.map(|at| (at, 0))) }?;
    hypercall::flush_tlb();
    Ok(())
}

/// Sets the entries that translate these addresses, which have tables; of the heap, and up to [`STEP`] of them.
///
/// # Safety
/// As for [`hypercall::mmu_update_batch`].
unsafe fn set_entries(
    entries: impl Iterator<Item = (usize, u64)>,
) -> Result<(), hypercall::Refused> {
    let mut updates = [mmu_update { ptr: 0, val: 0 }; STEP];
    let mut count = 0;
    for ((at, val), update) in entries.zip(&mut updates) {
        let table = table_for(at, 1).map_err(|_| hypercall::Refused { errno: 22 })?;
        let ptr = machine_address(table, index(at, 1));
        *update = mmu_update { ptr, val };
        count += 1;
    }
    // SAFETY: the caller's promise.
    unsafe { hypercall::mmu_update_batch(&updates[..count]) }
}

/// Takes the right to write the page at `table` away, which is to be a page table, and returns its frame's address.
fn seal(table: usize) -> Result<u64, hypercall::Refused> {
    let frame = mfn(pfn_of(table)).0 << 12;
    // SAFETY: a page that is given up to be a table: from here on it is only read.
    unsafe { hypercall::update_va_mapping(table, frame | CONSTANT) }?;
    Ok(frame)
}

/// Maps [`STEP`] pages from `start` on as data, or as many as there are up to a multiple of 2 MiB or the end of memory;
/// returns their bytes. Takes from `spare` (zeroed pages of the heap) what tables that needs.
///
/// # Errors
/// When Xen refuses, or there is nothing more to map.
pub(super) fn map_more(
    start: usize,
    spare: &mut dyn FnMut() -> Option<usize>,
) -> Result<usize, hypercall::Refused> {
    const NO_TABLE: hypercall::Refused = hypercall::Refused { errno: 12 };
    let first = pfn_of(start).0;
    let count = usize_of(boot::info().nr_pages)
        .saturating_sub(first)
        .min((CHUNK - start % CHUNK) / PAGE_SIZE)
        .min(STEP);
    if count == 0 {
        return Err(NO_TABLE);
    }
    // Missing tables above come first, empty.
    while let Err(level) = table_for(start, 2) {
        install(start, level, spare().ok_or(NO_TABLE)?)?;
    }
    let entry = |i| mfn(Pfn(first + i)).0 << 12 | DATA;
    if let Ok(table) = table_for(start, 1) {
        let mut updates = [mmu_update { ptr: 0, val: 0 }; STEP];
        let place = machine_address(table, index(start, 1));
        for (i, update) in updates[..count].iter_mut().enumerate() {
            (update.ptr, update.val) = (place + 8 * i as u64, entry(i));
        }
        // SAFETY: adds mappings of pages that nothing is mapped to yet.
        unsafe { hypercall::mmu_update_batch(&updates[..count]) }?;
    } else {
        // A new table has its entries in place before Xen sees it.
        let table = spare().ok_or(NO_TABLE)?;
        let entries = core::ptr::with_exposed_provenance_mut::<u64>(table);
        for i in 0..count {
            let place = entries.wrapping_add(index(start, 1) + i);
            // SAFETY: `table` is a page of the heap that nobody else uses, with 512 entries, of which these are the first.
            unsafe { place.write(entry(i)) };
        }
        install(start, 2, table)?;
    }
    Ok(count * PAGE_SIZE)
}

/// Makes the page at `table` the table below `level` that translates `address`.
fn install(address: usize, level: u32, table: usize) -> Result<(), hypercall::Refused> {
    let frame = seal(table)?;
    let Ok(above) = table_for(address, level) else {
        return Err(hypercall::Refused { errno: 22 });
    };
    let ptr = machine_address(above, index(address, level));
    // SAFETY: adds mappings of pages that nothing is mapped to yet.
    unsafe {
        hypercall::mmu_update_batch(&[mmu_update {
            ptr,
            val: frame | TABLE,
        }])
    }
}

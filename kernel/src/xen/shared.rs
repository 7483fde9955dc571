//! The shared info page (`struct shared_info` of `xen/xen.h`): pending events and clocks. Xen writes it at any moment.

use super::pvclock::{TimeInfo, WallClock};
use super::{boot, hypercall, pagetable};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::{arch_shared_info, arch_vcpu_info, shared_info, vcpu_info, vcpu_time_info};

unsafe extern "C" {
    /// A page of the image's that `map` replaces by Xen's.
    static _shared_info: core::cell::UnsafeCell<shared_info>;
}

fn page() -> *mut shared_info {
    // SAFETY: only the address is taken.
    unsafe { _shared_info.get() }
}

/// A field of the page, by its offset.
fn field<T>(offset: usize) -> *mut T {
    page().cast::<u8>().wrapping_add(offset).cast()
}

/// Reads a field once: Xen may write it at any moment.
fn read<T: Copy>(offset: usize) -> T {
    let place = field::<T>(offset);
    // SAFETY: callers pass offsets of fields of this type in a page that is mapped (or still the image's own zeros);
    // a torn record is found by its version and read again.
    unsafe { place.read_volatile() }
}

/// One of the 64 words of a bitmap of ports.
fn word(bitmap: usize, index: usize) -> &'static AtomicU64 {
    assert!(index < 64, "a port beyond the 4096 of the two-level ABI");
    let place = field::<u64>(bitmap + 8 * index);
    // SAFETY: aligned, mapped for ever, and changed by Xen only by atomic operations.
    unsafe { AtomicU64::from_ptr(place) }
}

const PENDING: usize = offset_of!(shared_info, evtchn_pending);
const MASK: usize = offset_of!(shared_info, evtchn_mask);
const TIME: usize = offset_of!(shared_info, vcpu_info) + offset_of!(vcpu_info, time);
const CR2: usize = offset_of!(shared_info, vcpu_info)
    + offset_of!(vcpu_info, arch)
    + offset_of!(arch_vcpu_info, cr2);

const ARCH: usize = offset_of!(shared_info, arch);

/// Maps the page in place of the image's own, and masks every event channel: pending bits are looked at, never taken
/// as upcalls. Says in it where the list of our frames is: so the toolstack finds our memory when it saves the domain.
pub(super) fn map() {
    let entry = boot::info().shared_info | pagetable::DATA;
    // SAFETY: the page is reserved for this by `link.ld` and nothing has been put there.
    if let Err(e) = unsafe { hypercall::update_va_mapping(page().addr(), entry) } {
        panic!("cannot map the shared info page: {e}");
    }
    for i in 0..64 {
        word(MASK, i).store(u64::MAX, Ordering::Relaxed);
    }
    let write = |offset, value| {
        // SAFETY: a field of the page, which is mapped; only the toolstack reads it.
        unsafe { field::<u64>(ARCH + offset).write_volatile(value) }
    };
    if let Some((table, list)) = pagetable::frame_list() {
        write(offset_of!(arch_shared_info, max_pfn), boot::info().nr_pages);
        write(offset_of!(arch_shared_info, p2m_vaddr), list);
        // A frame number's place in `cr3`; not zero, it says that the others are there.
        write(offset_of!(arch_shared_info, p2m_cr3), table.0 << 12);
    }
}

/// Takes the page away, and with it the clock: a domain that is saved may have no page mapped that is not its own.
pub(super) fn unmap() {
    // SAFETY: nobody has a reference to it, and it is mapped again before anybody looks.
    let unmapped = unsafe { hypercall::update_va_mapping(page().addr(), 0) };
    assert!(unmapped.is_ok(), "the shared info page stays mapped");
}

/// Clears the pending bit of `port`; true if it was set.
pub(super) fn take_pending(port: u32) -> bool {
    let (pending, bit) = (word(PENDING, (port / 64) as usize), 1 << (port % 64));
    // A load first: an idle look at a port need not take the cache line.
    pending.load(Ordering::Acquire) & bit != 0
        && pending.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// The address at which the last page fault happened (`cr2`).
pub(super) fn fault_address() -> u64 {
    read(CR2)
}

pub(super) fn time_version() -> u32 {
    read(TIME + offset_of!(vcpu_time_info, version))
}

pub(super) fn time_info() -> TimeInfo {
    let time: vcpu_time_info = read(TIME);
    TimeInfo {
        tsc_timestamp: time.tsc_timestamp,
        system_time: time.system_time,
        tsc_to_system_mul: time.tsc_to_system_mul,
        tsc_shift: time.tsc_shift,
    }
}

pub(super) fn wall_version() -> u32 {
    read(offset_of!(shared_info, wc_version))
}

pub(super) fn wall_clock() -> WallClock {
    WallClock {
        sec: read(offset_of!(shared_info, wc_sec)),
        nsec: read(offset_of!(shared_info, wc_nsec)),
        sec_hi: read(offset_of!(shared_info, wc_sec_hi)),
    }
}

//! The shared info page (`struct shared_info` of `xen/xen.h`): pending events and clocks. Xen writes it at any moment.

use super::pvclock::{TimeInfo, WallClock};
use super::{boot, hypercall, pagetable};
use core::sync::atomic::{AtomicU64, Ordering};
use xen_sys::shared_info;

unsafe extern "C" {
    /// A page of the image's that `map` replaces by Xen's.
    static _shared_info: core::cell::UnsafeCell<shared_info>;
}

fn page() -> *mut shared_info {
    // SAFETY: only the address is taken.
    unsafe { _shared_info.get() }
}

/// Maps the page in place of the image's own, and masks every event channel: pending bits are looked at, never taken
/// as upcalls.
pub(super) fn map() {
    let entry = boot::info().shared_info | pagetable::DATA;
    // SAFETY: the page is reserved for this by `link.ld` and nothing has been put there.
    if let Err(e) = unsafe { hypercall::update_va_mapping(page().addr(), entry) } {
        panic!("cannot map the shared info page: {e:?}");
    }
    // SAFETY: the page is mapped.
    let mask = unsafe { &raw mut (*page()).evtchn_mask };
    for i in 0..64 {
        // SAFETY: one of the 64 words of the mask; Xen changes them only by atomic operations.
        let word = unsafe { AtomicU64::from_ptr(mask.cast::<u64>().add(i)) };
        word.store(u64::MAX, Ordering::Relaxed);
    }
}

/// Clears the pending bit of `port`; true if it was set.
pub(super) fn take_pending(port: u32) -> bool {
    let word = (port / 64) as usize;
    if word >= 64 {
        return false;
    }
    // SAFETY: the page is mapped, and the word is one of its 64.
    let pending = unsafe { (&raw mut (*page()).evtchn_pending).cast::<u64>().add(word) };
    // SAFETY: aligned, mapped for ever, and changed by Xen only by atomic operations.
    let pending = unsafe { AtomicU64::from_ptr(pending) };
    let bit = 1 << (port % 64);
    // A load first: an idle look at a port need not take the cache line.
    pending.load(Ordering::Acquire) & bit != 0 && pending.fetch_and(!bit, Ordering::AcqRel) & bit != 0
}

/// The address at which the last page fault happened (`cr2`).
pub(super) fn fault_address() -> u64 {
    // SAFETY: the page is mapped, or still the image's own zeros.
    unsafe { (&raw const (*page()).vcpu_info[0].arch.cr2).read_volatile() }
}

pub(super) fn time_version() -> u32 {
    // SAFETY: mapped; Xen writes it at any moment, so it is read once.
    unsafe { (&raw const (*page()).vcpu_info[0].time.version).read_volatile() }
}

pub(super) fn time_info() -> TimeInfo {
    // SAFETY: mapped; a torn record is found by its version and read again.
    let time = unsafe { (&raw const (*page()).vcpu_info[0].time).read_volatile() };
    TimeInfo {
        tsc_timestamp: time.tsc_timestamp,
        system_time: time.system_time,
        tsc_to_system_mul: time.tsc_to_system_mul,
        tsc_shift: time.tsc_shift,
    }
}

pub(super) fn wall_version() -> u32 {
    // SAFETY: as `time_version`.
    unsafe { (&raw const (*page()).wc_version).read_volatile() }
}

pub(super) fn wall_clock() -> WallClock {
    // SAFETY: as `time_info`.
    let sec = unsafe { (&raw const (*page()).wc_sec).read_volatile() };
    // SAFETY: as `time_info`.
    let nsec = unsafe { (&raw const (*page()).wc_nsec).read_volatile() };
    // SAFETY: as `time_info`.
    let sec_hi = unsafe { (&raw const (*page()).wc_sec_hi).read_volatile() };
    WallClock { sec, sec_hi, nsec }
}

//! Time from the shared info page (`vcpu_time_info`, `wc_*` of `xen/xen.h`): no hypercall.

use super::pvclock::{TimeInfo, WallClock};
use super::shared;
use crate::time::Duration;
use core::cell::Cell;
use core::sync::atomic::{Ordering, fence};

/// The processor's time-stamp counter.
pub(super) fn tsc() -> u64 {
    // SAFETY: every 64-bit processor has it, and Xen lets guests read it or emulates it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a record that Xen rewrites: `version` is odd while it does, and changes each time.
fn consistent<T>(version: impl Fn() -> u32, read: impl Fn() -> T) -> T {
    loop {
        let before = version();
        fence(Ordering::Acquire);
        let record = read();
        fence(Ordering::Acquire);
        if before & 1 == 0 && version() == before {
            return record;
        }
        core::hint::spin_loop();
    }
}

/// Xen's system time when the counter stood at `tsc`, in nanoseconds.
pub(super) fn at(tsc: u64) -> u64 {
    let info = consistent(shared::time_version, shared::time_info);
    TimeInfo::at(&info, tsc)
}

local! {
    static LAST: Cell<u64> = Cell::new(0);
}

/// Xen's system time now, in nanoseconds. Never less than the last time: Xen corrects its clock by small steps, and
/// processors may disagree a little.
pub(super) fn now() -> u64 {
    let now = at(tsc());
    LAST.with(|last| {
        last.set(last.get().max(now));
        last.get()
    })
}

/// The time since the Unix epoch; `None` before Xen knows it.
pub(super) fn wall() -> Option<Duration> {
    let clock: WallClock = consistent(shared::wall_version, shared::wall_clock);
    clock.at(crate::time::round().as_nanos())
}

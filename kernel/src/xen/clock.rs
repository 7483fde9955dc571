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
local! {
    /// What our time is ahead of Xen's system time, modulo 2^64: the time that the domain was suspended does not count, and
    /// another host has another time.
    static AHEAD: Cell<u64> = Cell::new(0);
}

/// Goes on where the clock stood when the domain was suspended, at `stopped`.
pub(super) fn go_on(stopped: u64) {
    AHEAD.with(|ahead| ahead.set(stopped.wrapping_sub(at(tsc()))));
}

/// Xen's system time at our time `now`.
pub(super) fn system_time(now: u64) -> u64 {
    now.wrapping_sub(AHEAD.with(Cell::get))
}

/// Our time now, in nanoseconds: Xen's system time, less what the domain was suspended. Never less than the last time: Xen corrects
/// its clock by small steps, and processors may disagree a little.
pub(super) fn now() -> u64 {
    let now = at(tsc()).wrapping_add(AHEAD.with(Cell::get));
    LAST.with(|last| {
        last.set(last.get().max(now));
        last.get()
    })
}

/// The time since the Unix epoch; `None` before Xen knows it.
pub(super) fn wall() -> Option<Duration> {
    let clock: WallClock = consistent(shared::wall_version, shared::wall_clock);
    clock.at(system_time(crate::time::round().as_nanos()))
}

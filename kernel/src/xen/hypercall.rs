//! Hypercalls: `call hypercall_page + 32 * number` (`xen/arch-x86/xen-x86_64.h`).
//!
//! Arguments go in `rdi rsi rdx r10 r8`, the result comes in `rax`; `rcx`, `r11` and the argument registers may be
//! changed. Xen reads and writes what pointers point at, so each call is a read and write of memory to the compiler.

use crate::abi::memory::Reservation;
use core::arch::asm;
use xen_sys::{
    evtchn_alloc_unbound, evtchn_close, evtchn_send, mmu_update, sched_poll, sched_shutdown,
    sched_watchdog, trap_info,
};

/// `DOMID_SELF`: the calling domain.
pub(super) const DOMID_SELF: u16 = 0x7ff0;

/// Makes the hypercall `NR`.
///
/// # Safety
/// What the hypercall does with these arguments must be sound: the pointers among them valid for it, and no memory that
/// Rust relies on pulled away.
unsafe fn hypercall<const NR: u32>(a1: usize, a2: usize, a3: usize, a4: usize) -> isize {
    let result: isize;
    // SAFETY: Xen filled the page before the first instruction; clobbers are declared as the header says; the rest is
    // the caller's promise.
    unsafe {
        asm!(
            "call hypercall_page + {offset}",
            offset = const NR * 32,
            inlateout("rdi") a1 => _,
            inlateout("rsi") a2 => _,
            inlateout("rdx") a3 => _,
            inlateout("r10") a4 => _,
            lateout("r8") _,
            lateout("rcx") _,
            lateout("r11") _,
            lateout("rax") result,
        );
    }
    result
}

/// A hypercall that Xen refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// Xen's error number (`xen/errno.h`), as a positive number.
    pub(super) errno: isize,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "error {}", self.errno)
    }
}

fn check(result: isize) -> Result<(), Refused> {
    if result < 0 {
        Err(Refused { errno: -result })
    } else {
        Ok(())
    }
}

/// `HYPERVISOR_set_trap_table`: which code Xen enters for which exception. `table` ends with an entry of zeros.
pub(super) fn set_trap_table(table: &[trap_info]) -> Result<(), Refused> {
    assert!(
        table.last().is_some_and(|t| t.address == 0),
        "the table must end with zeros"
    );
    // SAFETY: Xen reads the table up to its end; handlers run only on exceptions, which nothing here survives.
    check(unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_set_trap_table }>(
            table.as_ptr().expose_provenance(),
            0,
            0,
            0,
        )
    })
}

/// `HYPERVISOR_mmu_update`: changes page-table entries.
///
/// # Safety
/// The new entries must not pull memory away from under Rust, nor make any both writable and executable.
pub(super) unsafe fn mmu_update_batch(updates: &[mmu_update]) -> Result<(), Refused> {
    // SAFETY: Xen reads `updates.len()` entries and checks each; the rest is the caller's promise.
    check(unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_mmu_update }>(
            updates.as_ptr().expose_provenance(),
            updates.len(),
            0,
            DOMID_SELF.into(),
        )
    })
}

/// `HYPERVISOR_update_va_mapping`: changes the entry that maps `va`, and flushes it.
///
/// # Safety
/// As for [`mmu_update_batch`].
pub(super) unsafe fn update_va_mapping(va: usize, entry: u64) -> Result<(), Refused> {
    const UVMF_INVLPG: usize = 2;
    #[allow(clippy::cast_possible_truncation, reason = "64 bits both")]
    // SAFETY: Xen checks the entry; the rest is the caller's promise.
    check(unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_update_va_mapping }>(va, entry as usize, UVMF_INVLPG, 0)
    })
}

/// `MMUEXT_TLB_FLUSH_LOCAL`.
pub(super) fn flush_tlb() {
    // `struct mmuext_op`: a command and two arguments that this one has no use for.
    let op: [u64; 3] = [xen_sys::MMUEXT_TLB_FLUSH_LOCAL.into(), 0, 0];
    // SAFETY: Xen reads one op of 24 bytes; forgetting translations changes nothing that a program can see.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_mmuext_op }>(
            op.as_ptr().expose_provenance(),
            1,
            0,
            DOMID_SELF.into(),
        )
    };
}

/// `EVTCHNOP_alloc_unbound`.
pub(super) fn alloc_unbound(remote_dom: u16) -> Result<u32, Refused> {
    let mut op = evtchn_alloc_unbound {
        dom: DOMID_SELF,
        remote_dom,
        port: 0,
    };
    let ptr = (&raw mut op).expose_provenance();
    // SAFETY: Xen reads and writes `op`.
    check(unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_event_channel_op }>(
            xen_sys::EVTCHNOP_alloc_unbound as usize,
            core::hint::black_box(ptr),
            0,
            0,
        )
    })?;
    Ok(op.port)
}

/// `EVTCHNOP_send`.
pub(super) fn send(port: u32) {
    let op = evtchn_send { port };
    // A port that is closed meanwhile has nobody who waits for the event.
    // SAFETY: Xen reads `op`.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_event_channel_op }>(
            xen_sys::EVTCHNOP_send as usize,
            (&raw const op).expose_provenance(),
            0,
            0,
        )
    };
}

/// `EVTCHNOP_close`.
pub(super) fn close(port: u32) {
    let op = evtchn_close { port };
    // SAFETY: Xen reads `op`.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_event_channel_op }>(
            xen_sys::EVTCHNOP_close as usize,
            (&raw const op).expose_provenance(),
            0,
            0,
        )
    };
}

/// `SCHEDOP_poll`: sleeps until one of `ports` has a pending event or Xen's system time reaches `deadline_ns` (0: no
/// deadline).
pub(super) fn poll(ports: &[u32], deadline_ns: u64) {
    let count = u32::try_from(ports.len()).unwrap_or(0);
    let op = sched_poll {
        ports: ports.as_ptr().cast_mut(),
        nr_ports: count,
        timeout: deadline_ns,
    };
    // SAFETY: Xen reads `op` and the ports.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_sched_op }>(
            xen_sys::SCHEDOP_poll as usize,
            (&raw const op).expose_provenance(),
            0,
            0,
        )
    };
}

/// `SCHEDOP_shutdown`: the domain ends.
pub(super) fn shutdown(reason: u32) -> ! {
    let op = sched_shutdown { reason };
    loop {
        // SAFETY: Xen reads `op`; nothing runs afterwards.
        let _ = unsafe {
            hypercall::<{ xen_sys::__HYPERVISOR_sched_op }>(
                xen_sys::SCHEDOP_shutdown as usize,
                (&raw const op).expose_provenance(),
                0,
                0,
            )
        };
    }
}

/// `SCHEDOP_watchdog`: the domain ends if this is not said again within `timeout` seconds. `id` is 0 for a new watchdog, whose
/// number is returned.
pub(super) fn watchdog(id: u32, timeout: u32) -> Option<u32> {
    let op = sched_watchdog { id, timeout };
    // SAFETY: Xen reads `op`.
    let result = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_sched_op }>(
            xen_sys::SCHEDOP_watchdog as usize,
            (&raw const op).expose_provenance(),
            0,
            0,
        )
    };
    u32::try_from(result).ok()
}

/// `SCHEDOP_shutdown` with `SHUTDOWN_suspend`: the domain is saved, with the page of `start_info` by its frame. True when it goes
/// on in its place, false when it was restored as another.
///
/// # Safety
/// Everything that a new domain does not have must be given up before, and taken anew when this is false; `start_info` changes.
pub(super) unsafe fn suspend(start_info: crate::addr::Mfn) -> bool {
    let op = sched_shutdown {
        reason: xen_sys::SHUTDOWN_suspend,
    };
    #[allow(clippy::cast_possible_truncation, reason = "64 bits both")]
    // SAFETY: Xen reads `op`; the rest is the caller's promise.
    let result = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_sched_op }>(
            xen_sys::SCHEDOP_shutdown as usize,
            (&raw const op).expose_provenance(),
            start_info.0 as usize,
            0,
        )
    };
    result != 0
}

/// `VCPUOP_stop_periodic_timer`: a PV guest starts with a tick of 10 ms that nobody here listens to.
pub(super) fn stop_periodic_timer() {
    const VCPUOP_STOP_PERIODIC_TIMER: usize = 7;
    // SAFETY: no memory is involved.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_vcpu_op }>(VCPUOP_STOP_PERIODIC_TIMER, 0, 0, 0)
    };
}

/// `CONSOLEIO_write`: a line for Xen's own log, which keeps it only if Xen was built to. For what goes wrong before
/// there is a console.
pub(super) fn console_io(text: &[u8]) {
    // SAFETY: Xen reads `text`.
    let _ = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_console_io }>(
            0,
            text.len(),
            text.as_ptr().expose_provenance(),
            0,
        )
    };
}

/// `HYPERVISOR_memory_op` on single pages: gives frames to Xen or asks for some. Returns with how many of `frames`, from the first on, it
/// was done.
///
/// # Safety
/// `command` must be one of `abi::memory`; what is given must be nobody's.
pub(super) unsafe fn memory_op(command: u32, frames: &mut [u64]) -> usize {
    let mut op = Reservation {
        extent_start: frames.as_mut_ptr(),
        nr_extents: frames.len() as u64,
        extent_order: 0,
        mem_flags: 0,
        domid: DOMID_SELF,
    };
    // SAFETY: Xen reads `op`, and reads and writes `frames`; the rest is the caller's promise.
    let result = unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_memory_op }>(
            command as usize,
            (&raw mut op).expose_provenance(),
            0,
            0,
        )
    };
    usize::try_from(result).unwrap_or(0).min(frames.len())
}

/// `HYPERVISOR_grant_table_op`.
///
/// # Safety
/// `op` must be the structure that `command` takes, valid for Xen to read and write.
pub(super) unsafe fn grant_table_op<T>(command: u32, op: &mut T) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    check(unsafe {
        hypercall::<{ xen_sys::__HYPERVISOR_grant_table_op }>(
            command as usize,
            core::ptr::from_mut(op).expose_provenance(),
            1,
            0,
        )
    })
}

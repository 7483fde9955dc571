//! Ways to crash on purpose, so that a test sees what a crash looks like.

/// Reads address zero, which nothing maps: a page fault with a report. For tests of the report.
///
/// On the host's targets this is a panic instead: the process belongs to the test.
#[inline(never)]
pub fn read_null() -> u8 {
    #[cfg(xenlet = "xen")]
    {
        let null = core::hint::black_box(core::ptr::null::<u8>());
        // SAFETY: deliberately not safe in the usual sense: page zero is never mapped, so this instruction faults
        // and the trap handler ends the domain. Volatile, so that it is not optimised away.
        unsafe { null.read_volatile() }
    }
    #[cfg(not(xenlet = "xen"))]
    panic!("read of address zero, asked for by the command line")
}

//! What memory a domain has (`xen/memory.h`).

/// Gives frames back to Xen; they are named by machine frame numbers.
pub const OP_DECREASE_RESERVATION: u32 = 1;
/// Asks Xen for frames; named are the domain's own numbers of the pages, in whose place Xen writes the machine's.
pub const OP_POPULATE_PHYSMAP: u32 = 6;

/// What the list of frames has for a page that is not there (`INVALID_P2M_ENTRY`).
pub const NO_FRAME: u64 = u64::MAX;

/// `struct xen_memory_reservation`.
#[repr(C)]
#[derive(Debug)]
pub struct Reservation {
    /// IN/OUT: the frames, by number.
    pub extent_start: *mut u64,
    /// IN: how many.
    pub nr_extents: u64,
    /// IN: 0 for single pages.
    pub extent_order: u32,
    /// IN: no wishes about where they are.
    pub mem_flags: u32,
    /// IN: `DOMID_SELF`.
    pub domid: u16,
}

super::layout!(Reservation, 32, {
    extent_start: 0, nr_extents: 8, extent_order: 16, mem_flags: 20, domid: 24,
});

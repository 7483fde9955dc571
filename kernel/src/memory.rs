//! How the domain's memory is used.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// A picture of the domain's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All that the domain has.
    pub total: usize,
    /// Taken by what Xen puts there at boot: the image, the frame list, page tables, the shared pages.
    pub boot: usize,
    /// Allocated from the heap now.
    pub used: usize,
    /// Neither: in the heap and free, or not mapped yet.
    pub free: usize,
    /// The image's code.
    pub text: usize,
    /// The image's constants.
    pub rodata: usize,
    /// The image's variables, stack included.
    pub data: usize,
}

/// The domain's memory now; `None` where it is a process and the host's allocator does not say.
pub fn stats() -> Option<Stats> {
    crate::platform::memory_stats()
}

/// Free memory beyond which nobody need ask whether it is in pieces, in bytes.
const PLENTY: usize = 4 << 20;

/// Whether `len` bytes in one piece could be allocated now. To be asked, in time, by whoever makes what others ask for: an
/// allocation that fails in the middle of things is the end of the guest.
pub fn has_room(len: usize) -> bool {
    match stats() {
        Some(stats) if stats.free < len => false,
        Some(stats) if stats.free < PLENTY => Vec::<u8>::new().try_reserve_exact(len).is_ok(),
        _ => true,
    }
}

/// `len` zeros.
///
/// # Errors
/// When there is no memory for them.
pub fn zeroed(len: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len)?;
    // At once: what `resize` does is a loop over bytes where code is compiled to be small.
    let place: *mut u8 = bytes.as_mut_ptr();
    // SAFETY: the vector has room for `len` bytes, which nobody else can reach.
    unsafe { place.write_bytes(0, len) };
    // SAFETY: there is room, and they are initialised.
    unsafe { bytes.set_len(len) };
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn zeros_as_many_as_there_can_be() {
        assert_eq!(super::zeroed(70).unwrap(), [0; 70]);
        assert!(super::zeroed(0).unwrap().is_empty());
        assert!(super::zeroed(usize::MAX).is_err());
    }
}

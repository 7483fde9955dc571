//! How the domain's memory is used.

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

//! What the domain holds of what Xen and its toolstack have a limited number of. Devices that come and go leave it as it was.

/// How many there are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Entries of the grant table in use.
    pub grants: usize,
    /// Event channels, those of the console and xenstore among them.
    pub channels: usize,
    /// Watches in xenstore.
    pub watches: usize,
    /// Pages that were given up because a backend would not let go of them.
    pub kept_pages: usize,
}

/// What the domain holds at this moment; `None` where there is no Xen.
pub fn held() -> Option<Held> {
    #[cfg(xenlet = "unix")]
    return None;
    #[cfg(not(xenlet = "unix"))]
    Some(Held {
        grants: crate::grant::usage().0,
        channels: crate::event::count(),
        watches: crate::xenstore::watches(),
        kept_pages: crate::page::leaked(),
    })
}

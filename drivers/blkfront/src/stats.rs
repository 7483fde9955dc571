//! What happened on a disk, in numbers.

/// Counts since a disk was connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that callers asked for.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Writes that callers asked for.
    pub writes: u64,
    /// Their bytes.
    pub write_bytes: u64,
    /// Flushes that callers asked for.
    pub flushes: u64,
    /// Discards that callers asked for.
    pub discards: u64,
    /// Requests on the ring: fewer than callers asked for when some were merged, more when some were split.
    pub requests: u64,
    /// Those of them that were indirect.
    pub indirect: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Times that there was no page or no grant for a request at once.
    pub short: u64,
    /// Requests that are on the ring now, and slots for them.
    pub in_flight: (u32, u32),
    /// Events sent.
    pub notified: u64,
    /// Events received.
    pub events: u64,
}

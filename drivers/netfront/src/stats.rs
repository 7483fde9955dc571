//! What happened on an interface, in numbers.

/// Counts since an interface was connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that the backend says it could not copy to us.
    pub rx_refused: u64,
    /// Frames dropped because they are shorter than an Ethernet header.
    pub rx_too_short: u64,
    /// Frames dropped because they are longer than any frame.
    pub rx_too_long: u64,
    /// Frames dropped because of an extra that means nothing to us.
    pub rx_unknown_extra: u64,
    /// Frames dropped because there was no memory to join their slots in.
    pub rx_no_memory: u64,
    /// Pages to receive in.
    pub rx_pages: u32,
    /// Frames given to the backend.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Slots that the backend says it dropped.
    pub tx_refused: u64,
    /// Events sent.
    pub notified: u64,
    /// Events received while somebody waited.
    pub events: u64,
}

/// How full the rings of a connected interface are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Requests to send that the backend has not answered, and slots for them.
    pub tx: (u32, u32),
    /// Pages that frames to be sent are written to: those with the backend, and all.
    pub tx_pages: (usize, usize),
    /// Pages to receive in that the backend has or has filled, and slots for them.
    pub rx: (u32, u32),
}

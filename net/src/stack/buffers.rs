//! How large a connection's buffers are: by the memory that is free when it begins, so that the few of a guest that has
//! little to do are fast, and ten thousand have a place.

use crate::{Error, words};
use xenlet_kernel::memory;

/// Bytes of a connection's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) rx: usize,
    pub(crate) tx: usize,
}

/// The least that a buffer has, and the most: what the window of a connection whose peer is not far can use. Two of the
/// largest frames to send, so that one can be filled while the other is acknowledged.
const SMALLEST: usize = 1024;
const LARGEST_RX: usize = 64 * 1024;
const LARGEST_TX: usize = 128 * 1024;

/// What a connection costs beside its buffers, here and in what an application as `http` keeps for it, in bytes.
const OTHERWISE: usize = 3584;

/// Connections that there is room for in any case, where memory allows: their share is not given away as buffers.
const MANY: usize = 10_500;

/// Bytes that connections leave for everything else.
const RESERVE: usize = 256 * 1024;

/// What decides.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// What the command line says.
    rx: Option<usize>,
    tx: Option<usize>,
    /// How many connections there is room for.
    room: usize,
}

impl Buffers {
    /// As the command line and the memory that is free now have it.
    ///
    /// # Errors
    /// [`Error::Word`] when the command line's sizes are none.
    pub(crate) fn new() -> Result<Self, Error> {
        let (rx, tx) = words::sizes()?;
        let each = rx.unwrap_or(SMALLEST) + tx.unwrap_or(SMALLEST) + OTHERWISE;
        let free = memory::stats().map_or(usize::MAX, |stats| stats.free.saturating_sub(RESERVE));
        // A sixteenth is for connections that come early, which get more than the least.
        let room = (free / 16 * 15 / each).min(MANY);
        Ok(Self { rx, tx, room })
    }

    /// How many connections there is room for.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// What one more gets where there are `open` already, and `spare` bytes are kept that can be had; `None` if memory is
    /// short.
    pub(crate) fn next(&self, open: usize, spare: usize) -> Option<Sizes> {
        let free = match memory::stats() {
            Some(stats) => (stats.free + spare).checked_sub(RESERVE)?,
            None => usize::MAX,
        };
        let kept = self.room.saturating_sub(open) * (2 * SMALLEST + OTHERWISE);
        let share = free.saturating_sub(kept) / 32;
        let size = 1 << share.clamp(SMALLEST, LARGEST_TX).ilog2();
        let sizes = Sizes {
            rx: self.rx.unwrap_or(size.min(LARGEST_RX)),
            tx: self.tx.unwrap_or(size),
        };
        memory::has_room(sizes.rx.saturating_add(sizes.tx) + RESERVE).then_some(sizes)
    }
}

//! How large a connection's buffers are: by the memory that is free when it begins, so that the few of a guest that has
//! little to do are fast, and ten thousand have a place.

use crate::{Error, words};
use alloc::rc::Rc;
use core::cell::Cell;
use xenlet_kernel::memory;

/// Bytes of a connection's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) rx: usize,
    pub(crate) tx: usize,
}

impl Sizes {
    /// Whether they are as large as `least`, or larger.
    pub(crate) fn hold(self, least: Self) -> bool {
        self.rx >= least.rx && self.tx >= least.tx
    }

    /// These, but with room to receive `rx` bytes.
    pub(crate) fn or_more(self, rx: usize) -> Self {
        Self {
            rx: self.rx.max(rx),
            ..self
        }
    }

    /// Bytes of both.
    pub(crate) fn bytes(self) -> usize {
        self.rx.saturating_add(self.tx)
    }
}

/// The least that a buffer has, and the most: what the window of a connection whose peer is not far can use. Two of the
/// largest frames to send, so that one can be filled while the other is acknowledged.
const SMALLEST: usize = 1024;
const LARGEST: usize = 128 * 1024;

/// What is enough to be fast with what is small: a page is sent in one go. Before a connection has less, one that has
/// nothing to do gives up what it has.
const ENOUGH: usize = 16 * 1024;

/// What a connection costs beside its buffers, here and in what an application as `http` keeps for it, in bytes.
const OTHERWISE: usize = 3584;

/// Connections that a backlog may count on, whatever the memory.
const MANY: usize = 20_000;

/// The part of the memory free at first that buffers may take beyond the smallest: a twelfth. The rest is for applications,
/// and for the connections of a guest that has very many.
const PART: usize = 12;

/// What one connection may take of what is left of that: a sixteenth of the first half, so that the few of most guests get
/// much, and a sixty-fourth of the rest, so that many get what a page needs.
const SHARE: usize = 16;
const LATER_SHARE: usize = 64;

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
    /// Bytes that all buffers together may have beyond the smallest.
    limit: usize,
    /// Bytes that they have.
    taken: Rc<Cell<usize>>,
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
        let limit = free / PART;
        Ok(Self {
            rx,
            tx,
            room: ((free - limit) / each).min(MANY),
            limit,
            taken: Rc::default(),
        })
    }

    /// How many connections there is room for.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Bytes that all buffers together have beyond the smallest, and that they may have.
    pub(crate) fn beyond(&self) -> (usize, usize) {
        (self.taken.get(), self.limit)
    }

    /// What one more gets where `spare` bytes of buffers are kept that can be had; `None` if memory is short.
    pub(crate) fn next(&self, spare: usize) -> Option<Sizes> {
        let free = match memory::stats() {
            Some(stats) => (stats.free + spare).checked_sub(RESERVE)?,
            None => usize::MAX,
        };
        let left = (self.limit + spare).saturating_sub(self.taken.get());
        let part = if left > self.limit / 2 {
            SHARE
        } else {
            LATER_SHARE
        };
        let share = left.min(free) / part;
        let size = 1 << share.clamp(SMALLEST, LARGEST).ilog2();
        let sizes = Sizes {
            rx: self.rx.unwrap_or(size),
            tx: self.tx.unwrap_or(size),
        };
        self.have_room(sizes).then_some(sizes)
    }

    /// Sizes that are enough to be fast, with room to receive `rx` bytes at least.
    pub(crate) fn enough(&self, rx: usize) -> Sizes {
        let sizes = Sizes {
            rx: self.rx.unwrap_or(ENOUGH),
            tx: self.tx.unwrap_or(ENOUGH),
        };
        sizes.or_more(rx)
    }

    /// Whether there is as much left.
    pub(crate) fn have_left(&self, sizes: Sizes) -> bool {
        sizes.bytes() <= self.limit.saturating_sub(self.taken.get()) && self.have_room(sizes)
    }

    /// Whether there is memory for as much, whatever the limit.
    pub(crate) fn have_room(&self, sizes: Sizes) -> bool {
        memory::has_room(sizes.bytes().saturating_add(RESERVE))
    }

    /// Counts buffers for as long as they are there.
    pub(crate) fn count(&self, sizes: Sizes) -> Counted {
        let beyond = sizes.bytes().saturating_sub(2 * SMALLEST);
        self.taken.update(|taken| taken.saturating_add(beyond));
        Counted {
            beyond,
            taken: Rc::clone(&self.taken),
        }
    }
}

/// Buffers that are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    beyond: usize,
    taken: Rc<Cell<usize>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.taken.update(|taken| taken.saturating_sub(self.beyond));
    }
}

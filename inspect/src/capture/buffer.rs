//! Frames on their way from an interface to who reads them.

use super::headers;
use super::pcapng::{self, Packet, Statistics};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use xenlet_kernel::run::Notify;
use xenlet_kernel::time::{self, Duration, Instant};
use xenlet_net::tap::{Tap, Way};

/// Bytes of one buffer: some frames of the longest kind.
const SIZE: usize = 128 * 1024;

/// What is kept, and of which frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Whether frames are kept whole.
    pub(super) payload: bool,
    /// How many frames are kept at most.
    pub(super) packets: u64,
    /// The guest's TCP port whose segments are left out.
    pub(super) without: u16,
}

/// A buffer that frames are put in.
pub(super) struct Buffer {
    choice: Choice,
    /// What was not taken yet.
    bytes: RefCell<Vec<u8>>,
    /// Frames that there were, those of them that were lost, and those that were lost since the last one that was not.
    seen: Cell<u64>,
    lost: Cell<u64>,
    lost_before: Cell<u64>,
    /// Told when there is something to take.
    pub(super) filled: Notify,
    /// The wall clock at the zero of the loop's, and when this began.
    epoch: Duration,
    began: Instant,
}

impl Buffer {
    /// One buffer to be filled; `None` without memory for it and for the one that is exchanged for it.
    pub(super) fn new(choice: Choice) -> Option<(Self, Vec<u8>)> {
        let began = time::round();
        let wall = time::wall().unwrap_or_default();
        let buffer = Self {
            choice,
            bytes: RefCell::new(room()?),
            seen: Cell::new(0),
            lost: Cell::new(0),
            lost_before: Cell::new(0),
            filled: Notify::new(),
            epoch: wall.saturating_sub(began.since(Instant::default())),
            began,
        };
        Some((buffer, room()?))
    }

    /// Exchanges what there is for an empty buffer.
    pub(super) fn exchange(&self, other: &mut Vec<u8>) {
        other.clear();
        core::mem::swap(&mut *self.bytes.borrow_mut(), other);
    }

    /// Whether there will be no more.
    pub(super) fn is_done(&self) -> bool {
        self.seen.get() - self.lost.get() >= self.choice.packets
    }

    /// How many frames there were so far.
    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            from: self.wall(self.began),
            until: self.wall(time::round()),
            seen: self.seen.get(),
            lost: self.lost.get(),
        }
    }

    fn wall(&self, at: Instant) -> Duration {
        self.epoch + at.since(Instant::default())
    }
}

impl Tap for Buffer {
    fn frame(&self, way: Way, frame: &[u8]) {
        let headers = headers::look(way, frame);
        if headers.tcp_port == Some(self.choice.without) || self.is_done() {
            return;
        }
        let len = if self.choice.payload {
            frame.len()
        } else {
            headers.len
        };
        let packet = Packet {
            at: self.wall(time::round()),
            way,
            bytes: &frame[..len],
            len: frame.len(),
            lost: self.lost_before.get(),
        };
        self.seen.update(|seen| seen + 1);
        if pcapng::packet(&mut self.bytes.borrow_mut(), &packet) {
            self.lost_before.set(0);
        } else {
            self.lost.update(|lost| lost + 1);
            self.lost_before.update(|lost| lost + 1);
        }
        self.filled.notify();
    }
}

fn room() -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(SIZE).ok()?;
    Some(bytes)
}

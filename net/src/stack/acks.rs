//! Acknowledgements that can wait until the end of a turn: what most of them say, the next segment of their connection
//! says again, and that is often in the same turn. A peer that takes a reply acknowledges it at once, and then asks for
//! the next thing.
//!
//! Leaving one out is what a network does that loses it: they are cumulative (RFC 9293 §3.4). One that nothing follows
//! is delivered at the end of the turn, and one that is a duplicate, which may tell of a loss, is never left out for another.

use super::Id;
use super::packet::{Segment, is_after};
use alloc::vec::Vec;

/// The longest frame that is kept: a bare acknowledgement, with the padding of the shortest frames.
const LONGEST: usize = 60;

/// An acknowledgement that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) id: Id,
    pub(crate) segment: Segment,
    frame: [u8; LONGEST],
    len: usize,
}

impl Held {
    /// Its frame.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame[..self.len]
    }

    /// Whether `later`, a segment of the same connection, says what this one says and more.
    pub(crate) fn is_said_again_by(&self, later: &Segment) -> bool {
        let goes_on = later.ack && !later.rst && !later.syn;
        goes_on
            && (is_after(later.ack_seq, self.segment.ack_seq)
                || later.ack_seq == self.segment.ack_seq && (later.len > 0 || later.fin))
    }
}

/// Those of a turn.
#[derive(Debug, Default)]
pub(crate) struct Acks(Vec<Option<Held>>);

impl Acks {
    /// Keeps a segment without anything but an acknowledgement, in room that was made before; returns its place.
    pub(crate) fn hold(&mut self, id: Id, frame: &[u8], segment: &Segment) -> Option<u16> {
        let place = u16::try_from(self.0.len()).ok()?;
        if !segment.bare || frame.len() > LONGEST || self.0.len() == self.0.capacity() {
            return None;
        }
        let mut held = Held {
            id,
            segment: *segment,
            frame: [0; LONGEST],
            len: frame.len(),
        };
        held.frame[..frame.len()].copy_from_slice(frame);
        self.0.push(Some(held));
        Some(place)
    }

    /// Takes out the one at `place`.
    pub(crate) fn take(&mut self, place: u16) -> Option<Held> {
        self.0.get_mut(usize::from(place))?.take()
    }

    /// Makes room for `count`, where there is memory for it, and forgets those there were.
    pub(crate) fn begin(&mut self, count: usize) {
        self.0.clear();
        // Without room none is held, which is slower.
        let _ = self.0.try_reserve(count);
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }
}

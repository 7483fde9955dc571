//! What is behind a netback: somewhere that frames go to and come from.

use crate::{Checksum, Gso};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use xenlet_kernel::time::Instant;

/// An Ethernet frame outside of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes, without the frame check sequence.
    pub bytes: Vec<u8>,
    /// What is known of its TCP or UDP checksum.
    pub checksum: Checksum,
    /// How it is to be cut, if it is a large TCP segment.
    pub gso: Option<Gso>,
}

impl From<Vec<u8>> for Frame {
    /// A frame as a network card would have it.
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }
}

/// Somewhere that frames go to and come from.
pub trait Wire {
    /// Takes a frame of the guest's.
    fn send(&mut self, frame: Frame);

    /// Gives a frame for the guest, if there is one.
    fn recv(&mut self) -> Option<Frame>;

    /// When [`recv`](Self::recv) may have one although nothing was sent.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

type Queue = Rc<RefCell<VecDeque<Frame>>>;

/// One end of a wire within this process.
#[derive(Debug)]
pub struct Pair {
    out: Queue,
    into: Queue,
}

/// A wire within this process: what is sent at one end is received at the other.
pub fn pair() -> (Pair, Pair) {
    let (one, two) = (Queue::default(), Queue::default());
    (
        Pair {
            out: Rc::clone(&one),
            into: Rc::clone(&two),
        },
        Pair {
            out: two,
            into: one,
        },
    )
}

impl Pair {
    /// How many frames wait to be received here.
    pub fn waiting(&self) -> usize {
        self.into.borrow().len()
    }
}

impl Wire for Pair {
    fn send(&mut self, frame: Frame) {
        self.out.borrow_mut().push_back(frame);
    }

    fn recv(&mut self) -> Option<Frame> {
        self.into.borrow_mut().pop_front()
    }
}

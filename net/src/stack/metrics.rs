//! What one interface's stack has to tell those who look into the guest.

use super::Stack;
use super::connection::{Connection, Phase};
use alloc::vec::Vec;
use smoltcp::socket::tcp::State;

/// An interface's numbers at one moment.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// Connections by [`STATES`].
    pub(crate) states: [usize; STATES.len()],
    /// Bytes of the buffers of connections.
    pub(crate) buffer_bytes: usize,
    /// Remains of connections, and how many there can be.
    pub(crate) time_wait: [usize; 2],
    /// By port: bytes in UDP queues, received and to be sent, and how many may be in each.
    pub(crate) udp: Vec<(u16, [usize; 2], usize)>,
}

/// What connections are doing.
pub(crate) const STATES: [&str; 6] = [
    "half_open",
    "waiting",
    "connecting",
    "established",
    "closing",
    "resting",
];

fn state(connection: &Connection) -> usize {
    match connection.phase {
        Phase::HalfOpen(_) => 0,
        Phase::Waiting(_) => 1,
        Phase::Held if connection.socket().state() == State::SynSent => 2,
        Phase::Held => 3,
        Phase::Orphan { .. } => 4,
    }
}

impl Stack {
    /// Its numbers now. The work grows with the number of connections.
    pub(crate) fn picture(&self) -> Picture {
        let inner = self.inner.borrow();
        let mut picture = Picture {
            time_wait: [inner.waits.len(), inner.waits.limit()],
            udp: inner.udp_queues().collect(),
            ..Picture::default()
        };
        for connection in inner.table.awake() {
            picture.states[state(connection)] += 1;
            picture.buffer_bytes += connection.sizes().bytes();
        }
        picture.states[5] = inner.table.resting();
        picture
    }
}

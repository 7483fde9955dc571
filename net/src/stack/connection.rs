//! One TCP connection: smoltcp's socket for it, in a set of its own, and what the stack knows beside it.

use super::backlog::Backlog;
use super::buffers::{Buffers, Counted, Sizes};
use super::packet::{self, Flow, Options, Segment, is_after};
use super::rest::Resting;
use super::timewait::Remains;
use crate::Error;
use alloc::collections::TryReserveError;
use alloc::rc::Rc;
use alloc::vec::Vec;
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use xenlet_kernel::memory;

/// How long a peer that has not taken what we sent may be silent before the connection is given up. TCP itself never
/// gives up; Linux takes 15 minutes by default, which is long for a small guest's memory.
pub(crate) const DEAD_PEER: Duration = Duration::from_secs(120);

/// No connection is asked after in this time by an application.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// How long a connection may take to be made, from either side.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(20);

/// How long a connection that the application has dropped waits for the peer to take something of the `left` bytes, or, if
/// there are none, to end its half too.
pub(crate) const fn patience(left: usize) -> Duration {
    if left > 0 {
        DEAD_PEER
    } else {
        Duration::from_secs(60)
    }
}

/// Whose a connection is.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The application's: it waits for the handshake that it began, or has the stream.
    Held,
    /// Nobody's yet: the peer's SYN is answered.
    HalfOpen(Rc<Backlog>),
    /// Nobody's yet: waits to be accepted.
    Waiting(Rc<Backlog>),
    /// Nobody's any more: sends what is left.
    Orphan {
        /// Until then at the latest.
        until: Instant,
        /// Bytes that the peer had not taken at the last look.
        left: usize,
    },
}

/// What there is to know of a connection that rests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    /// The sequence number behind the last byte that was sent.
    pub(crate) next: u32,
    /// The sequence number behind the last byte that arrived.
    pub(crate) ack: u32,
    /// The window that the peer told last, as it told it.
    pub(crate) window: u16,
    /// What the peer's SYN said.
    pub(crate) peer: Options,
    /// By how many bits the windows that we tell are shifted.
    pub(crate) shift: u8,
    /// How many bytes the peer may have been told that it may send.
    pub(crate) room: usize,
    /// Whether something was lost.
    pub(crate) lossy: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) flow: Flow,
    pub(crate) phase: Phase,
    /// Why it ended before its time.
    pub(crate) ended: Option<Error>,
    /// What the application asked for.
    pub(crate) timeout: Option<Duration>,
    seat: Seat,
    /// The sequence number up to which the receive buffer has room, once the peer's is known. smoltcp forgets for the
    /// moment of the handshake that a SYN's window is not scaled, and would take more than fits.
    edge: Option<u32>,
    /// Whether a window was told by another segment than a SYN: from then on smoltcp knows what fits, and answers what
    /// does not (a probe of a closed window).
    told: bool,
    /// The highest sequence number that was sent, and the latest acknowledgement.
    sent: Option<(u32, u32)>,
    numbers: Numbers,
    /// Whether it had something to do since it was last looked at for a socket that another could have.
    pub(crate) used: bool,
    /// Where its acknowledgement is that waits for the end of this turn.
    pub(crate) held: Option<u16>,
    /// Whether what it said last may be lost with the vif that it was said to.
    unheard: bool,
    /// The window that was told last, as it was told.
    window: u16,
}

impl Connection {
    /// A connection that has not begun.
    pub(crate) fn new(flow: Flow, phase: Phase, mut seat: Seat) -> Self {
        let socket = seat.socket_mut();
        // What an application writes in one turn is sent together anyway (`egress`), and then at once.
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(HANDSHAKE));
        socket.set_keep_alive(None);
        // Until something is lost, what is in flight is bounded by the send buffer (see `note_sent`).
        socket.set_congestion_control(CongestionControl::None);
        Self {
            flow,
            phase,
            ended: None,
            timeout: None,
            seat,
            edge: None,
            told: false,
            sent: None,
            numbers: Numbers::default(),
            used: true,
            held: None,
            unheard: false,
            window: 0,
        }
    }

    /// What it said last may be lost, and what is said only once, that there is room again, nobody else says. So it asks whether the peer
    /// is there, as it would to keep itself alive (RFC 9293 §3.8.4), and says that again to the answer.
    pub(crate) fn say_again(&mut self) {
        if self.told && self.socket().state() == State::Established {
            self.unheard = true;
            if self.socket().keep_alive().is_none() {
                self.socket_mut().set_keep_alive(Some(NEVER));
            }
        }
    }

    /// Notes that it sent something, which asks as well.
    pub(crate) fn asked(&mut self) {
        if self.unheard && self.socket().keep_alive() == Some(NEVER) {
            self.socket_mut().set_keep_alive(None);
        }
    }

    /// What it said last, to say it again, if the peer may not have heard it; once.
    pub(super) fn take_unheard(&mut self) -> Option<(Remains, u16)> {
        let window = self.window;
        core::mem::take(&mut self.unheard)
            .then(|| Some((self.remains()?, window)))
            .flatten()
    }

    /// The numbers that it said last.
    pub(super) fn remains(&self) -> Option<Remains> {
        let (seq, ack) = self.last_said()?;
        let flow = self.flow;
        Some(Remains { flow, seq, ack })
    }

    /// Ends it, and leaves its socket to another.
    pub(crate) fn into_seat(mut self) -> Seat {
        // Nobody waits for it and nothing of it will be sent: smoltcp forgets the rest when it is used again.
        self.socket_mut().abort();
        self.seat
    }

    pub(crate) fn socket(&self) -> &Socket<'static> {
        self.seat.socket()
    }

    /// The sizes of its buffers.
    pub(crate) fn sizes(&self) -> Sizes {
        self.seat.sizes()
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.seat.socket_mut()
    }

    /// Its socket alone, as smoltcp wants it.
    pub(crate) fn set_mut(&mut self) -> &mut SocketSet<'static> {
        &mut self.seat.set
    }

    /// Whether all is said and done: nothing is under way or waits to be sent, acknowledged or read, and no timer runs.
    pub(crate) fn can_rest(&self) -> bool {
        let (socket, numbers) = (self.socket(), &self.numbers);
        matches!(self.phase, Phase::Held)
            && self.ended.is_none()
            && self.timeout.is_none()
            && self.held.is_none()
            && socket.state() == State::Established
            && socket.send_queue() + socket.recv_queue() == 0
            && socket.keep_alive().is_none()
            && !socket.nagle_enabled()
            && numbers.window > 0
            && self.sent.is_some_and(|(_, ack)| ack == numbers.ack)
    }

    /// Ends it here, and keeps what it takes to go on.
    pub(crate) fn into_rest(self) -> (Resting, Seat) {
        let lossy = self.socket().congestion_control() != CongestionControl::None;
        let numbers = Numbers {
            lossy,
            ..self.numbers
        };
        (Resting::new(self.flow, numbers), self.into_seat())
    }

    /// Goes on from there.
    pub(crate) fn resume(&mut self, numbers: Numbers) {
        self.numbers = numbers;
        // For the peer, windows are still shifted as they were.
        let told = (self.socket().recv_capacity() >> self.shift()) << numbers.shift;
        self.numbers.room = numbers.room.max(told);
        self.sent = Some((numbers.next, numbers.ack));
        self.told = true;
        if numbers.lossy {
            self.socket_mut()
                .set_congestion_control(CongestionControl::Reno);
        }
    }

    /// Whether a received segment fits in the receive buffer. The first one, a SYN, says where that begins.
    pub(crate) fn fits(&mut self, segment: &Segment, frame: &[u8]) -> bool {
        if segment.syn && self.edge.is_none() {
            let capacity = u32::try_from(self.socket().recv_capacity()).unwrap_or(u32::MAX);
            let first = segment.seq.wrapping_add(1);
            self.edge = Some(first.wrapping_add(capacity));
            self.numbers.ack = first;
            self.numbers.peer = packet::options(frame);
            self.numbers.shift = self.shift();
            self.numbers.room = self.socket().recv_capacity();
            return true;
        }
        self.told || self.edge.is_none_or(|edge| !is_after(segment.end(), edge))
    }

    /// Notes a segment that arrives.
    pub(crate) fn note_received(&mut self, segment: &Segment) {
        self.used = true;
        if segment.syn || segment.rst {
            return;
        }
        self.numbers.window = segment.window;
        if is_after(segment.end(), self.numbers.ack) {
            self.numbers.ack = segment.end();
        }
    }

    /// By how many bits smoltcp shifts the windows that it tells (RFC 7323).
    fn shift(&self) -> u8 {
        let bits = usize::BITS - self.socket().recv_capacity().leading_zeros();
        match self.numbers.peer.scale {
            Some(_) => u8::try_from(bits.saturating_sub(16)).unwrap_or(0),
            None => 0,
        }
    }

    /// Whether a segment says what is known: that all was acknowledged but our FIN. smoltcp takes three of them for a loss,
    /// and then finds no data to send again and no timer that would send the FIN.
    pub(crate) fn is_known(&self, segment: &Segment) -> bool {
        let is_empty = segment.len == 0 && !(segment.syn || segment.rst || segment.fin);
        is_empty
            && self.socket().send_queue() == 0
            && matches!(
                self.socket().state(),
                State::FinWait1 | State::Closing | State::LastAck
            )
            && self
                .sent
                .is_some_and(|(highest, _)| is_after(highest, segment.ack_seq))
    }

    /// The application has taken `count` bytes: there is room for as many more.
    pub(crate) fn taken(&mut self, count: usize) {
        if let Some(edge) = &mut self.edge {
            *edge = edge.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Notes a segment that was sent. Returns whether it was sent before.
    ///
    /// The first segment that has to be sent again turns congestion control on. smoltcp's controllers begin with two
    /// kilobytes in flight, a fifth of what RFC 6928 allows, which would cost most web pages a round trip or two; a
    /// connection on which nothing is lost has no use for one.
    pub(crate) fn note_sent(&mut self, segment: &Segment) -> bool {
        self.told |= !segment.syn;
        self.window = segment.window;
        let numbered = u32::from(segment.syn) + u32::from(segment.fin);
        let (highest, _) = self.sent.unwrap_or((segment.seq, 0));
        // A single byte may be a keep-alive or a probe of a closed window, which are sent again without a loss.
        let counts = segment.len > 1 || numbered > 0;
        let again = counts && is_after(highest, segment.seq);
        let end = segment.end().wrapping_add(numbered);
        if self.sent.is_none() || is_after(end, self.numbers.next) {
            self.numbers.next = end;
        }
        self.sent = Some((
            if counts && is_after(end, highest) {
                end
            } else {
                highest
            },
            segment.ack_seq,
        ));
        if again && self.socket().congestion_control() == CongestionControl::None {
            self.socket_mut()
                .set_congestion_control(CongestionControl::Reno);
        }
        again
    }

    /// The highest sequence number that was sent, and the latest acknowledgement.
    pub(crate) fn last_said(&self) -> Option<(u32, u32)> {
        self.sent
    }

    /// Sets smoltcp's timer by what the connection is waiting for.
    pub(crate) fn set_timer(&mut self) {
        let (timeout, phase_is_early) = (self.timeout, matches!(self.phase, Phase::HalfOpen(_)));
        let socket = self.socket_mut();
        let timer = match socket.state() {
            State::SynSent | State::SynReceived => Some(HANDSHAKE),
            _ if phase_is_early => Some(HANDSHAKE),
            _ if timeout.is_some() => timeout,
            _ if socket.send_queue() > 0 => Some(DEAD_PEER),
            // Four questions without an answer.
            _ => socket.keep_alive().map(|interval| interval * 4),
        };
        if socket.timeout() != timer {
            socket.set_timeout(timer);
        }
    }
}

/// A socket with its buffers, in a set of its own. Making one anew is a good part of what a short connection costs: that of a
/// connection that ends is another's.
#[derive(Debug)]
pub(crate) struct Seat {
    set: SocketSet<'static>,
    handle: SocketHandle,
    _counted: Counted,
}

impl Seat {
    /// One with buffers of these sizes.
    ///
    /// # Errors
    /// When there is no memory for it: nothing of it is left then.
    pub(crate) fn new(sizes: Sizes, buffers: &Buffers) -> Result<Self, TryReserveError> {
        let socket = Socket::new(buffer(sizes.rx)?, buffer(sizes.tx)?);
        let mut storage = Vec::new();
        storage.try_reserve_exact(1)?;
        storage.push(SocketStorage::EMPTY);
        let mut set = SocketSet::new(storage);
        let handle = set.add(socket);
        Ok(Self {
            set,
            handle,
            _counted: buffers.count(sizes),
        })
    }

    fn socket(&self) -> &Socket<'static> {
        self.set.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Bytes of its buffers.
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            rx: self.socket().recv_capacity(),
            tx: self.socket().send_capacity(),
        }
    }
}

fn buffer(len: usize) -> Result<SocketBuffer<'static>, TryReserveError> {
    Ok(SocketBuffer::new(memory::zeroed(len)?))
}

//! Connections at rest: what is kept of one that is idle while others want its buffers, and the way back.
//!
//! A connection on which everything is said and acknowledged is a few numbers. Its buffers are worth more to one that has
//! something to do, so that ten thousand idle ones leave a guest as fast as it is without them. When a segment arrives for
//! it, or the application has something to say, it gets a socket again, which is taken through the handshake that there was:
//! nothing of that is sent.

use super::connection::{Connection, Numbers, Phase, Seat};
use super::device::{Incoming, Outgoing};
use super::packet::{self, Flow};
use super::{Id, Inner, now};
use crate::Error;
use core::task::{Context, Poll, Waker};
use smoltcp::iface::{Config, Interface};
use smoltcp::socket::tcp::State;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr, TcpControl, TcpRepr, TcpSeqNumber,
};
use xenlet_kernel::trace::waits_for;

/// Both ends of a wire that does not exist.
const NOBODY: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

/// What is kept of a connection.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) flow: Flow,
    numbers: Numbers,
    /// Why it ended before its time, if it did.
    ended: Option<Error>,
    /// The task that waits for what arrives.
    reader: Option<Waker>,
}

impl Resting {
    pub(crate) fn new(flow: Flow, numbers: Numbers) -> Self {
        Self {
            flow,
            numbers,
            ended: None,
            reader: None,
        }
    }

    /// What the application hears that wants to read.
    pub(crate) fn poll_receive(&mut self, cx: &Context<'_>) -> Poll<Result<usize, Error>> {
        if let Some(why) = &self.ended {
            return Poll::Ready(Err(why.clone()));
        }
        self.reader = Some(cx.waker().clone());
        waits_for("the peer to send");
        Poll::Pending
    }

    /// It is over.
    pub(crate) fn end(&mut self, why: Error) {
        self.ended.get_or_insert(why);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The connection as it was, with a socket again.
    pub(crate) fn wake(self, seat: Seat) -> Connection {
        let (numbers, flow) = (self.numbers, self.flow);
        let mut connection = Connection::new(flow, Phase::Held, seat);
        // A port that is not zero, and a socket that is closed: this cannot fail.
        let _ = connection
            .socket_mut()
            .listen((flow.local, flow.local_port));
        let mut out = Outgoing::nowhere();
        let mut config = Config::new(HardwareAddress::Ethernet(NOBODY));
        config.random_seed = seed(numbers.next.wrapping_sub(1));
        let mut interface = Interface::new(config, &mut out, now());
        interface.update_ip_addrs(|addresses| {
            // There is room for one.
            let _ = addresses.push(IpCidr::Ipv4(Ipv4Cidr::new(flow.local, 32)));
        });
        let mut segment = TcpRepr {
            src_port: flow.remote_port,
            dst_port: flow.local_port,
            control: TcpControl::Syn,
            seq_number: number(numbers.ack.wrapping_sub(1)),
            ack_number: None,
            window_len: numbers.window,
            window_scale: numbers.peer.scale,
            max_seg_size: numbers.peer.mss,
            sack_permitted: numbers.peer.sack,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        // The SYN, its acknowledgement, and a byte: smoltcp has not yet told a window for one, and says what it is.
        for payload in [&[][..], &[], &[0]] {
            segment.payload = payload;
            let mut frame = [0; packet::LONGEST_HEADERS + 1];
            let len = packet::write(
                &mut frame,
                (NOBODY, NOBODY),
                (flow.remote, flow.local),
                &segment,
            );
            let mut device = Incoming::new(&frame[..len], &mut out);
            interface.poll_ingress_single(now(), &mut device, connection.set_mut());
            segment.control = TcpControl::None;
            segment.seq_number = number(numbers.ack);
            segment.ack_number = Some(number(numbers.next));
        }
        connection.resume(numbers);
        if connection.socket().state() != State::Established {
            // Another smoltcp than the one we know: better an end that is told than wrong numbers.
            connection.ended = Some(Error::Reset);
            connection.socket_mut().abort();
        }
        if let Some(reader) = self.reader {
            connection.socket_mut().register_recv_waker(&reader);
        }
        connection
    }
}

impl Inner {
    /// The connection, woken if it rests.
    ///
    /// # Errors
    /// Why it is over; or [`Error::NoMemory`] when there is none to wake it.
    pub(super) fn awake(&mut self, id: Id) -> Result<&mut Connection, Error> {
        if let Some(resting) = self.table.resting_mut(id) {
            if let Some(why) = &resting.ended {
                return Err(why.clone());
            }
            // The peer may send as much as it was told. No buffer is smaller than that, so that its windows are shifted by as
            // many bits or more, and what is told of them is never too much.
            let room = resting.numbers.room;
            let seat = self.seat(room).map_err(|_| Error::NoMemory)?;
            self.table.awaken(id, |resting| resting.wake(seat));
        }
        self.table.get_mut(id).ok_or(Error::Reset)
    }
}

fn number(seq: u32) -> TcpSeqNumber {
    TcpSeqNumber(seq.cast_signed())
}

/// The seed with which the second number that smoltcp draws, the first of a connection's sequence, is `first`.
///
/// Its generator is a linear congruential one, of whose 64 bits the upper three say how far the rest is shifted: with zero
/// there, the number lies from bit 29 on. The steps from the seed to that are turned around.
fn seed(first: u32) -> u64 {
    const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
    const INCREMENT: u64 = 0x7590_ef39;
    const INVERSE: u64 = inverse(MULTIPLIER);
    let before = |state: u64| state.wrapping_sub(INCREMENT).wrapping_mul(INVERSE);
    // The first is for the interface itself, which has no use for a zero and would draw again.
    let drawn = |state: u64| {
        let number = state >> (29 - (state >> 61));
        (number ^ (number >> 16)) & 0xffff
    };
    let last = u64::from(first) << 29;
    let mut own = (0..8).map(|low| before(last | low));
    before(own.find(|own| drawn(*own) != 0).unwrap_or(0))
}

/// Newton's way to the inverse of an odd number: each step doubles the bits that are right, of which there are three at
/// first.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < 64 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

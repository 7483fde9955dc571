//! SYN cookies (RFC 4987 §3.6): when many connections are half open, a SYN is answered and nothing of it is kept. All that has
//! to be known is in the sequence number of the answer, and comes back with its acknowledgement.
//!
//! What is not in it, the client's window scale and its selective acknowledgements, such a connection does without.

use super::backlog::Backlog;
use super::connection::{Numbers, Phase};
use super::device::Outgoing;
use super::hash::Key;
use super::packet::{self, Flow, Options, Segment};
use super::rest::Resting;
use super::{Inner, now};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

/// A cookie is good for this long at least, and for twice as long at most.
const SLOT: Duration = Duration::from_secs(64);

/// The segment sizes that a cookie can say, with three bits.
const SIZES: [u16; 8] = [536, 1220, 1300, 1360, 1400, 1440, 1460, 8960];
const SIZE_BITS: u32 = 7;

/// Bytes that a client may send before it hears of a larger window: what any connection has room for.
const WINDOW: u16 = 1024;

/// What makes cookies and knows them again.
#[derive(Debug)]
pub(super) struct Cookies {
    key: Key,
    /// Until when one may come back: nobody looks for cookies where none were given.
    until: Instant,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self {
            key: Key::draw(),
            until: Instant::ZERO,
        }
    }

    /// The cookie that answers a SYN with sequence number `seq`.
    fn bake(&mut self, flow: &Flow, seq: u32, mss: Option<u16>, now: Instant) -> u32 {
        self.until = now + SLOT * 2;
        let mss = mss.unwrap_or(SIZES[0]);
        let smaller = SIZES.iter().filter(|size| **size <= mss).count();
        let index = u32::try_from(smaller.saturating_sub(1)).unwrap_or(0);
        self.cookie(flow, seq, slot(now), index)
    }

    /// The segment size that a cookie says, if it is one of ours, not too old, and for this connection.
    fn check(&self, flow: &Flow, seq: u32, cookie: u32, now: Instant) -> Option<u16> {
        if now >= self.until {
            return None;
        }
        let index = cookie & SIZE_BITS;
        let ours =
            [0, 1].map(|age| self.cookie(flow, seq, slot(now).wrapping_sub(age), index) == cookie);
        ours.contains(&true).then_some(SIZES[index as usize])
    }

    fn cookie(&self, flow: &Flow, seq: u32, slot: u32, index: u32) -> u32 {
        let [low, high] = self.key.hash_with(flow, [seq, slot << 3 | index]);
        (low ^ high) & !SIZE_BITS | index
    }
}

fn slot(now: Instant) -> u32 {
    let slots = now.total_micros() / i64::try_from(SLOT.total_micros()).unwrap_or(i64::MAX);
    u32::try_from(slots).unwrap_or(0)
}

impl Inner {
    /// Answers a SYN for which there is no place, if there will be one for the connection.
    pub(super) fn give_cookie(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        backlog: &Backlog,
        out: &mut Outgoing<'_>,
    ) {
        let Some(to) = packet::source(frame).filter(|_| !backlog.is_full()) else {
            self.stats.deferred_syns += 1;
            return;
        };
        let mss = packet::options(frame).mss;
        let begins = now() >= self.cookies.until;
        let cookie = self.cookies.bake(&segment.flow, segment.seq, mss, now());
        let answer = TcpRepr {
            src_port: segment.flow.local_port,
            dst_port: segment.flow.remote_port,
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(cookie.cast_signed()),
            ack_number: Some(TcpSeqNumber(segment.seq.wrapping_add(1).cast_signed())),
            window_len: WINDOW,
            window_scale: None,
            max_seg_size: u16::try_from(self.mtu.saturating_sub(40)).ok(),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let ends = (segment.flow.local, segment.flow.remote);
        let mut bytes = [0; packet::LONGEST_HEADERS];
        let len = packet::write(&mut bytes, (self.mac, to), ends, &answer);
        out.send(&bytes[..len]);
        self.stats.cookies += 1;
        if begins {
            log::warn!(
                target: "net",
                "vif{}: many connections to port {} are half open, as in a flood of SYNs; more are made by cookies",
                self.number, segment.flow.local_port
            );
        }
    }

    /// Makes the connection whose cookie a segment brings back. Returns whether it brings one.
    pub(super) fn take_cookie(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        out: &mut Outgoing<'_>,
    ) -> bool {
        let (seq, cookie) = (segment.seq.wrapping_sub(1), segment.ack_seq.wrapping_sub(1));
        if !segment.ack || segment.syn || segment.rst {
            return false;
        }
        let (Some(mss), Some(backlog)) = (
            self.cookies.check(&segment.flow, seq, cookie, now()),
            self.shared.ports.find(segment.flow.local_port),
        ) else {
            return false;
        };
        // Who finds no place sends its segment again.
        if backlog.admit_established() {
            let numbers = Numbers {
                next: segment.ack_seq,
                ack: segment.seq,
                window: segment.window,
                peer: Options {
                    mss: Some(mss),
                    ..Options::default()
                },
                room: WINDOW.into(),
                ..Numbers::default()
            };
            let made = self.seat(WINDOW.into()).ok().and_then(|seat| {
                let mut connection = Resting::new(segment.flow, numbers).wake(seat);
                connection.phase = Phase::Waiting(backlog.clone());
                self.table.insert(connection).ok()
            });
            match made {
                Some(id) => {
                    backlog.ready(self.index, id);
                    self.arrive(id, frame, segment, out);
                }
                None => backlog.accepted(),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn flow(port: u16) -> Flow {
        Flow {
            local: Ipv4Addr::new(10, 0, 0, 2),
            local_port: 80,
            remote: Ipv4Addr::new(10, 0, 0, 1),
            remote_port: port,
        }
    }

    fn at(secs: i64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn for_this_connection_alone_and_not_for_ever() {
        let mut cookies = Cookies::new();
        assert_eq!(cookies.check(&flow(1), 7, 8, at(0)), None);
        for (mss, said) in [
            (None, 536),
            (Some(0), 536),
            (Some(1459), 1440),
            (Some(1460), 1460),
            (Some(u16::MAX), 8960),
        ] {
            let cookie = cookies.bake(&flow(1), 7, mss, at(100));
            assert_eq!(cookies.check(&flow(1), 7, cookie, at(100)), Some(said));
            assert_eq!(cookies.check(&flow(1), 7, cookie, at(164)), Some(said));
            assert_eq!(cookies.check(&flow(2), 7, cookie, at(100)), None);
            assert_eq!(cookies.check(&flow(1), 8, cookie, at(100)), None);
            assert_eq!(cookies.check(&flow(1), 7, cookie ^ 8, at(100)), None);
            assert_eq!(cookies.check(&flow(1), 7, cookie ^ 1, at(100)), None);
            // Also while others are given.
            cookies.bake(&flow(3), 7, mss, at(220));
            assert_eq!(cookies.check(&flow(1), 7, cookie, at(230)), None);
        }
    }
}

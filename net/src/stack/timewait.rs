//! Connections that are over on this side, and for a moment may still be heard of (TIME-WAIT, RFC 9293 §3.6.1).
//!
//! What is left of one is four numbers and two: enough to acknowledge again a FIN whose acknowledgement was lost. It
//! takes 28 bytes and not the buffers of a connection, so that a server which closes thousands of connections a
//! second does not keep the memory of all of them. A SYN for the same four numbers ends it: the client that sends one has
//! no segments under way.

use super::device::Outgoing;
use super::hash::Key;
use super::packet::{self, Flow};
use alloc::collections::VecDeque;
use hashbrown::HashTable;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, TcpControl, TcpRepr, TcpSeqNumber};
use xenlet_kernel::memory;

/// How long: what smoltcp takes too, and far beyond any round trip.
const TIME: Duration = Duration::from_secs(10);

/// One entry for each so many bytes of memory; beyond that the oldest goes.
const BYTES_PER_ENTRY: usize = 8192;

/// What is left of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remains {
    pub(super) flow: Flow,
    /// The sequence number behind our FIN, and the one behind the peer's.
    pub(super) seq: u32,
    pub(super) ack: u32,
}

/// The remains, by flow and by age.
#[derive(Debug)]
pub(super) struct TimeWait {
    remains: HashTable<Remains>,
    /// Oldest first. One may be gone already, or be another's by now.
    order: VecDeque<(Instant, Flow)>,
    limit: usize,
    key: Key,
}

impl TimeWait {
    pub(super) fn new(key: Key) -> Self {
        let total = memory::stats().map_or(usize::MAX, |stats| stats.total);
        let limit = (total / BYTES_PER_ENTRY).min(16 * 1024);
        Self {
            remains: HashTable::new(),
            order: VecDeque::new(),
            limit,
            key,
        }
    }

    /// Keeps what is left of a connection; without memory nothing is, and a late segment gets a reset.
    pub(super) fn add(&mut self, remains: Remains, now: Instant) {
        self.expire(now);
        while self.order.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.remove(&oldest);
        }
        let room = self.remains.try_reserve(1, hasher(self.key)).is_ok();
        if !room || self.order.try_reserve(1).is_err() {
            return;
        }
        self.remove(&remains.flow);
        let hash = self.key.hash(&remains.flow);
        self.remains.insert_unique(hash, remains, hasher(self.key));
        self.order.push_back((now + TIME, remains.flow));
    }

    /// What is left of the connection with these numbers.
    pub(super) fn find(&self, flow: &Flow) -> Option<&Remains> {
        self.remains
            .find(self.key.hash(flow), |remains| remains.flow == *flow)
    }

    /// Forgets it.
    pub(super) fn remove(&mut self, flow: &Flow) {
        if let Ok(entry) = self
            .remains
            .find_entry(self.key.hash(flow), |remains| remains.flow == *flow)
        {
            entry.remove();
        }
    }

    /// Forgets those whose time is up.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(until, flow)) = self.order.front()
            && until <= now
        {
            self.order.pop_front();
            self.remove(&flow);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.remains.len()
    }

    /// How many there can be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }
}

/// One closure for all, so that the image has the code that grows a table once.
fn hasher(key: Key) -> impl Fn(&Remains) -> u64 {
    move |remains| key.hash(&remains.flow)
}

impl Remains {
    /// Says again what was said last, with the window that was told.
    pub(super) fn acknowledge(
        &self,
        own: EthernetAddress,
        to: EthernetAddress,
        window_len: u16,
        out: &mut Outgoing<'_>,
    ) {
        let tcp = TcpRepr {
            src_port: self.flow.local_port,
            dst_port: self.flow.remote_port,
            control: TcpControl::None,
            seq_number: TcpSeqNumber(self.seq.cast_signed()),
            ack_number: Some(TcpSeqNumber(self.ack.cast_signed())),
            window_len,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let mut frame = [0; packet::LONGEST_HEADERS];
        let len = packet::write(
            &mut frame,
            (own, to),
            (self.flow.local, self.flow.remote),
            &tcp,
        );
        out.send(&frame[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn remains(port: u16) -> Remains {
        let (local, remote) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
        Remains {
            flow: Flow {
                local,
                local_port: 80,
                remote,
                remote_port: port,
            },
            seq: 1,
            ack: 2,
        }
    }

    fn at(secs: i64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn gone_after_its_time() {
        let mut waits = TimeWait::new(Key::draw());
        waits.add(remains(1), at(0));
        waits.add(remains(2), at(5));
        waits.expire(at(9));
        assert_eq!(waits.len(), 2);
        waits.expire(at(10));
        assert!(waits.find(&remains(1).flow).is_none());
        assert!(waits.find(&remains(2).flow).is_some());
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut waits = TimeWait::new(Key::draw());
        waits.limit = 3;
        for port in 1..=5 {
            waits.add(remains(port), at(port.into()));
        }
        assert_eq!(waits.len(), 3);
        assert!(waits.find(&remains(2).flow).is_none());
        assert!(waits.find(&remains(3).flow).is_some());
    }

    #[test]
    fn the_same_numbers_again() {
        let mut waits = TimeWait::new(Key::draw());
        waits.add(remains(1), at(0));
        waits.remove(&remains(1).flow);
        waits.add(
            Remains {
                seq: 9,
                ..remains(1)
            },
            at(1),
        );
        assert_eq!(waits.find(&remains(1).flow).unwrap().seq, 9);
        assert_eq!(waits.len(), 1);
    }
}

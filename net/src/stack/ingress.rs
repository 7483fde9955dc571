//! Frames in.

use super::connection::Phase;
use super::device::{Incoming, MAX_UNANSWERED, Outgoing};
use super::packet::{self, Kind, Segment};
use super::{Id, Inner, OutOfMemory, now};
use crate::Error;
use smoltcp::socket::tcp::State;
use smoltcp::time::Duration;

/// How long before its time a connection that waits for an ARP reply would be looked at.
const ARP_SILENCE: Duration = Duration::from_secs(1);
/// How many duplicates of an acknowledgement tell a peer to send again what it thinks is on its way (RFC 5681 §3.2). Its timer may have
/// gone off in vain, and for ever longer, while the vif was away.
const DUPLICATES: usize = 3;

impl Inner {
    /// Takes in one frame, for whose answer there is room in `out`. `checked` says that the backend vouches for its TCP
    /// or UDP checksum.
    pub(super) fn receive(&mut self, frame: &[u8], checked: bool, out: &mut Outgoing<'_>) {
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += frame.len() as u64;
        let kind = packet::classify(frame, self.mac);
        if !checked
            && matches!(kind, Kind::Tcp(_) | Kind::Other)
            && !packet::checksum_is_right(frame)
        {
            self.stats.bad_checksums += 1;
            return;
        }
        match kind {
            Kind::Tcp(segment) if self.address.is_own(segment.flow.local) => {
                self.segment(frame, &segment, out)
            }
            Kind::ArpReply => {
                self.common(frame, out);
                self.answered();
            }
            Kind::Other => self.common(frame, out),
            Kind::Fragment => self.stats.fragments += 1,
            Kind::Tcp(_) | Kind::Noise => self.stats.ignored += 1,
        }
    }

    fn segment(&mut self, frame: &[u8], segment: &Segment, out: &mut Outgoing<'_>) {
        (out.tcp, out.highest) = (true, None);
        if let Some(id) = self.table.find(&segment.flow) {
            return self.arrive(id, frame, segment, out);
        }
        let begins = segment.syn && !segment.ack && !segment.rst && !segment.fin;
        match self.waits.find(&segment.flow) {
            Some(_) if begins => self.waits.remove(&segment.flow),
            Some(remains) => {
                // A reset must not end the wait (RFC 1337), and acknowledgements end here.
                if (segment.fin || segment.len > 0)
                    && !segment.rst
                    && let Some(to) = packet::source(frame)
                {
                    remains.acknowledge(self.mac, to, 0, out);
                }
                return;
            }
            None => {}
        }
        if begins {
            self.syn(frame, segment, out)
        } else if !self.take_cookie(frame, segment, out) {
            self.nobodys(frame, out)
        }
    }

    /// Gives a segment to its connection, now or at the end of the turn.
    pub(super) fn arrive(
        &mut self,
        id: Id,
        frame: &[u8],
        segment: &Segment,
        out: &mut Outgoing<'_>,
    ) {
        let Ok(connection) = self.awake(id) else {
            return;
        };
        let held = connection.held.take();
        if let Some(earlier) = held.and_then(|place| self.acks.take(place))
            && !earlier.is_said_again_by(segment)
        {
            self.deliver(id, earlier.frame(), &earlier.segment, out);
        }
        match self.acks.hold(id, frame, segment) {
            None => self.deliver(id, frame, segment, out),
            place => {
                if let Some(connection) = self.table.get_mut(id) {
                    connection.held = place;
                }
            }
        }
    }

    /// After the frames of a turn: what waits is delivered.
    pub(super) fn end_turn(&mut self, out: &mut Outgoing<'_>) {
        out.tcp = true;
        for place in 0..self.acks.len() {
            let Some(held) = self.acks.take(place) else {
                continue;
            };
            if let Some(connection) = self.table.get_mut(held.id) {
                connection.held = None;
                self.deliver(held.id, held.frame(), &held.segment, out);
            }
        }
    }

    /// Gives a segment to its connection.
    fn deliver(&mut self, id: Id, frame: &[u8], segment: &Segment, out: &mut Outgoing<'_>) {
        let (Some(interface), Some(connection)) = (&mut self.interface, self.table.get_mut(id))
        else {
            return;
        };
        if !connection.fits(segment, frame) || connection.is_known(segment) {
            self.stats.ignored += 1;
            return;
        }
        let before = connection.socket().state();
        connection.note_received(segment);
        out.highest = connection.last_said().map(|(highest, _)| highest);
        if let Some((said, window)) = connection.take_unheard()
            && let Some(to) = packet::source(frame)
        {
            for _ in 0..=DUPLICATES {
                said.acknowledge(self.mac, to, window, out);
            }
        }
        let mut device = Incoming::new(frame, out);
        interface.poll_ingress_single(now(), &mut device, connection.set_mut());
        if let Some(said) = out.segment.filter(|said| said.flow == segment.flow) {
            connection.note_sent(&said);
        }
        if connection.socket().state() == State::Closed && before != State::LastAck {
            let refused = before == State::SynSent;
            connection.ended.get_or_insert(if refused {
                Error::Refused
            } else {
                Error::Reset
            });
        }
        self.table.enqueue(id);
        self.settle(id);
    }

    /// A segment for which there is no connection: smoltcp answers with a reset where that is right.
    fn nobodys(&mut self, frame: &[u8], out: &mut Outgoing<'_>) {
        self.stats.refused += 1;
        let Some(interface) = &mut self.interface else {
            return;
        };
        let mut device = Incoming::new(frame, out);
        interface.poll_ingress_single(now(), &mut device, &mut self.nobody);
    }

    /// A SYN: a connection for it if somebody listens and there is room; else its sender tries again.
    fn syn(&mut self, frame: &[u8], segment: &Segment, out: &mut Outgoing<'_>) {
        let Some(backlog) = self.shared.ports.find(segment.flow.local_port) else {
            return self.nobodys(frame, out);
        };
        if !backlog.admit() {
            return self.give_cookie(frame, segment, &backlog, out);
        }
        let phase = Phase::HalfOpen(backlog.clone());
        let made = self
            .new_connection(segment.flow, phase)
            .and_then(|mut connection| {
                // A port that is not zero, and a socket that is closed: this cannot fail.
                let _ = connection
                    .socket_mut()
                    .listen((segment.flow.local, segment.flow.local_port));
                self.table.insert(connection).map_err(|_| OutOfMemory)
            });
        match made {
            Ok(id) => self.deliver(id, frame, segment, out),
            Err(_) => {
                backlog.abandoned();
                self.stats.deferred_syns += 1;
            }
        }
    }

    /// A frame for ARP, ICMP, DHCP or UDP.
    fn common(&mut self, frame: &[u8], out: &mut Outgoing<'_>) {
        (out.tcp, out.highest) = (false, None);
        let Some(interface) = &mut self.interface else {
            return;
        };
        if frame.len() > MAX_UNANSWERED && !out.has_room() {
            // The answer to an echo request is as long as that, and there is nowhere to write it.
            return;
        }
        let mut device = Incoming::new(frame, out);
        interface.poll_ingress_single(now(), &mut device, &mut self.common);
        self.common_is_due = true;
        self.address_event();
    }

    /// An ARP request of ours may have been answered: those who wait for that go on now.
    fn answered(&mut self) {
        if core::mem::take(&mut self.asked) {
            self.table.enqueue_due(now() + ARP_SILENCE);
            self.common_is_due = true;
        }
    }

    /// Acts on what has become of a connection: it is ready to be accepted, or over.
    pub(super) fn settle(&mut self, id: Id) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        let socket = connection.socket();
        let state = socket.state();
        // A closed socket that still knows its peer has a reset to send.
        let over = state == State::Closed && socket.remote_endpoint().is_none();
        match connection.phase.clone() {
            Phase::HalfOpen(backlog) => match state {
                State::SynReceived => {}
                State::Established | State::CloseWait => {
                    connection.phase = Phase::Waiting(backlog.clone());
                    backlog.established();
                    backlog.ready(self.index, id);
                }
                // Reset (which smoltcp takes for a reason to listen on), or timed out.
                _ => {
                    backlog.abandoned();
                    self.table.remove(id);
                }
            },
            Phase::Orphan { .. } if over => self.table.remove(id),
            Phase::Held | Phase::Waiting(_) if over => self.table.unmap(id),
            _ => {}
        }
    }
}

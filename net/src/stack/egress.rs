//! Frames out.

use super::connection::{Phase, patience};
use super::device::Outgoing;
use super::{Id, Inner, now};
use crate::Error;
use smoltcp::phy::Device;
use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration, Instant};

/// Frames that one connection may send before it is the next one's turn.
const BURST: usize = 8;

/// Connections that are looked at in one turn.
const VISITS: usize = 256;

/// How soon a connection is looked at again that says it has something to send and sends nothing.
const STUCK: Duration = Duration::from_millis(10);

/// How long a connection that is broken off may wait for its reset to be sent.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What there is to do after a look at a connection.
enum Next {
    /// Nothing until the deadline that is noted.
    Wait,
    /// It has more to send.
    More,
    /// The vif has no room.
    NoRoom,
}

impl Inner {
    /// Lets all that have something to send send it, fairly. Returns whether somebody has more to send than one turn
    /// allows; who waits for room in the vif is not among them.
    pub(super) fn transmit(&mut self, out: &mut Outgoing<'_>) -> bool {
        if self.interface.is_none() {
            return false;
        }
        out.tcp = false;
        self.common_egress(out);
        self.waits.expire(now());
        out.tcp = true;
        self.table.enqueue_due(now());
        for _ in 0..VISITS {
            if out.starved {
                break;
            }
            let Some(id) = self.table.dequeue() else {
                return false;
            };
            match self.visit(id, out) {
                Next::Wait => {}
                Next::More | Next::NoRoom => self.table.enqueue(id),
            }
        }
        !out.starved
    }

    /// Lets one connection send.
    fn visit(&mut self, id: Id, out: &mut Outgoing<'_>) -> Next {
        self.discard(id);
        let (Some(interface), Some(connection)) = (&mut self.interface, self.table.get_mut(id))
        else {
            return Next::Wait;
        };
        let now = now();
        let before = connection.socket().state();
        connection.set_timer();
        let mut next = Next::More;
        for _ in 0..BURST {
            // Before smoltcp is asked: it takes a segment that duplicate acknowledgements tell of for sent again although
            // there was no room for it, and no timer runs then that would send it another time.
            if out.transmit(now).is_none() {
                next = Next::NoRoom;
                break;
            }
            self.stats.polls += 1;
            let count = out.count;
            out.segment = None;
            out.highest = connection.last_said().map(|(highest, _)| highest);
            interface.poll_egress(now, out, connection.set_mut());
            if let Some(segment) = &out.segment {
                connection.asked();
                if connection.note_sent(segment) {
                    self.stats.retransmissions += 1;
                }
            }
            match interface.poll_at(now, connection.set_mut()) {
                Some(at) if at <= now && out.count > count => {}
                Some(at) => {
                    self.table.no_later_than(
                        id,
                        at.max(now + if at <= now { STUCK } else { Duration::ZERO }),
                    );
                    next = Next::Wait;
                    break;
                }
                None => {
                    next = Next::Wait;
                    break;
                }
            }
        }
        self.after_visit(id, before);
        if matches!(next, Next::Wait) {
            self.let_rest(id);
        }
        next
    }

    /// Keeps of a connection in TIME-WAIT, of which nobody will read any more, only what it takes to end it well.
    fn let_rest(&mut self, id: Id) {
        let Some(connection) = self.table.get(id) else {
            return;
        };
        if !matches!(connection.phase, Phase::Orphan { .. })
            || connection.socket().state() != State::TimeWait
        {
            return;
        }
        if let Some(remains) = connection.remains() {
            self.table.remove(id);
            self.waits.add(remains, now());
        }
    }

    /// Notes why a connection ended, if it did: in here that is never the peer's doing.
    fn after_visit(&mut self, id: Id, before: State) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        let ended = connection.socket().state() == State::Closed;
        if ended && !matches!(before, State::Closed | State::TimeWait) {
            let lost = !self.address.is_own(connection.flow.local);
            connection.ended.get_or_insert(if lost {
                Error::AddressLost
            } else {
                Error::TimedOut
            });
        }
        self.settle(id);
    }

    /// Throws away what still arrives on a connection that nobody reads. When its time is up it is broken off, and has a
    /// moment to say so.
    fn discard(&mut self, id: Id) {
        let now = now();
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        let Phase::Orphan { mut until, left } = connection.phase else {
            return;
        };
        if now >= until && !connection.socket().is_open() {
            return self.table.remove(id);
        }
        let queued = connection.socket().send_queue();
        if queued < left {
            until = now + patience(queued);
        } else if now >= until {
            connection.socket_mut().abort();
            until = now + LAST_WORD;
        }
        connection.phase = Phase::Orphan {
            until,
            left: queued,
        };
        let waiting = connection.socket().recv_queue();
        if waiting > 0 {
            // In two parts where the buffer wraps around.
            for _ in 0..2 {
                let _ = connection.socket_mut().recv(|bytes| (bytes.len(), ()));
            }
            connection.taken(waiting);
        }
        self.table.no_later_than(id, until);
    }

    /// DHCP, UDP and our own announcements.
    fn common_egress(&mut self, out: &mut Outgoing<'_>) {
        let now = now();
        self.announce(out, now);
        if !self.common_is_due && self.common_deadline.is_none_or(|at| at > now) {
            return;
        }
        for _ in 0..BURST {
            let count = out.count;
            self.address.before_dhcp(&mut self.common);
            let Some(interface) = &mut self.interface else {
                return;
            };
            interface.poll_egress(now, out, &mut self.common);
            self.common_deadline = interface.poll_at(now, &self.common);
            if out.count == count || out.starved {
                break;
            }
            self.dhcp_asked();
        }
        // What could not be sent now is due again when there is room.
        self.common_is_due = self.common_deadline.is_some_and(|at| at <= now) && out.starved;
        if let Some(at) = self.common_deadline.filter(|at| *at <= now) {
            self.common_deadline = Some(at.max(now + STUCK));
        }
        self.address_event();
    }

    /// When there is something to do although nothing arrives.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.interface.as_ref()?;
        let of_address = self.address.next_announcement();
        [self.common_deadline, self.table.next_deadline(), of_address]
            .into_iter()
            .flatten()
            .min()
    }
}

//! What streams do with their connections.

use super::connection::{Connection, Phase, patience};
use super::packet::Flow;
use super::{Id, Inner, Stack, now};
use crate::Error;
use crate::interface::Cidr;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::task::{Context, Poll};
use core::time::Duration;
use smoltcp::socket::tcp::{RecvError, State};
use xenlet_kernel::entropy;
use xenlet_kernel::trace::waits_for;

/// Ports for outgoing connections: RFC 6335 §6.
const EPHEMERAL: core::ops::RangeInclusive<u16> = 49152..=65535;

impl Stack {
    /// The interface's address, and its gateway.
    pub(crate) fn address(&self) -> Option<(Cidr, Option<Ipv4Addr>)> {
        let inner = self.inner.borrow();
        inner.interface.as_ref()?;
        Some((inner.address.own()?, inner.address.gateway()))
    }

    /// Begins a connection to `peer`.
    pub(crate) fn connect(&self, peer: SocketAddrV4) -> Result<(Id, Flow), Error> {
        let mut inner = self.inner.borrow_mut();
        let own = inner.address.own().ok_or(Error::NoAddress)?;
        let is_broadcast = own.prefix_len < 31
            && u32::from(*peer.ip()) | (u32::MAX >> own.prefix_len) == u32::MAX
            || own.contains(*peer.ip())
                && !crate::words::usable(Cidr {
                    address: *peer.ip(),
                    ..own
                });
        if peer.port() == 0
            || is_broadcast
            || peer.ip().is_multicast()
            || peer.ip().is_unspecified()
        {
            return Err(Error::Unaddressable);
        }
        let flow = inner.free_flow(own.address, peer).ok_or(Error::NoPort)?;
        let mut connection = inner
            .new_connection(flow, Phase::Held)
            .map_err(|_| Error::NoMemory)?;
        let interface = inner.interface.as_mut().ok_or(Error::NoAddress)?;
        let to = (*peer.ip(), peer.port());
        let from = (flow.local, flow.local_port);
        connection
            .socket_mut()
            .connect(interface.context(), to, from)
            .map_err(|_| Error::Unaddressable)?;
        let id = inner
            .table
            .insert(connection)
            .map_err(|_| Error::NoMemory)?;
        inner.table.enqueue(id);
        self.wake();
        Ok((id, flow))
    }

    /// Ready when the handshake is over, well or not.
    pub(crate) fn poll_connected(&self, id: Id, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.inner.borrow_mut();
        let connection = inner.awake(id)?;
        match connection.socket().state() {
            State::SynSent | State::SynReceived => {
                connection.socket_mut().register_send_waker(cx.waker());
                waits_for("the peer to answer");
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(connection.ended.clone().unwrap_or(Error::Reset))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Gives an accepted connection to the application; `None` if it is gone.
    pub(crate) fn hold(&self, id: Id) -> Option<Flow> {
        let mut inner = self.inner.borrow_mut();
        let connection = inner.table.get_mut(id)?;
        let Phase::Waiting(backlog) = core::mem::replace(&mut connection.phase, Phase::Held) else {
            return None;
        };
        backlog.accepted();
        let flow = connection.flow;
        // Its timer is another now.
        inner.table.enqueue(id);
        self.wake();
        Some(flow)
    }

    pub(crate) fn poll_receive(
        &self,
        id: Id,
        buf: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut inner = self.inner.borrow_mut();
        if let Some(resting) = inner.table.resting_mut(id) {
            return resting.poll_receive(cx);
        }
        let connection = inner.awake(id)?;
        match connection.socket_mut().recv_slice(buf) {
            Ok(0) => {
                connection.socket_mut().register_recv_waker(cx.waker());
                waits_for("the peer to send");
                Poll::Pending
            }
            Ok(count) => {
                connection.taken(count);
                // The peer may be waiting for room.
                inner.table.enqueue(id);
                self.wake();
                Poll::Ready(Ok(count))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(RecvError::InvalidState) => {
                Poll::Ready(Err(connection.ended.clone().unwrap_or(Error::Reset)))
            }
        }
    }

    pub(crate) fn poll_send(
        &self,
        id: Id,
        buf: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut inner = self.inner.borrow_mut();
        let connection = inner.awake(id)?;
        match connection.socket_mut().send_slice(buf) {
            Ok(0) => {
                connection.socket_mut().register_send_waker(cx.waker());
                waits_for("the peer to take what is sent");
                Poll::Pending
            }
            Ok(count) => {
                connection.used = true;
                inner.table.enqueue(id);
                self.wake();
                Poll::Ready(Ok(count))
            }
            Err(_) => Poll::Ready(Err(connection.ended.clone().unwrap_or(Error::Closed))),
        }
    }

    /// Ends the writing half: the peer gets a FIN after what was written.
    pub(crate) fn shutdown_write(&self, id: Id) -> Result<(), Error> {
        let mut inner = self.inner.borrow_mut();
        let connection = inner.awake(id)?;
        if let Some(ended) = &connection.ended {
            return Err(ended.clone());
        }
        connection.socket_mut().close();
        inner.table.enqueue(id);
        self.wake();
        Ok(())
    }

    /// Breaks the connection off: the peer gets a RST.
    pub(crate) fn abort(&self, id: Id) {
        let mut inner = self.inner.borrow_mut();
        let Ok(connection) = inner.awake(id) else {
            return inner.table.remove(id);
        };
        connection.ended.get_or_insert(Error::Reset);
        connection.socket_mut().abort();
        inner.table.enqueue(id);
        self.wake();
    }

    /// The application has dropped its stream: what it wrote is still sent, then the connection ends.
    pub(crate) fn release(&self, id: Id) {
        let mut inner = self.inner.borrow_mut();
        let Ok(connection) = inner.awake(id) else {
            // It rested, and there is no memory to end it well.
            return inner.table.remove(id);
        };
        connection.socket_mut().close();
        let left = connection.socket().send_queue();
        let until = now() + patience(left);
        connection.phase = Phase::Orphan { until, left };
        inner.table.no_later_than(id, until);
        inner.table.enqueue(id);
        inner.settle(id);
        self.wake();
    }

    pub(crate) fn set_timeout(&self, id: Id, limit: Option<Duration>) {
        self.adjust(id, |connection| connection.timeout = limit.map(Into::into));
    }

    pub(crate) fn set_keep_alive(&self, id: Id, interval: Option<Duration>) {
        self.adjust(id, |connection| {
            connection
                .socket_mut()
                .set_keep_alive(interval.map(Into::into))
        });
    }

    pub(crate) fn set_nodelay(&self, id: Id, nodelay: bool) {
        self.adjust(id, |connection| {
            connection.socket_mut().set_nagle_enabled(!nodelay)
        });
    }

    /// Changes a connection, which then may have something to do.
    fn adjust(&self, id: Id, change: impl FnOnce(&mut Connection)) {
        let mut inner = self.inner.borrow_mut();
        if let Ok(connection) = inner.awake(id) {
            change(connection);
            inner.table.enqueue(id);
            self.wake();
        }
    }

    /// Breaks off the connections that nobody will accept any more.
    pub(crate) fn refuse(&self, backlog: &alloc::rc::Rc<super::backlog::Backlog>) {
        let mut inner = self.inner.borrow_mut();
        let ids: alloc::vec::Vec<_> = inner.table.ids().collect();
        for id in ids {
            let Some(connection) = inner.table.get_mut(id) else {
                continue;
            };
            if let Phase::HalfOpen(theirs) | Phase::Waiting(theirs) = &connection.phase
                && alloc::rc::Rc::ptr_eq(theirs, backlog)
            {
                connection.phase = Phase::Orphan {
                    until: now(),
                    left: 0,
                };
                inner.table.enqueue(id);
            }
        }
        self.wake();
    }
}

impl Inner {
    /// A flow to `peer` that no connection has.
    fn free_flow(&self, local: Ipv4Addr, peer: SocketAddrV4) -> Option<Flow> {
        let count = EPHEMERAL.end() - EPHEMERAL.start() + 1;
        // A start that nobody can guess (RFC 6056).
        let start = entropy::seed() % u64::from(count);
        (0..u64::from(count)).find_map(|step| {
            let offset = u16::try_from((start + step) % u64::from(count)).ok()?;
            let flow = Flow {
                local,
                local_port: EPHEMERAL.start() + offset,
                remote: *peer.ip(),
                remote_port: peer.port(),
            };
            let is_listened = self.shared.ports.find(flow.local_port).is_some();
            (!is_listened && self.table.find(&flow).is_none()).then_some(flow)
        })
    }
}
